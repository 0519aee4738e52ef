// What a gateway is told of a recommendation (spec part 1a §3.4, §3.5).
#pragma once

#include "base/secret.h"
#include "pipeline/verdict/verdict.h"
#include "server/config/radius.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {

// Whether the answer is Access-Accept. allow and isolate are, unless isolation is to be a refusal.
bool admits(const RadiusConfig& config, std::optional<pipeline::Recommendation> recommendation);

// The attributes of an Access-Accept behind EAP-Message. For IPsec gateways Tunnel-Type is ESP, without which they don't take
// a Filter-Id for a group; for switches it is VLAN, where one is configured. `msk`: 64 bytes. `user`: empty: not said.
void append_accept(radius::Builder& answer, const RadiusReply& reply, RadiusProfile profile, Bytes msk, std::uint16_t salt,
                   std::string_view user, const radius::Authenticator& request, Bytes secret);
// Of an Access-Reject.
void append_reject(radius::Builder& answer, const RadiusReply& reply);

}  // namespace gatehouse::server
