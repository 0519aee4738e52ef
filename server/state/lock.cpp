#include "server/state/lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "server/state/state.h"

namespace gatehouse::server {

Result<DirectoryLock> DirectoryLock::take(const std::string& directory, std::chrono::milliseconds wait) {
  const std::string file = directory + "/lock";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail_errno("can't open the lock", file);
  DirectoryLock lock(fd);
  const auto deadline = std::chrono::steady_clock::now() + wait;
  // flock has no timeout; who holds the lock for a moment is a command, so looking again is enough.
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return fail_errno("can't lock", file);
    if (std::chrono::steady_clock::now() >= deadline) {
      const auto holder = state_holder(directory);
      return fail(Error{Fault::environment, held_elsewhere, {}, 0, directory,
                        holder && holder->process != 0 ? "process " + std::to_string(holder->process) : std::string()});
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  GH_CHECK(lock.describe({}));
  return lock;
}

DirectoryLock::~DirectoryLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> DirectoryLock::describe(const std::string& socket) {
  const std::string text = std::to_string(::getpid()) + "\n" + socket + "\n";
  if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, text.data(), text.size(), 0) != ssize_t(text.size()))
    return fail_errno("can't write", "lock");
  return {};
}

Result<Holder> state_holder(const std::string& path) {
  GH_TRY(const ByteVector content, read_file(path + "/lock", 8192));
  const std::string_view text = as_text(content);
  Holder out;
  const std::size_t line = text.find('\n');
  if (line == std::string_view::npos) return out;
  std::from_chars(text.data(), text.data() + line, out.process);
  std::string_view rest = text.substr(line + 1);
  out.socket = rest.substr(0, rest.find('\n'));
  return out;
}

}  // namespace gatehouse::server
