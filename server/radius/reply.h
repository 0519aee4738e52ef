// What a gateway is told of a recommendation (spec part 1a §3.4, §3.5).
#pragma once

#include <span>
#include <string>

#include "base/secret.h"
#include "pipeline/verdict/verdict.h"
#include "server/config/radius.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {

// Whether the answer is Access-Accept. allow and isolate are, unless isolation is to be a refusal.
bool admits(const RadiusConfig& config, std::optional<pipeline::Recommendation> recommendation);

// What goes along for a device of these groups, the nearest first (policy::groups_of): the first of them that has something of
// its own for this recommendation decides. Empty: nothing is known of its groups.
const RadiusReply& reply_for(const RadiusConfig& config, std::span<const std::string> groups,
                             std::optional<pipeline::Recommendation> recommendation);

// What tells a gateway where an endpoint belongs: in Access-Accept, and in a CoA-Request that moves it.
void append_place(radius::Builder& answer, const RadiusReply& reply, RadiusProfile profile);

// The attributes of an Access-Accept behind EAP-Message. For IPsec gateways Tunnel-Type is ESP, without which they don't take
// a Filter-Id for a group; for switches it is VLAN, where one is configured. `msk`: 64 bytes. `user`: empty: not said.
void append_accept(radius::Builder& answer, const RadiusReply& reply, RadiusProfile profile, Bytes msk, std::uint16_t salt,
                   std::string_view user, const radius::Authenticator& request, Bytes secret);
// Of an Access-Reject.
void append_reject(radius::Builder& answer, const RadiusReply& reply);

}  // namespace gatehouse::server
