// Requests of docs/formats/control.md about the policy: the versions that were in force, what is, and the safety stop.
#pragma once

#include <boost/json.hpp>
#include <optional>
#include <string_view>

#include "server/control/control.h"

namespace gatehouse::server {

// Nothing: it is no such command.
std::optional<Result<boost::json::object>> execute_policy(State& state, const Live* live, std::string_view command,
                                                          const boost::json::object& request);

}  // namespace gatehouse::server
