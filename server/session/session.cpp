#include "server/session/session.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

// The longest message before the negotiation has ended: SASL Authentication Data (spec part 1a §7).
constexpr std::size_t max_negotiation_message = 16'400;

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

patnc::Builder Conversation::builder() const { return {patnc::max_message(settings.max_batch), next_message_id}; }

void Conversation::say(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, patnc::Builder&& b, std::uint16_t collector) {
  for (ByteVector& body : b.take()) {
    Reader r(body, "RFC 5792");
    (void)r.skip(patnc::message_header_size);
    for (patnc::Attribute a; !r.empty() && !patnc::parse_attribute(r, a);)
      host.log(LogLevel::debug, "sending PA-TNC attribute '" + patnc::attribute_name(a.vendor, a.type) + "', " + std::to_string(a.value.size()) +
                                    " bytes, in a message of type '" + patnc::subtype_name(vendor, subtype) + "', " + std::to_string(body.size()) + " bytes");
    // Identifiers are unique within the connection: a random start, then a counter (RFC 5792 3.6).
    const std::uint32_t identifier = next_message_id++;
    for (int i = 0; i < 4; ++i) body[4 + std::size_t(i)] = std::byte(identifier >> (24 - 8 * i));
    out.push_back({vendor, subtype, validator, collector != pbtnc::any, collector, std::move(body)});
  }
}

bool Conversation::say_error(std::uint32_t vendor, std::uint32_t subtype, std::uint16_t validator, std::uint16_t collector,
                             const patnc::Refusal& refusal, Bytes header_copy) {
  constexpr unsigned max_errors = 16;
  if (++errors_sent > max_errors) return false;
  patnc::Builder b = builder();
  b.add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, patnc::error_value(refusal, header_copy));
  say(vendor, subtype, validator, std::move(b), collector);
  return true;
}

patnc::Contract Conversation::offered_contract() const {
  return {patnc::unlimited, std::uint32_t(patnc::max_segment(patnc::max_message(settings.max_batch)))};
}

void Conversation::say_contract_response(patnc::Builder& b, const patnc::Contract& asked) const {
  patnc::Contract agreed = asked;
  if (agreed.max_segment_size != patnc::unlimited)
    agreed.max_segment_size = std::min(agreed.max_segment_size, offered_contract().max_segment_size);
  Writer w;
  patnc::append_contract(w, agreed);
  b.add(0, patnc::vendor_tcg, patnc::type::contract_response, w.view());
}

Session::Session(Host& host, const Settings& settings, State& state, Peer peer)
    : host_(host), settings_(settings),
      conversation_{host, settings, state, std::move(peer), {}, {}, "en", 0, {}, 0} {
  started_ = host_.now_ms();
  conversation_.session = session_id(started_, host_.random(8));
  const ByteVector first = host_.random(4);
  std::memcpy(&conversation_.next_message_id, first.data(), 4);
  start_assessment();
  host_.set_deadline(settings_.negotiation_deadline);
}

Session::~Session() = default;

void Session::start_assessment() {
  os_ = std::make_unique<OsImv>(conversation_);
  attestation_ = std::make_unique<AttestationImv>(conversation_);
  committing_ = recorded_ = false;
  verdict_.reset();
  evidence_bytes_ = 0;
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
    if (*message == nullptr) {
      // Who hasn't said who it is gets no memory for a batch.
      if (phase_ != Phase::data && framer_.buffered() > max_negotiation_message)
        refuse_transport(pttls::ErrorCode::invalid_message, {}, "message too long for the negotiation");
      break;
    }
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

void Session::refuse_transport(pttls::ErrorCode code, Bytes offending, std::string_view why, std::size_t offset) {
  Writer w;
  pttls::append_error(w, code, offending);
  send_message(pttls::Type::error, w.view());
  finish_with("PT-TLS error " + std::to_string(std::uint32_t(code)) + " at offset " + std::to_string(offset) + ": " + std::string(why), true);
}

void Session::refuse_batch(const pbtnc::Refusal& refusal) {
  Writer w;
  pbtnc::append_error(w, refusal);
  send_batch(pbtnc::BatchType::close, w.view());
  finish_with("PB-TNC " + std::string(pbtnc::name(refusal.code)) + " at offset " + std::to_string(refusal.offset) + ": " + std::string(refusal.reason), true);
}

// A conversation that ends before its verdict leaves a record that says why, and nothing of it is ever allow.
void Session::record_failure(std::string_view why) {
  if (committing_ || recorded_) return;
  if (pb_state_ == pbtnc::State::init) return;  // no PB-TNC conversation took place
  attestation_->abandon(why);
  pipeline::Verdict& v = attestation_->verdict();
  if (v.recommendation == pipeline::Recommendation::allow) {
    v.recommendation = pipeline::Recommendation::isolate;
    v.evaluation = pipeline::Evaluation::error;
  }
  committing_ = true;
  host_.commit_result(attestation_->result(host_.now_ms()));
}

void Session::finish_with(std::string_view why, bool close_gracefully) {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (!why.empty()) host_.log(LogLevel::warning, "session ended: " + std::string(why));
  record_failure(why.empty() ? "the conversation ended early" : why);
  (void)close_gracefully;
  host_.close();
}

void Session::on_message(const pttls::Message& m) {
  host_.log(LogLevel::debug, "received PT-TLS message #" + std::to_string(m.header.identifier) + " of type '" +
                                 pttls::name(m.header.vendor, m.header.type) + "' (" + std::to_string(m.header.length) + " bytes)");
  if (!m.header.known()) {
    constexpr unsigned max_transport_errors = 8;
    if (phase_ != Phase::data) return refuse_transport(pttls::ErrorCode::invalid_message, m.whole, "unknown message in the negotiation");
    if (++transport_errors_ > max_transport_errors) return finish_with("PT-TLS: too many unknown messages", true);
    Writer w;
    pttls::append_error(w, pttls::ErrorCode::type_not_supported, m.whole);
    return send_message(pttls::Type::error, w.view());
  }
  if (m.header.kind() == pttls::Type::error) {
    const auto error = pttls::parse_error(m.value);
    return finish_with("the endpoint sent PT-TLS error " + (error ? std::to_string(error->code) : std::string("(malformed)")), true);
  }
  if (phase_ == Phase::version && m.header.kind() == pttls::Type::version_request) return on_version(m);
  if (phase_ == Phase::sasl && m.header.kind() == pttls::Type::sasl_selection) return on_selection(m);
  if (phase_ == Phase::data && m.header.kind() == pttls::Type::pb_tnc_batch) return on_batch(m.value);
  refuse_transport(pttls::ErrorCode::invalid_message, m.whole, "message not allowed in this phase");
}

void Session::on_version(const pttls::Message& m) {
  const auto range = pttls::parse_version_request(m.value);
  if (!range) return refuse_transport(pttls::ErrorCode::invalid_parameter, m.whole, range.error().reason, range.error().offset);
  if (range->minimum > 1 || range->maximum < 1) return refuse_transport(pttls::ErrorCode::version_not_supported, m.whole, "no common version");
  Writer version;
  pttls::append_version_response(version, 1);
  send_message(pttls::Type::version_response, version.view());
  const bool certificate = conversation_.peer.identity_type == "certificate";
  const bool want_sasl = settings_.auth == Auth::sasl || settings_.auth == Auth::tls_and_sasl || (settings_.auth == Auth::tls_or_sasl && !certificate);
  if ((settings_.auth == Auth::tls || settings_.auth == Auth::tls_and_sasl) && !certificate)
    return finish_with("authentication " + std::string(text(settings_.auth)) + " wants a client certificate", true);
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
                            selection.error().reason, selection.error().offset);
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
    return finish_with("authentication failed", true);
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
      if (e.fatal) return finish_with("the endpoint sent a fatal PB-TNC error", true);
    }
  if (batch->type == pbtnc::BatchType::close) {
    host_.log(LogLevel::debug, "the endpoint closed the PB-TNC conversation");
    return finish_with(decided ? "" : "the endpoint closed the conversation before the verdict", true);
  }
  if (batch->type == pbtnc::BatchType::cretry) {
    if (++retries_ > settings_.max_retries) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "too many retries"});
    host_.log(LogLevel::info, "the endpoint asks for another assessment");
    record_failure("the endpoint started over");
    const std::int64_t now = host_.now_ms();
    conversation_.session = session_id(now, host_.random(8));
    conversation_.info = {};
    started_ = now;
    start_assessment();
  }
  if (evidence_bytes_ > settings_.max_evidence_bytes) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "more evidence than allowed"});
  if (host_.now_ms() - started_ > settings_.total_deadline.count()) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "the assessment takes too long"});
  client_silent_ = batch->messages.empty();
  if (client_silent_ && ++empty_rounds_ > settings_.max_empty_rounds) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "too many empty rounds"});
  answer_due_ = true;
  deliver(*batch);
  os_->batch_end();
  attestation_->batch_end(os_->settled());
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
    const bool os_type = pa.vendor == patnc::vendor_ietf && pa.subtype == patnc::subtype_operating_system;
    const bool pts_type = pa.vendor == patnc::vendor_tcg && pa.subtype == patnc::subtype_pts;
    host_.log(LogLevel::debug, "PB-PA message of type '" + patnc::subtype_name(pa.vendor, pa.subtype) + "', " + std::to_string(pa.body.size()) +
                                   " bytes, from IMC " + std::to_string(pa.collector));
    // EXCL: only the validator that is named, and only if it subscribed to the type (spec part 1b §6.3).
    const auto subscribed = [&](bool type, std::uint16_t id) { return type && (!pa.exclusive || pa.validator == id); };
    const bool to_os = subscribed(os_type, OsImv::id), to_attestation = subscribed(pts_type, AttestationImv::id);
    if (!to_os && !to_attestation) {
      host_.log(LogLevel::debug, "nobody subscribed to it");
      continue;
    }
    const auto parsed = patnc::parse_message(pa.body, supported);
    if (!parsed) {
      host_.log(LogLevel::warning, parsed.error().text());
      if (to_os) os_->failed();
      if (to_attestation) attestation_->malformed(parsed.error().text());
      continue;
    }
    std::size_t measurements = 0, measured_bytes = 0;
    for (const patnc::Attribute& a : parsed->attributes) {
      if (!a.is(patnc::vendor_tcg, pts::type::simple_component_evidence)) {
        host_.log(LogLevel::debug, "PA-TNC attribute '" + patnc::attribute_name(a.vendor, a.type) + "', " + std::to_string(a.value.size()) + " bytes");
        continue;
      }
      ++measurements;
      measured_bytes += a.value.size();
    }
    if (measurements != 0) {
      host_.log(LogLevel::debug, std::to_string(measurements) + " PA-TNC attributes '" +
                                     patnc::attribute_name(patnc::vendor_tcg, pts::type::simple_component_evidence) + "', " +
                                     std::to_string(measured_bytes) + " bytes");
    }
    if (parsed->refusal) {
      host_.log(LogLevel::warning, "PA-TNC message refused at offset " + std::to_string(parsed->refusal->offset) + ": " + std::string(parsed->refusal->reason));
      conversation_.say_error(pa.vendor, pa.subtype, to_os ? OsImv::id : AttestationImv::id, pa.collector, *parsed->refusal, parsed->header.copy);
      if (to_os) os_->failed();
      if (to_attestation) attestation_->malformed("malformed PA-TNC message: " + std::string(parsed->refusal->reason));
      continue;
    }
    if (to_os) os_->receive(pa, *parsed);
    if (to_attestation) attestation_->receive(pa, *parsed);
  }
}

// Answers the batch that was taken in, as soon as there is an answer (spec part 1a §4.8).
void Session::advance() {
  if (!answer_due_ || phase_ != Phase::data || committing_) return;
  if (attestation_->waiting()) return;  // the store or the evidence plane is at work; the answer follows
  if (client_silent_ && conversation_.out.empty() && !attestation_->done()) {
    os_->batch_end();
    attestation_->client_silent();
  }
  if (attestation_->done() && os_->settled()) return conclude();
  if (!host_.has_room(attestation_->pending_bytes())) return;  // on_room() comes
  pbtnc::Queue queue(settings_.max_batch);
  for (PaOut& o : conversation_.out) {
    Writer w;
    pbtnc::append_pa(w, {o.exclusive, o.vendor, o.subtype, o.collector, o.validator, o.body});
    if (!queue.push(std::move(w).take())) host_.log(LogLevel::error, "a PA-TNC message larger than a batch was left out");
  }
  conversation_.out.clear();
  const ByteVector messages = queue.take();
  // Our requests are small; answers to contracts and errors are as many as the endpoint wants.
  if (!queue.empty()) return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "more to answer than a batch holds"});
  answer_due_ = false;
  send_batch(pbtnc::BatchType::sdata, messages);
  await_client();
}

void Session::await_client() { host_.set_deadline(settings_.idle_deadline); }

// The RESULT batch goes out only when its record is on disk.
void Session::conclude() {
  if (committing_) return;
  pipeline::Verdict& v = attestation_->verdict();
  const ImvResult os = *os_->result();
  // The strictest recommendation and the worst evaluation; "no opinion" is neutral (spec part 1a §4.9).
  if (os.evaluation == pipeline::Evaluation::error && v.recommendation == pipeline::Recommendation::allow) {
    v.recommendation = pipeline::Recommendation::isolate;
    v.evaluation = pipeline::Evaluation::error;
    pipeline::Finding f;
    f.component = "device";
    f.status = pipeline::Status::failed;
    f.reason = conversation_.info.inconsistent ? "the endpoint claims two different identities" : "the operating system message can't be used";
    v.findings.insert(v.findings.begin(), std::move(f));
    ++v.findings_total;
  }
  committing_ = true;
  host_.commit_result(attestation_->result(host_.now_ms()));
}

void Session::on_result_committed(std::string_view session, Result<void> on_disk) {
  if (session != conversation_.session) {
    if (!on_disk) host_.log(LogLevel::error, "the result of session " + std::string(session) + " can't be recorded: " + on_disk.error().text());
    return;
  }
  committing_ = false;
  recorded_ = true;
  if (phase_ != Phase::data) return;
  if (!on_disk) {
    // Without its record nothing is admitted.
    host_.log(LogLevel::error, "the result can't be recorded: " + on_disk.error().text());
    pipeline::Verdict& v = attestation_->verdict();
    v.recommendation = pipeline::Recommendation::isolate;
    v.evaluation = pipeline::Evaluation::error;
  }
  send_result();
  pump();
}

void Session::send_result() {
  const pipeline::Verdict& v = attestation_->verdict();
  attestation_->say_assessment(v.evaluation);
  Writer w;
  pbtnc::append_assessment_result(w, std::uint32_t(v.evaluation));
  constexpr std::uint16_t allowed = 1, denied = 2, quarantined = 3;
  std::uint16_t code = denied;
  if (v.recommendation == pipeline::Recommendation::allow) code = allowed;
  if (v.recommendation == pipeline::Recommendation::isolate) code = quarantined;
  pbtnc::append_access_recommendation(w, code);
  const std::vector<std::string> reasons = attestation_->reasons();
  if (!reasons.empty()) {
    std::string all;
    for (const std::string& r : reasons) all += (all.empty() ? "" : "\n") + r;
    pbtnc::append_reason_string(w, {all, conversation_.language});
  }
  // The IMVs' last words, from the latest back: what an endpoint made us say too often is left out.
  std::vector<ByteVector> words;
  std::size_t size = pbtnc::batch_header_size + w.size();
  for (auto o = conversation_.out.rbegin(); o != conversation_.out.rend(); ++o) {
    Writer word;
    pbtnc::append_pa(word, {o->exclusive, o->vendor, o->subtype, o->collector, o->validator, o->body});
    size += word.size();
    if (size > settings_.max_batch) break;
    words.push_back(std::move(word).take());
  }
  conversation_.out.clear();
  Writer messages;
  for (auto word = words.rbegin(); word != words.rend(); ++word) messages.put_bytes(*word);
  messages.put_bytes(w.view());
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
  answer_due_ = false;
  send_batch(pbtnc::BatchType::result, messages.view());
  if (stopping_) return finish_with({}, true);
  await_client();
}

// After an answer, what came in behind its batch is looked at: the state machine judges it.
void Session::on_session_begun(std::string_view session, Result<void> on_disk) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  attestation_->session_begun(std::move(on_disk));
  advance();
  pump();
}

void Session::on_outcome(std::string_view session, Result<pipeline::Outcome> outcome) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  attestation_->outcome(std::move(outcome));
  advance();
  pump();
}

void Session::on_room() {
  advance();
  pump();
}

void Session::on_deadline() {
  if (phase_ == Phase::ended) return;
  if (phase_ == Phase::data && answer_due_) {
    // Our turn: the endpoint is told.
    return refuse_batch({pbtnc::ErrorCode::local_error, 0, 0, "the assessment takes too long"});
  }
  finish_with("the endpoint was silent for too long", true);
}

void Session::on_stop() {
  if (phase_ == Phase::ended) return;
  stopping_ = true;
  if (pb_state_ == pbtnc::State::decided) {
    send_batch(pbtnc::BatchType::close, {});
    finish_with({}, true);
  } else if (pb_state_ == pbtnc::State::init) {
    finish_with("the server stops", true);
  }
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
