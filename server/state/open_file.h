// The records of sessions that have begun, in the file `open` beside the database, until they have a result: for the case that
// this process ends before (docs/formats/state.md). What is written is with the kernel, which outlives the process; nothing
// is synced. Not for concurrent use, but for copy_of().
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::server {

class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile();

  // What is in it; none where there is no such file. What a failure of the machine left half written isn't.
  static Result<std::vector<std::string>> read(const std::string& path);
  // Empties it, or makes it, with mode 0600.
  Result<void> begin(const std::string& path);
  // A record; where it is, for remove().
  Result<std::uint64_t> add(std::string_view record);
  void remove(std::uint64_t place);
  // As it is now, for a backup.
  static Result<ByteVector> copy_of(const std::string& path);

 private:
  int fd_ = -1;
  std::string path_;
  std::array<std::byte, 16> id_{};
  std::uint64_t end_ = 0;
  std::map<std::uint64_t, std::uint32_t> taken_;               // places and sizes, in units
  std::map<std::uint32_t, std::vector<std::uint64_t>> free_;  // places by size, in units
  std::string buffer_;
};

}  // namespace gatehouse::server
