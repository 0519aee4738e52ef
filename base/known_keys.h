// Public keys that came before, as they were built then: a fleet's attestation keys come again with each attestation, and
// building one costs more than it takes to verify its signature.
//
//   static KnownKeys keys;
//   const Result<PublicKey> key = keys.from_spki(der);   // as PublicKey::from_spki()
//
// Bounded; a key that didn't come for long is built again. Nothing is said of whom a key belongs to, nor whether it is
// trusted. Safe for concurrent use.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "base/public_key.h"

namespace gatehouse {

class KnownKeys {
 public:
  explicit KnownKeys(std::size_t most = 8'192) : most_(most) {}
  Result<PublicKey> from_spki(Bytes der);
  // How often a key was known.
  std::uint64_t recognised() const;

 private:
  // By the bytes themselves.
  struct Less {
    using is_transparent = void;
    bool operator()(Bytes a, Bytes b) const;
  };
  using Known = std::map<ByteVector, PublicKey, Less>;

  const std::size_t most_;
  mutable std::mutex mutex_;
  Known recent_, earlier_;        // guarded by mutex_: when `recent_` is full, it is what was earlier
  std::uint64_t recognised_ = 0;  // guarded by mutex_
};

}  // namespace gatehouse
