#include "refdb/store/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "refdb/store/rows.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view format_line = "gatehouse refdb staging 3\n";
constexpr std::size_t size_bytes = 8;      // of what follows it
constexpr std::size_t head_size = 32 + 4;  // SHA-256 of the description, its size
// Six texts of 65,535 bytes, and what there is of fixed size.
constexpr std::size_t most_described_bytes = 6 * (std::size_t(65'535) + 2) + 256;
constexpr std::size_t block_head_size = 4;  // the size of a block's rows

std::string encode(const StagedPackage& p) {
  std::string out;
  put_layer(out, p.layer);
  for (const std::string* s : {&p.name, &p.version, &p.architecture, &p.source}) put_text(out, *s);
  out += as_text(p.identity.view());
  out += as_text(p.content.view());
  put(out, std::uint8_t(p.format));
  put(out, std::uint64_t(p.ingested));
  put(out, std::uint64_t(p.first_seen));
  put(out, p.algorithms);
  put(out, p.files);
  put(out, p.uncounted);
  put(out, p.bytes);
  put_text(out, as_text(p.stamp.view()));
  put_text(out, p.diversions);
  return out;
}

bool decode(std::string_view v, StagedPackage& p) {
  if (!take_layer(v, p.layer)) return false;
  for (std::string* s : {&p.name, &p.version, &p.architecture, &p.source}) *s = take_text(v);
  if (v.size() < 64 + 34 + 2 + 2) return false;
  p.identity = Digest(as_bytes(v.substr(0, 32)));
  p.content = Digest(as_bytes(v.substr(32, 32)));
  v.remove_prefix(64);
  if (!take_format(v, p.format)) return false;
  p.ingested = std::int64_t(number<std::uint64_t>(v));
  p.first_seen = std::int64_t(number<std::uint64_t>(v));
  p.algorithms = number<std::uint8_t>(v);
  p.files = number<std::uint32_t>(v);
  p.uncounted = number<std::uint32_t>(v);
  p.bytes = number<std::uint64_t>(v);
  const std::string_view stamp = take_text(v);
  p.diversions = take_text(v);
  if (!v.empty() || (stamp.size() != 0 && stamp.size() != 32)) return false;
  p.stamp = Digest(as_bytes(stamp));
  return true;
}

std::string path_in(const std::string& store) { return store + "/staging"; }

}  // namespace

ContentHasher::ContentHasher(const StagedPackage& p) {
  const std::string layer(refdb::name(p.layer.layer));
  for (const std::string* s : {&p.layer.product, &layer, &p.name, &p.version, &p.architecture}) (text_ += *s) += '\0';
  if (!p.diversions.empty()) ((text_ += "diverts") += '\0') += p.diversions;
}

void Staging::remove(const std::string& store) {
  std::error_code ignored;
  std::filesystem::remove(path_in(store), ignored);
}

Result<Staging> Staging::open(const std::string& store, std::uint64_t base) {
  Staging out(path_in(store));
  out.base_ = base;
  out.fd_ = Descriptor(::open(out.path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!out.fd_ && errno != ENOENT) return fail_errno("can't read what was staged", out.path_);
  if (out.fd_) GH_CHECK(out.load());
  return out;
}

Result<void> Staging::load() {
  struct stat st {};
  if (::fstat(fd_.get(), &st) != 0) return fail_errno("can't read what was staged", path_);
  const auto size = std::uint64_t(st.st_size);
  std::string head(format_line.size() + 8, '\0');
  const auto has = [&](std::string& out, std::uint64_t at) {
    return out.size() <= size && at <= size - out.size() &&
           ::pread(fd_.get(), out.data(), out.size(), off_t(at)) == ssize_t(out.size());
  };
  std::string expected(format_line);
  put(expected, base_);
  if (!has(head, 0) || head != expected) {
    fd_ = Descriptor();
    if (::unlink(path_.c_str()) != 0) return fail_errno("can't remove what was staged", path_);
    return {};
  }
  end_ = head.size();
  for (;;) {
    head.resize(size_bytes);
    if (!has(head, end_)) break;
    std::string_view v = head;
    Place place{end_, number<std::uint64_t>(v)};
    if (place.size < head_size || place.size > size - end_ - size_bytes) break;
    auto described = read(place);
    if (!described || !verified(place, described->first, described->second)) break;
    place.files = described->first.files;
    place.uncounted = described->first.uncounted;
    found_.emplace_back(place, std::move(described->first));
    end_ += size_bytes + place.size;
  }
  // What follows the last whole package is written over, or away.
  if (::ftruncate(fd_.get(), off_t(end_)) != 0) return fail_errno("can't write what is staged", path_);
  return {};
}

Result<void> Staging::write(std::string_view bytes) {
  if (auto written = write_at(fd_, bytes, end_, path_); !written)
    return broken(std::unexpected(std::move(written).error()));
  end_ += bytes.size();
  return {};
}

Result<void> Staging::create() {
  fd_ = Descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!fd_) return broken(fail_errno("can't write what is staged", path_));
  std::string head(format_line);
  put(head, base_);
  return write(head);
}

// Whoever asks later is told why, too: the source whose package it was may be one of many.
std::unexpected<Error> Staging::broken(std::unexpected<Error> error) {
  broken_ = error.error();
  return error;
}

Result<void> Staging::check_whole() const {
  if (broken_) return fail(*broken_);
  return {};
}

Result<Staging::Place> Staging::append(const StagedPackage& package, StagedRows& rows) {
  GH_CHECK(check_whole());
  const std::string described = encode(package);
  if (!fd_) GH_CHECK(create());
  const Place place{end_, head_size + described.size() + rows.finish(), package.files, package.uncounted};
  std::string head;
  put(head, place.size);
  head += as_text(digest_of(HashAlgorithm::sha256, as_bytes(described)).view());
  put(head, std::uint32_t(described.size()));
  head += described;
  GH_CHECK(write(head));
  if (auto written = rows.each_part([&](std::string_view part) { return write(part); }); !written)
    return broken(std::unexpected(std::move(written).error()));
  return place;
}

std::unexpected<Error> Staging::damaged() const {
  return store_error("what was staged is damaged", path_, std::string());
}

Result<void> Staging::read_at(std::uint64_t at, std::string& out) const {
  for (std::size_t got = 0; got < out.size();) {
    const ssize_t n = ::pread(fd_.get(), out.data() + got, out.size() - got, off_t(at + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("can't read what was staged", path_);
    if (n == 0) return damaged();
    got += std::size_t(n);
  }
  return {};
}

Result<std::pair<StagedPackage, std::uint64_t>> Staging::read(const Place& place) const {
  const std::uint64_t at = place.offset + size_bytes;
  // Most descriptions are short.
  std::string head(std::size_t(std::min<std::uint64_t>(place.size, 512)), '\0');
  GH_CHECK(read_at(at, head));
  std::string_view v = head;
  const std::string digest(v.substr(0, 32));
  v.remove_prefix(32);
  const std::size_t size = number<std::uint32_t>(v);
  if (size > most_described_bytes || size > place.size - head_size) return damaged();
  if (size > v.size()) {
    head.resize(head_size + size);
    GH_CHECK(read_at(at, head));
  }
  const std::string_view described = std::string_view(head).substr(head_size, size);
  StagedPackage out;
  if (as_text(digest_of(HashAlgorithm::sha256, as_bytes(described)).view()) != digest || !decode(described, out))
    return damaged();
  return std::pair(std::move(out), at + head_size + size);
}

Result<std::uint64_t> Staging::skip_block(const Place& place, std::uint64_t at) const {
  const std::uint64_t end = place.offset + size_bytes + place.size;
  std::string head(block_head_size, '\0');
  if (end - at < block_head_size) return damaged();
  GH_CHECK(read_at(at, head));
  std::string_view v = head;
  const std::uint64_t size = number<std::uint32_t>(v);
  if (size > end - at - block_head_size) return damaged();
  return at + block_head_size + size;
}

Result<std::uint64_t> Staging::read_block(const Place& place, std::uint64_t at, std::string& rows) const {
  GH_TRY(const std::uint64_t next, skip_block(place, at));
  rows.resize(std::size_t(next - at - block_head_size));
  GH_CHECK(read_at(at + block_head_size, rows));
  return next;
}

// The rows give the package's contents: its digest, and its files' number and size.
bool Staging::verified(const Place& place, const StagedPackage& package, std::uint64_t block) const {
  ContentHasher content(package);
  std::uint32_t count = 0, further = 0;
  std::uint64_t bytes = 0;
  std::string rows, last;
  for (const std::uint64_t end = place.offset + size_bytes + place.size; block != end;) {
    // All but the last have as many as they may.
    if (count % files_a_block != 0) return false;
    const auto next = read_block(place, block, rows);
    if (!next || rows.empty()) return false;
    block = *next;
    const std::uint32_t before = count;
    for (FileReader files(rows); !files.done(); ++count) {
      const FileRow* const row = files.next();
      if (row == nullptr || row->package != 0) return false;  // which package it is comes later
      if (count - before == files_a_block) return false;
      row->append_logical(content.text());
      content.flush_if_long();
      const bool is_further = count != 0 && row->path == last;
      further += is_further;
      bytes += is_further ? 0 : row->size;
      last = row->path;
    }
  }
  // The others that don't count are scripts, which look like files.
  return count == package.files && further <= package.uncounted && package.uncounted <= count &&
         bytes == package.bytes && content.finish() == package.content;
}

Result<Descriptor> unnamed_file(const std::string& folder) {
  Descriptor out(::open(folder.c_str(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (out) return out;
  if (errno != EOPNOTSUPP && errno != EISDIR) return fail_errno("can't write beside the references", folder);
  std::string path = folder + "/XXXXXX";
  out = Descriptor(::mkostemp(path.data(), O_CLOEXEC));
  if (!out) return fail_errno("can't write beside the references", folder);
  ::unlink(path.c_str());
  return out;
}

Result<void> write_at(const Descriptor& fd, std::string_view bytes, std::uint64_t at, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd.get(), bytes.data(), bytes.size(), off_t(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail_errno("can't write what is staged", path);
    bytes.remove_prefix(std::size_t(n));
    at += std::uint64_t(n);
  }
  return {};
}

Result<bool> StagedRows::append(const FileRow& row) {
  if (files_ == files_a_block) {
    end_block();
    if (rows_.size() >= most_in_memory) {
      if (!fd_) {
        GH_TRY(fd_, unnamed_file(folder_));
      }
      GH_CHECK(write_at(fd_, rows_, in_file_, folder_));
      in_file_ += rows_.size();
      rows_.clear();
    }
  }
  bool in_order = true;
  if (files_ == 0) {
    block_ = rows_.size();
    rows_.append(block_head_size, '\0');
    in_order = last_before_.empty() || last_before_ < row.path;
    writer_.restart();
  }
  in_order = writer_.append(rows_, row) && in_order;
  if (++files_ == files_a_block) last_before_ = row.path;
  return in_order;
}

void StagedRows::end_block() {
  const std::size_t size = rows_.size() - block_ - block_head_size;
  for (std::size_t i = 0; i < block_head_size; ++i)
    rows_[block_ + i] = char(size >> 8 * (block_head_size - 1 - i) & 0xFF);
  files_ = 0;
}

void StagedRows::clear() {
  rows_.clear();
  last_before_.clear();
  files_ = 0;
  in_file_ = 0;
}

std::uint64_t StagedRows::finish() {
  if (files_ != 0) end_block();
  return in_file_ + rows_.size();
}

Result<void> StagedRows::each_part(const std::function<Result<void>(std::string_view)>& use) const {
  std::string part;
  for (std::uint64_t at = 0; at < in_file_; at += part.size()) {
    part.resize(std::size_t(std::min<std::uint64_t>(in_file_ - at, std::uint64_t(1) << 20)));
    for (std::size_t got = 0; got < part.size();) {
      const ssize_t n = ::pread(fd_.get(), part.data() + got, part.size() - got, off_t(at + got));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail_errno("can't read what is to be staged", folder_);
      got += std::size_t(n);
    }
    GH_CHECK(use(part));
  }
  return use(rows_);
}

}  // namespace gatehouse::refdb
