// The indexes of a generation: hashes of 64 bits, each with the number of the file or package that it leads to. Those
// of one run that begin alike share a bucket, which is one row. Internal to refdb/store; docs/formats/refdb.md has the
// layout.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "refdb/store/rows.h"

namespace gatehouse::refdb {

struct Entry {
  std::uint32_t high = 0, low = 0;  // of the hash; apart, so that an entry has 12 bytes
  std::uint32_t number = 0;
  std::uint64_t hash() const { return std::uint64_t(high) << 32 | low; }
  friend bool operator<(const Entry& a, const Entry& b) {
    return a.hash() != b.hash() ? a.hash() < b.hash() : a.number < b.number;
  }
};
inline Entry entry(std::uint64_t hash, std::uint32_t number) {
  return {std::uint32_t(hash >> 32), std::uint32_t(hash), number};
}

// Another layer's hashes are others: a multiplication by an odd number loses nothing.
inline std::uint64_t hash_of(std::uint32_t layer, std::string_view digest) {
  return number<std::uint64_t>(digest) ^ std::uint64_t(layer) * 0x9E3779B97F4A7C15;
}
// Of the key of a file's names: its index path (refdb/alias). The hasher is one of SHA-256.
inline std::uint64_t hash_of_path(std::uint32_t layer, std::string_view index_path, Hasher& sha256) {
  return hash_of(layer, as_text(sha256(as_bytes(index_path)).view()));
}

inline std::uint32_t bucket_of(std::uint64_t hash, unsigned bits) {
  return bits == 0 ? 0 : std::uint32_t(hash >> (64 - bits));
}
// For so many entries: 64 to 128 a bucket.
inline std::uint8_t bits_for(std::uint64_t entries) {
  std::uint8_t bits = 0;
  while (bits < 28 && (entries >> bits) > 128) ++bits;
  return bits;
}
// Bytes of a hash that a bucket keeps of each entry.
inline std::size_t bytes_kept(unsigned bits) { return (64 - bits + 7) / 8; }

// Entries of one bucket, sorted.
void append_bucket(std::string& out, std::span<const Entry> entries, unsigned bits);

// The numbers that a hash has in a bucket; false: the bucket is damaged.
bool find_in_bucket(std::string_view bucket, unsigned bits, std::uint64_t hash, std::vector<std::uint32_t>& out);
// All of a bucket; false as above.
bool read_bucket(std::string_view bucket, unsigned bits, std::uint32_t number, std::vector<Entry>& out);

}  // namespace gatehouse::refdb
