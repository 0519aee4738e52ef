// "10.0.0.0/8", "2001:db8::/32", "192.0.2.7": whom an entry is about.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gatehouse::server {

// An IPv4 address as ::ffff:a.b.c.d, so that both kinds are one.
using IpAddress = std::array<std::uint8_t, 16>;

struct AddressPrefix {
  IpAddress address{};  // bits behind the prefix are 0
  unsigned bits = 128;  // of the 128
  friend auto operator<=>(const AddressPrefix&, const AddressPrefix&) = default;
};

// nullopt: no address, a length that can't be, or bits behind the prefix.
std::optional<AddressPrefix> parse_prefix(std::string_view text);
IpAddress masked(const IpAddress& address, unsigned bits);

}  // namespace gatehouse::server
