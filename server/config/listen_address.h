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
// "pdp.example.org:271", "[2001:db8::1]:271": a host name of up to 253 letters, digits, dots and hyphens, or an address, and a port
// that isn't 0.
std::optional<ListenAddress> parse_referral(std::string_view text);

}  // namespace gatehouse::server
