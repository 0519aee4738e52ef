// What an Accounting-Request tells (RFC 2866, RFC 2869 section 5): that a session of a gateway has begun, goes on, or has ended.
// Borrows from the packet.
//
//   if (!radius::authentic_accounting(*packet, secret)) return;   // silently
//   const auto told = radius::parse_accounting(*packet);
//   send(radius::accounting_response(*packet, secret));
#pragma once

#include "wire/radius/radius.h"

namespace gatehouse::radius {

enum class AcctStatus : std::uint32_t { start = 1, stop = 2, interim = 3, on = 7, off = 8 };

struct Accounting {
  AcctStatus status = AcctStatus::interim;
  std::string_view session;                // Acct-Session-Id; empty with on and off
  std::string_view user, station, gateway;  // User-Name, Calling-Station-Id, NAS-Identifier; empty: not said
  std::vector<std::string_view> classes;   // Class, in order
  std::optional<Bytes> framed_address;     // Framed-IP-Address, 4 bytes
  std::uint64_t octets_in = 0, octets_out = 0;  // from and to the endpoint, Gigawords counted in
  std::uint32_t seconds = 0;               // Acct-Session-Time
};

// Code 4, one Acct-Status-Type of 4 bytes; start, stop and interim have an Acct-Session-Id. Fault::protocol: a status that isn't
// one of these.
Result<Accounting> parse_accounting(const Packet& packet);

// Accounting-Response with the request's Proxy-States and nothing else (RFC 2866 section 4.2).
Result<ByteVector> accounting_response(const Packet& request, Bytes secret);

}  // namespace gatehouse::radius
