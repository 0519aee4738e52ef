// The enrolment exchange (docs/formats/enrolment.md): an endpoint proves by credential activation that its attestation key
// (AK) lives in the TPM of an endorsement key (EK), and by a token that an operator expects it. Attributes of a private
// vendor id in a subtype of the same vendor. Big-endian; TPM structures keep theirs. Every function reads or writes an
// attribute's value; offsets in errors count from `r`'s outermost buffer. Parsed values borrow from the bytes given.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"

namespace gatehouse::enrolment {

inline constexpr std::uint8_t version = 1;
inline constexpr std::uint32_t subtype = 1;  // of the private vendor

// Attribute types of the private vendor, beside those of the raw-evidence extension.
namespace type {
inline constexpr std::uint32_t request = 16, challenge = 17, response = 18, outcome = 19;
}  // namespace type
constexpr bool is_attribute(std::uint32_t kind) { return kind >= type::request && kind <= type::outcome; }
std::string attribute_name(std::uint32_t kind);  // "Gatehouse/Enrolment Request"; others by number

inline constexpr std::size_t nonce_size = 32, token_id_size = 16, proof_size = 32;
inline constexpr std::size_t max_request = 32'768, max_certificate = 8'192, max_chain = 8, max_area = 1'200, max_text = 1'024;

// Type 16, endpoint to server.
struct Request {
  Bytes token_id;       // 16 bytes; zeros: the EK is known to the server, no token is used
  Bytes nonce;          // 32 bytes
  Bytes ek_public;      // TPMT_PUBLIC
  Bytes ak_public;      // TPMT_PUBLIC
  Bytes ak_qualified_name;  // TPM2B_NAME content; empty: not told
  Bytes ek_certificate;     // DER; empty: the TPM has none
  std::vector<Bytes> chain;  // DER, certificates that may lie between it and a CA
};
Result<Request> parse_request(Reader& r);
void append_request(Writer& w, const Request& v);

// Type 17, server to endpoint.
struct Challenge {
  Bytes nonce;             // 32 bytes
  Bytes id_object;         // TPMS_ID_OBJECT
  Bytes encrypted_secret;  // content of TPM2B_ENCRYPTED_SECRET
};
Result<Challenge> parse_challenge(Reader& r);
void append_challenge(Writer& w, const Challenge& v);

// Type 18, endpoint to server.
struct Response {
  Bytes activation;  // 32 bytes: activation_proof() of the secret that the TPM gave away
  Bytes token;       // 32 bytes: token_proof(); zeros where no token is used
};
Result<Response> parse_response(Reader& r);
void append_response(Writer& w, const Response& v);

// Type 19, server to endpoint: the end, whatever came of it.
enum class Code : std::uint8_t {
  enrolled = 0,
  not_expected = 1,    // nobody opened an enrolment, or it is over, used, or of another identity
  certificate = 2,     // the EK's certificate doesn't count, or isn't the EK's
  key = 3,             // EK or AK isn't such a key
  proof = 4,           // the answer is wrong: another TPM, or not the token
  device = 5,          // the device, the AK or the TPM is barred or another's
  protocol = 6,        // an attribute that isn't due, or malformed
  failed = 7,          // the server couldn't record it
};
inline constexpr std::uint8_t last_code = 7;
std::string_view name(Code code);  // "enrolled", "not_expected", ...
struct Outcome {
  Code code = Code::failed;
  std::string_view device;  // Device ID that was enrolled; empty: none
  std::string_view text;    // why not, in English
};
Result<Outcome> parse_outcome(Reader& r);
void append_outcome(Writer& w, const Outcome& v);

// What an operator hands to an endpoint: 32 hexadecimal digits, in groups of 8. Known to the server by its id and its key
// only, which follow from it and not the other way round.
struct Token {
  std::string text;
  ByteVector id;  // 16 bytes
  Secret key;     // 32 bytes
};
Token make_token();
// Groups and the case of digits don't matter. Malformed: not 32 digits.
Result<Token> parse_token(std::string_view text);

// SHA-256 over both values, each behind its length (4 bytes).
Digest transcript(Bytes request, Bytes challenge);
// HMAC-SHA-256 over the transcript, with a label of their own each.
Digest activation_proof(Bytes secret, const Digest& transcript);
Digest token_proof(Bytes key, const Digest& transcript);

}  // namespace gatehouse::enrolment
