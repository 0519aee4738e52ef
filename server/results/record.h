// A session's record as commands and the result log print it: the verdict object as it was judged, and "record" behind it
// (docs/formats/control.md).
#pragma once

#include <boost/json.hpp>
#include <string>

#include "server/state/state.h"

namespace gatehouse::server {

// "2026-11-24T16:31:05.123Z"; null for times that aren't known.
boost::json::value time_value(std::int64_t ms);
boost::json::value text_or_null(const std::string& text);
// The verdict's members first and in their order. Of a session without one, as far as it is known.
boost::json::object record_object(const SessionRecord& record);
// The same as one line without its end, the verdict's bytes as they are recorded.
std::string record_line(const SessionRecord& record, bool evidence);

}  // namespace gatehouse::server
