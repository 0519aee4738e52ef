// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/ingest.h"

using namespace gatehouse;

// Once from the header, if that is enough, and once with the payload: what the payload is accepted for, the header is.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes package(reinterpret_cast<const std::byte*>(data), size);
  const refdb::IngestLimits limits{
      .file_bytes = 1 << 20, .package_bytes = 4 << 20, .files = 1000, .path_bytes = 1 << 18};
  const auto header = refdb::read_rpm(package, "fuzz.rpm", {HashAlgorithm::sha256}, limits);
  const auto whole = refdb::read_rpm(package, "fuzz.rpm", {HashAlgorithm::sha256, HashAlgorithm::sha1}, limits);
  if (!whole) return 0;
  if (!header || header->files.size() != whole->files.size()) std::abort();
  for (std::size_t i = 0; i < header->files.size(); ++i)
    if (header->files[i].path != whole->files[i].path || header->files[i].digests[0] != whole->files[i].digests[0])
      std::abort();
  return 0;
}
