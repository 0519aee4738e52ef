// Appends to an owned buffer. Network order by default. A length field is reserved first and filled in afterwards:
//
//   Writer w;
//   const auto length = w.reserve<std::uint32_t>();
//   w.put_bytes(value);
//   w.fill(length, std::uint32_t(w.size()));
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

class Writer {
 public:
  template <class T>
  struct Mark {
    std::size_t at;
  };

  std::size_t size() const { return out_.size(); }
  Bytes view() const { return out_; }
  ByteVector take() && { return std::move(out_); }
  void clear() { out_.clear(); }  // keeps its memory
  // As often as one likes: what is written behind one another is moved no more often than without.
  void reserve_bytes(std::size_t n) {
    const std::size_t needed = out_.size() + n;
    if (needed > out_.capacity()) out_.reserve(std::max(needed, out_.size() == 0 ? needed : 2 * out_.capacity()));
  }

  template <std::unsigned_integral T, std::endian Order = std::endian::big>
  void put(T v) {
    if constexpr (Order != std::endian::native && sizeof(T) > 1) v = std::byteswap(v);
    const auto* p = reinterpret_cast<const std::byte*>(&v);
    out_.insert(out_.end(), p, p + sizeof v);
  }
  template <std::unsigned_integral T>
  void put_le(T v) {
    put<T, std::endian::little>(v);
  }
  void put24(std::uint32_t v) {
    GH_ASSERT(v <= 0xFFFFFF);
    put(std::uint8_t(v >> 16));
    put(std::uint16_t(v));
  }
  void put_bytes(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void put_text(std::string_view text) { put_bytes(as_bytes(text)); }
  void put_zeros(std::size_t n) { out_.resize(out_.size() + n); }

  template <std::unsigned_integral T>
  Mark<T> reserve() {
    const Mark<T> mark{out_.size()};
    out_.resize(out_.size() + sizeof(T));
    return mark;
  }
  template <std::unsigned_integral T>
  void fill(Mark<T> mark, std::type_identity_t<T> v) {
    if constexpr (std::endian::native != std::endian::big && sizeof(T) > 1) v = std::byteswap(v);
    std::memcpy(out_.data() + mark.at, &v, sizeof v);
  }

 private:
  ByteVector out_;
};

}  // namespace gatehouse
