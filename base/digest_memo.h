// SHA-256 of content that mostly came before: what was hashed once is recognised by its fingerprint, at a fraction of the
// cost.
//
//   static DigestMemo memo;
//   const Digest digest = memo.sha256(block);
//
// Bounded; what didn't come for long is hashed again. Safe for concurrent use.
#pragma once

#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "base/fingerprint.h"
#include "base/hash.h"

namespace gatehouse {

class DigestMemo {
 public:
  explicit DigestMemo(std::size_t most = 65'536);
  Digest sha256(Bytes content);
  // How often a fingerprint was known.
  std::uint64_t recognised() const;

 private:
  using Known = std::unordered_map<Fingerprint, Digest, FingerprintHash>;

  const std::size_t most_;
  const Fingerprinter fingerprint_;
  mutable std::mutex mutex_;
  Known recent_, earlier_;         // guarded by mutex_: when `recent_` is full, it is what was earlier
  std::uint64_t recognised_ = 0;   // guarded by mutex_
};

}  // namespace gatehouse
