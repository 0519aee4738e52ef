// A keyed 128-bit fingerprint of content: GMAC with a random key of this object, which nobody sees. Two contents have one
// fingerprint with a probability of their length in blocks over 2^128, whatever a peer sends: it knows neither the key nor
// a fingerprint. It costs a fraction of a digest. Never to be told to anybody, nor compared with what a peer gives.
#pragma once

#include <array>
#include <cstddef>

#include "base/bytes.h"

namespace gatehouse {

using Fingerprint = std::array<std::byte, 16>;

struct FingerprintHash {
  std::size_t operator()(const Fingerprint& f) const;
};

class Fingerprinter {
 public:
  Fingerprinter();
  // Of the two one after the other; `first` has the same size in all uses of an object. Safe for concurrent use.
  Fingerprint operator()(Bytes first, Bytes content) const;
  Fingerprint operator()(Bytes content) const { return (*this)({}, content); }

 private:
  std::array<std::byte, 16> key_;
};

}  // namespace gatehouse
