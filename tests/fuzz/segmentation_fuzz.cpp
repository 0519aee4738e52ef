#include <cstdlib>

#include "wire/patnc/segmentation.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  patnc::Reassembler reassembler({.attribute_bytes = 4096, .transfers = 2, .segments = 64});
  Reader r(Bytes(reinterpret_cast<const std::byte*>(data), size), "fuzz");
  while (!r.empty()) {
    const auto length = r.get<std::uint8_t>();
    auto part = r.sub(std::min<std::size_t>(*length, r.remaining()));
    const auto envelope = patnc::parse_envelope(*part);
    if (!envelope) continue;
    const auto step = reassembler.add(*envelope, 20);
    if (step.attribute && (step.attribute->size() < 12 || step.attribute->size() > 4096)) std::abort();
  }
  return 0;
}
