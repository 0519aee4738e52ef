// Texts of entries that a test makes one by one: an entry borrows them from its batch. And findings as a verdict has them.
#pragma once

#include <deque>
#include <string_view>

#include "pipeline/lookup/lookup.h"

namespace gatehouse::testing {

// For as long as the test program runs.
inline std::string_view lasting_text(std::string_view text) {
  static pipeline::TextArena all;
  return all.keep(text);
}

// Gives the entry fields of its own, which last as long: those that it has, changed.
template <class Change>
void change_fields(pipeline::ImaItem& item, Change&& change) {
  static std::deque<pipeline::ListFields> all;
  pipeline::ListFields& fields = all.emplace_back(item.fields != nullptr ? *item.fields : pipeline::ListFields());
  change(fields);
  item.fields = &fields;
}

inline std::vector<pipeline::Finding> spelled(const pipeline::PackedFindings& findings) {
  std::vector<pipeline::Finding> out;
  findings.spell(HashAlgorithm::sha256, out);
  return out;
}

}  // namespace gatehouse::testing
