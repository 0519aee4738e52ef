// When what the server relies on ends: certificates and revocation lists of its files, so that it is said before it
// happens.
//
//   for (const Expiry& one : expiries_blocking("crl", "/etc/gatehouse/clients.crl")) …
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gatehouse::server {

struct Expiry {
  std::string what;     // "certificate", "client_ca", "client_crl", "ak_ca", "ak_crl", "ek_ca", "ek_crl"
  std::string file, subject;  // a list's issuer; escaped
  std::int64_t ends = 0, warn = 0;  // seconds since 1970; from `warn` on it is said
};

// Of a file of certificates and lists, PEM or one in DER; empty where it can't be read (who loads it says so). A
// certificate is warned of 30 days before (or a third of its time, where that is less), a list a quarter of its period, and
// at most a week, before the next one is due.
std::vector<Expiry> expiries_blocking(const std::string& what, const std::string& file);

// "in 12 days", "in 5 hours", "since 3 days".
std::string time_left(std::int64_t ends, std::int64_t now);

}  // namespace gatehouse::server
