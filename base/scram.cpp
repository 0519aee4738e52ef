#include "base/scram.h"

#include <algorithm>
#include <charconv>

#include "base/base64.h"
#include "base/hex.h"

namespace gatehouse {
namespace {

constexpr std::string_view rfc5802 = "RFC 5802 7";

std::unexpected<Error> malformed(std::string_view why) { return fail(Fault::malformed, why, rfc5802); }

bool is_nonce(std::string_view text) {
  return !text.empty() && text.size() <= max_scram_nonce &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~' && c != ','; });
}

// The attributes of a message, separated by commas.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}
  bool empty() const { return done_; }
  std::string_view rest() const { return rest_; }
  // The text before the next comma.
  std::string_view next() {
    const std::size_t comma = rest_.find(',');
    const std::string_view out = rest_.substr(0, comma);
    done_ = comma == std::string_view::npos;
    rest_ = done_ ? std::string_view{} : rest_.substr(comma + 1);
    return out;
  }
  // The value of the next attribute, which must have this name.
  Result<std::string_view> value(char name) {
    if (done_) return malformed("SCRAM attribute missing");
    const std::string_view field = next();
    if (field.starts_with("m=")) return fail(Fault::protocol, "mandatory SCRAM extension that isn't known", rfc5802);
    if (field.size() < 2 || field[0] != name || field[1] != '=')
      return malformed("SCRAM attribute missing or out of order");
    return field.substr(2);
  }
  // Optional extensions up to the end; they are ignored.
  Result<void> extensions() {
    while (!done_) {
      const std::string_view field = next();
      const bool named = field.size() >= 2 &&
                         ((field[0] >= 'a' && field[0] <= 'z') || (field[0] >= 'A' && field[0] <= 'Z')) &&
                         field[1] == '=';
      if (!named) return malformed("SCRAM extension without a name");
    }
    return {};
  }

 private:
  std::string_view rest_;
  bool done_ = false;
};

Result<std::string_view> text_of(Bytes message) {
  if (message.size() > max_scram_message) return fail(Fault::limit, "SCRAM message longer than 4,096 bytes", rfc5802);
  return as_text(message);
}

// saslname: a comma stands as =2C, an equals sign as =3D.
std::string encode_name(std::string_view name) {
  std::string out;
  for (const char c : name) c == ',' ? out.append("=2C") : c == '=' ? out.append("=3D") : out.append(1, c);
  return out;
}
Result<std::string> decode_name(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') {
      out += text[i];
      continue;
    }
    const std::string_view code = text.substr(i + 1, 2);
    if (code != "2C" && code != "3D") return malformed("equals sign in a SCRAM name");
    out += code == "2C" ? ',' : '=';
    i += 2;
  }
  if (out.empty() || out.size() > 255) return malformed("SCRAM name length out of range");
  if (!is_printable(out)) return malformed("SCRAM name with control characters or not in UTF-8");
  return out;
}

std::string binding_data(std::string_view gs2_header, bool used, Bytes channel) {
  std::string all(gs2_header);
  if (used) all += as_text(channel);
  return to_base64(as_bytes(all));
}

Digest hmac_sha256(Bytes key, std::string_view text) { return hmac(HashAlgorithm::sha256, key, as_bytes(text)); }

void exclusive_or(Digest& into, Bytes with) {
  for (std::size_t i = 0; i < into.size; ++i) into.bytes[i] ^= with[i];
}

}  // namespace

Result<std::string> ScramServer::client_first(Bytes message) {
  GH_TRY(const std::string_view text, text_of(message));
  Fields fields(text);
  const std::string_view flag = fields.next();
  if (fields.empty()) return malformed("SCRAM message without its header");
  if (flag == "n" || flag == "y") {
    if (binding_ == ScramBinding::used)
      return fail(Fault::protocol, "the mechanism with channel binding, and none is used", rfc5802);
    // The client could bind and believes that we can't: somebody changed our offer.
    if (flag == "y" && binding_ == ScramBinding::available)
      return fail(Fault::protocol, "the offer of channel binding didn't reach the client", rfc5802);
  } else if (flag.starts_with("p=")) {
    if (binding_ != ScramBinding::used || flag != "p=" + std::string(channel_.type))
      return fail(Fault::protocol, "channel binding that isn't supported", rfc5802);
  } else {
    return malformed("SCRAM channel binding flag");
  }
  const std::string_view authorization = fields.next();
  if (fields.empty() || (!authorization.empty() && !authorization.starts_with("a=")))
    return malformed("SCRAM authorization identity");
  gs2_header_ = text.substr(0, flag.size() + authorization.size() + 2);
  messages_ = fields.rest();
  GH_TRY(const std::string_view name, fields.value('n'));
  GH_TRY(std::string user, decode_name(name));
  if (!authorization.empty()) {
    GH_TRY(const std::string acting, decode_name(authorization.substr(2)));
    if (acting != user) return fail(Fault::protocol, "SCRAM authorization identity differs from the user", rfc5802);
  }
  GH_TRY(const std::string_view nonce, fields.value('r'));
  if (!is_nonce(nonce)) return malformed("SCRAM nonce");
  GH_CHECK(fields.extensions());
  client_nonce_ = nonce;
  return user;
}

ByteVector ScramServer::challenge(ScramRecord record, std::string_view nonce) {
  GH_ASSERT(!client_nonce_.empty() && is_nonce(nonce));
  record_ = std::move(record);
  nonce_ = client_nonce_ + std::string(nonce);
  const std::string out =
      "r=" + nonce_ + ",s=" + to_base64(record_.verifier.salt) + ",i=" + std::to_string(record_.verifier.iterations);
  messages_ += "," + out;
  return to_vector(as_bytes(out));
}

Result<ByteVector> ScramServer::client_final(Bytes message) {
  GH_ASSERT(!nonce_.empty());
  GH_TRY(const std::string_view text, text_of(message));
  const std::size_t last = text.rfind(",p=");
  if (last == std::string_view::npos) return malformed("SCRAM message without a proof");
  Fields fields(text.substr(0, last));
  GH_TRY(const std::string_view binding, fields.value('c'));
  GH_TRY(const std::string_view nonce, fields.value('r'));
  GH_CHECK(fields.extensions());
  GH_TRY(const ByteVector proof, from_base64(text.substr(last + 3)));
  if (proof.size() != 32) return malformed("SCRAM proof of the wrong size");
  if (!equal_constant_time(as_bytes(binding),
                           as_bytes(binding_data(gs2_header_, binding_ == ScramBinding::used, channel_.value))))
    return fail(Fault::denied, "SCRAM channel binding differs", rfc5802);
  if (nonce != nonce_) return fail(Fault::protocol, "SCRAM nonce differs", rfc5802);
  messages_ += ",";
  messages_ += text.substr(0, last);

  Digest client_key = hmac_sha256(record_.verifier.stored_key, messages_);
  exclusive_or(client_key, proof);
  const bool matches =
      equal_constant_time(digest_of(HashAlgorithm::sha256, client_key.view()).view(), record_.verifier.stored_key);
  wipe(client_key.bytes);
  const Digest signature = hmac_sha256(record_.verifier.server_key, messages_);
  if (!matches || !record_.known) return fail(Fault::denied, "wrong user or password", rfc5802);
  return to_vector(as_bytes("v=" + to_base64(signature.view())));
}

ByteVector SaltedOnce::salted(Bytes password, Bytes salt, std::uint32_t iterations) {
  const std::lock_guard lock(mutex_);
  if (iterations_ != iterations || !equal(salt_, salt)) {
    ByteVector made = salted_password(password, salt, iterations);
    salted_ = Secret(made);
    wipe(made);
    salt_ = to_vector(salt);
    iterations_ = iterations;
  }
  return to_vector(salted_.reveal());
}

ScramClient::ScramClient(std::string user, Secret password, std::string nonce, ScramBinding binding, ChannelBinding channel, SaltedOnce* salted)
    : user_(std::move(user)), password_(std::move(password)), salted_(salted), nonce_(std::move(nonce)) {
  GH_ASSERT(is_nonce(nonce_));
  gs2_header_ = binding == ScramBinding::used ? "p=" + std::string(channel.type) + ",," : binding == ScramBinding::available ? "y,," : "n,,";
  if (binding == ScramBinding::used) channel_ = std::move(channel.value);
}

Result<void> ScramClient::acceptable(std::string_view user, const Secret& password) {
  if (user.empty() || user.size() > 255 || !is_printable(user))
    return fail(Fault::usage, "a user name is 1 to 255 bytes of UTF-8 without control characters", rfc5802);
  if (password.empty() || !is_printable(as_text(password.reveal())))
    return fail(Fault::usage, "a password for SCRAM is UTF-8 without control characters", rfc5802);
  return {};
}

ByteVector ScramClient::first() {
  messages_ = "n=" + encode_name(user_) + ",r=" + nonce_;
  return to_vector(as_bytes(gs2_header_ + messages_));
}

Result<ByteVector> ScramClient::respond_blocking(Bytes server_first) {
  GH_TRY(const std::string_view text, text_of(server_first));
  Fields fields(text);
  GH_TRY(const std::string_view nonce, fields.value('r'));
  GH_TRY(const std::string_view salt_text, fields.value('s'));
  GH_TRY(const std::string_view count, fields.value('i'));
  GH_CHECK(fields.extensions());
  if (!is_nonce(nonce)) return malformed("SCRAM nonce");
  if (!nonce.starts_with(nonce_) || nonce.size() == nonce_.size())
    return fail(Fault::protocol, "SCRAM nonce isn't ours with the server's behind it", rfc5802);
  GH_TRY(const ByteVector salt, from_base64(salt_text));
  if (salt.empty()) return malformed("empty SCRAM salt");
  std::uint32_t iterations = 0;
  const auto [end, code] = std::from_chars(count.data(), count.data() + count.size(), iterations);
  if (code != std::errc() || end != count.data() + count.size() || count.front() == '0')
    return malformed("SCRAM iteration count");
  if (iterations < min_iterations || iterations > max_scram_iterations)
    return fail(Fault::limit, "SCRAM iteration count isn't 4,096 to 1,000,000", "RFC 7677 4");

  std::string last = "c=" + binding_data(gs2_header_, !channel_.empty(), channel_) + ",r=" + std::string(nonce);
  messages_.append(",").append(text).append(",").append(last);
  ByteVector salted = salted_ != nullptr ? salted_->salted(password_.reveal(), salt, iterations) : salted_password(password_.reveal(), salt, iterations);
  Digest client_key = hmac_sha256(salted, "Client Key"), server_key = hmac_sha256(salted, "Server Key");
  wipe(salted);
  Digest proof = hmac_sha256(digest_of(HashAlgorithm::sha256, client_key.view()).view(), messages_);
  exclusive_or(proof, client_key.view());
  signature_ = hmac_sha256(server_key.view(), messages_);
  wipe(client_key.bytes);
  wipe(server_key.bytes);
  password_ = Secret();
  return to_vector(as_bytes(last + ",p=" + to_base64(proof.view())));
}

Result<void> ScramClient::verify(Bytes server_final) const {
  GH_ASSERT(signature_.size == 32);
  GH_TRY(const std::string_view text, text_of(server_final));
  if (text.starts_with("e="))
    return fail(Error{Fault::denied, "the server refused user or password", rfc5802, 0, {}, escaped(text.substr(2), 64)});
  Fields fields(text);
  GH_TRY(const std::string_view value, fields.value('v'));
  GH_CHECK(fields.extensions());
  GH_TRY(const ByteVector signature, from_base64(value));
  if (!equal_constant_time(signature, signature_.view()))
    return fail(Fault::denied, "the server doesn't know our password", rfc5802);
  return {};
}

}  // namespace gatehouse
