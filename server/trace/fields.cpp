#include "server/trace/fields.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::trace {

void Context::report(std::size_t from, std::size_t to, std::size_t offset, std::string_view reason) {
  const bool known = std::any_of(problems.begin(), problems.end(),
                                 [&](const Problem& p) { return p.offset >= from && p.offset <= to; });
  constexpr std::size_t most = 1000;
  if (!known && problems.size() < most) problems.push_back({offset, std::string(reason)});
}

std::string decimal(std::uint64_t v) { return std::to_string(v); }
std::string hexadecimal(std::uint64_t v) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  do {
    out.insert(out.begin(), digits[v & 15]);
    v >>= 4;
  } while (v != 0);
  return "0x" + out;
}

Bytes Walk::take(std::string_view name, std::size_t bytes) {
  if (!good_) return {};
  if (bytes > rest_.size()) {
    fail("truncated: " + std::string(name) + " wants " + std::to_string(bytes) + " bytes, " +
         std::to_string(rest_.size()) + " are there");
    return {};
  }
  const Bytes out = rest_.first(bytes);
  rest_ = rest_.subspan(bytes);
  at_ += bytes;
  return out;
}

void Walk::leaf(std::string_view name, std::size_t bytes, std::string value) {
  parent_.fields.push_back({at_ - bytes, bytes, std::string(name), std::move(value), {}, {}});
}

std::uint64_t Walk::number(std::string_view name, std::size_t bytes, Text render) {
  const Bytes raw = take(name, bytes);
  if (!good_) return 0;
  std::uint64_t v = 0;
  for (const std::byte b : raw) v = v << 8 | std::uint64_t(b);
  leaf(name, bytes, render(v));
  return v;
}
Bytes Walk::hex(std::string_view name, std::size_t bytes) {
  const Bytes raw = take(name, bytes);
  if (good_ && bytes != 0) leaf(name, bytes, to_hex(raw));
  return raw;
}
std::string_view Walk::text(std::string_view name, std::size_t bytes) {
  const std::string_view raw = as_text(take(name, bytes));
  if (good_ && bytes != 0) leaf(name, bytes, escaped(raw, raw.size()));
  return raw;
}
void Walk::hidden(std::string_view name, std::size_t bytes) {
  (void)take(name, bytes);
  if (good_ && bytes != 0) leaf(name, bytes, "(" + std::to_string(bytes) + " bytes, not shown)");
}
std::string_view Walk::counted_text(std::string_view name, std::size_t length_bytes) {
  const std::size_t length = std::size_t(number(std::string(name) + " length", length_bytes));
  return text(name, length);
}
Bytes Walk::counted_hex(std::string_view name, std::size_t length_bytes) {
  const std::size_t length = std::size_t(number(std::string(name) + " length", length_bytes));
  return hex(name, length);
}

void Walk::fail(std::string_view reason) {
  if (!good_) return;
  good_ = false;
  context_.report(begin_, at_ + rest_.size(), at_, reason);
  Field rest{at_, rest_.size(), "malformed", to_hex(rest_), std::string(reason), {}};
  at_ += rest_.size();
  rest_ = {};
  parent_.fields.push_back(std::move(rest));
}

void Walk::finish() {
  if (!more()) return;
  if (lenient_)
    hex("ignored");
  else
    fail("trailing bytes");
}

}  // namespace gatehouse::trace
