#include "endpoint/imc/os/settings.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/descriptor.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view folders[] = {"etc", "proc", "sys", "var"};

// The file at a path without symbolic links, opened step by step: a link that somebody puts in the way after the path
// was resolved isn't followed.
std::optional<Descriptor> open_public(const std::string& root, const std::filesystem::path& path) {
  Descriptor at(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (auto part = path.begin(); at && part != path.end(); ++part) {
    const bool last = std::next(part) == path.end();
    const int flags = last ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH | O_DIRECTORY;
    struct stat status {};
    if (::fstatat(at.get(), part->c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
    if (last ? !S_ISREG(status.st_mode) : !S_ISDIR(status.st_mode)) return std::nullopt;
    at = Descriptor(::openat(at.get(), part->c_str(), flags | O_NOFOLLOW | O_CLOEXEC));
    if (!at || ::fstat(at.get(), &status) != 0) return std::nullopt;
    if (last ? !S_ISREG(status.st_mode) || (status.st_mode & S_IROTH) == 0 : (status.st_mode & S_IXOTH) == 0)
      return std::nullopt;
  }
  if (!at) return std::nullopt;
  return at;
}

}  // namespace

std::optional<ByteVector> read_setting(std::string_view name, const std::string& root) {
  if (name.empty() || name.front() != '/' || name.find('\0') != std::string_view::npos) return std::nullopt;
  std::error_code code;
  const auto base = std::filesystem::canonical(root, code);
  if (code) return std::nullopt;
  const auto real = std::filesystem::canonical(root + "/" + std::string(name), code);
  if (code) return std::nullopt;
  const auto inside = real.lexically_relative(base);
  if (inside.empty() ||
      std::find(std::begin(folders), std::end(folders), inside.begin()->string()) == std::end(folders))
    return std::nullopt;
  const auto file = open_public(base.string(), inside);
  if (!file) return std::nullopt;
  ByteVector out(max_setting_bytes);
  std::size_t got = 0;
  while (got < out.size()) {
    const ssize_t n = ::read(file->get(), out.data() + got, out.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return std::nullopt;
    if (n == 0) break;
    got += std::size_t(n);
  }
  out.resize(got);
  return out;
}

}  // namespace gatehouse::endpoint
