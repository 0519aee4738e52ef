// Public keys that verify quotes. Built once and kept: never decoded from DER for each attestation.
// An object is immutable after it was made and may be used by many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {

enum class KeyType : std::uint8_t { rsa, ecc_p256, ecc_p384, ecc_p521 };
enum class SignatureScheme : std::uint8_t { rsassa, rsapss, ecdsa };
std::string_view name(SignatureScheme scheme);

class PublicKey {
 public:
  // DER SubjectPublicKeyInfo; trailing bytes are malformed.
  static Result<PublicKey> from_spki(Bytes der);
  // DER X.509 certificate (the key alone; nothing of the certificate is judged here: base/x509.h does that).
  static Result<PublicKey> from_certificate(Bytes der);
  // PEM "PUBLIC KEY", "RSA PUBLIC KEY" or "CERTIFICATE" (the first block counts).
  static Result<PublicKey> from_pem(std::string_view pem);
  // RSA: modulus big-endian, exponent (65537 where the TPM says 0).
  static Result<PublicKey> from_rsa(Bytes modulus, std::uint32_t exponent);
  // ECC: affine coordinates, big-endian, left-padded or not; a point that isn't on the curve is malformed.
  static Result<PublicKey> from_ecc(KeyType curve, Bytes x, Bytes y);

  KeyType type() const;
  std::size_t bits() const;
  std::uint64_t rsa_exponent() const;  // 0 for ECC
  // Size of the curve's field in bytes: 32, 48, 66; 0 for RSA.
  std::size_t field_size() const;
  const ByteVector& spki() const;
  // SHA-1 of the SubjectPublicKeyInfo in lower-case hex: the key id of strongSwan, and its Device ID.
  const std::string& key_id() const;
  // SHA-256 of the SubjectPublicKeyInfo in lower-case hex: what Gatehouse pins.
  const std::string& pin() const;
  // SHA-1 of the key's BIT STRING: the subject key identifier of most certificates (RFC 5280 4.2.1.2, method 1).
  Digest subject_key_id() const;

  // `signature`: RSA as it is; ECDSA as DER (see ecdsa_der).
  bool verify(SignatureScheme scheme, HashAlgorithm hash, Bytes message, Bytes signature) const;
  // The same where the message is known by its digest alone, as files in an IMA list are.
  bool verify_digest(SignatureScheme scheme, HashAlgorithm hash, Bytes digest, Bytes signature) const;
  // PEM "PUBLIC KEY".
  std::string pem() const;

 private:
  struct State;
  explicit PublicKey(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  static Result<PublicKey> adopt(State&& state, ByteVector spki);
  static Result<PublicKey> adopt_rsa(const void* rsa);
  static Result<PublicKey> adopt_ec(const void* ec);
  std::shared_ptr<const State> state_;
};

// ECDSA-Sig-Value of r and s, big-endian, with or without leading zeros.
ByteVector ecdsa_der(Bytes r, Bytes s);

}  // namespace gatehouse
