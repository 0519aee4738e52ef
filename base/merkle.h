// The Merkle tree of an append-only log (RFC 6962 section 2.1, RFC 9162 section 2.1) over SHA-256, as its right edge: what
// is needed to append to it and to say its root.
//
//   MerkleTree tree;
//   tree.append(merkle_leaf(record));
//   const Digest root = tree.root();          // commits to every record and to their order
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse {

// SHA-256(0x00 || record).
Digest merkle_leaf(Bytes record);

class MerkleTree {
 public:
  MerkleTree() = default;
  // As peaks() gave them. Malformed: their number doesn't follow from the size, or one isn't of SHA-256's size.
  static Result<MerkleTree> from_peaks(std::uint64_t size, std::vector<Digest> peaks);

  // Leaves.
  std::uint64_t size() const { return size_; }
  // Roots of the perfect trees that it consists of, the largest first: one for each bit that is set in size().
  const std::vector<Digest>& peaks() const { return peaks_; }
  // Of no leaf: the hash of nothing.
  Digest root() const;

  void append(const Digest& leaf) { append_subtree(0, leaf); }
  // The root of the next 2^level leaves; size() is a multiple of 2^level.
  void append_subtree(unsigned level, const Digest& root);

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> peaks_;
};

}  // namespace gatehouse
