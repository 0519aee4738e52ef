// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/apt_index.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const refdb::MemoryInput input(Bytes(reinterpret_cast<const std::byte*>(data), size));
  refdb::PlainStream stream(input, 0);
  refdb::PackagesReader packages(stream);
  for (;;) {
    const auto item = packages.next();
    if (!item) {
      if (item.error().offset > size || item.error().reason.empty()) std::abort();
      return 0;
    }
    if (!*item) return 0;
    const refdb::IndexEntry& e = (*item)->entry;
    if ((*item)->bad) {
      if ((*item)->bad->offset > size) std::abort();
    } else if (!refdb::is_safe_path(e.path) || e.name.empty() || e.size == 0 || e.digest.size != 32) {
      std::abort();
    }
  }
}
