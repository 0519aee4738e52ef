#include "base/merkle.h"

#include <array>
#include <bit>
#include <utility>

namespace gatehouse {
namespace {

constexpr std::byte leaf_prefix{0x00}, node_prefix{0x01};

Digest node(const Digest& left, const Digest& right) {
  Hasher hasher(HashAlgorithm::sha256);
  const std::array<Bytes, 3> pieces = {Bytes(&node_prefix, 1), left.view(), right.view()};
  return hasher(pieces);
}

}  // namespace

Digest merkle_leaf(Bytes record) {
  Hasher hasher(HashAlgorithm::sha256);
  const std::array<Bytes, 2> pieces = {Bytes(&leaf_prefix, 1), record};
  return hasher(pieces);
}

Result<MerkleTree> MerkleTree::from_peaks(std::uint64_t size, std::vector<Digest> peaks) {
  if (std::size_t(std::popcount(size)) != peaks.size()) return fail(Fault::malformed, "not as many peaks as the size has bits", "RFC 6962 2.1");
  for (const Digest& peak : peaks)
    if (peak.size != digest_size(HashAlgorithm::sha256)) return fail(Fault::malformed, "a peak isn't a SHA-256 digest", "RFC 6962 2.1");
  MerkleTree tree;
  tree.size_ = size;
  tree.peaks_ = std::move(peaks);
  return tree;
}

Digest MerkleTree::root() const {
  if (peaks_.empty()) return digest_of(HashAlgorithm::sha256, {});
  Digest out = peaks_.back();
  for (std::size_t i = peaks_.size() - 1; i-- > 0;) out = node(peaks_[i], out);
  return out;
}

void MerkleTree::append_subtree(unsigned level, const Digest& root) {
  GH_ASSERT(level < 64 && size_ % (std::uint64_t(1) << level) == 0);
  Digest whole = root;
  for (std::uint64_t rest = size_ >> level; (rest & 1) != 0; rest >>= 1) {
    whole = node(peaks_.back(), whole);
    peaks_.pop_back();
  }
  peaks_.push_back(whole);
  size_ += std::uint64_t(1) << level;
}

}  // namespace gatehouse
