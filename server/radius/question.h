// What another RADIUS server is asked about a user whose password it knows, and what its answer says: a password as it is (RFC 2865
// section 5.2), or somebody's answer to a challenge of ours (CHAP, RFC 2865 section 5.3; MS-CHAPv2, RFC 2548 section 2.3).
//
//   const UpstreamQuestion question{"carol", Secret(…), station};
//   GH_TRY(const ByteVector request, make_question(question, identifier, secret));
//   const UpstreamSays says = read_answer(question, answer);
#pragma once

#include <string>
#include <variant>

#include "base/error.h"
#include "base/secret.h"
#include "server/eap/methods.h"

namespace gatehouse::server {

struct UpstreamQuestion {
  std::string user;
  std::variant<Secret, ChapAnswer, MsChap2Answer> about;
  std::string station;  // Calling-Station-Id; empty: not said
};

struct UpstreamSays {
  bool heard = false;  // there is an answer
  bool good = false;   // its Access-Accept
  std::string proof;   // of MS-CHAPv2: "S=" and 40 hexadecimal digits, as they came; empty: none that could be one
};

// The bytes of an Access-Request with a Message-Authenticator. Of a password longer than 128 bytes there is none.
Result<ByteVector> make_question(const UpstreamQuestion& question, std::uint8_t identifier, Bytes secret);
// `answer`: authentic, or empty.
UpstreamSays read_answer(const UpstreamQuestion& question, Bytes answer);

}  // namespace gatehouse::server
