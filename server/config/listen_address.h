// Where the configuration says to listen: "127.0.0.1:271", "[::]:271", "*:271" (all addresses).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace gatehouse::server {

struct ListenAddress {
  std::string host;  // an IP address, if it is good: no name is resolved
  std::uint16_t port = 0;
};
// nullopt: not ADDRESS:PORT, or a port beyond 65535.
std::optional<ListenAddress> parse_listen_address(std::string_view text);

}  // namespace gatehouse::server
