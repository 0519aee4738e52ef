#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse {

// Lower case, no separators.
std::string to_hex(Bytes bytes);
// Accepts both cases; an odd number of digits or another character is malformed at its offset.
Result<ByteVector> from_hex(std::string_view text);
// Whether all of it is well-formed UTF-8: no surrogates, no overlong forms, nothing above U+10FFFF.
bool is_utf8(std::string_view text);
// Peer text made safe for logs and JSON: printable UTF-8 stays; control characters and bytes that aren't UTF-8 become
// \xNN (upper-case digits); a backslash stays. At most `limit` input bytes, then "...".
std::string escaped(std::string_view text, std::size_t limit = 4096);
// Text in XML, of elements and of attribute values. What XML can't hold (control characters) has to be gone before.
std::string xml_escaped(std::string_view text);
// Whether escaped() would leave the text as it is. Copies nothing, so it may look at secrets.
bool is_printable(std::string_view text);

}  // namespace gatehouse
