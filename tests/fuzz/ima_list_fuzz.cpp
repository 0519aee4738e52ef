// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const refdb::MemoryInput input(Bytes(reinterpret_cast<const std::byte*>(data), size));
  refdb::PlainStream stream(input, 0);
  const auto package = refdb::read_ima_list(stream, "fuzz", {.files = 1000, .path_bytes = 1 << 16});
  if (package && package->files.empty()) std::abort();
  return 0;
}
