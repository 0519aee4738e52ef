// What the service tells systemd (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET names. Without it nothing
// is said, and a message that doesn't arrive is lost: the service doesn't depend on it.
//
//   notify("READY=1\nSTATUS=connecting to pdp.example.org:271");
#pragma once

#include <string_view>

namespace gatehouse::endpoint {

void notify(std::string_view assignments);

}  // namespace gatehouse::endpoint
