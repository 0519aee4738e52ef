#include "refdb/store/file_rows.h"

#include <algorithm>
#include <cstring>

#include "refdb/alias/alias.h"
#include "refdb/store/rows.h"

namespace gatehouse::refdb {
namespace {

// The first byte of a row. Bits 2 to 5: a digest of common_banks[bit - 2] follows. The last is 0.
constexpr std::uint8_t may_change = 1, another_package = 2, other_algorithms = 64, unused = 128;

// 0: it is one of the others.
std::uint8_t bit_of(const FileRow::Content& content) {
  for (std::size_t i = 0; i < std::size(common_banks); ++i)
    if (common_banks[i] == content.algorithm)
      return content.digest.size() == digest_size(content.algorithm) ? std::uint8_t(4U << i) : std::uint8_t{0};
  return 0;
}

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t n = 0;
  for (std::uint64_t x = 0, y = 0; most - n >= sizeof x; n += sizeof x) {
    std::memcpy(&x, a.data() + n, sizeof x);
    std::memcpy(&y, b.data() + n, sizeof y);
    if (x != y) break;
  }
  while (n < most && a[n] == b[n]) ++n;
  return n;
}

}  // namespace

void FileRow::copy_to(Reference& out) const {
  out.path = path;
  out.is_mutable = is_mutable;
  for (std::size_t i = 0; i < digests; ++i)
    out.digests.emplace_back(contents[i].algorithm, Digest(as_bytes(contents[i].digest)));
}

void FileRow::append_content(std::string& out) const {
  put(out, std::uint8_t(is_mutable ? 1 : 0));
  for (std::size_t i = 0; i < digests; ++i) {
    put(out, std::uint16_t(contents[i].algorithm));
    put(out, std::uint8_t(contents[i].digest.size()));
    out += contents[i].digest;
  }
}

void FileRow::append_logical(std::string& out) const {
  put_text(out, path);
  put(out, size);
  append_content(out);
}

namespace {

void set(FileRow& row, std::uint64_t size, const std::vector<std::pair<HashAlgorithm, Digest>>& digests) {
  row.size = size;
  row.digests = 0;
  for (const auto& [algorithm, digest] : digests) {
    if (row.digests == FileRow::most_digests) break;
    row.contents[row.digests++] = {algorithm, as_text(digest.view())};
  }
}

}  // namespace

void set_row(FileRow& row, const ReferenceFile& file) {
  row.path = file.path;
  row.is_mutable = file.is_mutable;
  set(row, file.size, file.digests);
}

void set_content(FileRow& row, const FileContent& content) { set(row, content.size, content.digests); }

bool FileWriter::append(std::string& out, const FileRow& row) {
  std::uint8_t head = row.is_mutable ? may_change : 0;
  if (first_ || row.package != package_) head |= another_package;
  std::size_t others = 0;
  for (std::size_t i = 0; i < row.digests; ++i) {
    const std::uint8_t bit = bit_of(row.contents[i]);
    head |= bit == 0 ? other_algorithms : bit;
    others += bit == 0;
  }
  // Gathered, as a row has few bytes in many parts.
  char buffer[1 + 4 * most_short_bytes];
  char* to = buffer;
  *to++ = char(head);
  if ((head & another_package) != 0) to = write_short(to, row.package);
  const std::size_t shared = common_prefix(previous_, row.path);
  to = write_short(to, shared);
  to = write_short(to, row.path.size() - shared);
  out.append(buffer, std::size_t(to - buffer));
  out += row.path.substr(shared);
  out.append(buffer, std::size_t(write_short(buffer, row.size) - buffer));
  // Those of the common banks in their order, which is that of their numbers.
  for (std::size_t i = 0; i < row.digests; ++i)
    if (const FileRow::Content& c = row.contents[i]; bit_of(c) != 0) out += c.digest;
  if (others != 0) {
    put_short(out, others);
    for (std::size_t i = 0; i < row.digests; ++i) {
      const FileRow::Content& c = row.contents[i];
      if (bit_of(c) != 0) continue;
      put(out, std::uint16_t(c.algorithm));
      put(out, std::uint8_t(c.digest.size()));
      out += c.digest;
    }
  }
  const bool after = shared < row.path.size() &&
                     (shared == previous_.size() || std::uint8_t(previous_[shared]) < std::uint8_t(row.path[shared]));
  previous_ = row.path;
  package_ = row.package;
  first_ = false;
  return after;
}

bool FileReader::take(HashAlgorithm algorithm, std::size_t size) {
  if (size > rest_.size() || size > max_digest_size || row_.digests == FileRow::most_digests) return false;
  row_.contents[row_.digests++] = {algorithm, rest_.substr(0, size)};
  rest_.remove_prefix(size);
  return true;
}

bool FileReader::read() {
  if (rest_.empty()) return false;
  const auto head = std::uint8_t(rest_.front());
  rest_.remove_prefix(1);
  if ((head & unused) != 0) return false;
  row_.is_mutable = (head & may_change) != 0;
  row_.digests = 0;
  if ((head & another_package) != 0) {
    const auto package = take_short(rest_);
    if (!package || *package > UINT32_MAX) return false;
    package_ = std::uint32_t(*package);
  }
  row_.package = package_;
  const auto shared = take_short(rest_), rest = take_short(rest_);
  if (!shared || !rest || *shared > path_.size() || *rest > rest_.size()) return false;
  if (*rest > max_path_bytes - std::min<std::uint64_t>(*shared, max_path_bytes)) return false;
  path_.resize(std::size_t(*shared));
  path_ += rest_.substr(0, std::size_t(*rest));
  rest_.remove_prefix(std::size_t(*rest));
  row_.path = path_;
  const auto size = take_short(rest_);
  if (!size) return false;
  row_.size = *size;
  for (std::size_t i = 0; i < std::size(common_banks); ++i)
    if ((head & (4U << i)) != 0 && !take(common_banks[i], digest_size(common_banks[i]))) return false;
  if ((head & other_algorithms) == 0) return true;
  const auto others = take_short(rest_);
  if (!others) return false;
  for (std::uint64_t i = 0; i < *others; ++i) {
    if (rest_.size() < 3) return false;
    const auto algorithm = hash_algorithm(number<std::uint16_t>(rest_));
    if (!algorithm || !take(*algorithm, number<std::uint8_t>(rest_))) return false;
  }
  // In the order of their numbers, as they were taken in; each algorithm once.
  const auto all = std::span(row_.contents).first(row_.digests);
  std::ranges::sort(all, {}, &FileRow::Content::algorithm);
  return std::ranges::adjacent_find(all, {}, &FileRow::Content::algorithm) == all.end();
}

}  // namespace gatehouse::refdb
