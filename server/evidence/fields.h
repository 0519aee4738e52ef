// The fields that kept evidence is made of, besides those of the state store (docs/formats/evidence.md).
#pragma once

#include "base/hash.h"
#include "server/state/codec.h"

namespace gatehouse::evidence::fields {

using server::layout::get_bool;
using server::layout::get_enum;
using server::layout::get_text;
using server::layout::get_time;
using server::layout::put_text;

inline constexpr std::string_view document = "docs/formats/evidence.md";

inline void put_bool(Writer& w, bool v) { w.put(std::uint8_t(v ? 1 : 0)); }

// A count of things that take at least `least` bytes each.
inline Result<std::size_t> get_count(Reader& r, std::size_t least) {
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > r.remaining() / least) return r.fail("more than there are bytes for");
  return std::size_t(count);
}

inline void put_algorithm(Writer& w, HashAlgorithm algorithm) { w.put(std::uint16_t(algorithm)); }
inline Result<HashAlgorithm> get_algorithm(Reader& r) {
  GH_TRY(const auto id, r.get<std::uint16_t>());
  const auto algorithm = hash_algorithm(id);
  if (!algorithm) return r.fail("unknown hash algorithm");
  return *algorithm;
}

}  // namespace gatehouse::evidence::fields
