// libraries: gatehouse_refdb_ingest
#include <cstdlib>

#include "refdb/ingest/signature.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Whoever counts is called good and valid.
  const auto signer = refdb::judge_signatures(text);
  if (signer && (signer->size() < 32 || text.find("GOODSIG") == text.npos || text.find("VALIDSIG") == text.npos)) std::abort();
  if (!signer && signer.error().fault != Fault::denied) std::abort();
  const auto keys = refdb::dearmored(as_bytes(text));
  if (keys && keys->size() > size) std::abort();
  return 0;
}
