#include "refdb/store/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "refdb/store/file_rows.h"
#include "refdb/store/rows.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view format_line = "gatehouse refdb staging 2\n";
constexpr std::size_t head_size = 4 + 32 + 4;  // size of what follows it, SHA-256 of the package, its size

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
  return out;
}

bool decode(std::string_view v, StagedPackage& p) {
  if (!take_layer(v, p.layer)) return false;
  for (std::string* s : {&p.name, &p.version, &p.architecture, &p.source}) *s = take_text(v);
  if (v.size() != 64 + 34 + 2 && v.size() != 64 + 34 + 2 + 32) return false;
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
  if (!v.empty() || (stamp.size() != 0 && stamp.size() != 32)) return false;
  p.stamp = Digest(as_bytes(stamp));
  return true;
}

std::string path_in(const std::string& store) { return store + "/staging"; }

// The rows give the package's contents: its digest, and its files' number and size.
bool verified(const StagedPackage& package, std::string_view rows) {
  ContentHasher content(package);
  FileReader files(rows);
  std::uint32_t count = 0, further = 0;
  std::uint64_t bytes = 0;
  std::string last;
  while (!files.done()) {
    const FileRow* const row = files.next();
    if (row == nullptr || row->package != 0) return false;  // which package it is comes later
    row->append_logical(content.text());
    content.flush_if_long();
    const bool is_further = count++ != 0 && row->path == last;
    further += is_further;
    bytes += is_further ? 0 : row->size;
    last = row->path;
  }
  // The others that don't count are scripts, which look like files.
  return count == package.files && further <= package.uncounted && package.uncounted <= count &&
         bytes == package.bytes && content.finish() == package.content;
}

}  // namespace

ContentHasher::ContentHasher(const StagedPackage& p) {
  const std::string layer(refdb::name(p.layer.layer));
  for (const std::string* s : {&p.layer.product, &layer, &p.name, &p.version, &p.architecture}) (text_ += *s) += '\0';
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
  std::string rows;
  for (;;) {
    head.resize(4);
    if (!has(head, end_)) break;
    std::string_view v = head;
    Place place{end_, number<std::uint32_t>(v)};
    if (place.size < head_size - 4 || place.size > size - end_ - 4) break;
    auto package = read(place, rows);
    if (!package || !verified(*package, rows)) break;
    place.files = package->files;
    place.uncounted = package->uncounted;
    found_.emplace_back(place, *std::move(package));
    end_ += 4 + place.size;
  }
  // What follows the last whole package is written over, or away.
  if (::ftruncate(fd_.get(), off_t(end_)) != 0) return fail_errno("can't write what is staged", path_);
  return {};
}

Result<void> Staging::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(fd_.get(), bytes.data(), bytes.size(), off_t(end_));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return broken(fail_errno("can't write what is staged", path_));
    bytes.remove_prefix(std::size_t(n));
    end_ += std::uint64_t(n);
  }
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

Result<Staging::Place> Staging::append(const StagedPackage& package, std::string_view rows) {
  GH_CHECK(check_whole());
  const std::string described = encode(package);
  const std::size_t size = head_size - 4 + described.size() + rows.size();
  if (size > UINT32_MAX) return fail(Error{Fault::limit, "the package is too large", {}, 0, package.source, {}});
  if (!fd_) GH_CHECK(create());
  std::string head;
  put(head, std::uint32_t(size));
  head += as_text(digest_of(HashAlgorithm::sha256, as_bytes(described)).view());
  put(head, std::uint32_t(described.size()));
  head += described;
  const Place place{end_, std::uint32_t(size), package.files, package.uncounted};
  GH_CHECK(write(head));
  GH_CHECK(write(rows));
  return place;
}

Result<StagedPackage> Staging::read(const Place& place, std::string& rows) const {
  const auto damaged = [&] { return store_error("what was staged is damaged", path_, std::string()); };
  rows.resize(place.size);
  for (std::size_t got = 0; got < rows.size();) {
    const ssize_t n = ::pread(fd_.get(), rows.data() + got, rows.size() - got, off_t(place.offset + 4 + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("can't read what was staged", path_);
    if (n == 0) return damaged();
    got += std::size_t(n);
  }
  if (rows.size() < head_size - 4) return damaged();
  std::string_view v = rows;
  const std::string_view digest = v.substr(0, 32);
  v.remove_prefix(32);
  const auto described_size = number<std::uint32_t>(v);
  if (described_size > v.size()) return damaged();
  const std::string_view described = v.substr(0, described_size);
  StagedPackage out;
  if (as_text(digest_of(HashAlgorithm::sha256, as_bytes(described)).view()) != digest || !decode(described, out))
    return damaged();
  rows.erase(0, head_size - 4 + described_size);
  return out;
}

}  // namespace gatehouse::refdb
