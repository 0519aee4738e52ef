// Which IMVs there are, and how their results meet.
#pragma once

#include <memory>
#include <vector>

#include "server/imv/imv.h"

namespace gatehouse::server {

// All IMVs of a session, in the order in which strongSwan's server loads its own: operators know their numbers.
std::vector<std::unique_ptr<Imv>> make_imvs(Conversation& conversation);

// The strictest recommendation and the worst evaluation; no opinion is neutral (spec part 1a §4.9).
ImvResult combine(const ImvResult& a, const ImvResult& b);

}  // namespace gatehouse::server
