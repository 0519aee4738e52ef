// Signatures of a db or dbx lie inside it, one behind the other, and are of the size that their type has.
#include <cstdlib>

#include "wire/eventlog/signature_list.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  eventlog::SignatureLists lists(all);
  const std::byte* behind = all.data();
  for (;;) {
    const auto next = lists.next();
    if (!next || !*next) break;
    const eventlog::Signature& s = **next;
    if (s.owner.size() != 16 || s.data.empty() || s.owner.data() < behind || s.data.data() != s.owner.data() + 16)
      std::abort();
    behind = s.data.data() + s.data.size();
    if (behind > all.data() + all.size()) std::abort();
    if (s.kind == eventlog::Signature::Kind::sha256 && s.data.size() != 32) std::abort();
    if (s.kind == eventlog::Signature::Kind::x509_sha256 && s.data.size() != 48) std::abort();
  }
  return 0;
}
