// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/rpm_index.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto read = refdb::parse_primary(
      Bytes(reinterpret_cast<const std::byte*>(data), size), [&](refdb::IndexItem item) -> Result<void> {
        const refdb::IndexEntry& e = item.entry;
        if (item.bad) {
          if (item.bad->offset > size) std::abort();
        } else if (!refdb::is_safe_path(e.path) || e.name.empty() || e.size == 0 ||
                   e.digest.size != digest_size(e.algorithm) || e.architecture == "src") {
          std::abort();
        }
        return {};
      });
  if (!read && (read.error().offset > size || read.error().reason.empty())) std::abort();
  return 0;
}
