#include "refdb/ingest/confinement.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <utility>
#include <vector>

#include "base/descriptor.h"

namespace gatehouse::refdb {
namespace {

constexpr uid_t nobody = 65534;
constexpr gid_t nogroup = 65534;

std::unexpected<Error> cannot(std::string_view what) { return fail_errno(what, "decoder"); }

// `grace`: how much further the process may go that doesn't heed the signal for it.
bool limit(__rlimit_resource what, std::uint64_t most, std::uint64_t grace = 0) {
  rlimit now{};
  if (::getrlimit(what, &now) != 0) return false;
  const rlim_t hard = std::min<rlim_t>(rlim_t(most + grace), now.rlim_max);
  const rlimit wanted{std::min<rlim_t>(rlim_t(most), hard), hard};
  return ::setrlimit(what, &wanted) == 0;
}

}  // namespace

std::uint64_t private_bytes() {
  std::FILE* const file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  unsigned long pages = 0;
  const bool read = std::fscanf(file, "%*u %*u %*u %*u %*u %lu", &pages) == 1;
  std::fclose(file);
  return read ? std::uint64_t(pages) * std::uint64_t(::sysconf(_SC_PAGESIZE)) : 0;
}

namespace {

bool drop_capabilities() {
  __user_cap_header_struct head{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  return ::syscall(SYS_capset, &head, none) == 0;
}

struct ReleaseFilter {
  void operator()(void* context) const { seccomp_release(context); }
};

// Rules in the order in which they are checked most.
constexpr int allowed_calls[] = {
    SCMP_SYS(pread64),       SCMP_SYS(write),        SCMP_SYS(read),
    SCMP_SYS(brk),           SCMP_SYS(munmap),       SCMP_SYS(mremap),
    SCMP_SYS(madvise),       SCMP_SYS(close),        SCMP_SYS(exit_group),
    SCMP_SYS(exit),          SCMP_SYS(getpid),       SCMP_SYS(gettid),
    SCMP_SYS(getrandom),     SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(restart_syscall), SCMP_SYS(recvmsg),
};
// What libraries ask without need: files of settings, terminals, the machine.
constexpr int refused_calls[] = {
    SCMP_SYS(open),       SCMP_SYS(openat),     SCMP_SYS(openat2),
    SCMP_SYS(stat),       SCMP_SYS(lstat),      SCMP_SYS(fstat),
    SCMP_SYS(newfstatat), SCMP_SYS(statx),      SCMP_SYS(access),
    SCMP_SYS(faccessat),  SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(ioctl),      SCMP_SYS(fcntl),
    SCMP_SYS(uname),      SCMP_SYS(sysinfo),    SCMP_SYS(getcwd),
    SCMP_SYS(prlimit64),  SCMP_SYS(getrlimit),  SCMP_SYS(sched_getaffinity),
    SCMP_SYS(lseek),
};
constexpr int sanitizers_calls[] = {
    SCMP_SYS(futex),     SCMP_SYS(sigaltstack),     SCMP_SYS(rt_sigaction), SCMP_SYS(sched_yield),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(mprotect),     SCMP_SYS(mmap),
    SCMP_SYS(tgkill),    SCMP_SYS(prctl),           SCMP_SYS(pipe),         SCMP_SYS(pipe2),
};

}  // namespace

Result<void> give_up_rights() {
  if (!limit(RLIMIT_CORE, 0)) return cannot("can't forbid cores");
  if (::geteuid() == 0) {
    const bool somebody_else = ::setgroups(0, nullptr) == 0 && ::setresgid(nogroup, nogroup, nogroup) == 0 &&
                               ::setresuid(nobody, nobody, nobody) == 0;
    if (!somebody_else && !drop_capabilities()) return cannot("can't give up the rights of root");
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return cannot("can't give up the way to more rights");
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return cannot("can't keep others out of the process");
  return {};
}

struct SystemCalls::State {
  std::vector<sock_filter> program;
};
SystemCalls::SystemCalls(std::unique_ptr<State> state) : state_(std::move(state)) {}
SystemCalls::SystemCalls(SystemCalls&&) noexcept = default;
SystemCalls& SystemCalls::operator=(SystemCalls&&) noexcept = default;
SystemCalls::~SystemCalls() = default;

Result<SystemCalls> SystemCalls::for_decoders() {
  const auto refuse = [](int code) {
    errno = -code;
    return cannot("can't make a filter of system calls");
  };
  const std::unique_ptr<void, ReleaseFilter> context(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (context == nullptr) return refuse(-ENOMEM);
  const auto add = [&](std::uint32_t action, int call) { return seccomp_rule_add(context.get(), action, call, 0); };
  for (const int call : allowed_calls)
    if (const int code = add(SCMP_ACT_ALLOW, call); code != 0) return refuse(code);
  // Calls that this architecture doesn't have (open, stat) aren't there to be refused.
  for (const int call : refused_calls)
    if (const int code = add(SCMP_ACT_ERRNO(EPERM), call); code != 0) return refuse(code);
  if (sanitized) {
    for (const int call : sanitizers_calls)
      if (const int code = add(SCMP_ACT_ALLOW, call); code != 0) return refuse(code);
  } else {
    // Memory, and no code in it.
    const scmp_arg_cmp not_code{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
    for (const int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)})
      if (const int code = seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, call, 1, &not_code); code != 0)
        return refuse(code);
    // What is done once in a process wakes whoever waits for that; here nobody does, and nobody may.
    const scmp_arg_cmp wakes{1, SCMP_CMP_MASKED_EQ, ~std::uint64_t(FUTEX_PRIVATE_FLAG) & UINT32_MAX, FUTEX_WAKE};
    if (const int code = seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, SCMP_SYS(futex), 1, &wakes); code != 0)
      return refuse(code);
  }
  const Descriptor file(::memfd_create("gatehouse", MFD_CLOEXEC));
  if (!file) return cannot("can't make a file in memory");
  if (const int code = seccomp_export_bpf(context.get(), file.get()); code != 0) return refuse(code);
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size <= 0 || std::size_t(size) % sizeof(sock_filter) != 0) return cannot("can't read a file in memory");
  auto state = std::make_unique<State>();
  state->program = std::vector<sock_filter>(std::size_t(size) / sizeof(sock_filter));
  if (::pread(file.get(), state->program.data(), state->program.size() * sizeof(sock_filter), 0) != size)
    return cannot("can't read a file in memory");
  return SystemCalls(std::move(state));
}

bool SystemCalls::apply() const {
  const sock_fprog program{static_cast<unsigned short>(state_->program.size()), state_->program.data()};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
}

bool confine(const SystemCalls& allowed, const Allowance& allowance) {
  if (!sanitized && allowance.memory_bytes != 0 &&
      !limit(RLIMIT_DATA, allowance.private_bytes + allowance.memory_bytes))
    return false;
  return limit(RLIMIT_CPU, allowance.cpu_seconds, 5) && limit(RLIMIT_FSIZE, 0) &&
         limit(RLIMIT_NOFILE, sanitized ? 64 : 16) && allowed.apply();
}

}  // namespace gatehouse::refdb
