#include <cstdlib>

#include "wire/swima/tag_files.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto files = swima::parse_tag_files(Bytes(reinterpret_cast<const std::byte*>(data), size));
  if (!files) {
    if (files.error().offset > size) std::abort();
    return 0;
  }
  for (const swima::TagFile& f : files->files)
    if (!f.path.starts_with('/') || f.path.size() > 4096 || f.digests.empty()) std::abort();
  return 0;
}
