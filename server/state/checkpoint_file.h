// Where the server's signed checkpoints of the audit log go: a file that is only appended to, to be shipped off the machine.
#pragma once

#include <cstdint>
#include <string>

#include "base/ed25519.h"
#include "base/error.h"
#include "server/state/state.h"

namespace gatehouse::server {

class CheckpointFile {
 public:
  // A checkpoint that a crash cut short at the file's end is taken off.
  static Result<CheckpointFile> open(std::string path, SigningKey key);
  // One more, on the disk when this returns, if the log has grown since the last one. Whole or not at all.
  Result<void> append_blocking(const State& state, std::int64_t time);

 private:
  CheckpointFile(std::string path, SigningKey key) : path_(std::move(path)), key_(std::move(key)) {}
  std::string path_;
  SigningKey key_;
  std::uint64_t size_ = 0;   // of the log at the last one
  bool written_ = false;
};

}  // namespace gatehouse::server
