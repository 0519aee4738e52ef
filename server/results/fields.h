// What commands, syslog and webhooks tell of a session besides all of it: single values, safe to print.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace gatehouse::server {

// All escaped (base/hex.h): printable UTF-8 on one line. Empty: the session had none.
struct ResultFields {
  std::string session, device, product;
  std::string recommendation, evaluation;  // as they were judged
  std::string told;                        // what the endpoint was told: the recommendation, or allow in monitor mode
  std::string identity, identity_type;
  std::string peer, address;               // "192.0.2.7:49152", "192.0.2.7"; "[2001:db8::1]:49152", "2001:db8::1"
  std::string policy, generation;
  std::string started, finished;           // "2026-11-24T16:31:05.123Z"
  std::string summary;
};

// Of a line as record_line() makes it; malformed where it isn't one.
Result<ResultFields> result_fields(std::string_view line);

}  // namespace gatehouse::server
