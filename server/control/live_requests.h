// Requests of docs/formats/control.md that only a running server can answer: what it counts, whom it is connected with, and
// whom gateways have let in.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string_view>

#include "server/control/control.h"

namespace gatehouse::server {

// Nothing: it is no such command. `live`: null where no server runs.
std::optional<Result<boost::json::object>> execute_live(const Live* live, std::string_view command,
                                                        const boost::json::object& request);

// After `command` was carried out: a device whose trust it ended is cut off by the gateways that let it in.
void cut_off(const Live* live, std::string_view command, const boost::json::object& request);

}  // namespace gatehouse::server
