// libraries: gatehouse_refdb_ingest
#include "refdb/ingest/decoder_messages.h"

using namespace gatehouse;
using namespace gatehouse::refdb;

// Messages as a decoder that was taken over may send them: each has its size (2) in front.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t most_files = 1000, most_path_bytes = 50'000;
  Answer answer(most_files, most_path_bytes);
  Bytes rest(reinterpret_cast<const std::byte*>(data), size);
  (void)parse_head(rest);
  while (rest.size() >= 2) {
    const std::size_t wanted = std::to_integer<std::size_t>(rest[0]) << 8 | std::to_integer<std::size_t>(rest[1]);
    rest = rest.subspan(2);
    const Bytes message = rest.first(std::min(wanted, rest.size()));
    rest = rest.subspan(message.size());
    const auto done = answer.take(message);
    if (!done || *done) break;
  }
  std::uint64_t files = 0, path_bytes = 0;
  for (ReferencePackage& package : answer.packages()) {
    files += package.files.size();
    for (const ReferenceFile& f : package.files) path_bytes += f.path.size();
  }
  GH_ASSERT(files <= most_files && path_bytes <= most_path_bytes);
  // What was believed can be said again, and is the same.
  for (ReferencePackage& package : answer.packages()) {
    const auto before = package.files;
    Answer again(most_files, most_path_bytes);
    const auto sent = send_package(std::move(package), [&](Bytes message) -> Result<void> {
      GH_CHECK(again.take(message));
      return {};
    });
    if (!sent) continue;  // a path that no package may have
    GH_ASSERT(again.packages().size() == 1 && again.packages()[0].files.size() == before.size());
    for (std::size_t i = 0; i < before.size(); ++i) GH_ASSERT(again.packages()[0].files[i].size == before[i].size);
  }
  return 0;
}
