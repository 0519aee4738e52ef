// Publishes two packages into a store and dies before the n-th call that changes a file: the process that crash_test
// starts. Prints how many calls there were when it lives to its end.
//   store_writer STORE N        N = 0: to the end
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "tests/refdb/support.h"

namespace {

std::atomic<long> calls{0}, die_at{0};

void step() {
  if (++calls == die_at) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
}

template <class... Arguments>
long changing(long number, Arguments... arguments) {
  step();
  return ::syscall(number, arguments...);
}

}  // namespace

// In place of the C library's, for RocksDB and the C++ library too.
extern "C" {
ssize_t write(int fd, const void* data, size_t n) { return changing(SYS_write, fd, data, n); }
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) { return changing(SYS_pwrite64, fd, data, n, at); }
ssize_t pwrite64(int fd, const void* data, size_t n, off64_t at) { return changing(SYS_pwrite64, fd, data, n, at); }
ssize_t sendfile(int out, int in, off_t* at, size_t n) { return changing(SYS_sendfile, out, in, at, n); }
ssize_t sendfile64(int out, int in, off64_t* at, size_t n) { return changing(SYS_sendfile, out, in, at, n); }
// A kill loses nothing that was written, synced or not.
int fsync(int) { return step(), 0; }
int fdatasync(int) { return step(), 0; }
int ftruncate(int fd, off_t n) noexcept { return int(changing(SYS_ftruncate, fd, n)); }
int ftruncate64(int fd, off64_t n) noexcept { return int(changing(SYS_ftruncate, fd, n)); }
int rename(const char* from, const char* to) noexcept { return int(changing(SYS_rename, from, to)); }
int link(const char* from, const char* to) noexcept { return int(changing(SYS_link, from, to)); }
int unlink(const char* path) noexcept { return int(changing(SYS_unlink, path)); }
int unlinkat(int fd, const char* path, int flags) noexcept { return int(changing(SYS_unlinkat, fd, path, flags)); }
int rmdir(const char* path) noexcept { return int(changing(SYS_rmdir, path)); }
int mkdir(const char* path, mode_t mode) noexcept { return int(changing(SYS_mkdir, path, mode)); }
}

int main(int argc, char** argv) {
  using namespace gatehouse::refdb;
  if (argc != 3) return 2;
  die_at = std::atol(argv[2]);
  const auto published =
      publish(argv[1], {package("Debian 12 x86_64", "a", "2", {{"/usr/bin/a", "new a"}, {"/usr/bin/b", "new b"}}),
                        package("Debian 12 x86_64", "c", "1", {{"/usr/bin/c", "c"}})});
  const long needed = calls;
  if (!published) {
    std::fprintf(stderr, "%s\n", published.error().text().c_str());
    return 4;
  }
  std::printf("%ld\n", needed);
  return 0;
}
