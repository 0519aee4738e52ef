// Results as messages of syslog (RFC 5424), to a socket of this machine, by UDP (RFC 5426) or by TCP with octet counting
// (RFC 6587 section 3.4.1).
//
//   auto syslog = Syslog::open({.target = "unix:/dev/log"});
//   syslog->publish(line);
//
// <84>1 2026-11-24T16:31:05.123Z pdp1 gatehouse 812 result [gatehouse@32473 session="…" device="…" …] isolate: processed …
//
// A thread of its own sends them: who doesn't take them costs nobody time. What the network loses of UDP nobody knows of;
// with the others a message is sent again after an error until the receiver is back, and what comes beyond the bound
// meanwhile is left out.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"
#include "server/results/fields.h"
#include "server/results/waiting_lines.h"

namespace gatehouse::server {

// Severity info where the recommendation is allow, warning for isolate and block, error for none. `host` and `process`
// are header fields; at most 2,048 bytes, which every receiver by UDP should take (RFC 5424 6.1): what is longer is cut
// in the text and, before that, in the values.
std::string syslog_message(const ResultFields& fields, unsigned facility, std::string_view host, std::string_view process);

struct SyslogOptions {
  std::string target;  // as in the configuration (server/config/results.h)
  unsigned facility = 10;
  std::size_t most_waiting = 10'000;
};

class Syslog {
 public:
  // Connects when there is something to send: that nobody listens yet is no error.
  static std::unique_ptr<Syslog> open(SyslogOptions options);
  // Sends what waits if the receiver takes it within two seconds.
  ~Syslog();
  Syslog(const Syslog&) = delete;
  Syslog& operator=(const Syslog&) = delete;

  void publish(ResultLine line);
  DeliveryCounts counts() const;

 private:
  struct Impl;
  explicit Syslog(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
