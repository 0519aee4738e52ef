#include "base/digest_memo.h"

namespace gatehouse {
namespace {

// Below this, recognising costs as much as hashing.
constexpr std::size_t smallest = 512;

}  // namespace

DigestMemo::DigestMemo(std::size_t most) : most_(most) {}

Digest DigestMemo::sha256(Bytes content) {
  if (content.size() < smallest) return digest_of(HashAlgorithm::sha256, content);
  const Fingerprint print = fingerprint_(content);
  {
    const std::lock_guard lock(mutex_);
    for (const Known* known : {&recent_, &earlier_}) {
      const auto at = known->find(print);
      if (at == known->end()) continue;
      const Digest found = at->second;
      ++recognised_;
      if (known == &earlier_) recent_.emplace(print, found);
      return found;
    }
  }
  const Digest digest = digest_of(HashAlgorithm::sha256, content);
  const std::lock_guard lock(mutex_);
  if (recent_.size() >= most_ / 2) {
    earlier_ = std::move(recent_);
    recent_ = {};
  }
  recent_.emplace(print, digest);
  return digest;
}

std::uint64_t DigestMemo::recognised() const {
  const std::lock_guard lock(mutex_);
  return recognised_;
}

}  // namespace gatehouse
