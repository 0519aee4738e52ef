// The Diffie-Hellman exchange behind the quote's nonce (spec part 2 §3). Public values in the PTS wire form: X || Y without
// a prefix for the curves, left-padded to the prime's length for MODP. Secrets are wiped when they are dropped.
#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {

// The two small MODP groups are for peers that have no other; nobody offers them unless told to.
enum class DhGroup : std::uint8_t { modp1024, modp1536, modp2048, ecp256, ecp384 };

std::size_t public_value_size(DhGroup group);  // 128, 192, 256, 64, 96

class KeyAgreement {
 public:
  // A fresh key pair.
  static Result<KeyAgreement> generate(DhGroup group);
  // A given private scalar, big-endian: for replays and test vectors.
  static Result<KeyAgreement> from_private(DhGroup group, Bytes scalar);
  KeyAgreement(KeyAgreement&&) noexcept;
  KeyAgreement& operator=(KeyAgreement&&) noexcept;
  ~KeyAgreement();

  DhGroup group() const;
  const ByteVector& public_value() const;
  // The shared secret Z: the X coordinate, or the MODP value, left-padded. A point off the curve, a MODP value outside
  // 2 ... p-2 and a wrong length are malformed.
  Result<ByteVector> derive(Bytes peer_public_value) const;

 private:
  struct State;
  explicit KeyAgreement(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// S = H('1' || initiator nonce || responder nonce || Z); wipes Z.
Digest secret_assessment_value(HashAlgorithm hash, Bytes initiator_nonce, Bytes responder_nonce, ByteVector z);

}  // namespace gatehouse
