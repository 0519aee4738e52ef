// SHA-256 of content that mostly came before: what was hashed once is recognised by a keyed 128-bit fingerprint (GMAC with
// a random key of this process, which nobody sees), at a fraction of the cost. Two contents have one fingerprint with a
// probability of their length in blocks over 2^128, whatever a peer sends: it knows neither key nor fingerprints.
//
//   static DigestMemo memo;
//   const Digest digest = memo.sha256(block);
//
// Bounded; what didn't come for long is hashed again. Safe for concurrent use.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "base/hash.h"

namespace gatehouse {

class DigestMemo {
 public:
  explicit DigestMemo(std::size_t most = 65'536);
  Digest sha256(Bytes content);
  // How often a fingerprint was known.
  std::uint64_t recognised() const;

 private:
  using Fingerprint = std::array<std::byte, 16>;
  struct Hash {
    std::size_t operator()(const Fingerprint& f) const;
  };
  using Known = std::unordered_map<Fingerprint, Digest, Hash>;

  Fingerprint fingerprint(Bytes content) const;

  const std::size_t most_;
  std::array<std::byte, 16> key_;
  mutable std::mutex mutex_;
  Known recent_, earlier_;         // guarded by mutex_: when `recent_` is full, it is what was earlier
  std::uint64_t recognised_ = 0;   // guarded by mutex_
};

}  // namespace gatehouse
