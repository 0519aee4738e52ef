#include "base/known_keys.h"

#include <algorithm>

namespace gatehouse {
namespace {

// Of RSA with 8,192 bits, the largest that is taken.
constexpr std::size_t longest = 1'200;

}  // namespace

bool KnownKeys::Less::operator()(Bytes a, Bytes b) const {
  // Keys of one kind are alike in front and differ behind.
  return std::lexicographical_compare_three_way(a.rbegin(), a.rend(), b.rbegin(), b.rend()) < 0;
}

Result<PublicKey> KnownKeys::from_spki(Bytes der) {
  {
    const std::lock_guard lock(mutex_);
    for (const Known* known : {&recent_, &earlier_}) {
      const auto at = known->find(der);
      if (at == known->end()) continue;
      const PublicKey found = at->second;
      ++recognised_;
      if (known == &earlier_) recent_.emplace(to_vector(der), found);
      return found;
    }
  }
  auto key = PublicKey::from_spki(der);
  if (!key || der.size() > longest) return key;
  const std::lock_guard lock(mutex_);
  if (recent_.size() >= most_ / 2) {
    earlier_ = std::move(recent_);
    recent_ = {};
  }
  recent_.emplace(to_vector(der), *key);
  return key;
}

std::uint64_t KnownKeys::recognised() const {
  const std::lock_guard lock(mutex_);
  return recognised_;
}

}  // namespace gatehouse
