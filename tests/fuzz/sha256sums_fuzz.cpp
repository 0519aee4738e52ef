// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/ingest.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  (void)refdb::read_sha256sums(Bytes(reinterpret_cast<const std::byte*>(data), size), "fuzz");
  return 0;
}
