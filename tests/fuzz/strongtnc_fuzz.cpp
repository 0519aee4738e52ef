// libraries: gatehouse_refdb_ingest
#include <algorithm>
#include <cstdlib>

#include "refdb/ingest/strongtnc.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto database = refdb::StrongTnc::open(Bytes(reinterpret_cast<const std::byte*>(data), size), "fuzz");
  if (!database) {
    if (database.error().reason.empty()) std::abort();
    return 0;
  }
  const auto check = [](const refdb::ReferencePackage& package) -> Result<void> {
    if (package.product.empty() || package.files.empty()) std::abort();
    for (const refdb::ReferenceFile& f : package.files) {
      if (!f.path.starts_with('/') || f.digests.empty()) std::abort();
      for (const auto& [algorithm, digest] : f.digests)
        if (digest.size != digest_size(algorithm)) std::abort();
    }
    return {};
  };
  const auto files = (*database)->references({}, {.files = 1000, .path_bytes = 1 << 16}, check);
  if (!files && files.error().reason.empty()) std::abort();
  const auto on_device = [](const refdb::StrongTncDevice& device) -> Result<void> {
    if (device.id.empty() || device.id.size() > 256) std::abort();
    return {};
  };
  const auto on_baseline = [](const refdb::StrongTncBaseline& baseline) -> Result<void> {
    if (baseline.pcrs.empty() || baseline.pcrs.rbegin()->first > 23) std::abort();
    return {};
  };
  const auto devices = (*database)->devices({.device = on_device, .baseline = on_baseline});
  if (!devices && devices.error().reason.empty()) std::abort();
  const auto groups = (*database)->groups();
  if (!groups && groups.error().reason.empty()) std::abort();
  if (groups)
    for (const refdb::StrongTncGroup& group : *groups)
      if (group.name.empty() || std::ranges::any_of(group.ask, [](const auto& e) { return e.type > 16; })) std::abort();
  return 0;
}
