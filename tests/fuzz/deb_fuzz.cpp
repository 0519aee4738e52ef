// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/ingest.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)refdb::read_deb(Bytes(reinterpret_cast<const std::byte*>(data), size), "fuzz.deb", {HashAlgorithm::sha256},
                        {.file_bytes = 1 << 20, .package_bytes = 4 << 20, .files = 1000});
  return 0;
}
