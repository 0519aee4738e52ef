// SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) for both sides, sans I/O: messages in, messages out; nonces
// from the caller. Channel binding is to whatever the connection gives: tls-exporter (RFC 9266) with TLS 1.3, with TLS 1.2 tls-unique (RFC
// 5929), where its master secret is bound to the handshake (RFC 7627).
//
//   client                                                    server
//     first()               ── n,,n=user,r=cnonce ──▶         client_first()   -> whose verifier is wanted
//     respond_blocking()   ◀── r=cnonce+snonce,s=,i= ──       challenge()
//                           ── c=,r=,p=proof ──▶              client_final()   -> denied, or
//     verify()             ◀── v=signature ──
//
// Names and passwords are UTF-8 as they are: SASLprep's mappings aren't done, control characters are refused.
// Comparisons of secrets take the same time whatever the bytes are. Errors: malformed for what doesn't follow the
// grammar, protocol for what the exchange doesn't allow, limit, and denied for a wrong proof or signature.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/hash.h"
#include "base/secret.h"

namespace gatehouse {

inline constexpr std::string_view scram_sha_256 = "SCRAM-SHA-256", scram_sha_256_plus = "SCRAM-SHA-256-PLUS";
inline constexpr std::size_t max_scram_message = 4'096, max_scram_nonce = 256;
inline constexpr std::uint32_t max_scram_iterations = 1'000'000;  // that a client computes: about half a second

enum class ScramBinding : std::uint8_t {
  unavailable,  // nobody can bind
  available,    // server: it offered -PLUS, and the client chose the other; client: it could, but -PLUS wasn't offered
  used,         // the mechanism is -PLUS
};

// What both ends of a TLS connection know of it, and nobody between them can make the same on both sides.
struct ChannelBinding {
  std::string_view type;  // as SCRAM names it, one of those below
  ByteVector value;       // empty: there is none
  bool empty() const { return value.empty(); }
};
inline constexpr std::string_view tls_exporter_binding = "tls-exporter", tls_unique_binding = "tls-unique";

// What is stored of a user, or made up for one that isn't there: `known` false fails any proof, after the same work.
struct ScramRecord {
  PasswordVerifier verifier;
  bool known = false;
};

class ScramServer {
 public:
  // `channel`: the connection's, where binding is used.
  explicit ScramServer(ScramBinding binding = ScramBinding::unavailable, ChannelBinding channel = {})
      : binding_(binding), channel_(std::move(channel)) {}

  // The user's name. An authorization identity must be the same.
  Result<std::string> client_first(Bytes message);
  // The server's first message. `nonce`: printable ASCII without commas, to_base64() of 18 bytes or more from the
  // generator.
  ByteVector challenge(ScramRecord record, std::string_view nonce);
  // The server's final message, which proves to the client that we know the verifier.
  Result<ByteVector> client_final(Bytes message);

 private:
  ScramBinding binding_;
  ChannelBinding channel_;
  ScramRecord record_;
  std::string gs2_header_, client_nonce_, nonce_;
  std::string messages_;  // the parts of AuthMessage so far
};

// A client's SaltedPassword. Many connections with one password mostly come to one salt: what was computed last is kept, as RFC
// 5802 allows. For any thread.
class SaltedOnce {
 public:
  ByteVector salted(Bytes password, Bytes salt, std::uint32_t iterations);

 private:
  std::mutex mutex_;
  ByteVector salt_;               // guarded by mutex_
  std::uint32_t iterations_ = 0;  // guarded by mutex_; 0: nothing is kept
  Secret salted_;                 // guarded by mutex_
};

class ScramClient {
 public:
  // `nonce`: as above. `salted`: keeps what is computed of this password; it outlives the exchange.
  ScramClient(std::string user, Secret password, std::string nonce, ScramBinding binding = ScramBinding::unavailable,
              ChannelBinding channel = {}, SaltedOnce* salted = nullptr);

  // Whether SCRAM can carry name and password; Fault::usage if not.
  static Result<void> acceptable(std::string_view user, const Secret& password);

  ByteVector first();
  // Our final message. Iteration counts below 4,096 or above 1,000,000 are refused. Computes for as long as the
  // server's count says.
  Result<ByteVector> respond_blocking(Bytes server_first);
  // Denied: the server said that it refuses us, or it doesn't know our verifier.
  Result<void> verify(Bytes server_final) const;

 private:
  std::string user_;
  Secret password_;
  SaltedOnce* salted_;
  std::string nonce_, gs2_header_;
  ByteVector channel_;  // empty: binding isn't used
  std::string messages_;
  Digest signature_;  // that the server must send
};

}  // namespace gatehouse
