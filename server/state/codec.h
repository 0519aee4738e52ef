// The fields that values of the state store are made of (docs/formats/state.md).
#pragma once

#include <string>
#include <string_view>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::server::layout {

inline constexpr std::string_view document = "docs/formats/state.md";
inline constexpr std::uint8_t layout_version = 1;

inline std::string taken(Writer&& w) { return std::string(as_text(w.view())); }

inline void put_text(Writer& w, std::string_view text) {
  w.put(std::uint32_t(text.size()));
  w.put_text(text);
}
inline Result<std::string> get_text(Reader& r) {
  GH_TRY(const auto size, r.get<std::uint32_t>());
  GH_TRY(const Bytes bytes, r.take(size));
  return std::string(as_text(bytes));
}
inline Result<std::int64_t> get_time(Reader& r) {
  GH_TRY(const auto value, r.get<std::uint64_t>());
  return std::int64_t(value);
}
inline Result<bool> get_bool(Reader& r) {
  GH_TRY(const auto value, r.get<std::uint8_t>());
  if (value > 1) return r.fail("neither 0 nor 1");
  return value == 1;
}
// An enumeration whose last value is `last`.
template <class E>
Result<E> get_enum(Reader& r, E last) {
  GH_TRY(const auto value, r.get<std::uint8_t>());
  if (value > std::uint8_t(last)) return r.fail("unknown value");
  return E(value);
}
inline Result<void> get_version(Reader& r) {
  GH_TRY(const auto version, r.get<std::uint8_t>());
  if (version != layout_version) return r.fail("record of another layout version");
  return {};
}

}  // namespace gatehouse::server::layout
