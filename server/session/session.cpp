#include "server/session/session.h"

#include <algorithm>

#include "base/hex.h"
#include "base/release.h"
#include "server/session/imvs.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t max_reason = 4096;
// Answers that wait for room in a batch: an endpoint that makes us say more without listening is told to stop.
constexpr std::size_t max_waiting_bytes = std::size_t(1) << 20;

pbtnc::Refusal local_error(std::string_view why) { return {pbtnc::ErrorCode::local_error, 0, 0, why}; }

std::string sizes(const pbtnc::Batch& batch, std::size_t bytes) {
  return std::string(pbtnc::name(batch.type)) + " batch, " + std::to_string(bytes) + " bytes, " + std::to_string(batch.messages.size()) + " messages";
}

}  // namespace

Session::Session(Host& host, const Settings& settings, State& state, Peer peer, Carrier carrier)
    : host_(host), settings_(settings), carrier_(carrier), conversation_(host, settings, state, std::move(peer)),
      queue_(settings.max_batch) {
  start_assessment();
  if (carrier_ == Carrier::pt_eap) phase_ = Phase::data;
  host_.set_deadline(carrier_ == Carrier::pt_eap ? settings_.idle_deadline : settings_.negotiation_deadline);
}

Session::~Session() = default;

void Session::start_assessment() {
  if (imvs_.empty()) {
    imvs_ = make_imvs(conversation_);
    // Their order is theirs for ever; settings that came since may have more of them, or fewer.
    for (std::size_t i = 0; i < std::min(imvs_.size(), lasting_.size()); ++i) imvs_[i]->resume(lasting_[i]);
    release(lasting_);
  }
  for (const auto& imv : imvs_) imv->begin_assessment();
  committing_ = recorded_ = on_record_ = false;
  concluded_.reset();
  result_.reset();
  queue_.clear();
  evidence_bytes_ = 0;
  empty_rounds_ = 0;
  started_ = host_.now_ms();
}

void Session::send_batch(pbtnc::BatchType type, Bytes messages) {
  const pbtnc::State before = pb_.state();
  (void)pb_.send(type);
  const ByteVector bytes = pbtnc::batch(type, true, messages);
  if (host_.logs(LogLevel::debug))
    host_.log(LogLevel::debug, "sending PB-TNC " + std::string(pbtnc::name(type)) + " batch, " + std::to_string(bytes.size()) +
                                 " bytes; state transition from '" + std::string(pbtnc::name(before)) + "' to '" +
                                 std::string(pbtnc::name(pb_.state())) + "'");
  send_message(pttls::Type::pb_tnc_batch, bytes);
}

void Session::refuse_batch(const pbtnc::Refusal& refusal) {
  Writer w;
  pbtnc::append_error(w, refusal);
  host_.error(Direction::server_to_client, std::optional(refusal.code));
  concluded_.reset();
  send_batch(pbtnc::BatchType::close, w.view());
  host_.trace_fact("protocol_error", refusal.reason);
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
  const policy::Policy& rules = *settings_.policy;
  const Subject subject = conversation_.subject();
  std::vector<ValidatorPart> parts;
  std::optional<pipeline::Verdict> attested;
  SessionResult record;
  record.intent = conversation_.intent;
  record.intent.peer = conversation_.peer.address;
  record.intent.identity = conversation_.peer.identity;
  record.intent.identity_type = conversation_.peer.identity_type;
  for (const auto& imv : imvs_) {
    parts.push_back(imv->part());
    if (pipeline::Verdict* const judged = imv->verdict()) {
      // Hundreds, where the rest is small; a shadow policy looks at them once more.
      auto findings = settings_.shadow ? judged->findings : std::exchange(judged->findings, {});
      attested = *judged;
      attested->findings = std::move(findings);
    }
    imv->contribute(record);
    record.items.insert(record.items.end(), imv->kept_items().begin(), imv->kept_items().end());
  }
  verdict_ = std::make_unique<pipeline::Verdict>(gatehouse::server::assemble(subject, parts, std::move(attested), rules));
  unknown_device_ = kept_out_as_unknown(subject, parts, rules);
  record.finished = host_.now_ms();
  record.verdict = pipeline::to_json(*verdict_);
  record.recommendation = verdict_->recommendation;
  record.enforced = settings_.enforce;
  return record;
}

// What can be judged again; null: not all of what made the verdict is there.
std::shared_ptr<evidence::Kept> Session::evidence_to_keep() {
  const std::shared_ptr<evidence::Capture>& capture = conversation_.capture;
  if (capture == nullptr || !capture->whole()) return nullptr;
  const auto& items = conversation_.plan().items;
  const bool attestation = std::any_of(items.begin(), items.end(), [](const policy::WorkItem& i) { return i.type == policy::Type::tpmra; });
  if (attestation && !capture->attested()) return nullptr;
  auto kept = std::make_shared<evidence::Kept>();
  const Subject subject = conversation_.subject();
  kept->session = subject.session;
  kept->device = subject.device;
  kept->product = subject.product;
  kept->generation = subject.generation;
  if (const auto references = host_.references()) kept->generation_made = references->made();
  kept->other_product = subject.other_product;
  kept->facts = conversation_.facts();
  kept->history = conversation_.history();
  kept->source = settings_.policy->source;
  for (const auto& imv : imvs_) kept->parts.push_back(imv->kept_part());
  if (attestation) kept->attestation = capture->take_attestation();
  kept->said = capture->take_said();
  return kept;
}

// A conversation that ends before its verdict leaves a record that says why, and nothing of it is ever allow.
void Session::record_failure(std::string_view why) {
  if (committing_ || recorded_) return;
  if (pb_.state() == pbtnc::State::init) return;  // no PB-TNC conversation took place
  for (const auto& imv : imvs_) imv->abandon(why);
  SessionResult record = assemble();
  if (verdict_->recommendation == pipeline::Recommendation::allow) {
    verdict_->recommendation = pipeline::Recommendation::isolate;
    verdict_->evaluation = pipeline::Evaluation::error;
    record.verdict = pipeline::to_json(*verdict_);
    record.recommendation = verdict_->recommendation;
  }
  committing_ = true;
  host_.ended_early();
  host_.commit_result(std::move(record));
}

// The session has ended: evidence that isn't judged, attributes in transfer and answers in waiting go at once, not with
// the connection.
void Session::forget() {
  release(imvs_);
  conversation_.capture.reset();
  release(lasting_);
  verdict_.reset();
  queue_.clear();
  result_.reset();
}

void Session::on_batch(Bytes bytes) {
  evidence_bytes_ += bytes.size();
  const auto batch = pbtnc::parse_batch(bytes, true);
  if (!batch) return refuse_batch(batch.error());
  const pbtnc::State before = pb_.state();
  const auto effect = pb_.receive(batch->type);
  if (!effect) return refuse_batch({pbtnc::ErrorCode::unexpected_batch_type, 0, 0, effect.error().reason});
  if (host_.logs(LogLevel::debug))
    host_.log(LogLevel::debug, "received PB-TNC " + sizes(*batch, bytes.size()) + "; state transition from '" +
                                 std::string(pbtnc::name(before)) + "' to '" + std::string(pbtnc::name(pb_.state())) + "'");
  for (const pbtnc::Message& m : batch->messages)
    if (m.is(pbtnc::vendor_ietf, pbtnc::type::error)) {
      const pbtnc::PbError error = pbtnc::pb_error(m);
      host_.log(LogLevel::warning, "received PB-TNC error: " + pbtnc::description(error));
      host_.error(Direction::client_to_server, error.vendor == pbtnc::vendor_ietf ? std::optional(pbtnc::ErrorCode(error.code)) : std::nullopt);
    }
  if (pbtnc::fatal_error(*batch)) {
    host_.trace_fact("protocol_error", "fatal PB-TNC error from the endpoint");
    concluded_.reset();
    return finish_with("the endpoint sent a fatal PB-TNC error");
  }
  if (batch->type == pbtnc::BatchType::close) {
    host_.log(LogLevel::debug, "the endpoint closed the PB-TNC conversation");
    // It has something against the result.
    if (!batch->messages.empty()) concluded_.reset();
    return finish_with(before == pbtnc::State::decided ? "" : "the endpoint closed the conversation before the verdict");
  }
  if (*effect == pbtnc::Effect::ignore) return;
  if (*effect == pbtnc::Effect::start_over && !start_over(before)) return;
  if (evidence_bytes_ > settings_.max_evidence_bytes) return refuse_batch(local_error("more evidence than allowed"));
  if (host_.now_ms() - started_ > settings_.total_deadline.count()) return refuse_batch(local_error("the assessment takes too long"));
  client_silent_ = batch->messages.empty();
  if (client_silent_ && ++empty_rounds_ > settings_.max_empty_rounds) return refuse_batch(local_error("too many empty rounds"));
  for (const pbtnc::Refusal& remark : batch->remarks) {
    host_.log(LogLevel::warning, "PB-TNC message ignored at offset " + std::to_string(remark.offset) + ": " + std::string(remark.reason));
    Writer w;
    pbtnc::append_error(w, remark);
    host_.error(Direction::server_to_client, std::optional(remark.code));
    (void)queue_.push(std::move(w).take());
  }
  answer_due_ = true;
  deliver(*batch);
  end_batch();
  if (conversation_.too_many_errors()) return refuse_batch(local_error("too many malformed messages"));
  advance();
}

// All messages of a batch are delivered: direct answers first, then what each IMV asks, in order of the list.
void Session::end_batch() {
  for (const auto& imv : imvs_) imv->channel().batch_end(!client_silent_, *imv);
  flush();
  for (const auto& imv : imvs_) {
    imv->batch_end();
    imv->channel().flush();
  }
}

// A retry: in the middle of an assessment a few times; on a kept connection, as often as an authenticated endpoint may
// come back, a burst of max_retries and then one each retry_interval.
bool Session::start_over(pbtnc::State before) {
  const std::int64_t now = host_.now_ms();
  if (before == pbtnc::State::decided && may_be_kept() && retries_ != 0) {
    const std::int64_t interval = settings_.retry_interval.count();
    const std::int64_t earned = (now - last_retry_) / interval;
    retries_ -= unsigned(std::min<std::int64_t>(retries_, earned));
    last_retry_ += earned * interval;
  }
  if (retries_ == 0) last_retry_ = now;
  if (++retries_ > settings_.max_retries) {
    refuse_batch(local_error("too many retries"));
    return false;
  }
  host_.log(LogLevel::info, "the endpoint asks for another assessment");
  record_failure("the endpoint started over");
  conversation_.begin_assessment();
  start_assessment();
  return true;
}

bool Session::reassess() {
  if (phase_ != Phase::data || pb_.state() != pbtnc::State::decided || !conversation_.own_endpoint || carrier_ != Carrier::pt_tls)
    return false;
  host_.log(LogLevel::info, "asking the endpoint for another assessment");
  conversation_.begin_assessment();
  start_assessment();
  send_batch(pbtnc::BatchType::sretry, {});
  // The RFC's server goes on with an SDATA of its own; what it asks for comes once the endpoint has said who it is.
  send_batch(pbtnc::BatchType::sdata, {});
  await_client();
  return true;
}

void Session::log_attributes(std::span<const patnc::Attribute> attributes) {
  std::size_t measurements = 0, measured_bytes = 0;
  for (const patnc::Attribute& a : attributes) {
    if (!a.is(patnc::vendor_tcg, pts::type::simple_component_evidence)) {
      host_.log(LogLevel::debug, "PA-TNC attribute '" + patnc::attribute_name(a.vendor, a.type) + "', " + std::to_string(a.value.size()) + " bytes");
      continue;
    }
    ++measurements;
    measured_bytes += a.value.size();
  }
  if (measurements == 0) return;
  host_.log(LogLevel::debug, std::to_string(measurements) + " PA-TNC attributes '" +
                                 patnc::attribute_name(patnc::vendor_tcg, pts::type::simple_component_evidence) + "', " +
                                 std::to_string(measured_bytes) + " bytes");
}

void Session::deliver(const pbtnc::Batch& batch) {
  const patnc::Supported known = supported_with(settings_);
  for (const pbtnc::Message& m : batch.messages) {
    if (m.is(pbtnc::vendor_gatehouse, pbtnc::type::kept_connection) && pbtnc::kept_connection(m))
      conversation_.own_endpoint = true;
    if (m.vendor != pbtnc::vendor_ietf) continue;
    if (m.type == pbtnc::type::language_preference) {
      conversation_.language = settings_.policy->catalogue.choose(pbtnc::languages(m));
      continue;
    }
    if (m.type != pbtnc::type::pa) continue;
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    if (host_.logs(LogLevel::debug))
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
    const auto parsed = patnc::parse_message(pa.body, known);
    if (!parsed) {
      host_.log(LogLevel::warning, parsed.error().text());
      for (Imv* imv : receivers) imv->malformed(parsed.error().text());
      continue;
    }
    if (host_.logs(LogLevel::debug)) log_attributes(parsed->attributes);
    if (parsed->refusal)
      host_.log(LogLevel::warning, "PA-TNC message refused at offset " + std::to_string(parsed->refusal->offset) + ": " + std::string(parsed->refusal->reason));
    for (Imv* imv : receivers) imv->channel().take(pa, *parsed, *imv);
  }
}

// Answers the batch that was taken in, as soon as there is an answer (spec part 1a §4.8).
void Session::advance() {
  if (!answer_due_ || phase_ != Phase::data || committing_) return;
  if (result_) return send_what_fits();
  if (waiting()) return;  // the store or the evidence plane is at work; the answer follows
  flush();
  if (client_silent_ && conversation_.out.empty() && queue_.empty() && !all_done())
    for (const auto& imv : imvs_)
      if (!imv->result()) imv->solicit();
  if (waiting()) return;
  flush();
  if (all_done()) return conclude();
  std::size_t pending = 0;
  for (const auto& imv : imvs_) pending += imv->pending_bytes();
  if (!host_.has_room(pending)) return;  // on_room() comes
  refer();
  enqueue();
  if (queue_.bytes() > max_waiting_bytes) return refuse_batch(local_error("more to answer than the endpoint takes"));
  const ByteVector messages = queue_.take();
  answer_due_ = false;
  send_batch(pbtnc::BatchType::sdata, messages);
  await_client();
}

// Once, with the first answer: over PT-TLS it could come back without a gateway.
void Session::refer() {
  if (carrier_ != Carrier::pt_eap || !settings_.referral || std::exchange(referred_, true)) return;
  Writer w;
  pbtnc::append_pdp_referral(w, settings_.referral->kind, settings_.referral->port, settings_.referral->host);
  queue_.push(std::move(w).take());
}

// What the IMVs said waits in the queue for a batch that has room for it.
void Session::enqueue() {
  for (PaOut& o : conversation_.out) {
    Writer w;
    pbtnc::append_pa(w, {o.exclusive, o.vendor, o.subtype, o.collector, o.validator, o.body});
    if (!queue_.push(std::move(w).take())) host_.log(LogLevel::error, "a PA-TNC message larger than a batch was left out");
  }
  conversation_.out.clear();
}

// Between two assessments an authenticated endpoint may keep its connection: TCP's keep-alive looks after it.
void Session::await_client() {
  const bool kept = pb_.state() == pbtnc::State::decided && may_be_kept();
  host_.set_deadline(kept ? settings_.kept_deadline : settings_.idle_deadline);
}

// The RESULT batch goes out only when its record is on disk.
void Session::conclude() {
  if (committing_) return;
  SessionResult record = assemble();
  const bool wanted = settings_.keep == Keep::all ||
                      (settings_.keep == Keep::refused && verdict_->recommendation != pipeline::Recommendation::allow);
  std::shared_ptr<evidence::Kept> kept = wanted || settings_.shadow ? evidence_to_keep() : nullptr;
  std::shared_ptr<const pipeline::Verdict> attested, verdict;
  if (kept && settings_.shadow) {
    for (const auto& imv : imvs_)
      if (imv->verdict() != nullptr) attested = std::make_shared<pipeline::Verdict>(*imv->verdict());
    verdict = std::make_shared<pipeline::Verdict>(*verdict_);
  }
  if (kept && wanted) {
    auto encoded = std::make_shared<EvidenceRecord>(settings_.shadow ? evidence::encode(evidence::Kept(*kept))
                                                                     : evidence::encode(std::move(*kept)));
    encoded->hold = conversation_.capture->take_hold();
    record.evidence = std::move(encoded);
  }
  conversation_.capture.reset();
  committing_ = true;
  host_.commit_result(std::move(record));
  if (kept && settings_.shadow) host_.judged(std::move(kept), std::move(verdict), std::move(attested));
}

void Session::on_result_committed(std::string_view session, Result<void> on_disk) {
  if (session != conversation_.session) {
    if (!on_disk) host_.log(LogLevel::error, "the result of session " + std::string(session) + " can't be recorded: " + on_disk.error().text());
    return;
  }
  committing_ = false;
  recorded_ = true;
  on_record_ = on_disk.has_value();
  if (phase_ != Phase::data) return;
  if (!on_disk) {
    // Without its record nothing is admitted.
    host_.log(LogLevel::error, "the result can't be recorded: " + on_disk.error().text());
    verdict_->recommendation = pipeline::Recommendation::isolate;
    verdict_->evaluation = pipeline::Evaluation::error;
  }
  send_result();
  pump();
}

void Session::send_result() {
  for (const auto& imv : imvs_) imv->say_last();
  flush();
  enqueue();
  Writer core;
  pbtnc::append_assessment_result(core, std::uint32_t(verdict_->evaluation));
  constexpr std::uint16_t allowed = 1, denied = 2, quarantined = 3;
  // Monitor mode tells every endpoint to come in whose verdict is on record.
  const bool let_in = !settings_.enforce && on_record_;
  const pipeline::Recommendation told = let_in ? pipeline::Recommendation::allow : verdict_->recommendation;
  told_ = told;
  std::uint16_t code = denied;
  if (told == pipeline::Recommendation::allow) code = allowed;
  if (told == pipeline::Recommendation::isolate) code = quarantined;
  pbtnc::append_access_recommendation(core, code);
  result_ = {std::move(core).take(), {}};
  const auto add_reason = [&](std::string_view text) {
    if (let_in) return;  // nothing keeps it out
    Writer w;
    pbtnc::append_reason_string(w, {patnc::cut_text(text, max_reason), conversation_.language});
    result_->extras.push_back(std::move(w).take());
  };
  if (conversation_.plan().denied) add_reason(conversation_.text(policy::text::denied));
  if (unknown_device_) add_reason(conversation_.text(policy::text::unknown_device));
  for (const auto& imv : imvs_) {
    // Only who doesn't recommend to allow has to say why (spec part 1b §4.7).
    if (imv->result()->assessment.recommendation == pipeline::Recommendation::allow) continue;
    std::string all;
    for (const std::string& reason : imv->reasons()) all += (all.empty() ? "" : "\n") + reason;
    if (!all.empty()) add_reason(all);
  }
  if (told != pipeline::Recommendation::allow && !settings_.policy->remediation_uri.empty()) {
    Writer w;
    pbtnc::append_remediation_uri(w, settings_.policy->remediation_uri);
    result_->extras.push_back(std::move(w).take());
  }
  log_verdict(told);
  host_.told(told, verdict_->evaluation);
  if (told != verdict_->recommendation) host_.monitored(verdict_->recommendation);
  send_what_fits();
}

// allow means that the quote was by the device's trusted key, where anything was asked for.
bool Session::sure() const {
  return conversation_.standing() == policy::Standing::authenticated ||
         (conversation_.standing() == policy::Standing::claimed && verdict_ && verdict_->quote.status == pipeline::Status::ok);
}

std::vector<std::string> Session::groups() const {
  if (!sure()) return {};
  return policy::groups_of(*settings_.policy, conversation_.facts());
}

// The RESULT batch, once nothing waits that has to go before it.
void Session::send_what_fits() {
  const pbtnc::Queue::Outgoing next = queue_.take_result(*result_);
  if (next.left_out != 0) host_.log(LogLevel::warning, std::to_string(next.left_out) + " reasons don't fit into the RESULT batch");
  if (next.type == pbtnc::BatchType::result) result_.reset();
  answer_due_ = false;
  send_batch(next.type, next.messages);
  if (pb_.state() == pbtnc::State::decided) {
    concluded_ = told_;
    if (stopping_) return finish_with({});
    rest();
  }
  await_client();
}

// An endpoint that stays may be silent for hours, and there may be thousands: of the assessment nothing is kept.
void Session::rest() {
  verdict_.reset();
  queue_.clear();
  conversation_.rest();
  for (const auto& imv : imvs_) {
    auto lasting = imv->lasting();
    if (!lasting) break;
    lasting_.push_back(*std::move(lasting));
  }
  if (lasting_.size() == imvs_.size()) return release(imvs_);
  // They have to stay, but nothing that they know.
  release(lasting_);
  for (const auto& imv : imvs_) imv->begin_assessment();
}

void Session::log_verdict(pipeline::Recommendation told) {
  const pipeline::Verdict& v = *verdict_;
  host_.log(LogLevel::info, "device " + escaped(v.device.empty() ? "(none claimed)" : v.device) + ": " + std::string(name(v.recommendation)) + ", " +
                                std::string(name(v.evaluation)) + (v.summary.empty() ? "" : ": " + v.summary) + "; quote " +
                                std::string(name(v.quote.status)) + "; peer " + conversation_.peer.address + ", identity '" +
                                escaped(conversation_.peer.identity) + "', product '" + escaped(v.product) + "'" +
                                (told != v.recommendation ? "; monitor mode: the endpoint is told " + std::string(name(told)) : ""));
  std::size_t shown = 0;
  for (const pipeline::Finding& f : v.findings) {
    if (f.status == pipeline::Status::unknown && f.component == "ima") continue;
    if (++shown > 20) break;
    host_.log(LogLevel::info, f.component + (f.entry ? " " + std::to_string(*f.entry) : "") + ": " + std::string(name(f.status)) + ": " +
                                  (f.path.empty() ? "" : "'" + escaped(f.path) + "': ") + escaped(f.reason));
  }
}

// After an answer, what came in behind its batch is looked at: the state machine judges it.
void Session::on_session_begun(std::string_view session, Result<void> on_disk) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  for (const auto& imv : imvs_) imv->session_begun(on_disk);
  advance();
  pump();
}

void Session::on_staged(std::string_view session, Result<void> on_disk) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  for (const auto& imv : imvs_) imv->staged(on_disk);
  advance();
  pump();
}

void Session::on_activated(std::string_view session, Result<void> on_disk) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  for (const auto& imv : imvs_) imv->activated(on_disk);
  advance();
  pump();
}

void Session::on_status(std::string_view session, CertificateOf whose, Result<void> status) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  for (const auto& imv : imvs_) imv->status(whose, status);
  advance();
  pump();
}

void Session::on_outcome(std::string_view session, Result<pipeline::Outcome> outcome) {
  if (phase_ == Phase::ended || session != conversation_.session) return;
  for (const auto& imv : imvs_) imv->outcome(outcome);
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
    return refuse_batch(local_error("the assessment takes too long"));
  }
  finish_with("the endpoint was silent for too long");
}

void Session::on_stop() {
  if (phase_ == Phase::ended) return;
  stopping_ = true;
  if (pb_.state() == pbtnc::State::decided) {
    send_batch(pbtnc::BatchType::close, {});
    finish_with({});
  } else if (pb_.state() == pbtnc::State::init) {
    finish_with("the server stops");
  }
}

void Session::on_peer_gone() {
  if (phase_ == Phase::ended) return;
  phase_ = Phase::ended;
  if (pb_.state() == pbtnc::State::decided) {
    host_.log(LogLevel::info, "the endpoint left without a CLOSE batch; the verdict stands");
  } else {
    host_.log(LogLevel::warning, "the endpoint vanished");
  }
  record_failure("the endpoint vanished before the verdict");
  forget();
}

}  // namespace gatehouse::server
