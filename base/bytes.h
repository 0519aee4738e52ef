// Bytes as everything in Gatehouse passes them: a view that owns nothing, and a vector that owns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse {

using Bytes = std::span<const std::byte>;
using ByteVector = std::vector<std::byte>;

inline Bytes as_bytes(std::string_view text) { return {reinterpret_cast<const std::byte*>(text.data()), text.size()}; }
inline std::string_view as_text(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline const unsigned char* as_uchar(Bytes bytes) { return reinterpret_cast<const unsigned char*>(bytes.data()); }
inline ByteVector to_vector(Bytes bytes) { return {bytes.begin(), bytes.end()}; }
inline bool equal(Bytes a, Bytes b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}
// Of a length that is known where it is compiled: a few words, and no call.
template <std::size_t size>
bool equal_words(const std::byte* a, const std::byte* b) {
  static_assert(size % 8 == 0);
  std::uint64_t differ = 0;
#pragma GCC unroll 8
  for (std::size_t i = 0; i < size; i += 8) {
    std::uint64_t x, y;
    std::memcpy(&x, a + i, sizeof x);
    std::memcpy(&y, b + i, sizeof y);
    differ |= x ^ y;
  }
  return differ == 0;
}
inline bool all_of_value(Bytes bytes, std::byte value) {
  for (const std::byte b : bytes)
    if (b != value) return false;
  return true;
}

}  // namespace gatehouse
