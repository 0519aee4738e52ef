#pragma once

#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

// The whole file, at most `limit` bytes (kernel files whose size is stated as 0 are read to their end too).
// A file that is longer is a limit fault; one that can't be read is an environment fault. Both name it.
Result<ByteVector> read_file(const std::string& path, std::size_t limit);
// Written beside, synced, then renamed over: a reader sees the old file or the new one. `mode` as in open(2).
Result<void> write_file_atomically(const std::string& path, Bytes content, unsigned mode = 0644);

}  // namespace gatehouse
