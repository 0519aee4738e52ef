#include "base/base64.h"

#include <cstdint>

namespace gatehouse {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

std::string to_base64(Bytes bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = bytes.size() - i < 3 ? bytes.size() - i : 3;
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) group = (group << 8) | (k < n ? std::uint32_t(bytes[i + k]) : 0);
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? alphabet[(group >> (18 - 6 * k)) & 0x3F] : '=';
  }
  return out;
}

Result<ByteVector> from_base64(std::string_view text) {
  const auto bad = [](std::size_t at) { return fail(Fault::malformed, "not base64", "RFC 4648 4", at); };
  if (text.size() % 4 != 0) return bad(text.size());
  ByteVector out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t group = 0;
    std::size_t digits = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const char c = text[i + k];
      const std::size_t value = alphabet.find(c);
      if (value != std::string_view::npos && digits == k) {
        group |= std::uint32_t(value) << (18 - 6 * k);
        ++digits;
      } else if (c != '=' || k < 2 || i + 4 != text.size()) {
        return bad(i + k);
      }
    }
    const std::uint32_t beyond = digits == 2 ? 0xFFFF : digits == 3 ? 0xFF : 0;
    if ((group & beyond) != 0) return bad(i + digits - 1);
    for (std::size_t k = 0; k + 1 < digits; ++k) out.push_back(std::byte(group >> (16 - 8 * k)));
  }
  return out;
}

}  // namespace gatehouse
