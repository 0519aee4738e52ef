// `gatehouse serve` as a process of its own, for as long as this lives: started, listened to, signalled, killed.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace gatehouse::test {

struct ProgramLimits {
  rlim_t file_bytes = RLIM_INFINITY;  // a write beyond it fails as on a full disk
};

class Program {
 public:
  explicit Program(std::vector<std::string> arguments, const ProgramLimits& limits = {}) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const pid_t parent = ::getpid();
    std::vector<char*> raw;
    for (std::string& one : arguments) raw.push_back(one.data());
    raw.push_back(nullptr);
    child_ = ::fork();
    if (child_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(126);
      ::dup2(ends[1], STDERR_FILENO);
      // What this test has blocked isn't the program's.
      sigset_t none;
      sigemptyset(&none);
      ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
      if (limits.file_bytes != RLIM_INFINITY) {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit most{limits.file_bytes, RLIM_INFINITY};
        ::setrlimit(RLIMIT_FSIZE, &most);
      }
      ::execv(raw[0], raw.data());
      ::_exit(127);
    }
    ::close(ends[1]);
    reader_ = std::thread([this, from = ends[0]] {
      std::array<char, 65'536> buffer{};
      for (ssize_t n; (n = ::read(from, buffer.data(), buffer.size())) > 0;) {
        const std::lock_guard lock(mutex_);
        log_.append(buffer.data(), std::size_t(n));
        more_.notify_all();
      }
      ::close(from);
      const std::lock_guard lock(mutex_);
      ended_ = true;
      more_.notify_all();
    });
  }
  ~Program() {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      wait();
    }
    if (reader_.joinable()) reader_.join();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t id() const { return child_; }
  void signal(int number) const { ::kill(child_, number); }
  // Its exit code; -1: a signal ended it.
  int wait() {
    int status = 0;
    if (child_ <= 0) return -1;
    EXPECT_EQ(::waitpid(child_, &status, 0), child_);
    child_ = -1;
    if (reader_.joinable()) reader_.join();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  // Whether the log has this text, so many times, now or before the program ends.
  bool says(std::string_view text, std::size_t times = 1) {
    std::unique_lock lock(mutex_);
    const auto there = [&] {
      std::size_t at = 0, seen = 0;
      for (; seen < times && (at = log_.find(text, at)) != std::string::npos; ++seen) at += text.size();
      return seen == times;
    };
    more_.wait(lock, [&] { return ended_ || there(); });
    return there();
  }
  // The port that the log names; 0: it ended before it listened.
  std::uint16_t port() { return port_of("PT-TLS listening on 127.0.0.1:"); }
  std::uint16_t radius_port() { return port_of("RADIUS listening on 127.0.0.1:"); }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

 private:
  std::uint16_t port_of(std::string_view line) {
    if (!says(line)) return 0;
    std::unique_lock lock(mutex_);
    const std::size_t at = log_.find(line) + line.size();
    more_.wait(lock, [&] { return ended_ || log_.find_first_not_of("0123456789", at) != std::string::npos; });
    return std::uint16_t(std::stoul(log_.substr(at, 5)));
  }

  pid_t child_ = -1;
  std::thread reader_;
  std::mutex mutex_;
  std::condition_variable more_;
  std::string log_;     // guarded by mutex_
  bool ended_ = false;  // guarded by mutex_
};

}  // namespace gatehouse::test
