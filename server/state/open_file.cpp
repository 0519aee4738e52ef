#include "server/state/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::server {
namespace {

// The file is units of 512 bytes. The first begins with this line and 16 random bytes. An entry begins with its size (4, big-
// endian; 0: none) and the first 16 bytes of SHA-256 of the random bytes, its place (8) and its record, which follows and may
// fill more units.
constexpr std::string_view document = "docs/formats/state.md", first_line = "gatehouse-open 1\n";
constexpr std::size_t unit = 512, check_size = 16, head_size = sizeof(std::uint32_t) + check_size;
constexpr std::size_t largest_file = std::size_t(1) << 30;

std::uint32_t units_of(std::size_t record) { return std::uint32_t((head_size + record + unit - 1) / unit); }

void append_check(Writer& w, Bytes id, std::uint64_t place, Bytes record) {
  Writer where;
  where.put(place);
  thread_local Hasher hasher(HashAlgorithm::sha256);
  const Bytes pieces[] = {id, where.view(), record};
  w.put_bytes(hasher(pieces).view().first(check_size));
}

bool write_at(int fd, std::string_view bytes, std::uint64_t place) {
  while (!bytes.empty()) {
    const ssize_t done = ::pwrite(fd, bytes.data(), bytes.size(), off_t(place));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes.remove_prefix(std::size_t(done));
    place += std::uint64_t(done);
  }
  return true;
}

}  // namespace

OpenFile::~OpenFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::vector<std::string>> OpenFile::read(const std::string& path) {
  std::vector<std::string> out;
  struct stat facts{};
  if (::stat(path.c_str(), &facts) != 0 && errno == ENOENT) return out;
  GH_TRY(const ByteVector content, read_file(path, largest_file));
  const Bytes all(content);
  if (all.size() < first_line.size() + check_size || as_text(all.first(first_line.size())) != first_line) return out;
  const Bytes id = all.subspan(first_line.size(), check_size);
  for (std::size_t place = unit; place < all.size();) {
    Reader r(all.subspan(place), document);
    place += unit;
    const auto size = r.get<std::uint32_t>();
    if (!size || *size == 0) continue;
    const auto check = r.take(check_size);
    const auto record = check ? r.take(*size) : check;
    if (!record) continue;
    Writer right;
    append_check(right, id, place - unit, *record);
    if (!equal(right.view(), *check)) continue;
    out.emplace_back(as_text(*record));
    place += (units_of(*size) - 1) * unit;
  }
  return out;
}

Result<void> OpenFile::begin(const std::string& path) {
  path_ = path;
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd_ < 0 || ::ftruncate(fd_, 0) != 0) return fail_errno("can't be written", path);
  fill_random(id_);
  if (!write_at(fd_, std::string(first_line).append(as_text(id_)), 0)) return fail_errno("can't be written", path);
  end_ = unit;
  return {};
}

Result<std::uint64_t> OpenFile::add(std::string_view record) {
  const std::uint32_t units = units_of(record.size());
  std::vector<std::uint64_t>& free = free_[units];
  const std::uint64_t place = free.empty() ? end_ : free.back();
  Writer head;
  head.put(std::uint32_t(record.size()));
  append_check(head, id_, place, as_bytes(record));
  buffer_.assign(as_text(head.view())).append(record);
  if (!write_at(fd_, buffer_, place)) return fail_errno("state can't be written", path_);
  if (free.empty())
    end_ += units * unit;
  else
    free.pop_back();
  taken_.emplace(place, units);
  return place;
}

// Where it can't be written, the result that was recorded says that the session has ended.
void OpenFile::remove(std::uint64_t place) {
  const auto at = taken_.find(place);
  if (at == taken_.end()) return;
  (void)write_at(fd_, std::string_view("\0\0\0\0", sizeof(std::uint32_t)), place);
  free_[at->second].push_back(place);
  taken_.erase(at);
}

Result<ByteVector> OpenFile::copy_of(const std::string& path) { return read_file(path, largest_file); }

}  // namespace gatehouse::server
