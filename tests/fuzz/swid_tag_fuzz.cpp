#include <cstdlib>

#include "wire/swima/tag.h"

using namespace gatehouse;

// First byte: the standard of the tag; rest: the tag. An identity is made of the tag's own characters: never longer.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes tag{reinterpret_cast<const std::byte*>(data + 1), size - 1};
  const auto identity = swima::parse_tag_identity(tag, swima::TagFormat(data[0] & 1));
  if (!identity) {
    if (identity.error().offset > tag.size()) std::abort();
    return 0;
  }
  if (identity->creator.empty() || identity->tag_id.empty()) std::abort();
  if (identity->creator.size() + identity->tag_id.size() > tag.size()) std::abort();
  return 0;
}
