#include "server/results/confined_thread.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/descriptor.h"

namespace gatehouse::server {
namespace {

constexpr unsigned nobody = 65534;
constexpr int fchmodat2 = 452;  // the same on all machines since Linux 6.6; the headers don't name it yet

// What later kernels handle, by number: Debian 12's headers know what Linux 5.19 has.
constexpr std::uint64_t truncating = 1U << 14;                       // LANDLOCK_ACCESS_FS_TRUNCATE, from version 3 on
constexpr std::uint64_t abstract_sockets = 1U << 0, signals = 1U << 1;  // LANDLOCK_SCOPE_…, from version 6 on
struct Handled {
  std::uint64_t files, network, scoped;
};
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
  if (!S_ISDIR(st.st_mode)) access &= reading | running | writing_file | truncating;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = access;
  rule.parent_fd = at.get();
  if (::syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0) return cannot("Landlock takes no rule", path);
  return {};
}

Result<void> confine_files(const std::vector<std::string>& programs, const std::vector<std::string>& writes) {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  const std::uint64_t truncate = version >= 3 ? truncating : 0;
  const Handled handled{all | truncate, 0, version >= 6 ? abstract_sockets | signals : 0};
  const Descriptor rules(int(::syscall(SYS_landlock_create_ruleset, &handled, version >= 6 ? sizeof handled : sizeof handled.files, 0)));
  if (!rules) return cannot("the kernel has no Landlock, which keeps the command from the server's files; command_sandbox = false runs it without");
  for (const char* const folder : {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"})
    GH_CHECK(allow(rules.get(), folder, reading | listing | running, false));
  for (const char* const file : {"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/etc/resolv.conf",
                                 "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols", "/etc/localtime", "/etc/ssl/certs",
                                 "/etc/ssl/openssl.cnf", "/etc/alternatives", "/etc/timezone", "/proc", "/dev/urandom", "/dev/zero"})
    GH_CHECK(allow(rules.get(), file, reading | listing, false));
  GH_CHECK(allow(rules.get(), "/dev/null", reading | writing_file | truncate, false));
  for (const std::string& program : programs) GH_CHECK(allow(rules.get(), program, reading | running, true));
  for (const std::string& path : writes) GH_CHECK(allow(rules.get(), path, reading | listing | writing_file | making | truncate, true));
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

struct FreeFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};

// What Landlock doesn't see: the server's control socket takes whoever has the server's user, and that user may change
// the mode of its files. Programs may still speak over the network and through pipes.
Result<void> refuse_calls() {
  const auto refuse = [](int code) {
    errno = -code;
    return cannot("a filter of system calls can't be applied");
  };
  const std::unique_ptr<void, FreeFilter> filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return refuse(-ENOMEM);
  constexpr int refused[] = {
      SCMP_SYS(io_uring_setup),  // sockets by another way
      SCMP_SYS(truncate),          SCMP_SYS(chmod),           SCMP_SYS(fchmodat),    SCMP_SYS(chown),       SCMP_SYS(lchown),
      SCMP_SYS(fchownat),          SCMP_SYS(setxattr),        SCMP_SYS(lsetxattr),   SCMP_SYS(removexattr), SCMP_SYS(lremovexattr),
      SCMP_SYS(pidfd_send_signal), SCMP_SYS(rt_sigqueueinfo), SCMP_SYS(rt_tgsigqueueinfo),
      fchmodat2};
  for (const int call : refused)
    if (const int code = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0); code != 0) return refuse(code);
  if (const int code = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX)); code != 0)
    return refuse(code);
  if (const int code = seccomp_load(filter.get()); code != 0) return refuse(code);
  return {};
}

}  // namespace

Result<void> confine_this_thread(const std::vector<std::string>& programs, const std::vector<std::string>& writes) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return cannot("the way to more rights can't be given up");
  GH_CHECK(confine_files(programs, writes));
  GH_CHECK(become_nobody());
  GH_CHECK(drop_capabilities());
  return refuse_calls();
}

}  // namespace gatehouse::server
