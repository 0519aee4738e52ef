// libraries: gatehouse_refdb_store
#include <cstdlib>

#include "refdb/store/export_manifest.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // One form only, and no name that is a path.
  if (const auto manifest = refdb::parse_manifest(text)) {
    if (refdb::append_manifest(*manifest) != text) std::abort();
    for (const auto& file : manifest->files)
      if (file.name.empty() || file.name.find('/') != file.name.npos || file.name.front() == '.') std::abort();
  }
  if (const auto records = refdb::parse_records(text)) {
    std::string again;
    for (const auto& record : *records) again += refdb::append_record(record);
    if (again != text) std::abort();
  }
  return 0;
}
