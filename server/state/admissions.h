// Whom gateways were told to let in, as the state store keeps it, so that a server which was started anew can still have them cut
// off (docs/formats/state.md, rows `p`). What is done with it is server/radius/admitted.h's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::server {

// One endpoint behind a gateway. Times are milliseconds since 1970.
struct GatewayAdmission {
  std::uint64_t number = 0;              // from 1; never given twice while one with a greater number is kept
  std::array<std::uint8_t, 16> gateway{};  // where its requests come from; IPv4 as ::ffff:a.b.c.d
  std::string client;        // of the configuration
  bool streamed = false;     // its requests came over TCP or TLS
  std::string nas;           // NAS-Identifier
  ByteVector nas_address;    // NAS-IP-Address (4 bytes) or NAS-IPv6-Address (16); empty: not said
  std::optional<std::uint32_t> port;  // NAS-Port
  std::string user;          // User-Name, as the gateway says it
  std::string station;       // Calling-Station-Id
  std::string accounting;    // Acct-Session-Id; empty: not known yet
  std::string address;       // of the endpoint, as the gateway has given it; empty: not told
  // Who it is; empty: accounting alone has told of it, and nothing is on record of its session.
  std::string session, device, identity, identity_type;
  std::vector<std::string> also;    // other devices that it could be as well: it was let in by a lease
  bool sure = false;                // it was proved to be of its device, or bound to it
  std::vector<std::string> groups;  // of the policy, the nearest first
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  std::int64_t admitted = 0;              // 0: accounting alone has told of it
  std::int64_t until = 0;                 // when the lease that it was let in by ends; 0: it has no end
  std::int64_t connected = 0, heard = 0;  // first and last word of accounting; 0: none
  std::uint64_t octets_in = 0, octets_out = 0;
  friend bool operator==(const GatewayAdmission&, const GatewayAdmission&) = default;
};

namespace layout {

std::string encode(const GatewayAdmission& value);
Result<GatewayAdmission> decode_admission(std::string_view value, std::uint64_t number);

}  // namespace layout
}  // namespace gatehouse::server
