#include "endpoint/client/tnc_client.h"

#include <algorithm>

#include "base/hash.h"
#include "base/hex.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t max_notes = 64, max_reasons = 64;

std::uint32_t first_identifier(const TncClient::Config& config) {
  if (config.first_message_id) return *config.first_message_id;
  std::uint32_t value = 0;
  fill_random(std::as_writable_bytes(std::span(&value, 1)));
  return value;
}

bool is(const pbtnc::Message& m, std::uint32_t type) { return m.is(pbtnc::vendor_ietf, type); }

std::string description(const pbtnc::PdpReferral& referral) {
  using Kind = pbtnc::PdpReferral::Kind;
  if (referral.protocol != pbtnc::PdpReferral::protocol_pt_tls || !(referral.is(Kind::fqdn) || referral.is(Kind::ipv4) || referral.is(Kind::ipv6)))
    return "the server refers to another one in a way that isn't known here";
  const std::string host = referral.is(Kind::fqdn) ? escaped(as_text(referral.host), 253) : "the address " + to_hex(referral.host);
  return "the server speaks PT-TLS at " + host + ", port " + std::to_string(referral.port);
}

Recommendation recommendation_of(std::uint16_t code) {
  return code == 1 ? Recommendation::allow : code == 3 ? Recommendation::isolate : Recommendation::block;
}

}  // namespace

std::string_view name(Recommendation v) {
  switch (v) {
    case Recommendation::none: return "none";
    case Recommendation::allow: return "allow";
    case Recommendation::isolate: return "isolate";
    case Recommendation::block: return "block";
  }
  return "none";
}

std::string_view name(Evaluation v) {
  switch (v) {
    case Evaluation::compliant: return "compliant";
    case Evaluation::minor: return "minor";
    case Evaluation::major: return "major";
    case Evaluation::error: return "error";
    case Evaluation::unknown: return "unknown";
  }
  return "unknown";
}

TncClient::TncClient(Config config, const std::vector<Imc*>& imcs)
    : config_(std::move(config)), next_identifier_(first_identifier(config_)), queue_(config_.max_batch) {
  const std::size_t max_message = patnc::max_message(config_.max_batch);
  for (Imc* const imc : imcs) exchanges_.emplace_back(*imc, max_message, next_identifier_, reassembly_);
}

void TncClient::note(std::string text) {
  if (notes_.size() < max_notes) notes_.push_back(std::move(text));
}

std::vector<std::string> TncClient::notes() const {
  std::vector<std::string> out = notes_;
  for (const Exchange& e : exchanges_) out.insert(out.end(), e.errors().begin(), e.errors().end());
  return out;
}

Result<void> TncClient::begin() {
  if (outcome_) {  // another assessment
    outcome_.reset();
    rounds_ = empty_rounds_ = 0;
    notes_.clear();
    for (Exchange& exchange : exchanges_) exchange.forget_errors();
  }
  for (Exchange& exchange : exchanges_) {
    GH_TRY(auto messages, exchange.begin());
    for (ByteVector& message : messages) queue_.push(std::move(message));
  }
  return {};
}

TncClient::Step TncClient::start() {
  Writer language;
  pbtnc::append_language_preference(language, config_.language);
  queue_.push(std::move(language).take());
  if (config_.keep) {
    Writer kept;
    pbtnc::append_kept_connection(kept);
    queue_.push(std::move(kept).take());
  }
  if (auto begun = begin(); !begun) return stop(std::move(begun).error());
  return send(pbtnc::BatchType::cdata);
}

TncClient::Step TncClient::send(pbtnc::BatchType type) {
  const auto sent = machine_.send(type);
  GH_ASSERT(sent.has_value());
  if (type == pbtnc::BatchType::close) queue_.clear();
  return {batch(type, queue_.take()), state() == pbtnc::State::end};
}

ByteVector TncClient::batch(pbtnc::BatchType type, Bytes messages) const {
  ByteVector out = pbtnc::batch(type, false, messages);
  if (config_.log) config_.log("sending PB-TNC " + std::string(pbtnc::name(type)) + " batch (" + std::to_string(out.size()) + " bytes)");
  return out;
}

TncClient::Step TncClient::stop(Error error) {
  machine_.transport_ended();
  queue_.clear();
  outcome_.reset();
  error_ = std::move(error);
  return {{}, true};
}

TncClient::Step TncClient::refuse(const pbtnc::Refusal& refusal, Error error) {
  Writer w;
  pbtnc::append_error(w, refusal);
  Step step = stop(std::move(error));
  step.batch = batch(pbtnc::BatchType::close, w.view());
  return step;
}

std::optional<Error> TncClient::fatal_error(const pbtnc::Batch& batch) {
  for (const pbtnc::Message& m : batch.messages) {
    if (!is(m, pbtnc::type::error)) continue;
    const pbtnc::PbError e = pbtnc::pb_error(m);
    const std::string text = pbtnc::description(e);
    if (e.fatal) return Error{Fault::protocol, "the server sent a fatal PB-TNC error", "RFC 5793 4.9", 0, {}, text};
    note("the server sent a PB-TNC error that isn't fatal: " + text);
  }
  return std::nullopt;
}

TncClient::Step TncClient::receive(Bytes bytes) {
  if (state() == pbtnc::State::end) return {{}, true};
  const auto received = pbtnc::parse_batch(bytes, false);
  if (!received) {
    const pbtnc::Refusal& refusal = received.error();
    return refuse(refusal, Error{Fault::protocol, refusal.reason, "RFC 5793", refusal.offset, {}, {}});
  }
  if (config_.log) config_.log("received PB-TNC " + std::string(pbtnc::name(received->type)) + " batch (" + std::to_string(bytes.size()) + " bytes)");
  // Before anything else in whatever batch: what comes with a fatal error isn't to be trusted (spec part 1a §4.6).
  if (auto error = fatal_error(*received)) return stop(*std::move(error));
  const pbtnc::State before = state();
  const auto effect = machine_.receive(received->type);
  if (!effect)
    return refuse({pbtnc::ErrorCode::unexpected_batch_type, 0, 0, effect.error().reason},
                  Error{effect.error()}.with(std::string(pbtnc::name(received->type)) + " batch in state " + std::string(pbtnc::name(before))));
  if (++rounds_ > config_.max_rounds)
    return refuse({pbtnc::ErrorCode::local_error, 0, 0, {}}, Error{Fault::limit, "more batches than a session may have", "RFC 5793 3.2", 0, {}, {}});
  if (received->type == pbtnc::BatchType::close) {
    if (!outcome_) return stop(Error{Fault::protocol, "the server closed the conversation without a result", "RFC 5793 3.2", 0, {}, {}});
    return {{}, true};
  }
  const bool empty_before = received->messages.empty();
  if (*effect == pbtnc::Effect::start_over || *effect == pbtnc::Effect::start_over_unheard) {
    queue_.clear();
    if (auto begun = begin(); !begun) return stop(std::move(begun).error());
  }
  if (*effect == pbtnc::Effect::start_over_unheard) return {};  // SDATA follows
  for (const pbtnc::Refusal& remark : received->remarks) {
    Writer w;
    pbtnc::append_error(w, remark);
    queue_.push(std::move(w).take());
  }
  if (auto delivered = deliver(*received); !delivered)
    return refuse({pbtnc::ErrorCode::local_error, 0, 0, {}}, std::move(delivered).error());
  if (received->type == pbtnc::BatchType::result) {
    take_result(*received);
    queue_.clear();  // nothing that is left to say changes the result
    bool again = false;
    for (Exchange& exchange : exchanges_) again = exchange.wants_retry(outcome_->recommendation) || again;
    if (again) return retry();
    return config_.keep ? Step{} : send(pbtnc::BatchType::close);
  }
  if (state() != pbtnc::State::client_working) return {};  // SRETRY after the result: SDATA follows (RFC 5793 3.2)
  if (!empty_before || !queue_.empty()) empty_rounds_ = 0;
  else if (++empty_rounds_ > config_.max_empty_rounds)
    return refuse({pbtnc::ErrorCode::local_error, 0, 0, {}},
                  Error{Fault::limit, "neither side has anything to say any more, and the server doesn't decide", "RFC 5793 3.2", 0, {}, {}});
  return send(pbtnc::BatchType::cdata);
}

Result<void> TncClient::deliver(const pbtnc::Batch& batch) {
  bool spoke = false;
  for (const pbtnc::Message& m : batch.messages) {
    if (m.is(pbtnc::vendor_tcg, pbtnc::type::tcg_pdp_referral) && config_.log) config_.log(description(pbtnc::pdp_referral(m)));
    if (!is(m, pbtnc::type::pa)) continue;
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    spoke = true;
    for (Exchange& exchange : exchanges_) {
      if (!exchange.takes(pa)) continue;
      GH_TRY(auto messages, exchange.receive(pa));
      for (ByteVector& message : messages)
        if (!queue_.push(std::move(message))) return fail(Fault::internal, "a message is larger than a batch may be");
    }
  }
  for (Exchange& exchange : exchanges_) exchange.batch_end(spoke);
  return {};
}

void TncClient::take_result(const pbtnc::Batch& batch) {
  Outcome outcome;
  for (const pbtnc::Message& m : batch.messages) {
    if (is(m, pbtnc::type::assessment_result)) outcome.assessment = Evaluation(pbtnc::assessment_result(m));
    if (is(m, pbtnc::type::access_recommendation)) outcome.recommendation = recommendation_of(pbtnc::access_recommendation(m));
    if (is(m, pbtnc::type::reason_string) && outcome.reasons.size() < max_reasons) outcome.reasons.emplace_back(pbtnc::reason_string(m).text);
  }
  for (const Exchange& exchange : exchanges_)
    if (exchange.assessment()) outcome.components.push_back(*exchange.assessment());
  outcome_ = std::move(outcome);
}

TncClient::Step TncClient::retry() {
  if (state() != pbtnc::State::decided) return {{}, state() == pbtnc::State::end};
  if (auto begun = begin(); !begun) return stop(std::move(begun).error());
  return send(pbtnc::BatchType::cretry);
}

TncClient::Step TncClient::close() {
  if (state() == pbtnc::State::end) return {{}, true};
  return send(pbtnc::BatchType::close);
}

void TncClient::transport_ended() {
  if (state() == pbtnc::State::end) return;
  if (!outcome_) error_ = Error{Fault::environment, "the connection ended before the server's result", {}, 0, {}, {}};
  machine_.transport_ended();  // RFC 5793 3.2: as a CLOSE batch
}

}  // namespace gatehouse::endpoint
