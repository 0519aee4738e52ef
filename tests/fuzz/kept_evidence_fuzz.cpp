// libraries: gatehouse_kept_evidence
// How many pieces (1 byte), each with its length (2 bytes), then the head (docs/formats/evidence.md).
#include <cstdlib>

#include "server/evidence/kept.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader r(Bytes(reinterpret_cast<const std::byte*>(data), size), "input");
  const auto count = r.get<std::uint8_t>();
  if (!count) return 0;
  std::vector<ByteVector> pieces;
  for (unsigned i = 0; i < *count; ++i) {
    const auto length = r.get<std::uint16_t>();
    if (!length) return 0;
    const auto piece = r.take(*length);
    if (!piece) return 0;
    pieces.push_back(to_vector(*piece));
  }
  auto kept = evidence::decode(r.rest(), std::move(pieces));
  if (!kept) return 0;
  // What is written of it is read back as the same. Limits are cut, so the first time may differ.
  const server::EvidenceRecord once = evidence::encode(*std::move(kept));
  auto again = evidence::decode(once.head, once.pieces);
  if (!again) std::abort();
  const server::EvidenceRecord twice = evidence::encode(*std::move(again));
  if (twice.head != once.head || twice.pieces != once.pieces) std::abort();
  return 0;
}
