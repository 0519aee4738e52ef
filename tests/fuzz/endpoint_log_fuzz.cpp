// libraries: gatehouse_endpoint_inventory
// The input is a log without its digest, which is added: what the digest guards against isn't looked for here.
#include "endpoint/inventory/event_log.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes content(reinterpret_cast<const std::byte*>(data), size);
  (void)endpoint::parse_event_log(content);
  ByteVector file = to_vector(content);
  const Digest digest = digest_of(HashAlgorithm::sha256, content);
  file.insert(file.end(), digest.view().begin(), digest.view().end());
  auto log = endpoint::parse_event_log(file);
  if (!log) return 0;
  GH_ASSERT(endpoint::serialize(*log) == file);
  // Whatever log was read can be gone on with, and is read again.
  endpoint::update(*log, {{endpoint::source_dpkg}, {{endpoint::source_dpkg, "a", "1", "all", digest}}, 1});
  GH_ASSERT(endpoint::parse_event_log(endpoint::serialize(*log)) == *log);
  return 0;
}
