#include "endpoint/client/sasl.h"

#include <algorithm>

#include "base/hash.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view plain = "PLAIN";
constexpr std::string_view spec = "RFC 6876 3.8";

ByteVector selection(std::string_view mechanism, Bytes initial_response) {
  Writer value;
  pttls::append_selection(value, {mechanism, initial_response});
  return std::move(value).take();
}

}  // namespace

SaslClient::SaslClient(std::string user, Secret password, std::string nonce, ChannelBinding channel, SaltedOnce* salted)
    : user_(std::move(user)),
      password_(std::move(password)),
      nonce_(std::move(nonce)),
      channel_(std::move(channel)),
      salted_(salted) {}

Result<ByteVector> SaslClient::select(const std::vector<std::string_view>& offered) {
  GH_ASSERT(expects_ == Expects::selection);
  const auto has = [&](std::string_view name) {
    return std::find(offered.begin(), offered.end(), name) != offered.end();
  };
  const auto scram = ScramClient::acceptable(user_, password_);
  const bool bind = has(scram_sha_256_plus) && !channel_.empty();
  if (scram && (bind || has(scram_sha_256))) return select_scram(bind);
  if (has(plain)) return select_plain();
  if (!scram) return fail(scram.error());
  return fail(Fault::environment, "the server offers no SASL mechanism that we know", spec);
}

Result<ByteVector> SaslClient::select_scram(bool bind) {
  mechanism_ = bind ? scram_sha_256_plus : scram_sha_256;
  const ScramBinding binding = bind                ? ScramBinding::used
                               : channel_.empty() ? ScramBinding::unavailable
                                                   : ScramBinding::available;
  scram_.emplace(std::move(user_), std::move(password_), std::move(nonce_), binding, channel_, salted_);
  expects_ = Expects::challenge;
  return selection(mechanism_, scram_->first());
}

Result<ByteVector> SaslClient::select_plain() {
  mechanism_ = plain;
  ByteVector message = pttls::plain_message(user_, as_text(password_.reveal()));
  password_ = Secret();
  if (!pttls::parse_plain(message)) {
    wipe(message);
    return fail(Fault::usage, "a user name is 1 to 255 bytes, a password 1 to 1,024, both without NUL", "RFC 4616 2");
  }
  ByteVector out = selection(mechanism_, message);
  wipe(message);
  expects_ = Expects::result;
  return out;
}

Result<ByteVector> SaslClient::respond_blocking(Bytes challenge) {
  if (expects_ == Expects::challenge) {
    GH_TRY(ByteVector out, scram_->respond_blocking(challenge));
    expects_ = Expects::proof;
    return out;
  }
  if (expects_ == Expects::proof) {
    // Servers that don't put their final message into the result send it so, and want an empty answer.
    GH_CHECK(check_proof(challenge));
    return ByteVector{};
  }
  return fail(Fault::protocol, "SASL data that the mechanism doesn't expect", spec);
}

Result<void> SaslClient::check_proof(Bytes message) {
  auto proven = scram_->verify(message);
  if (!proven) {
    Error error = std::move(proven).error();
    if (error.fault == Fault::denied) error.fault = Fault::environment;  // it isn't a verdict
    return fail(std::move(error));
  }
  expects_ = Expects::result;
  return {};
}

Result<void> SaslClient::finish(const pttls::SaslOutcome& result) {
  if (result.code != pttls::SaslResult::success)
    return fail(Error{Fault::environment,
                      "the server refused user or password",
                      spec,
                      0,
                      {},
                      "SASL result " + std::to_string(int(result.code))});
  if (expects_ == Expects::proof) GH_CHECK(check_proof(result.data));
  if (expects_ != Expects::result) return fail(Fault::protocol, "SASL success before the mechanism's end", spec);
  return {};
}

}  // namespace gatehouse::endpoint
