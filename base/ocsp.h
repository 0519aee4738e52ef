// The status of a certificate by the Online Certificate Status Protocol (RFC 6960): the question, and what an answer says.
// No network here; OpenSSL stays behind this header. Responders are hostile until an answer is verified.
//
//   const auto question = ocsp::question_of(certificate, issuer);                  // DER, for a POST or a file
//   GH_TRY(const auto answer, ocsp::parse_answer(body, certificate, issuer, now));
//   if (answer.standing == ocsp::Standing::good) …                                 // until answer.until
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/x509.h"

namespace gatehouse::ocsp {

inline constexpr std::size_t max_answer_bytes = 65'536;  // a response with its signer's certificates has some KiB
inline constexpr std::int64_t clock_tolerance = 300;     // seconds that a responder's clock may be ahead

struct Question {
  ByteVector der;  // OCSPRequest with one CertID (SHA-1 of issuer's name and key, as RFC 5019 2.1.1 wants), no nonce
  std::string id;  // SHA-256 of issuer's and certificate's DER, lower-case hex: what an answer is kept by
};
Result<Question> question_of(const Certificate& certificate, const Certificate& issuer);

enum class Standing : std::uint8_t { good, revoked, unknown };
struct Answer {
  Standing standing = Standing::unknown;
  std::int64_t since = 0;    // thisUpdate, seconds since 1970
  std::int64_t until = 0;    // nextUpdate; where the answer has none, `since` and an hour
  std::string why;           // of a revocation: its reason in OpenSSL's words; empty: none is given
};

// `response`: OCSPResponse, DER, the whole of it. It counts only where it is about this certificate, is current at `now`
// (seconds since 1970), and is signed by the issuer itself or by a certificate that the issuer signed for it (id-kp-OCSPSigning,
// RFC 6960 4.2.2.2), with SHA-256 or better. Faults: malformed (can't be read), denied (signature, dates, another
// certificate), environment (the responder says that it can't answer).
Result<Answer> parse_answer(Bytes response, const Certificate& certificate, const Certificate& issuer, std::int64_t now);

// Where the certificate says that its issuer's responder is (authorityInfoAccess): the first http URL of up to 1,024
// printable bytes; empty: none. To be used only where the certificate's path was verified.
std::string responder_of(const Certificate& certificate);

}  // namespace gatehouse::ocsp
