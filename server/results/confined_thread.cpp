#include "server/results/confined_thread.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/descriptor.h"

namespace gatehouse::server {
namespace {

constexpr unsigned nobody = 65534;

// Debian 12's headers know what Linux 5.19 has; later kernels handle more, which isn't asked for.
constexpr std::uint64_t reading = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t listing = LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t running = LANDLOCK_ACCESS_FS_EXECUTE;
constexpr std::uint64_t writing_file = LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr std::uint64_t making = LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
                                 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SOCK;
constexpr std::uint64_t all = reading | listing | running | writing_file | making | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;

std::unexpected<Error> cannot(std::string_view what, const std::string& which = "[results] command") { return fail_errno(what, which); }

// A path that isn't there is let be, unless it was named by the operator.
Result<void> allow(int rules, const std::string& path, std::uint64_t access, bool needed) {
  const Descriptor at(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!at) return needed ? Result<void>(cannot("can't be opened for the command of [results]", path)) : Result<void>();
  struct stat st {};
  if (::fstat(at.get(), &st) != 0) return cannot("can't be opened for the command of [results]", path);
  if (!S_ISDIR(st.st_mode)) access &= reading | running | writing_file;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = at.get();
  if (::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) return cannot("Landlock takes no rule", path);
  return {};
}

Result<void> confine_files(const std::vector<std::string>& programs, const std::vector<std::string>& writes) {
  landlock_ruleset_attr handled{};
  handled.handled_access_fs = all;
  const Descriptor rules(int(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)));
  if (!rules) return cannot("the kernel has no Landlock, which keeps the command from the server's files; command_sandbox = false runs it without");
  for (const char* const folder : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"})
    GH_CHECK(allow(rules.get(), folder, reading | listing | running, false));
  for (const char* const file : {"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf",
                                 "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/localtime", "/etc/ssl/certs",
                                 "/etc/ssl/openssl.cnf", "/etc/alternatives", "/etc/timezone", "/proc", "/dev/urandom", "/dev/zero"})
    GH_CHECK(allow(rules.get(), file, reading | listing, false));
  GH_CHECK(allow(rules.get(), "/dev/null", reading | writing_file, false));
  for (const std::string& program : programs) GH_CHECK(allow(rules.get(), program, reading | running, true));
  for (const std::string& path : writes) GH_CHECK(allow(rules.get(), path, reading | listing | writing_file | making, true));
  if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) return cannot("Landlock can't be applied");
  return {};
}

// The system calls themselves: glibc's functions would do it to every thread.
Result<void> become_nobody() {
  if (::geteuid() != 0) return {};
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setresgid, nobody, nobody, nobody) != 0 ||
      ::syscall(SYS_setresuid, nobody, nobody, nobody) != 0)
    return cannot("the command can't be run as another user than root");
  return {};
}

Result<void> drop_capabilities() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) return cannot("capabilities can't be given up");
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (::syscall(SYS_capset, &head, none) != 0) return cannot("capabilities can't be given up");
  return {};
}

}  // namespace

Result<void> confine_this_thread(const std::vector<std::string>& programs, const std::vector<std::string>& writes) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return cannot("the way to more rights can't be given up");
  GH_CHECK(confine_files(programs, writes));
  GH_CHECK(become_nobody());
  return drop_capabilities();
}

}  // namespace gatehouse::server
