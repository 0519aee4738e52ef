// Which IMVs there are.
#pragma once

#include <memory>
#include <vector>

#include "server/imv/imv.h"

namespace gatehouse::server {

// All IMVs of a session, in the order in which strongSwan's server loads its own: operators know their numbers.
std::vector<std::unique_ptr<Imv>> make_imvs(Conversation& conversation);

}  // namespace gatehouse::server
