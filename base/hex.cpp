#include "base/hex.h"

#include <cstdint>

namespace gatehouse {
namespace {

constexpr char lower[] = "0123456789abcdef";
constexpr char upper[] = "0123456789ABCDEF";

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Length of the well-formed UTF-8 sequence at the start of `s`, 0 if there is none (Unicode table 3-7).
std::size_t utf8_length(std::string_view s) {
  const auto at = [&](std::size_t i) { return i < s.size() ? std::uint8_t(s[i]) : 0U; };
  const auto tail = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xBF) { return at(i) >= low && at(i) <= high; };
  const unsigned a = at(0);
  if (a < 0x80) return 1;
  if (a >= 0xC2 && a <= 0xDF) return tail(1) ? 2 : 0;
  if (a == 0xE0) return tail(1, 0xA0) && tail(2) ? 3 : 0;
  if (a == 0xED) return tail(1, 0x80, 0x9F) && tail(2) ? 3 : 0;
  if (a >= 0xE1 && a <= 0xEF) return tail(1) && tail(2) ? 3 : 0;
  if (a == 0xF0) return tail(1, 0x90) && tail(2) && tail(3) ? 4 : 0;
  if (a >= 0xF1 && a <= 0xF3) return tail(1) && tail(2) && tail(3) ? 4 : 0;
  if (a == 0xF4) return tail(1, 0x80, 0x8F) && tail(2) && tail(3) ? 4 : 0;
  return 0;
}

// The same for printable characters: 0 also for a control character.
std::size_t printable_length(std::string_view text) {
  const std::size_t n = utf8_length(text);
  const auto c = std::uint8_t(text[0]);
  const bool c1_control = n == 2 && c == 0xC2 && std::uint8_t(text[1]) < 0xA0;  // terminals act on U+0080..U+009F
  return (n == 1 && (c < 0x20 || c == 0x7F)) || c1_control ? 0 : n;
}

}  // namespace

std::string to_hex(Bytes bytes) {
  std::string out(bytes.size() * 2, '0');
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    out[2 * i] = lower[std::to_integer<unsigned>(bytes[i]) >> 4];
    out[2 * i + 1] = lower[std::to_integer<unsigned>(bytes[i]) & 15];
  }
  return out;
}

Result<ByteVector> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail(Fault::malformed, "odd number of hexadecimal digits", {}, text.size());
  ByteVector out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = digit(text[i + 1]);
    if (high < 0 || low < 0) return fail(Fault::malformed, "not a hexadecimal digit", {}, high < 0 ? i : i + 1);
    out.push_back(std::byte(high << 4 | low));
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string escaped(std::string_view text, std::size_t limit) {
  std::string out;
  const bool cut = text.size() > limit;
  if (cut) text = text.substr(0, limit);
  while (!text.empty()) {
    const std::size_t n = printable_length(text);
    if (n == 0) {
      const auto c = std::uint8_t(text[0]);
      out += "\\x";
      out += upper[c >> 4];
      out += upper[c & 15];
      text.remove_prefix(1);
    } else {
      out += text.substr(0, n);
      text.remove_prefix(n);
    }
  }
  if (cut) out += "...";
  return out;
}

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const std::size_t n = printable_length(text);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string xml_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&apos;"; break;
      default: out += c;
    }
  return out;
}

}  // namespace gatehouse
