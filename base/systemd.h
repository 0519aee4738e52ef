// What a service and systemd tell each other: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds_with_names(3). Without
// systemd, or under another manager, nothing is said and nothing is there: no service depends on it.
//
//   systemd::notify("READY=1\nSTATUS=connecting to pdp.example.org:271");
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/descriptor.h"

namespace gatehouse::systemd {

// A datagram to the socket that NOTIFY_SOCKET names; one that doesn't arrive is lost.
void notify(std::string_view assignments);

// "RELOADING=1", with the clock's reading that systemd wants beside it (sd_notify(3), MONOTONIC_USEC); READY=1 ends it.
void notify_reloading();

// Within which time "WATCHDOG=1" has to be said again, or the process is taken for dead; nullopt: nobody watches this process.
std::optional<std::chrono::microseconds> watchdog_interval();

struct Socket {
  Descriptor descriptor;
  std::string name;  // FileDescriptorName= of the socket unit; without one the unit's own name
};
// Sockets that were opened for this process before it began. They are handed out once, closed on exec from then on.
std::vector<Socket> passed_sockets();

}  // namespace gatehouse::systemd
