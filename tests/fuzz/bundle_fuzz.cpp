// libraries: gatehouse_kept_evidence
// A bundle without its magic and its digest.
#include <cstdlib>

#include "base/hash.h"
#include "base/writer.h"
#include "server/evidence/bundle.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Writer w;
  w.put_text(evidence::bundle_magic);
  w.put_bytes(Bytes(reinterpret_cast<const std::byte*>(data), size));
  const Digest digest = digest_of(HashAlgorithm::sha256, w.view());
  w.put_bytes(digest.view());
  const auto bundle = evidence::read_bundle(w.view());
  if (!bundle) return 0;
  // Answers come in one order when they are written.
  const ByteVector once = evidence::append_bundle(*bundle);
  const auto again = evidence::read_bundle(once);
  if (!again || evidence::append_bundle(*again) != once) std::abort();
  return 0;
}
