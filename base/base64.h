#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

// RFC 4648 section 4, with padding, on one line.
std::string to_base64(Bytes bytes);
// Only what to_base64() writes: a space, missing padding, or bits beyond the last byte are malformed at their offset.
Result<ByteVector> from_base64(std::string_view text);

}  // namespace gatehouse
