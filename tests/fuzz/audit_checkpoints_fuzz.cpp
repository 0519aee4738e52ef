// libraries: gatehouse_state
// A file of checkpoints: it is refused at a byte that is in it, or every checkpoint in it is one that the key signed.
#include <cstdlib>

#include "server/state/audit.h"

using namespace gatehouse;
using namespace gatehouse::server;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Of the seeds (tests/fuzz/seeds.py): RFC 8032's first test vector.
  static const auto key = VerifyingKey::from_pem("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n");
  if (!key) std::abort();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto read = read_checkpoints(text, *key);
  if (!read) {
    if (read.error().offset >= size) std::abort();
    return 0;
  }
  if (read->empty() != text.empty()) std::abort();
  for (const AuditCheckpoint& one : *read)
    if (one.log.size() != 32 || one.root.size != 32 || one.time < 0) std::abort();
  return 0;
}
