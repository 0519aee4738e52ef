// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/rpm_index.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto repomd = refdb::parse_repomd(Bytes(reinterpret_cast<const std::byte*>(data), size));
  if (!repomd) {
    if (repomd.error().offset > size || repomd.error().reason.empty()) std::abort();
  } else if (!refdb::is_safe_path(repomd->primary) || repomd->digest.size != digest_size(repomd->algorithm) ||
             repomd->digest.size < 32) {
    std::abort();
  }
  return 0;
}
