#include "refdb/ingest/cpio.h"

#include <algorithm>
#include <array>

#include "refdb/alias/alias.h"

namespace gatehouse::refdb {
namespace {

constexpr std::size_t field_size = 8;
// After the magic: inode, mode, uid, gid, links, mtime, size, device (2), special file (2), length of the name,
// checksum.
constexpr std::size_t fields = 13;

// Eight hexadecimal digits.
std::optional<std::uint32_t> hex_field(std::string_view text) {
  std::uint32_t out = 0;
  for (const char c : text) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) return std::nullopt;
    out = out << 4 | std::uint32_t(digit);
  }
  return out;
}

}  // namespace

std::unexpected<Error> CpioReader::bad(std::string_view why) const {
  return fail(Fault::malformed, why, "cpio", std::size_t(stream_.offset()));
}

Result<void> CpioReader::exactly(std::span<std::byte> out) {
  GH_TRY(const std::size_t n, stream_.read(out));
  at_ += n;
  if (n != out.size()) return bad("truncated archive");
  return {};
}

Result<void> CpioReader::pad() {
  std::array<std::byte, 3> padding;
  return exactly(std::span(padding).first(std::size_t((4 - at_ % 4) % 4)));
}

Result<std::optional<CpioMember>> CpioReader::next() {
  std::array<std::byte, 4096> skipped;
  for (std::size_t n = 1; n != 0;) {
    GH_TRY(n, read(skipped));
  }
  GH_CHECK(pad());
  std::array<std::byte, 6> magic;
  GH_CHECK(exactly(magic));
  CpioMember out;
  std::array<std::byte, fields * field_size> head;
  const auto number = [&](std::size_t i) { return hex_field(as_text(head).substr(i * field_size, field_size)); };
  if (as_text(magic) == "07070X") {
    GH_CHECK(exactly(std::span(head).first(field_size)));
    out.entry = number(0);
    if (!out.entry) return bad("damaged member header");
    GH_CHECK(pad());
    return std::optional(std::move(out));
  }
  if (as_text(magic) != "070701" && as_text(magic) != "070702") return bad("not a cpio member");
  GH_CHECK(exactly(head));
  std::array<std::uint32_t, fields> value{};
  for (std::size_t i = 0; i < fields; ++i) {
    const auto v = number(i);
    if (!v) return bad("damaged member header");
    value[i] = *v;
  }
  out.file = value[0];
  out.mode = value[1];
  out.links = value[4];
  out.size = value[6];
  out.device = std::uint64_t(value[7]) << 32 | value[8];
  const std::size_t name_size = value[11];
  if (name_size == 0 || name_size > max_path_bytes) return bad("a member's name is empty or too long");
  out.name.resize(name_size);
  GH_CHECK(exactly(std::as_writable_bytes(std::span(out.name))));
  if (out.name.find('\0') != name_size - 1) return bad("a member's name isn't ended where its length says");
  out.name.pop_back();
  GH_CHECK(pad());
  if (out.name == "TRAILER!!!") return std::nullopt;
  left_ = out.size;
  return std::optional(std::move(out));
}

Result<std::size_t> CpioReader::read(std::span<std::byte> out) {
  const std::size_t n = std::size_t(std::min<std::uint64_t>(left_, out.size()));
  GH_CHECK(exactly(out.first(n)));
  left_ -= n;
  return n;
}

}  // namespace gatehouse::refdb
