// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const refdb::MemoryInput input(Bytes(reinterpret_cast<const std::byte*>(data), size));
  refdb::PlainStream stream(input, 0);
  const auto package = refdb::read_keylime(stream, "fuzz", {.files = 1000, .path_bytes = 1 << 16});
  if (!package) {
    if (package.error().offset > size || package.error().reason.empty()) std::abort();
    return 0;
  }
  for (const refdb::ReferenceFile& f : package->files)
    if (!f.path.starts_with('/') || f.digests.size() != 1) std::abort();
  return 0;
}
