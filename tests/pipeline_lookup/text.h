// Texts of entries that a test makes one by one: an entry borrows them from its batch. And findings as a verdict has them.
#pragma once

#include <string_view>

#include "pipeline/lookup/lookup.h"

namespace gatehouse::testing {

// For as long as the test program runs.
inline std::string_view lasting_text(std::string_view text) {
  static pipeline::TextArena all;
  return all.keep(text);
}

inline std::vector<pipeline::Finding> spelled(const pipeline::PackedFindings& findings) {
  std::vector<pipeline::Finding> out;
  findings.spell(HashAlgorithm::sha256, out);
  return out;
}

}  // namespace gatehouse::testing
