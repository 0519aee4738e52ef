#include "server/config/results.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "server/config/listen_address.h"

namespace gatehouse::server {

bool is_webhook_url(const std::string& url) {
  // libcurl reads the rest; what is checked here is that nothing goes out in the clear, and that no line break gets into a
  // request.
  if (url.size() > 2048 || std::any_of(url.begin(), url.end(), [](unsigned char c) { return c <= ' ' || c == 0x7F; })) return false;
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) return false;
  std::string_view host = std::string_view(url).substr(tls ? 8 : 7);
  host = host.substr(0, host.find_first_of("/?#"));
  if (host.empty() || host.find('@') != std::string_view::npos) return false;  // no password among the names
  if (tls) return true;
  for (const std::string_view here : {"127.0.0.1", "[::1]", "localhost"})
    if (host == here || (host.starts_with(here) && host[here.size()] == ':' &&
                         host.find_first_not_of("0123456789", here.size() + 1) == std::string_view::npos))
      return true;
  return false;
}

bool is_syslog_target(const std::string& target) {
  if (target.starts_with("unix:/")) return target.size() > 6 && target.size() < 5 + 108;  // sun_path
  if (!target.starts_with("udp:") && !target.starts_with("tcp:")) return false;
  const auto where = parse_listen_address(target.substr(4));
  in6_addr address{};
  return where && where->port != 0 &&
         (::inet_pton(AF_INET, where->host.c_str(), &address) == 1 || ::inet_pton(AF_INET6, where->host.c_str(), &address) == 1);
}

unsigned syslog_facility(std::string_view name) {
  constexpr std::array<std::string_view, 24> names = {"kern",     "user", "mail", "daemon", "auth",   "syslog", "lpr",    "news",
                                                      "uucp",     "cron", "authpriv", "ftp", "ntp",   "audit",  "alert",  "clock",
                                                      "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"};
  return unsigned(std::find(names.begin(), names.end(), name) - names.begin());
}

}  // namespace gatehouse::server
