// What the standards say of the values of known messages (spec part 1a §4.3-4.6, §4.10); for parse_batch alone.
#pragma once

#include <optional>

#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::pbtnc {

// `m` is of a known type and as long as that type needs at least.
std::optional<Refusal> check_value(const Message& m);

}  // namespace gatehouse::pbtnc
