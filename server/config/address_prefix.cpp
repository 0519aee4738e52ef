#include "server/config/address_prefix.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string>

namespace gatehouse::server {

IpAddress masked(const IpAddress& address, unsigned bits) {
  IpAddress out{};
  for (unsigned i = 0; i < out.size(); ++i) {
    const unsigned kept = std::clamp(int(bits) - int(i * 8), 0, 8);
    out[i] = std::uint8_t(address[i] & (0xFF00U >> kept));
  }
  return out;
}

std::optional<AddressPrefix> parse_prefix(std::string_view text) {
  constexpr unsigned mapped_bits = 96;
  AddressPrefix out;
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  unsigned most = 128, before = 0;
  if (::inet_pton(AF_INET6, host.c_str(), out.address.data()) != 1) {
    out.address = {};
    out.address[10] = out.address[11] = 0xFF;
    if (::inet_pton(AF_INET, host.c_str(), out.address.data() + 12) != 1) return std::nullopt;
    most = 32;
    before = mapped_bits;
  }
  unsigned length = most;
  if (slash != std::string_view::npos) {
    const char* const end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data() + slash + 1, end, length);
    if (parsed.ec != std::errc() || parsed.ptr != end || length > most) return std::nullopt;
  }
  out.bits = before + length;
  if (masked(out.address, out.bits) != out.address) return std::nullopt;
  return out;
}

}  // namespace gatehouse::server
