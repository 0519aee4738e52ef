// libraries: gatehouse_verdict
// A recorded verdict object: whatever is read back writes the same bytes again.
#include <cstdlib>

#include "pipeline/verdict/verdict.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto verdict = pipeline::verdict_from_json({reinterpret_cast<const char*>(data), size});
  if (!verdict) return 0;
  const std::string text = to_json(*verdict);
  const auto again = pipeline::verdict_from_json(text);
  if (!again || to_json(*again) != text) std::abort();
  return 0;
}
