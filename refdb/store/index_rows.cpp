#include "refdb/store/index_rows.h"

#include <cstring>

namespace gatehouse::refdb {
namespace {

std::uint64_t low_bytes(std::uint64_t hash, std::size_t kept) {
  return kept == 8 ? hash : hash & ((std::uint64_t(1) << 8 * kept) - 1);
}
std::uint64_t read_hash(const char* at, std::size_t kept) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < kept; ++i) out = out << 8 | std::uint8_t(at[i]);
  return out;
}
std::uint32_t read_number(const char* at) {
  std::uint32_t out = 0;
  std::memcpy(&out, at, sizeof out);
  return std::endian::native == std::endian::big ? out : std::byteswap(out);
}

}  // namespace

void append_bucket(std::string& out, std::span<const Entry> entries, unsigned bits) {
  const std::size_t kept = bytes_kept(bits);
  const std::size_t at = out.size();
  out.resize(at + entries.size() * (kept + 4));
  char* to = out.data() + at;
  for (const Entry& e : entries) {
    const std::uint64_t hash = low_bytes(e.hash(), kept);
    for (std::size_t i = kept; i-- > 0;) *to++ = char(hash >> 8 * i);
    for (std::size_t i = 4; i-- > 0;) *to++ = char(e.number >> 8 * i);
  }
}

bool find_in_bucket(std::string_view bucket, unsigned bits, std::uint64_t hash, std::vector<std::uint32_t>& out) {
  const std::size_t kept = bytes_kept(bits), each = kept + 4;
  if (bucket.size() % each != 0) return false;
  const std::uint64_t wanted = low_bytes(hash, kept);
  std::size_t first = 0, last = bucket.size() / each;
  while (first < last) {
    const std::size_t middle = first + (last - first) / 2;
    if (read_hash(bucket.data() + middle * each, kept) < wanted)
      first = middle + 1;
    else
      last = middle;
  }
  for (; first * each < bucket.size() && read_hash(bucket.data() + first * each, kept) == wanted; ++first)
    out.push_back(read_number(bucket.data() + first * each + kept));
  return true;
}

bool read_bucket(std::string_view bucket, unsigned bits, std::uint32_t number, std::vector<Entry>& out) {
  const std::size_t kept = bytes_kept(bits), each = kept + 4;
  if (bucket.size() % each != 0) return false;
  // What of the bucket's number isn't in the bytes that are kept.
  const std::uint64_t high = bits == 0 ? 0 : std::uint64_t(number) << (64 - bits);
  for (std::size_t at = 0; at < bucket.size(); at += each)
    out.push_back(entry(high | read_hash(bucket.data() + at, kept), read_number(bucket.data() + at + kept)));
  return true;
}

}  // namespace gatehouse::refdb
