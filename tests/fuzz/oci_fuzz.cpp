// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/input.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const refdb::MemoryInput input(Bytes(reinterpret_cast<const std::byte*>(data), size));
  (void)refdb::read_oci(input, "fuzz", {HashAlgorithm::sha256},
                        {.file_bytes = 1 << 20, .package_bytes = 4 << 20, .files = 1000, .path_bytes = 1 << 16});
  return 0;
}
