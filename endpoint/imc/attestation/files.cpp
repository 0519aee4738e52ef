#include "endpoint/imc/attestation/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>

#include "base/descriptor.h"

namespace gatehouse::endpoint {
namespace {

FileFault fault_of(int error) {
  return error == ENOENT || error == ENOTDIR ? FileFault::not_found : FileFault::invalid_path;
}

bool acceptable(const std::string& path) {
  return !path.empty() && path.front() == '/' && path.size() < 4096 && path.find('\0') == std::string::npos;
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path == "/" ? path : path.substr(path.find_last_of('/') + 1);
}

struct CloseDirectory {
  void operator()(DIR* d) const { ::closedir(d); }
};

// Names in a directory, sorted. Part of a directory would be taken for all of it, so it is all or nothing.
std::expected<std::vector<std::string>, FileFault> names_in(const std::string& path, FileBudget& budget) {
  const std::unique_ptr<DIR, CloseDirectory> stream(::opendir(path.c_str()));
  if (!stream) return std::unexpected(fault_of(errno));
  std::vector<std::string> out;
  std::size_t count = 0;
  while (const dirent* const child = ::readdir(stream.get())) {
    if (++count > LocalFiles::max_names || budget.names == 0) return std::unexpected(FileFault::limit);
    --budget.names;
    if (child->d_name[0] != '.') out.emplace_back(child->d_name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_made_up(int fd) {
  constexpr std::uint32_t kinds[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC,         DEBUGFS_MAGIC,       TRACEFS_MAGIC,
                                     SECURITYFS_MAGIC, CGROUP_SUPER_MAGIC,  CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC,
                                     SELINUX_MAGIC,    SMACK_MAGIC,         BINFMTFS_MAGIC,      PSTOREFS_MAGIC,
                                     EFIVARFS_MAGIC,   NSFS_MAGIC};
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0) return true;
  return std::find(std::begin(kinds), std::end(kinds), std::uint32_t(system.f_type)) != std::end(kinds);
}

std::expected<Digest, FileFault> measure_file(const std::string& path, Hasher& hasher, FileBudget& budget) {
  // To open a device can be an act by itself: what it is, is known before it is opened for reading.
  const Descriptor named(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!named) return std::unexpected(fault_of(errno));
  struct stat status {};
  if (::fstat(named.get(), &status) != 0 || !S_ISREG(status.st_mode) || is_made_up(named.get()))
    return std::unexpected(FileFault::invalid_path);
  const std::string same = "/proc/self/fd/" + std::to_string(named.get());
  const Descriptor file(::open(same.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!file) return std::unexpected(FileFault::invalid_path);
  std::array<std::byte, 65'536> piece;
  hasher.start();
  for (std::uint64_t total = 0;;) {
    const ssize_t n = ::read(file.get(), piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::unexpected(FileFault::invalid_path);
    if (n == 0) return hasher.finish();
    total += std::uint64_t(n);
    if (std::uint64_t(n) > budget.bytes) return std::unexpected(FileFault::limit);
    if (total > LocalFiles::max_file_bytes) return std::unexpected(FileFault::invalid_path);
    budget.bytes -= std::uint64_t(n);
    hasher.update(Bytes(piece).first(std::size_t(n)));
  }
}

// A file asked for by itself.
bool take_name(FileBudget& budget) {
  if (budget.names == 0) return false;
  --budget.names;
  return true;
}

pts::FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFIFO:
      return pts::FileType::fifo;
    case S_IFCHR:
      return pts::FileType::character_device;
    case S_IFDIR:
      return pts::FileType::directory;
    case S_IFBLK:
      return pts::FileType::block_device;
    case S_IFREG:
      return pts::FileType::regular;
    case S_IFLNK:
      return pts::FileType::symlink;
    case S_IFSOCK:
      return pts::FileType::socket;
    default:
      return pts::FileType::other;
  }
}

std::expected<pts::FileMetadata, FileFault> describe_file(const std::string& path) {
  struct stat s {};
  if (::lstat(path.c_str(), &s) != 0) return std::unexpected(fault_of(errno));
  const auto since_1970 = [](const timespec& t) { return std::uint64_t(std::max<std::int64_t>(t.tv_sec, 0)); };
  pts::FileMetadata out;
  out.type = type_of(s.st_mode);
  out.size = std::uint64_t(s.st_size);
  out.created = since_1970(s.st_ctim);  // as strongSwan's client
  out.modified = since_1970(s.st_mtim);
  out.accessed = since_1970(s.st_atim);
  out.owner = s.st_uid;
  out.group = s.st_gid;
  return out;
}

}  // namespace

std::expected<std::vector<MeasuredFile>, FileFault> LocalFiles::measure(const std::string& path, bool directory,
                                                                        HashAlgorithm algorithm, FileBudget& budget) {
  if (!acceptable(path)) return std::unexpected(FileFault::invalid_path);
  Hasher hasher(algorithm);
  std::vector<MeasuredFile> out;
  if (!directory) {
    if (!take_name(budget)) return std::unexpected(FileFault::limit);
    const auto digest = measure_file(path, hasher, budget);
    if (!digest) return std::unexpected(digest.error());
    out.push_back({base_name(path), *digest});
    return out;
  }
  const auto names = names_in(path, budget);
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names) {
    const auto digest = measure_file(path + "/" + name, hasher, budget);
    if (digest) out.push_back({name, *digest});
    if (!digest && digest.error() == FileFault::limit) return std::unexpected(FileFault::limit);
  }
  return out;
}

std::expected<std::vector<DescribedFile>, FileFault> LocalFiles::describe(const std::string& path, bool directory,
                                                                          FileBudget& budget) {
  if (!acceptable(path)) return std::unexpected(FileFault::invalid_path);
  std::vector<DescribedFile> out;
  if (!directory) {
    if (!take_name(budget)) return std::unexpected(FileFault::limit);
    const auto metadata = describe_file(path);
    if (!metadata) return std::unexpected(metadata.error());
    out.push_back({base_name(path), *metadata});
    return out;
  }
  const auto names = names_in(path, budget);
  if (!names) return std::unexpected(names.error());
  for (const std::string& name : *names)
    if (const auto metadata = describe_file(path + "/" + name)) out.push_back({name, *metadata});
  return out;
}

}  // namespace gatehouse::endpoint
