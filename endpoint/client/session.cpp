#include "endpoint/client/session.h"

#include "base/base64.h"
#include "base/hash.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t nonce_bytes = 18;

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

pttls::Phase Session::pttls_phase() const {
  if (phase_ == Phase::data) return pttls::Phase::data;
  return phase_ == Phase::version ? pttls::Phase::version : pttls::Phase::authentication;
}

Session::Step Session::on_message(const pttls::Message& m) {
  using Act = pttls::Ruling::Act;
  const pttls::Ruling ruling = pttls::rule(pttls::Role::client, pttls_phase(), m.header);
  switch (ruling.act) {
    case Act::peer_error:
      return on_error(m);
    case Act::refuse:
      return refuse(ruling.code, m.whole, "PT-TLS message at the wrong time");
    case Act::skip: {
      if (++ignored_ > pttls::max_answers)
        return refuse(ruling.code, m.whole, "too many PT-TLS messages of unknown types");
      Writer value;
      pttls::append_error(value, ruling.code, m.whole);
      return {message(pttls::Type::error, value.view()), false};
    }
    case Act::take:
      break;
  }
  if (m.header.kind() == pttls::Type::version_response) return on_version(m);
  if (m.header.kind() == pttls::Type::pb_tnc_batch) return from(tnc_.receive(m.value));
  if (phase_ == Phase::mechanisms && m.header.kind() == pttls::Type::sasl_mechanisms) return on_mechanisms(m);
  if (phase_ == Phase::sasl && m.header.kind() == pttls::Type::sasl_data) return on_sasl_data(m);
  if (phase_ == Phase::sasl && m.header.kind() == pttls::Type::sasl_result) return on_sasl_result(m);
  return refuse(pttls::ErrorCode::invalid_message, m.whole, "SASL message at the wrong time");
}

// Never answered with an error.
Session::Step Session::on_error(const pttls::Message& m) {
  const auto error = pttls::parse_error(m.value);
  if (error && !m.truncated && !pttls::fatal(*error, pttls_phase()) && ++ignored_ <= pttls::max_answers) return {};
  return stop(Error{Fault::protocol,
                    "the server sent a PT-TLS error",
                    "RFC 6876 3.9",
                    0,
                    {},
                    error ? "code " + std::to_string(error->code) : "malformed"});
}

Session::Step Session::on_version(const pttls::Message& m) {
  const auto version = pttls::parse_version_response(m.value);
  if (!version) return refuse(pttls::error_code(version.error()), m.whole, version.error().reason);
  if (*version != 1)
    return refuse(pttls::ErrorCode::version_not_supported, m.whole,
                  "the server chose a PT-TLS version that wasn't offered");
  phase_ = Phase::mechanisms;
  return {};
}

Session::Step Session::refuse_sasl(const pttls::Message& m, Error error) {
  Step step = refuse(pttls::ErrorCode::sasl_mechanism, m.whole, error.reason);
  error_ = std::move(error);
  return step;
}

// An empty list ends the negotiation: what TLS or SASL has shown is enough for the server.
Session::Step Session::on_mechanisms(const pttls::Message& m) {
  const auto names = pttls::parse_mechanisms(m.value);
  if (!names) return refuse(pttls::error_code(names.error()), m.whole, names.error().reason);
  if (names->empty()) {
    phase_ = Phase::data;
    return from(tnc_.start());
  }
  const auto unable = [&](std::string_view why) {
    return refuse_sasl(m, Error{Fault::environment, why, "RFC 6876 3.8", 0, {}, {}});
  };
  if (authenticated_) return unable("the server wants a second SASL authentication");
  if (config_.user.empty()) return unable("the server wants a user and a password, and none was given");
  sasl_.emplace(config_.user, std::move(config_.password), to_base64(random_bytes(nonce_bytes)), channel_, config_.salted);
  auto selection = sasl_->select(*names);
  if (!selection) return refuse_sasl(m, std::move(selection).error());
  phase_ = Phase::sasl;
  Step step{message(pttls::Type::sasl_selection, *selection), false};
  wipe(*selection);
  return step;
}

Session::Step Session::on_sasl_data(const pttls::Message& m) {
  const auto answer = sasl_->respond_blocking(m.value);
  if (!answer) return refuse_sasl(m, answer.error());
  return {message(pttls::Type::sasl_data, *answer), false};
}

Session::Step Session::on_sasl_result(const pttls::Message& m) {
  const auto result = pttls::parse_sasl_result(m.value);
  if (!result) return refuse(pttls::error_code(result.error()), m.whole, result.error().reason);
  if (auto finished = sasl_->finish(*result); !finished)
    return result->code == pttls::SaslResult::success ? refuse_sasl(m, std::move(finished).error())
                                                      : stop(std::move(finished).error());
  sasl_.reset();
  authenticated_ = true;
  phase_ = Phase::mechanisms;
  return {};
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
