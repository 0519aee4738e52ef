// The values of attributes that an IMV has no use for, or not yet: they have to be well-formed all the same, because
// nothing of a message with a malformed attribute may be acted on (spec part 1b §9.2, §9.3).
#pragma once

#include "wire/patnc/patnc.h"

namespace gatehouse::server {

// Standard and ITA-HSR attributes; what is read elsewhere (SWIMA, PTS, segmentation) and PA-TNC errors, which are never
// answered by one, count as good. The error's offset counts as the attribute's does.
Result<void> verify_value(const patnc::Attribute& attribute);

}  // namespace gatehouse::server
