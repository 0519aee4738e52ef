// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/rpm_index.h"

using namespace gatehouse;

namespace {

std::string text_of(const refdb::IndexItem& item) {
  const refdb::IndexEntry& e = item.entry;
  std::string out = e.name + '|' + e.version + '|' + e.architecture + '|' + e.section + '|' + e.path + '|';
  if (item.bad) return out + std::string(item.bad->reason) + ' ' + std::to_string(item.bad->offset);
  return out + std::to_string(e.size) + ' ' + e.digest.hex();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes text(reinterpret_cast<const std::byte*>(data), size);
  std::string whole, pieces;
  const auto read = refdb::parse_primary(
      text, [&](refdb::IndexItem item) -> Result<void> {
        whole += text_of(item) + '\n';
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
  // In pieces it says the same, or nothing.
  const refdb::MemoryInput input(text);
  for (const std::size_t block : {std::size_t(7), std::size_t(300)}) {
    refdb::PlainStream stream(input, 0);
    pieces.clear();
    const auto parted = refdb::parse_primary(
        stream, [&](const refdb::IndexItem& item) -> Result<void> { return pieces += text_of(item) + '\n', Result<void>(); },
        block);
    if (parted && (!read || pieces != whole)) std::abort();
  }
  return 0;
}
