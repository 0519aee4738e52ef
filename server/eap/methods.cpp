#include "server/eap/methods.h"

#include <algorithm>

#include "base/hash.h"
#include "base/md5.h"
#include "base/reader.h"
#include "base/writer.h"
#include "wire/eap/eap.h"

namespace gatehouse::server {
namespace {

constexpr std::string_view server_name = "gatehouse";
constexpr EapMethod::Rejected wrong{"wrong user or password"};

// RFC 3748 section 5.4: value size, value, name.
class Md5Challenge final : public EapMethod {
 public:
  Md5Challenge(const StoredPassword* stored, ByteVector challenge, bool elsewhere)
      : stored_(stored), challenge_(std::move(challenge)), elsewhere_(elsewhere && stored == nullptr) {}
  std::uint8_t type() const override { return eap::type::md5_challenge; }
  ByteVector begin(std::uint8_t) override {
    Writer w;
    w.put(std::uint8_t(challenge_.size()));
    w.put_bytes(challenge_);
    w.put_text(server_name);
    return std::move(w).take();
  }
  Step respond(Bytes data, std::uint8_t identifier, std::uint8_t) override {
    Reader r(data, "RFC 3748 5.4");
    const auto size = r.get<std::uint8_t>();
    if (!size || *size != sizeof(Md5)) return Rejected{"malformed EAP-MD5 response"};
    const auto value = r.take(*size);
    if (!value) return Rejected{"malformed EAP-MD5 response"};
    if (elsewhere_) {
      ChapAnswer answer{identifier, challenge_, {}};
      std::copy(value->begin(), value->end(), answer.response.begin());
      return Ask{std::move(answer)};
    }
    static const Secret nobody(random_bytes(16));
    const bool known = stored_ != nullptr && !stored_->password.empty();
    const std::byte id{identifier};
    const Md5 expected = md5({Bytes(&id, 1), (known ? stored_->password : nobody).reveal(), challenge_});
    if (!equal_constant_time(expected, *value) || !known) return wrong;
    return Accepted{};
  }

 private:
  const StoredPassword* const stored_;
  const ByteVector challenge_;
  const bool elsewhere_;
};

// RFC 3748 section 5.6: the password as it is.
class Gtc final : public EapMethod {
 public:
  std::uint8_t type() const override { return eap::type::gtc; }
  ByteVector begin(std::uint8_t) override { return to_vector(as_bytes("Password: ")); }
  Step respond(Bytes data, std::uint8_t, std::uint8_t) override {
    constexpr std::size_t longest = 1'024;
    if (data.empty() || data.size() > longest) return Rejected{"malformed EAP-GTC response"};
    return Check{Secret(data)};
  }
};

// The EAP form of RFC 2759 (draft-kamath-pppext-eap-mschapv2): OpCode, MS-CHAPv2-ID, MS-Length, then Challenge: value size
// and value, name; Response: value size, peer challenge, 8 zeros, NT response, flags, name; Success: a message.
class MsChapV2 final : public EapMethod {
 public:
  MsChapV2(std::string user, const StoredPassword* stored, ByteVector challenge, bool elsewhere)
      : user_(std::move(user)), stored_(stored), challenge_(std::move(challenge)), elsewhere_(elsewhere && stored == nullptr) {}
  std::uint8_t type() const override { return eap::type::mschap_v2; }
  ByteVector begin(std::uint8_t identifier) override {
    Writer value;
    value.put(std::uint8_t(challenge_.size()));
    value.put_bytes(challenge_);
    value.put_text(server_name);
    return message(op_challenge, identifier, value.view());
  }
  Step respond(Bytes data, std::uint8_t identifier, std::uint8_t next) override {
    // A client that has seen the proof says so in one byte.
    if (proved_) {
      if (data.size() == 1 && data[0] == std::byte{op_success}) return Accepted{};
      return Rejected{"the client refused the server's proof"};
    }
    const auto response = parse(data, identifier);
    if (!response) return Rejected{"malformed MSCHAPv2 response"};
    if (elsewhere_) {
      // Who is asked about and who has answered have to be the same.
      if (without_domain(response->name) != without_domain(user_)) return wrong;
      MsChap2Answer answer{identifier, challenge_, to_vector(response->peer_challenge), {}};
      std::copy(response->value.begin(), response->value.end(), answer.response.begin());
      return Ask{std::move(answer)};
    }
    static const NtHash nobody = [] {
      NtHash out;
      fill_random(out);
      return out;
    }();
    const bool known = stored_ != nullptr;
    const NtHash& hash = known ? stored_->nt_hash : nobody;
    const MsChapResponse expected = ms_chap_response(challenge_, response->peer_challenge, response->name, hash);
    const bool right = equal_constant_time(expected, response->value);
    // Who is looked up and who has proved it have to be the same.
    if (!right || !known || without_domain(response->name) != without_domain(user_)) return wrong;
    proved_ = true;
    const std::string proof = ms_chap_proof(hash, expected, challenge_, response->peer_challenge, response->name) + " M=OK";
    return Continue{message(op_success, next, as_bytes(proof))};
  }
  // The proof is the other server's: whether it is right only the client can tell.
  Step judged(bool good, std::string_view proof, std::uint8_t next) override {
    if (!good || proved_) return wrong;
    if (proof.empty()) return Rejected{"the RADIUS server that knows the password sent no proof of it"};
    proved_ = true;
    return Continue{message(op_success, next, as_bytes(std::string(proof) + " M=OK"))};
  }

 private:
  static constexpr std::uint8_t op_challenge = 1, op_response = 2, op_success = 3;
  struct Response {
    Bytes peer_challenge, value;
    std::string_view name;
  };
  static ByteVector message(std::uint8_t op, std::uint8_t identifier, Bytes value) {
    constexpr std::size_t header = 4;
    Writer w;
    w.put(op);
    w.put(identifier);
    w.put(std::uint16_t(header + value.size()));
    w.put_bytes(value);
    return std::move(w).take();
  }
  static Result<Response> parse(Bytes data, std::uint8_t) {
    Reader r(data, "RFC 2759 4");
    GH_TRY(const auto op, r.get<std::uint8_t>());
    GH_CHECK(r.skip(1));
    GH_TRY(const std::size_t length, r.get<std::uint16_t>());
    GH_TRY(const auto size, r.get<std::uint8_t>());
    constexpr std::uint8_t value_size = 49;
    if (op != op_response || length != data.size() || size != value_size) return r.fail("not a response");
    Response out;
    GH_TRY(out.peer_challenge, r.take(16));
    GH_CHECK(r.skip(8));
    GH_TRY(out.value, r.take(sizeof(MsChapResponse)));
    GH_CHECK(r.skip(1));
    out.name = as_text(r.rest());
    return out;
  }
  const std::string user_;
  const StoredPassword* const stored_;
  const ByteVector challenge_;
  const bool elsewhere_;
  bool proved_ = false;
};

}  // namespace

EapMethod::Step EapMethod::judged(bool good, std::string_view, std::uint8_t) {
  if (good) return Accepted{};
  return wrong;
}

std::unique_ptr<EapMethod> make_eap_method(std::uint8_t type, std::string user, const StoredPassword* stored, ByteVector challenge, bool elsewhere) {
  switch (type) {
    case eap::type::md5_challenge: return std::make_unique<Md5Challenge>(stored, std::move(challenge), elsewhere);
    case eap::type::gtc: return std::make_unique<Gtc>();
    case eap::type::mschap_v2: return std::make_unique<MsChapV2>(std::move(user), stored, std::move(challenge), elsewhere);
    default: return nullptr;
  }
}

}  // namespace gatehouse::server
