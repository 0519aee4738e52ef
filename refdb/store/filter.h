// Tells of most hashes that an index hasn't them, without a look at it: a blocked Bloom filter. What fleets ask for and
// nobody knows is a template digest, so those have one. Internal to refdb/store; docs/formats/refdb.md has the layout.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "refdb/store/rows.h"

namespace gatehouse::refdb {

class Filter {
 public:
  static constexpr std::size_t block_words = 8;  // of 32 bits; a hash sets one bit in each
  static constexpr std::size_t blocks_a_row = std::size_t(1) << 11;
  // 2^bits blocks. So many bits for so many entries: 20 to 40 entries a block, of which 1 to 5 % of the other hashes
  // can't be told.
  explicit Filter(unsigned bits = 0) : bits_(bits), words_(block_words << bits) {}
  static unsigned bits_for(std::uint64_t entries) {
    unsigned bits = 0;
    while (bits < 32 && (entries >> bits) > 40) ++bits;
    return bits;
  }

  void add(std::uint64_t hash) {
    std::uint32_t* const block = words_.data() + block_of(hash);
    for (std::size_t i = 0; i < block_words; ++i) block[i] |= bit(hash, i);
  }
  // False: it was never added.
  bool may_have(std::uint64_t hash) const {
    const std::uint32_t* const block = words_.data() + block_of(hash);
    std::uint32_t missing = 0;
    for (std::size_t i = 0; i < block_words; ++i) missing |= ~block[i] & bit(hash, i);
    return missing == 0;
  }

  std::size_t rows() const { return ((std::size_t(1) << bits_) + blocks_a_row - 1) / blocks_a_row; }
  // Big-endian words.
  std::string row(std::size_t n) const;
  // False: it isn't as long as it must be.
  bool set_row(std::size_t n, std::string_view row);

 private:
  // By its first bits: blocks of hashes that begin differently are apart.
  std::size_t block_of(std::uint64_t hash) const {
    return bits_ == 0 ? 0 : std::size_t(hash >> (64 - bits_)) * block_words;
  }
  static std::uint32_t bit(std::uint64_t hash, std::size_t word) {
    // Odd numbers, by which the last 32 bits choose.
    constexpr std::uint32_t factors[block_words] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                                    0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};
    return std::uint32_t(1) << (std::uint32_t(hash) * factors[word] >> 27);
  }
  std::size_t row_words(std::size_t n) const {
    return std::min(blocks_a_row * block_words, words_.size() - n * blocks_a_row * block_words);
  }

  unsigned bits_;
  std::vector<std::uint32_t> words_;
};

}  // namespace gatehouse::refdb
