#include "server/session/session.h"

#include <algorithm>

#include "base/hex.h"
#include "server/session/imvs.h"

namespace gatehouse::server {
namespace {

std::string_view text(Auth auth) {
  switch (auth) {
    case Auth::none: return "none";
    case Auth::tls: return "tls";
    case Auth::sasl: return "sasl";
    case Auth::tls_or_sasl: return "tls-or-sasl";
    case Auth::tls_and_sasl: return "tls-and-sasl";
  }
  return "none";
}

std::string sizes(const pbtnc::Batch& batch, std::size_t bytes) {
  return std::string(pbtnc::name(batch.type)) + " batch, " + std::to_string(bytes) + " bytes, " + std::to_string(batch.messages.size()) + " messages";
}

}  // namespace

Session::Session(Host& host, const Settings& settings, State& state, Peer peer)
    : host_(host), settings_(settings), conversation_(host, settings, state, std::move(peer)),
      imvs_(make_imvs(conversation_)) {
  start_assessment();
  host_.set_deadline(settings_.negotiation_deadline);
}

Session::~Session() = default;

void Session::start_assessment() {
  for (const auto& imv : imvs_) imv->begin_assessment();
  committing_ = recorded_ = false;
  evidence_bytes_ = 0;
  started_ = host_.now_ms();
}

void Session::feed(Bytes plaintext) {
  if (phase_ == Phase::ended) return;
  framer_.feed(plaintext);
  pump();
}

// One message at a time; while a batch waits for its answer nothing more is taken in.
void Session::pump() {
  if (pumping_) return;  // an action may come back at once
  pumping_ = true;
  while (phase_ != Phase::ended && phase_ != Phase::password && !answer_due_) {
    const auto message = framer_.next();
    if (!message) {
      refuse_transport(message.error().code, message.error().copy, message.error().reason);
      break;
    }
    if (*message == nullptr) break;
    on_message(**message);
  }
  pumping_ = false;
}

void Session::send_message(pttls::Type type, Bytes value) {
  Writer w;
  pttls::append_message(w, type, next_identifier_++, value);
  host_.send(std::move(w).take());
}

void Session::send_batch(pbtnc::BatchType type, Bytes messages) {
  if (const auto next = pbtnc::next(pbtnc::server_sends, pb_state_, type)) pb_state_ = *next;
  const ByteVector bytes = pbtnc::batch(type, true, messages);
  host_.log(LogLevel::debug, "sending PB-TNC " + std::string(pbtnc::name(type)) + " batch, " + std::to_string(bytes.size()) + " bytes; state " +
                                 std::string(pbtnc::name(pb_state_)));
  send_message(pttls::Type::pb_tnc_batch, bytes);
}

void Session::refuse_transport(pttls::ErrorCode code, Bytes offending, std::string_view why) {
  Writer w;
  pttls::append_error(w, code, offending);
  send_message(pttls::Type::error, w.view());
  finish_with("PT-TLS: " + std::string(why));
}

void Session::refuse_batch(const pbtnc::Refusal& refusal) {
  Writer w;
  pbtnc::append_error(w, refusal);
  send_batch(pbtnc::BatchType::close, w.view());
  finish_with("PB-TNC " + std::string(pbtnc::name(refusal.code)) + " at offset " + std::to_string(refusal.offset) + ": " + std::string(refusal.reason));
}

void Session::flush() {
  for (const auto& imv : imvs_) imv->channel().flush();
}

bool Session::all_done() const {
  return std::all_of(imvs_.begin(), imvs_.end(), [](const auto& imv) { return imv->result().has_value(); });
}
bool Session::waiting() const {
  return std::any_of(imvs_.begin(), imvs_.end(), [](const auto& imv) { return imv->waiting(); });
}

// The verdict object and the session's record, once every IMV has its result.
SessionResult Session::assemble() {
  ImvResult all;
  verdict_ = {};
  verdict_.session = conversation_.session;
  verdict_.device = conversation_.info.device_id.value_or("");
  verdict_.product = conversation_.product();
  verdict_.generation = conversation_.intent.generation;
  for (const auto& imv : imvs_) {
    all = combine(all, *imv->result());
    if (const pipeline::Verdict* judged = imv->verdict()) verdict_ = *judged;
  }
  SessionResult record;
  record.intent = conversation_.intent;
  record.intent.peer = conversation_.peer.address;
  record.intent.identity = conversation_.peer.identity;
  record.intent.identity_type = conversation_.peer.identity_type;
  for (const auto& imv : imvs_) imv->contribute(verdict_, record);
  verdict_.recommendation = all.recommendation;
  verdict_.evaluation = all.evaluation;
  record.finished = host_.now_ms();
  record.verdict = pipeline::to_json(verdict_);
  return record;
}

// A conversation that ends before its verdict leaves a record that says why, and nothing of it is ever allow.
void Session::record_failure(std::string_view why) {
  if (committing_ || recorded_) return;
  if (pb_state_ == pbtnc::State::init) return;  // no PB-TNC conversation took place
  for (const auto& imv : imvs_) imv->abandon(why);
  SessionResult record = assemble();
  if (verdict_.recommendation == pipeline::Recommendation::allow) {
    verdict_.recommendation = pipeline::Recommendation::isolate;
    verdict_.evaluation = pipeline::Evaluation::error;
    record.verdict = pipeline::to_json(verdict_);
  }
  committing_ = true;
  host_.commit_result(std::move(record));
}

void Session::finish_with(std::string_view why) {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (!why.empty()) host_.log(LogLevel::warning, "session ended: " + std::string(why));
  record_failure(why.empty() ? "the conversation ended early" : why);
  host_.close();
}

void Session::on_message(const pttls::Message& m) {
  host_.log(LogLevel::debug, "received PT-TLS message #" + std::to_string(m.header.identifier) + " of type '" +
                                 pttls::name(m.header.vendor, m.header.type) + "' (" + std::to_string(m.header.length) + " bytes)");
  if (!m.header.known()) {
    constexpr unsigned max_transport_errors = 8;
    if (phase_ != Phase::data) return refuse_transport(pttls::ErrorCode::invalid_message, m.whole, "unknown message in the negotiation");
    if (++transport_errors_ > max_transport_errors) return finish_with("PT-TLS: too many unknown messages");
    Writer w;
    pttls::append_error(w, pttls::ErrorCode::type_not_supported, m.whole);
    return send_message(pttls::Type::error, w.view());
  }
  if (m.header.kind() == pttls::Type::error) {
    const auto error = pttls::parse_error(m.value);
    return finish_with("the endpoint sent PT-TLS error " + (error ? std::to_string(error->code) : std::string("(malformed)")));
  }
  if (phase_ == Phase::version && m.header.kind() == pttls::Type::version_request) return on_version(m);
  if (phase_ == Phase::sasl && m.header.kind() == pttls::Type::sasl_selection) return on_selection(m);
  if (phase_ == Phase::data && m.header.kind() == pttls::Type::pb_tnc_batch) return on_batch(m.value);
  refuse_transport(pttls::ErrorCode::invalid_message, m.whole, "message not allowed in this phase");
}

void Session::on_version(const pttls::Message& m) {
  const auto range = pttls::parse_version_request(m.value);
  if (!range) return refuse_transport(pttls::ErrorCode::invalid_parameter, m.whole, range.error().reason);
  if (range->minimum > 1 || range->maximum < 1) return refuse_transport(pttls::ErrorCode::version_not_supported, m.whole, "no common version");
  Writer version;
  pttls::append_version_response(version, 1);
  send_message(pttls::Type::version_response, version.view());
  const bool certificate = conversation_.peer.identity_type == "certificate";
  const bool want_sasl = settings_.auth == Auth::sasl || settings_.auth == Auth::tls_and_sasl || (settings_.auth == Auth::tls_or_sasl && !certificate);
  if ((settings_.auth == Auth::tls || settings_.auth == Auth::tls_and_sasl) && !certificate)
    return finish_with("authentication " + std::string(text(settings_.auth)) + " wants a client certificate");
  Writer mechanisms;
  if (want_sasl) pttls::append_mechanisms(mechanisms, {"PLAIN"});
  send_message(pttls::Type::sasl_mechanisms, mechanisms.view());
  phase_ = want_sasl ? Phase::sasl : Phase::data;
  if (phase_ == Phase::data) host_.log(LogLevel::info, certificate ? "endpoint authenticated by certificate as '" + conversation_.peer.identity + "'" : "endpoint not authenticated by TLS");
}

void Session::on_selection(const pttls::Message& m) {
  const auto selection = pttls::parse_selection(m.value);
  if (!selection) {
    return refuse_transport(selection.error().fault == Fault::protocol ? pttls::ErrorCode::invalid_parameter : pttls::ErrorCode::malformed, m.whole,
                            selection.error().reason);
  }
  if (selection->mechanism != "PLAIN") return refuse_transport(pttls::ErrorCode::sasl_mechanism, m.whole, "a SASL mechanism that wasn't offered");
  const auto plain = pttls::parse_plain(selection->initial_response);
  phase_ = Phase::password;
  if (!plain || password_tried_) return on_password(false);
  password_tried_ = true;
  conversation_.peer.identity = plain->user;
  host_.check_password(std::string(plain->user), Secret(as_bytes(plain->password)));
}

void Session::on_password(bool good) {
  if (phase_ != Phase::password) return;
  if (!good) {
    host_.log(LogLevel::warning, "SASL PLAIN authentication of '" + escaped(conversation_.peer.identity, 255) + "' failed");
    // One octet: a strongSwan client would read two as success (spec part 1a §1.5).
    const std::byte abort[] = {std::byte(pttls::SaslResult::abort)};
    send_message(pttls::Type::sasl_result, abort);
    phase_ = Phase::sasl;
    return finish_with("authentication failed");
  }
  conversation_.peer.identity_type = "password";
  host_.log(LogLevel::info, "endpoint authenticated by password as '" + escaped(conversation_.peer.identity) + "'");
  const std::byte success[] = {std::byte{0}, std::byte{0}};
  send_message(pttls::Type::sasl_result, success);
  send_message(pttls::Type::sasl_mechanisms, {});
  phase_ = Phase::data;
  pump();
}

void Session::on_batch(Bytes bytes) {
  evidence_bytes_ += bytes.size();
  const auto batch = pbtnc::parse_batch(bytes, true);
  if (!batch) return refuse_batch(batch.error());
  const auto next = pbtnc::next(pbtnc::server_receives, pb_state_, batch->type);
  if (!next) return refuse_batch({pbtnc::ErrorCode::unexpected_batch_type, 0, 0, "batch type not allowed in this state"});
  host_.log(LogLevel::debug, "received PB-TNC " + sizes(*batch, bytes.size()) + "; state " + std::string(pbtnc::name(pb_state_)) + " to " +
                                 std::string(pbtnc::name(*next)));
  const bool decided = pb_state_ == pbtnc::State::decided;
  pb_state_ = *next;
  for (const pbtnc::Message& m : batch->messages)
    if (m.vendor == pbtnc::vendor_ietf && m.type == pbtnc::type::error) {
      const pbtnc::PbError e = pbtnc::pb_error(m);
      host_.log(LogLevel::warning, std::string("received ") + (e.fatal ? "fatal" : "non-fatal") + " PB-TNC error " + std::to_string(e.vendor) + "/" + std::to_string(e.code));
      if (e.fatal) return finish_with("the endpoint sent a fatal PB-TNC error");
    }
  if (batch->type == pbtnc::BatchType::close) {
    host_.log(LogLevel::debug, "the endpoint closed the PB-TNC conversation");
    return finish_with(decided ? "" : "the endpoint closed the conversation before the verdict");
  }
  if (batch->type == pbtnc::BatchType::cretry) {
    if (++retries_ > settings_.max_retries) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "too many retries"});
    host_.log(LogLevel::info, "the endpoint asks for another assessment");
    record_failure("the endpoint started over");
    conversation_.begin_assessment();
    start_assessment();
  }
  if (evidence_bytes_ > settings_.max_evidence_bytes) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "more evidence than allowed"});
  if (host_.now_ms() - started_ > settings_.total_deadline.count()) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "the assessment takes too long"});
  client_silent_ = batch->messages.empty();
  if (client_silent_ && ++empty_rounds_ > settings_.max_empty_rounds) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "too many empty rounds"});
  answer_due_ = true;
  deliver(*batch);
  for (const auto& imv : imvs_) imv->channel().batch_end(!client_silent_, *imv);
  flush();
  for (const auto& imv : imvs_) {
    imv->batch_end();
    imv->channel().flush();
  }
  advance();
}

void Session::deliver(const pbtnc::Batch& batch) {
  for (const pbtnc::Message& m : batch.messages) {
    if (m.vendor != pbtnc::vendor_ietf) continue;
    if (m.type == pbtnc::type::language_preference) {
      for (const std::string& tag : pbtnc::languages(m)) {
        const std::string primary = tag.substr(0, tag.find('-'));
        if (primary == "en" || primary == "de") {
          conversation_.language = primary;
          break;
        }
      }
      continue;
    }
    if (m.type != pbtnc::type::pa) continue;
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    host_.log(LogLevel::debug, "PB-PA message of type '" + patnc::subtype_name(pa.vendor, pa.subtype) + "', " + std::to_string(pa.body.size()) +
                                   " bytes, from IMC " + std::to_string(pa.collector));
    // EXCL: only the validator that is named, and only if it subscribed to the type (spec part 1b §6.3).
    std::vector<Imv*> receivers;
    for (const auto& imv : imvs_)
      if (imv->subscribed(pa.vendor, pa.subtype) && (!pa.exclusive || pa.validator == imv->id())) receivers.push_back(imv.get());
    if (receivers.empty()) {
      host_.log(LogLevel::debug, "nobody subscribed to it");
      continue;
    }
    const auto parsed = patnc::parse_message(pa.body, supported);
    if (!parsed) {
      host_.log(LogLevel::warning, parsed.error().text());
      for (Imv* imv : receivers) imv->malformed(parsed.error().text());
      continue;
    }
    for (const patnc::Attribute& a : parsed->attributes)
      if (!a.is(patnc::vendor_tcg, pts::type::simple_component_evidence))
        host_.log(LogLevel::debug, "PA-TNC attribute '" + patnc::attribute_name(a.vendor, a.type) + "', " + std::to_string(a.value.size()) + " bytes");
    if (parsed->refusal)
      host_.log(LogLevel::warning, "PA-TNC message refused at offset " + std::to_string(parsed->refusal->offset) + ": " + std::string(parsed->refusal->reason));
    for (Imv* imv : receivers) imv->channel().take(pa, *parsed, *imv);
  }
}

// Answers the batch that was taken in, as soon as there is an answer (spec part 1a §4.8).
void Session::advance() {
  if (!answer_due_ || phase_ != Phase::data || committing_) return;
  if (waiting()) return;  // the store or the evidence plane is at work; the answer follows
  flush();
  if (client_silent_ && conversation_.out.empty() && !all_done())
    for (const auto& imv : imvs_)
      if (!imv->result()) imv->solicit();
  flush();
  if (all_done()) return conclude();
  std::size_t pending = 0;
  for (const auto& imv : imvs_) pending += imv->pending_bytes();
  if (!host_.has_room(pending)) return;  // on_room() comes
  pbtnc::Queue queue(settings_.max_batch);
  for (PaOut& o : conversation_.out) {
    Writer w;
    pbtnc::append_pa(w, {o.exclusive, o.vendor, o.subtype, o.collector, o.validator, o.body});
    if (!queue.push(std::move(w).take())) host_.log(LogLevel::error, "a PA-TNC message larger than a batch was left out");
  }
  conversation_.out.clear();
  const ByteVector messages = queue.take();
  GH_ASSERT(queue.empty());  // our requests are small
  answer_due_ = false;
  send_batch(pbtnc::BatchType::sdata, messages);
  await_client();
}

void Session::await_client() { host_.set_deadline(settings_.idle_deadline); }

// The RESULT batch goes out only when its record is on disk.
void Session::conclude() {
  if (committing_) return;
  SessionResult record = assemble();
  committing_ = true;
  host_.commit_result(std::move(record));
}

void Session::on_result_committed(Result<void> on_disk) {
  committing_ = false;
  recorded_ = true;
  if (phase_ != Phase::data) return;
  if (!on_disk) {
    // Without its record nothing is admitted.
    host_.log(LogLevel::error, "the result can't be recorded: " + on_disk.error().text());
    verdict_.recommendation = pipeline::Recommendation::isolate;
    verdict_.evaluation = pipeline::Evaluation::error;
  }
  send_result();
  pump();
}

void Session::send_result() {
  for (const auto& imv : imvs_) imv->say_last();
  flush();
  Writer w;
  for (const PaOut& o : conversation_.out) pbtnc::append_pa(w, {o.exclusive, o.vendor, o.subtype, o.collector, o.validator, o.body});
  conversation_.out.clear();
  pbtnc::append_assessment_result(w, std::uint32_t(verdict_.evaluation));
  constexpr std::uint16_t allowed = 1, denied = 2, quarantined = 3;
  std::uint16_t code = denied;
  if (verdict_.recommendation == pipeline::Recommendation::allow) code = allowed;
  if (verdict_.recommendation == pipeline::Recommendation::isolate) code = quarantined;
  pbtnc::append_access_recommendation(w, code);
  for (const auto& imv : imvs_) {
    std::string all;
    for (const std::string& reason : imv->reasons()) all += (all.empty() ? "" : "\n") + reason;
    if (!all.empty()) pbtnc::append_reason_string(w, {all, conversation_.language});
  }
  log_verdict();
  answer_due_ = false;
  send_batch(pbtnc::BatchType::result, w.view());
  await_client();
}

void Session::log_verdict() {
  const pipeline::Verdict& v = verdict_;
  host_.log(LogLevel::info, "device " + escaped(v.device.empty() ? "(none claimed)" : v.device) + ": " + std::string(name(v.recommendation)) + ", " +
                                std::string(name(v.evaluation)) + (v.summary.empty() ? "" : ": " + v.summary) + "; quote " +
                                std::string(name(v.quote.status)) + "; peer " + conversation_.peer.address + ", identity '" +
                                escaped(conversation_.peer.identity) + "', product '" + escaped(v.product) + "'");
  std::size_t shown = 0;
  for (const pipeline::Finding& f : v.findings) {
    if (f.status == pipeline::Status::unknown && f.component == "ima") continue;
    if (++shown > 20) break;
    host_.log(LogLevel::info, f.component + (f.entry ? " " + std::to_string(*f.entry) : "") + ": " + std::string(name(f.status)) + ": " +
                                  (f.path.empty() ? "" : "'" + escaped(f.path) + "': ") + escaped(f.reason));
  }
}

void Session::on_session_begun(Result<void> on_disk) {
  for (const auto& imv : imvs_) imv->session_begun(on_disk);
  advance();
}

void Session::on_outcome(Result<pipeline::Outcome> outcome) {
  if (phase_ == Phase::ended) return;
  for (const auto& imv : imvs_) imv->outcome(outcome);
  advance();
}

void Session::on_room() { advance(); }

void Session::on_deadline() {
  if (phase_ == Phase::ended) return;
  if (phase_ == Phase::data && answer_due_) {
    // Our turn: the endpoint is told.
    return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "the assessment takes too long"});
  }
  finish_with("the endpoint was silent for too long");
}

void Session::on_peer_gone() {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (pb_state_ == pbtnc::State::decided) {
    host_.log(LogLevel::info, "the endpoint left without a CLOSE batch; the verdict stands");
  } else {
    host_.log(LogLevel::warning, "the endpoint vanished");
  }
  record_failure("the endpoint vanished before the verdict");
}

}  // namespace gatehouse::server
