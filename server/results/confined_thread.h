// Gives up what programs that a thread starts must not have, of this thread alone: they inherit it. Linux with Landlock.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace gatehouse::server {

// For good. No way to more rights (no_new_privs), no capabilities, of root the user nobody without groups. Of the file
// system: reading and running what lies in /usr, the system's other folders of programs, and `programs`; reading what
// programs look up in /etc (names, addresses, certificates, the time) and in /proc; writing below `writes` and to
// /dev/null. No unix sockets, so no control socket of ours, and no change of a file's mode, owner or length by its name. What runs
// as the same user can be signalled by it, unless the kernel's Landlock (Linux 6.12) keeps that in, too. The other threads keep what they have. Environment faults: the kernel has no Landlock, or refuses.
Result<void> confine_this_thread(const std::vector<std::string>& programs, const std::vector<std::string>& writes);

}  // namespace gatehouse::server
