// Both ends of a transfer, and messages taken apart.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/hex.h"
#include "wire/patnc/segmentation.h"

namespace gatehouse::testing {

inline ByteVector pattern(std::size_t size, unsigned seed = 31) {
  ByteVector out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = std::byte(i * seed + (i >> 8));
  return out;
}

inline ByteVector attribute(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value) {
  Writer w;
  patnc::append_attribute(w, flags, vendor, type, value);
  return std::move(w).take();
}

inline ByteVector hex(std::string_view text) {
  std::string digits;
  for (const char c : text)
    if (c != ' ' && c != '\n') digits += c;
  return from_hex(digits).value();
}

inline std::vector<patnc::Attribute> attributes(Bytes message) {
  const auto parsed = patnc::parse_message(message, [](std::uint32_t, std::uint32_t) { return true; });
  EXPECT_TRUE(parsed && !parsed->refusal);
  return parsed ? parsed->attributes : std::vector<patnc::Attribute>{};
}

inline patnc::Envelope envelope(const patnc::Attribute& a) {
  Reader r(a.value, "test", a.value_offset());
  return patnc::parse_envelope(r).value();
}
inline patnc::Envelope envelope(std::uint8_t flags, std::uint32_t id, Bytes segment) { return {flags, id, segment}; }

}  // namespace gatehouse::testing
