// Signatures over JSON in compact serialization (JWS, RFC 7515): what others check who know nothing of us but a public key.
//
//   GH_TRY(const JwsSigner signer, JwsSigner::read_file("server.key"));
//   const std::string token = signer.sign("eat+jwt", payload);   // BASE64URL(header).BASE64URL(payload).BASE64URL(signature)
//
// The algorithm follows from the key: ES256, ES384 and ES512 for the NIST curves, PS256 for RSA of 2,048 bits and more
// (RFC 7518), EdDSA for Ed25519 (RFC 8037). Immutable; may be used by many threads.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

// RFC 4648 section 5, without padding.
std::string to_base64url(Bytes bytes);

class JwsSigner {
 public:
  // PEM private key without a passphrase. Malformed where there is none in the file or it is of another kind.
  static Result<JwsSigner> read_file(const std::string& path);

  std::string_view algorithm() const;
  // SHA-256 of the SubjectPublicKeyInfo in lower-case hex: the header's "kid".
  const std::string& key_id() const;
  // PEM "PUBLIC KEY", for those who check.
  std::string public_pem() const;
  // `type`: the header's "typ". Internal faults: OpenSSL refuses.
  Result<std::string> sign(std::string_view type, std::string_view payload) const;

 private:
  struct State;
  explicit JwsSigner(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;
};

}  // namespace gatehouse
