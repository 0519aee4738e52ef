// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/decoder_messages.h"
#include "refdb/ingest/device_messages.h"

using namespace gatehouse;
using namespace gatehouse::refdb;

constexpr std::uint64_t most_files = 1000, most_path_bytes = 50'000;

namespace {

// Messages as a decoder that was taken over may send them: each has its size (2) in front.
template <class Answer>
void hear(Answer& answer, Bytes rest) {
  while (rest.size() >= 2) {
    const std::size_t wanted = std::to_integer<std::size_t>(rest[0]) << 8 | std::to_integer<std::size_t>(rest[1]);
    rest = rest.subspan(2);
    const Bytes message = rest.first(std::min(wanted, rest.size()));
    rest = rest.subspan(message.size());
    const auto done = answer.take(message);
    if (!done || *done) break;
  }
}

bool same(const ReferenceFile& a, const ReferenceFile& b) {
  if (a.size != b.size || a.is_extra != b.is_extra || a.further.size() != b.further.size()) return false;
  for (std::size_t i = 0; i < a.further.size(); ++i)
    if (a.further[i].size != b.further[i].size || a.further[i].digests != b.further[i].digests) return false;
  return a.digests == b.digests;
}

void check_packages(Bytes bytes, bool products) {
  Answer answer(most_files, most_path_bytes, products);
  hear(answer, bytes);
  std::uint64_t files = 0, path_bytes = 0;
  for (const ReferencePackage& package : answer.packages()) {
    GH_ASSERT(package.product.empty() != products || package.files.empty());
    for (const ReferenceFile& f : package.files) {
      files += 1 + f.further.size();
      path_bytes += f.path.size();
    }
  }
  GH_ASSERT(files <= most_files && path_bytes <= most_path_bytes);
  // What was believed can be said again, and is the same.
  for (ReferencePackage& package : answer.packages()) {
    const ReferencePackage before = package;
    Answer again(most_files, most_path_bytes, products);
    const auto sent = send_package(std::move(package), [&](Bytes message) -> Result<void> {
      GH_CHECK(again.take(message));
      return {};
    });
    if (!sent) continue;  // a path that no package may have, a product where none may be
    GH_ASSERT(again.take(done_message()).value());
    const ReferencePackage& after = again.packages().at(0);
    GH_ASSERT(again.packages().size() == 1 && after.files.size() == before.files.size());
    GH_ASSERT(after.warnings.size() == before.warnings.size() && after.diversions == before.diversions);
    for (std::size_t i = 0; i < before.files.size(); ++i) GH_ASSERT(same(after.files[i], before.files[i]));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes(reinterpret_cast<const std::byte*>(data), size);
  (void)parse_head(bytes);
  (void)parse_control(bytes);
  check_packages(bytes, false);
  check_packages(bytes, true);
  DevicesAnswer devices(size);
  hear(devices, bytes);
  const StrongTncListing& listing = devices.listing();
  GH_ASSERT(listing.devices.size() + listing.counts.refused.size() + listing.baselines.size() <= size);
  for (const StrongTncDevice& d : listing.devices) GH_ASSERT(!d.id.empty() && d.id.size() <= max_device_bytes);
  for (const StrongTncBaseline& b : listing.baselines) GH_ASSERT(!b.pcrs.empty() && b.pcrs.rbegin()->first <= 23);
  return 0;
}
