#include "endpoint/client/session.h"

#include <algorithm>

#include "base/hash.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view plain = "PLAIN";
constexpr unsigned max_ignored = 8;  // messages of unknown types

}  // namespace

Session::Session(Config config, const std::vector<Imc*>& imcs) : config_(std::move(config)), tnc_(config_.tnc, imcs) {}

ByteVector Session::message(pttls::Type type, Bytes value) {
  Writer w;
  pttls::append_message(w, type, next_identifier_++, value);
  return std::move(w).take();
}

Session::Step Session::start() {
  phase_ = Phase::version;
  Writer value;
  pttls::append_version_request(value, {});
  return {message(pttls::Type::version_request, value.view()), false};
}

Session::Step Session::stop(Error error) {
  phase_ = Phase::ended;
  error_ = std::move(error);
  return {{}, true};
}

Session::Step Session::refuse(pttls::ErrorCode code, Bytes offending, std::string_view why) {
  Writer value;
  pttls::append_error(value, code, offending);
  Step step = stop(Error{Fault::protocol, why, "RFC 6876", 0, {}, {}});
  step.send = message(pttls::Type::error, value.view());
  return step;
}

Session::Step Session::from(TncClient::Step step) {
  Step out;
  if (!step.batch.empty()) out.send = message(pttls::Type::pb_tnc_batch, step.batch);
  if (!step.ended) return out;
  phase_ = Phase::ended;
  out.ended = true;
  error_ = tnc_.error();
  return out;
}

Session::Step Session::feed(Bytes plaintext) {
  Step all;
  all.ended = phase_ == Phase::ended;
  if (all.ended) return all;
  framer_.feed(plaintext);
  while (!all.ended) {
    const auto next = framer_.next();
    Step step;
    if (!next)
      step = refuse(next.error().code, next.error().copy, next.error().reason);
    else if (*next == nullptr)
      break;
    else
      step = on_message(**next);
    all.send.insert(all.send.end(), step.send.begin(), step.send.end());
    wipe(step.send);  // a selection holds the password
    all.ended = step.ended;
  }
  return all;
}

Session::Step Session::on_message(const pttls::Message& m) {
  if (!m.header.known()) {
    if (++ignored_ > max_ignored) return refuse(pttls::ErrorCode::type_not_supported, m.whole, "too many PT-TLS messages of unknown types");
    Writer value;
    pttls::append_error(value, pttls::ErrorCode::type_not_supported, m.whole);
    return {message(pttls::Type::error, value.view()), false};
  }
  if (m.header.kind() == pttls::Type::error) {
    // Never answered with an error.
    const auto error = pttls::parse_error(m.value);
    return stop(Error{Fault::protocol, "the server sent a PT-TLS error", "RFC 6876 3.9", 0, {}, error ? "code " + std::to_string(error->code) : "malformed"});
  }
  const auto wrong_time = [&] { return refuse(pttls::ErrorCode::invalid_message, m.whole, "PT-TLS message at the wrong time"); };
  switch (phase_) {
    case Phase::version: {
      if (m.header.kind() != pttls::Type::version_response) return wrong_time();
      const auto version = pttls::parse_version_response(m.value);
      if (!version) return refuse(pttls::ErrorCode::malformed, m.whole, version.error().reason);
      if (*version != 1) return refuse(pttls::ErrorCode::version_not_supported, m.whole, "the server chose a PT-TLS version that wasn't offered");
      phase_ = Phase::mechanisms;
      return {};
    }
    case Phase::mechanisms: return m.header.kind() == pttls::Type::sasl_mechanisms ? on_mechanisms(m) : wrong_time();
    case Phase::sasl_result: {
      if (m.header.kind() != pttls::Type::sasl_result) return wrong_time();
      const auto result = pttls::parse_sasl_result(m.value);
      if (!result) return refuse(pttls::ErrorCode::malformed, m.whole, result.error().reason);
      if (*result != pttls::SaslResult::success)
        return stop(Error{Fault::environment, "the server refused user or password", "RFC 6876 3.8.7", 0, {}, "SASL result " + std::to_string(int(*result))});
      authenticated_ = true;
      phase_ = Phase::mechanisms;
      return {};
    }
    case Phase::data: return m.header.kind() == pttls::Type::pb_tnc_batch ? from(tnc_.receive(m.value)) : wrong_time();
    case Phase::start:
    case Phase::ended: break;
  }
  return {{}, true};
}

// An empty list ends the negotiation: what TLS or SASL has shown is enough for the server.
Session::Step Session::on_mechanisms(const pttls::Message& m) {
  const auto names = pttls::parse_mechanisms(m.value);
  if (!names) return refuse(pttls::ErrorCode::malformed, m.whole, names.error().reason);
  if (names->empty()) {
    phase_ = Phase::data;
    return from(tnc_.start());
  }
  const auto no_mechanism = [&](std::string_view why) {
    Step step = refuse(pttls::ErrorCode::sasl_mechanism, m.whole, why);
    error_->fault = Fault::environment;
    return step;
  };
  if (authenticated_) return no_mechanism("the server wants a second SASL authentication");
  if (config_.user.empty()) return no_mechanism("the server wants a user and a password, and none was given");
  if (std::find(names->begin(), names->end(), plain) == names->end()) return no_mechanism("the server offers no SASL mechanism that we know");
  ByteVector secret = pttls::plain_message(config_.user, as_text(config_.password.reveal()));
  Writer value;
  pttls::append_selection(value, {plain, secret});
  Step step{message(pttls::Type::sasl_selection, value.view()), false};
  wipe(secret);
  ByteVector used = std::move(value).take();
  wipe(used);
  phase_ = Phase::sasl_result;
  return step;
}

Session::Step Session::end_of_stream() {
  if (phase_ == Phase::ended) return {{}, true};
  phase_ = Phase::ended;
  tnc_.transport_ended();
  error_ = tnc_.error();
  return {{}, true};
}

Session::Step Session::retry() { return phase_ == Phase::data ? from(tnc_.retry()) : Step{{}, phase_ == Phase::ended}; }
Session::Step Session::close() { return phase_ == Phase::data ? from(tnc_.close()) : end_of_stream(); }

}  // namespace gatehouse::endpoint
