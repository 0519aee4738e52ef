// Signatures by Ed25519 keys (RFC 8032) in PEM files: what one installation vouches for and another one believes.
//
//   GH_TRY(const SigningKey key, SigningKey::read_file("export.key"));
//   const Ed25519Signature signature = key.sign(message);
//   GH_TRY(const VerifyingKey trusted, VerifyingKey::read_file("export.key.pub"));
//   if (trusted.verify(message, signature)) …
//
// Objects are immutable after they were made and may be used by many threads.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {

using Ed25519Signature = std::array<std::byte, 64>;

class VerifyingKey {
 public:
  // PEM "PUBLIC KEY" of an Ed25519 key; the first block counts.
  static Result<VerifyingKey> from_pem(std::string_view pem);
  static Result<VerifyingKey> read_file(const std::string& path);

  // SHA-256 of the SubjectPublicKeyInfo.
  const Digest& id() const;
  bool verify(Bytes message, Bytes signature) const;
  // PEM "PUBLIC KEY".
  std::string pem() const;

 private:
  friend class SigningKey;
  struct State;
  explicit VerifyingKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  static Result<VerifyingKey> adopt(void* evp_pkey);
  std::shared_ptr<const State> state_;
};

class SigningKey {
 public:
  static Result<SigningKey> generate();
  // PEM "PRIVATE KEY" (PKCS#8) without a passphrase. An environment fault where others than its owner can read the
  // file, or where the owner is neither this user nor root.
  static Result<SigningKey> read_file(const std::string& path);
  // A new file that its owner alone can read; one that is there stays as it is and is an environment fault.
  Result<void> write_file(const std::string& path) const;

  VerifyingKey verifying() const;
  Ed25519Signature sign(Bytes message) const;

 private:
  explicit SigningKey(VerifyingKey key) : key_(std::move(key)) {}
  VerifyingKey key_;  // with its private part
};

}  // namespace gatehouse
