#include "server/config/listen_address.h"

#include <algorithm>
#include <charconv>

#include "server/config/address_prefix.h"

namespace gatehouse::server {

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return std::nullopt;
  ListenAddress out;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, out.port);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  out.host = host == "*" ? "::" : host;
  return out;
}

std::optional<ListenAddress> parse_referral(std::string_view text) {
  auto out = parse_listen_address(text);
  if (!out || out->port == 0 || text.starts_with("*")) return std::nullopt;
  const bool name = out->host.size() <= 253 && std::all_of(out->host.begin(), out->host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-';
  });
  const bool address = text.front() == '[' && out->host.find('/') == std::string::npos && parse_prefix(out->host);
  if (!name && !address) return std::nullopt;
  return out;
}

}  // namespace gatehouse::server
