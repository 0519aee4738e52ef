// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/alias/alias.h"
#include "refdb/ingest/maintainer_script.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = "#!/bin/sh\n" + std::string(reinterpret_cast<const char*>(data), size);
  refdb::Declarations declared;
  refdb::read_declarations(text, declared);
  const auto is_path = [](const std::string& path) { return refdb::canonical_path(path) == path; };
  for (const refdb::Diversion& d : declared.diversions)
    if (!is_path(d.path) || !is_path(d.to) || d.path == d.to) std::abort();
  for (const refdb::Alternative& a : declared.alternatives)
    if (!is_path(a.link) || !is_path(a.path) || a.link == a.path) std::abort();
  return 0;
}
