// A cursor over bytes that it doesn't own, with the only bounds check in Gatehouse. Nested lengths make child readers
// that can't leave their parent; every parser ends in finish(). Offsets count from the start of the outermost buffer.
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

class Reader {
 public:
  explicit Reader(Bytes bytes, std::string_view spec, std::size_t base = 0) : rest_{bytes}, spec_{spec}, at_{base} {}

  std::size_t remaining() const { return rest_.size(); }
  std::size_t offset() const { return at_; }
  bool empty() const { return rest_.empty(); }
  Bytes rest() const { return rest_; }

  Result<Bytes> take(std::size_t n) {
    if (n > rest_.size()) return fail("truncated");
    const Bytes out = rest_.first(n);
    rest_ = rest_.subspan(n);
    at_ += n;
    return out;
  }
  // What the caller has seen to be there.
  void pass(std::size_t n) {
    GH_ASSERT(n <= rest_.size());
    rest_ = rest_.subspan(n);
    at_ += n;
  }
  Result<void> skip(std::size_t n) {
    GH_CHECK(take(n));
    return {};
  }
  // Network order by default.
  template <std::unsigned_integral T, std::endian Order = std::endian::big>
  Result<T> get() {
    GH_TRY(const Bytes raw, take(sizeof(T)));
    T v;
    std::memcpy(&v, raw.data(), sizeof v);
    if constexpr (Order == std::endian::native || sizeof(T) == 1)
      return v;
    else
      return std::byteswap(v);
  }
  template <std::unsigned_integral T>
  Result<T> get_le() {
    return get<T, std::endian::little>();
  }
  // 24 bits, network order.
  Result<std::uint32_t> get24() {
    GH_TRY(const Bytes raw, take(3));
    return (std::uint32_t(raw[0]) << 16) | (std::uint32_t(raw[1]) << 8) | std::uint32_t(raw[2]);
  }
  Result<Reader> sub(std::size_t n) {
    const std::size_t at = at_;
    GH_TRY(const Bytes bytes, take(n));
    return Reader{bytes, spec_, at};
  }
  Result<void> finish() const {
    if (!rest_.empty()) return fail("trailing bytes");
    return {};
  }
  // Cold, so that what succeeds is inlined: making an error is most of the code.
  [[gnu::cold, gnu::noinline]] std::unexpected<Error> fail(std::string_view why) const {
    return std::unexpected(Error{Fault::malformed, why, spec_, at_, {}, {}});
  }
  [[gnu::cold, gnu::noinline]] std::unexpected<Error> fail(Fault fault, std::string_view why) const {
    return std::unexpected(Error{fault, why, spec_, at_, {}, {}});
  }

 private:
  Bytes rest_;
  std::string_view spec_;
  std::size_t at_;
};

}  // namespace gatehouse
