// The exclusive lock on a state directory: flock on its file `lock`, whose text says who holds it.
#pragma once

#include <chrono>
#include <string>
#include <utility>

#include "base/error.h"

namespace gatehouse::server {

class DirectoryLock {
 public:
  // Fault::environment with the reason `held_elsewhere` when another process has it after `wait`.
  static Result<DirectoryLock> take(const std::string& directory, std::chrono::milliseconds wait);
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock();
  // The text that others read: our process id and where we listen.
  Result<void> describe(const std::string& socket);

  static constexpr std::string_view held_elsewhere = "state directory is held by another process";

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace gatehouse::server
