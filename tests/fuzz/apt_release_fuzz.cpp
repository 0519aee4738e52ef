// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/apt_index.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto release = refdb::parse_release(Bytes(reinterpret_cast<const std::byte*>(data), size));
  if (!release) {
    if (release.error().offset > size || release.error().reason.empty()) std::abort();
    return 0;
  }
  for (const auto& [path, file] : release->files)
    if (path.empty() || file.sha256.size != 32) std::abort();
  return 0;
}
