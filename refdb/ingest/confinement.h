// What a process may do that reads hostile files: read what it was given, compute, answer, end. Linux alone.
//
//   …in a process that forks one for each file:
//   GH_CHECK(give_up_rights());
//   GH_TRY(const SystemCalls allowed, SystemCalls::for_decoders());
//   const std::uint64_t before = private_bytes();
//   …in that one, once it has its descriptors:
//   confine(allowed, {.private_bytes = before, .memory_bytes = 512 << 20, .cpu_seconds = 60});
#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"

namespace gatehouse::refdb {

// For good, of this process and those that it forks: no way to more rights (no_new_privs), no core, and no process of
// the same user may look into it. Of root it becomes nobody, without groups; where there is no such user (a namespace
// with root alone) it gives up all capabilities. One thread.
Result<void> give_up_rights();

// A filter of system calls (seccomp). Reading, writing and closing what is open, taking what a socket brings, memory that
// isn't code, the time, random numbers and the end; asking for files and the like is answered with EPERM, as libraries do that lightly;
// anything else ends the process with SIGSYS.
class SystemCalls {
 public:
  static Result<SystemCalls> for_decoders();
  SystemCalls(SystemCalls&&) noexcept;
  SystemCalls& operator=(SystemCalls&&) noexcept;
  ~SystemCalls();
  // Of this thread, for good. False: the kernel doesn't take it.
  bool apply() const;

 private:
  struct State;
  explicit SystemCalls(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Of memory that the process alone may write to, of which RLIMIT_DATA counts each byte.
std::uint64_t private_bytes();

struct Allowance {
  std::uint64_t private_bytes = 0;  // that the process has already
  std::uint64_t memory_bytes = 0;   // beyond that; 0, and with sanitizers: as much as there is
  std::uint32_t cpu_seconds = 0;   // then SIGXCPU
};
// Limits and filter; ends with the process that forked it. False: it couldn't be confined, and mustn't go on.
bool confine(const SystemCalls& allowed, const Allowance& allowance);

// The sanitizers need system calls and memory of their own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace gatehouse::refdb
