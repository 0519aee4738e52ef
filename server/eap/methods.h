// Authentication methods inside the tunnel, from the server's side (RFC 3748 sections 5.4 and 5.6, MSCHAPv2: RFC 2759), sans
// I/O. What each needs to be stored of a user: EAP-MD5 the password, MSCHAPv2 the password or its NT hash, GTC and PAP
// anything that a password can be checked with, since there the client gives it. Answers to a challenge may be judged by another
// server that knows the password, too: EAP-MD5's as CHAP, MSCHAPv2's as MS-CHAPv2 (RFC 2865 section 5.3, RFC 2548 section 2.3).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "base/md5.h"
#include "base/ms_chap.h"
#include "base/secret.h"
#include "server/state/passwords.h"

namespace gatehouse::server {

// EAP-MD5's answer in CHAP's terms: MD5 of the identifier, the password and the challenge, in that order.
struct ChapAnswer {
  std::uint8_t identifier = 0;
  ByteVector challenge;  // 16 bytes
  Md5 response{};
};
struct MsChap2Answer {
  std::uint8_t identifier = 0;
  ByteVector challenge, peer_challenge;  // 16 bytes each
  MsChapResponse response{};
};
using ChallengeAnswer = std::variant<ChapAnswer, MsChap2Answer>;

class EapMethod {
 public:
  struct Continue {
    ByteVector data;  // of the next request
  };
  struct Check {  // the client gave the password itself
    Secret password;
  };
  struct Ask {  // -> judged()
    ChallengeAnswer answer;
  };
  struct Accepted {};
  struct Rejected {
    std::string_view reason;
  };
  using Step = std::variant<Continue, Check, Ask, Accepted, Rejected>;

  virtual ~EapMethod() = default;
  virtual std::uint8_t type() const = 0;
  // Data of the first request, which has this identifier.
  virtual ByteVector begin(std::uint8_t identifier) = 0;
  // Data of a response to the last request, and that request's identifier; `next`: of the request that would follow.
  virtual Step respond(Bytes data, std::uint8_t identifier, std::uint8_t next) = 0;
  // What the other server says of what it was asked. `proof`: that it knows the password, for MSCHAPv2: "S=" and 40 digits.
  virtual Step judged(bool good, std::string_view proof, std::uint8_t next);
};

// `stored`: what is kept of the user; null: nobody of that name, which is found out only at the end, or `elsewhere`, of whom another
// server is asked. `challenge`: 16 random bytes. Null: no method of this EAP type.
std::unique_ptr<EapMethod> make_eap_method(std::uint8_t type, std::string user, const StoredPassword* stored, ByteVector challenge, bool elsewhere = false);

}  // namespace gatehouse::server
