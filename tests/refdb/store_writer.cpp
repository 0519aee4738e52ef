// Publishes two packages into a store, or takes an export, and dies before the n-th call that changes a file: the
// process that crash_test starts. Prints a letter for each package when it has it, "a" for one that was added, "r" for
// one that an earlier process left, "k" for one that is known; then how many calls there were, when it lives to its
// end.
//   store_writer STORE N [EXPORT KEY]        N = 0: to the end; N < 0: the disk is full from the -N-th call on
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "refdb/store/transfer.h"
#include "tests/refdb/support.h"

namespace {

std::atomic<long> calls{0}, die_at{0};

// Whether there is no room any more.
bool step() {
  const long n = ++calls;
  if (n == die_at) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();
  }
  return die_at < 0 && n >= -die_at;
}

template <class... Arguments>
long changing(long number, Arguments... arguments) {
  step();
  return ::syscall(number, arguments...);
}
// What needs room on the disk.
template <class... Arguments>
long taking(long number, Arguments... arguments) {
  if (step()) return errno = ENOSPC, -1;
  return ::syscall(number, arguments...);
}

}  // namespace

// In place of the C library's, for RocksDB and the C++ library too.
extern "C" {
ssize_t write(int fd, const void* data, size_t n) { return taking(SYS_write, fd, data, n); }
ssize_t pwrite(int fd, const void* data, size_t n, off_t at) { return taking(SYS_pwrite64, fd, data, n, at); }
ssize_t pwrite64(int fd, const void* data, size_t n, off64_t at) { return taking(SYS_pwrite64, fd, data, n, at); }
ssize_t sendfile(int out, int in, off_t* at, size_t n) { return taking(SYS_sendfile, out, in, at, n); }
ssize_t sendfile64(int out, int in, off64_t* at, size_t n) { return taking(SYS_sendfile, out, in, at, n); }
// A kill loses nothing that was written, synced or not.
int fsync(int) { return step(), 0; }
int fdatasync(int) { return step(), 0; }
int ftruncate(int fd, off_t n) noexcept { return int(changing(SYS_ftruncate, fd, n)); }
int ftruncate64(int fd, off64_t n) noexcept { return int(changing(SYS_ftruncate, fd, n)); }
int rename(const char* from, const char* to) noexcept { return int(taking(SYS_rename, from, to)); }
int link(const char* from, const char* to) noexcept { return int(taking(SYS_link, from, to)); }
int unlink(const char* path) noexcept { return int(changing(SYS_unlink, path)); }
int unlinkat(int fd, const char* path, int flags) noexcept { return int(changing(SYS_unlinkat, fd, path, flags)); }
int rmdir(const char* path) noexcept { return int(changing(SYS_rmdir, path)); }
int mkdir(const char* path, mode_t mode) noexcept { return int(taking(SYS_mkdir, path, mode)); }
}

namespace gatehouse::refdb {
namespace {

// Past the counted call: what is said is no change of the store.
void say(char letter) { ::syscall(SYS_write, STDOUT_FILENO, &letter, 1); }

ReferencePackage with_identity(ReferencePackage p) {
  p.identity = digest_of(HashAlgorithm::sha256, as_bytes(p.name + p.version));
  return p;
}

Result<void> run(const std::string& store) {
  const std::string product = "Debian 12 x86_64";
  GH_TRY(Builder builder, Builder::open(store));
  for (ReferencePackage& p :
       std::vector{with_identity(package(product, "a", "2", {{"/usr/bin/a", "new a"}, {"/usr/bin/b", "new b"}})),
                   with_identity(package(product, "c", "1", {{"/usr/bin/c", "c"}}))}) {
    std::vector<HashAlgorithm> all(std::begin(common_banks), std::end(common_banks));
    GH_TRY(const auto resumed, builder.resume({product}, *p.identity, all));
    GH_TRY(const bool known, builder.known({product}, *p.identity, all));
    if (!known) {
      GH_TRY(const auto added, builder.add(std::move(p)));
      if (!added) return fail(Fault::internal, "not added");
    }
    say(resumed ? 'r' : known ? 'k' : 'a');
  }
  GH_CHECK(builder.publish());
  return {};
}

Result<void> take_export(const std::string& store, const std::string& file, const std::string& key) {
  GH_TRY(VerifyingKey trusted, VerifyingKey::read_file(key));
  GH_CHECK(import_generation({.store = store, .in = file, .trusted = {std::move(trusted)}}));
  return {};
}

}  // namespace
}  // namespace gatehouse::refdb

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) return 2;
  die_at = std::atol(argv[2]);
  const auto done =
      argc == 5 ? gatehouse::refdb::take_export(argv[1], argv[3], argv[4]) : gatehouse::refdb::run(argv[1]);
  const long needed = calls;
  if (!done) {
    std::fprintf(stderr, "%s\n", done.error().text().c_str());
    return 4;
  }
  std::printf("%ld\n", needed);
  return 0;
}
