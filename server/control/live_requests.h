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

// After `command` was carried out with this outcome: devices whose trust it ended are cut off by the gateways that let them in.
void cut_off(const Live* live, std::string_view command, const boost::json::object& request, const boost::json::object& done);

}  // namespace gatehouse::server
