#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/descriptor.h"

namespace gatehouse {

Result<ByteVector> read_file(const std::string& path, std::size_t limit) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!file) return fail_errno("can't open", path);
  struct stat st {};
  if (::fstat(file.get(), &st) != 0) return fail_errno("can't stat", path);
  if (S_ISDIR(st.st_mode)) return fail(Error{Fault::environment, "is a directory", {}, 0, path, {}});
  ByteVector out;
  if (st.st_size > 0) {
    if (std::size_t(st.st_size) > limit) return fail(Error{Fault::limit, "file larger than allowed", {}, limit, path, {}});
    out.reserve(std::size_t(st.st_size) + 1);
  }
  for (;;) {
    const std::size_t have = out.size();
    // What is reserved is read first: a vector that grows doubles, and a file is held once.
    const std::size_t step = out.capacity() > have ? out.capacity() - have : 65536;
    out.resize(have + step);
    const ssize_t n = ::read(file.get(), out.data() + have, step);
    if (n < 0 && errno == EINTR) {
      out.resize(have);
      continue;
    }
    if (n < 0) return fail_errno("can't read", path);
    out.resize(have + std::size_t(n));
    if (n == 0) return out;
    if (out.size() > limit) return fail(Error{Fault::limit, "file larger than allowed", {}, limit, path, {}});
  }
}

Result<void> write_file_atomically(const std::string& path, Bytes content, unsigned mode) {
  const std::string beside = path + ".new";
  {
    const Descriptor file{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)};
    if (!file) return fail_errno("can't create", beside);
    const auto give_up = [&](std::string_view why) {
      const auto error = fail_errno(why, beside);
      ::unlink(beside.c_str());
      return error;
    };
    while (!content.empty()) {
      const ssize_t n = ::write(file.get(), content.data(), content.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return give_up("can't write");
      content = content.subspan(std::size_t(n));
    }
    if (::fsync(file.get()) != 0) return give_up("can't sync");
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    const auto error = fail_errno("can't rename", beside);
    ::unlink(beside.c_str());
    return error;
  }
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  const Descriptor directory{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory) ::fsync(directory.get());
  return {};
}

}  // namespace gatehouse
