// What the policy costs a session, beside the state store: which work items it gets, and what is made of what each validator
// came to.
#pragma once

#include <boost/json.hpp>
#include <cstdint>

#include "server/state/state.h"

namespace gatehouse::bench {

// CPU time of a session in microseconds, one figure a round: under the built-in policy, as the sessions of bench/server have
// it, and under a site's with a hundred groups. `pattern`: a session's result with a verdict, whose copies the sessions are.
boost::json::object measure_policy(const server::SessionResult& pattern, std::uint64_t sessions, int rounds);

}  // namespace gatehouse::bench
