#include "server/radius/reply.h"

namespace gatehouse::server {
namespace {

constexpr std::uint32_t tunnel_type_esp = 9, tunnel_type_vlan = 13, tunnel_medium_802 = 6;  // tag 0 in the first octet
constexpr std::size_t key_size = 32;

}  // namespace

bool admits(const RadiusConfig& config, std::optional<pipeline::Recommendation> recommendation) {
  if (!recommendation) return false;
  return *recommendation == pipeline::Recommendation::allow ||
         (*recommendation == pipeline::Recommendation::isolate && !config.isolate_is_reject);
}

const RadiusReply& reply_for(const RadiusConfig& config, std::span<const std::string> groups,
                             std::optional<pipeline::Recommendation> recommendation) {
  const bool allow = recommendation == pipeline::Recommendation::allow, isolate = recommendation == pipeline::Recommendation::isolate;
  for (const std::string& group : groups)
    for (const RadiusGroupReply& of : config.groups) {
      const std::optional<RadiusReply>& reply = allow ? of.allow : isolate ? of.isolate : of.block;
      if (of.group == group && reply) return *reply;
    }
  return allow ? config.allow : isolate ? config.isolate : config.block;
}

void append_place(radius::Builder& answer, const RadiusReply& reply, RadiusProfile profile) {
  if (profile == RadiusProfile::ipsec) answer.add_number(radius::type::tunnel_type, tunnel_type_esp);
  if (!reply.filter_id.empty()) answer.add_text(radius::type::filter_id, reply.filter_id);
  if (!reply.class_.empty()) answer.add_text(radius::type::class_, reply.class_);
  if (const std::string group = reply.group_id(); profile == RadiusProfile::dot1x && !group.empty()) {
    answer.add_number(radius::type::tunnel_type, tunnel_type_vlan);
    answer.add_number(radius::type::tunnel_medium_type, tunnel_medium_802);
    answer.add_text(radius::type::tunnel_private_group_id, group);
  }
  for (const RadiusVendorAttribute& a : reply.vendor) answer.add_vendor(a.vendor, a.type, a.value);
}

void append_accept(radius::Builder& answer, const RadiusReply& reply, RadiusProfile profile, Bytes msk, std::uint16_t salt,
                   std::string_view user, const radius::Authenticator& request, Bytes secret) {
  GH_ASSERT(msk.size() == 2 * key_size);
  append_place(answer, reply, profile);
  // The names are from the gateway's point of view. Each key has a salt of its own.
  answer.add_vendor(radius::vendor_microsoft, radius::ms_mppe_recv_key,
                    radius::hide_key(msk.first(key_size), salt, request, secret));
  answer.add_vendor(radius::vendor_microsoft, radius::ms_mppe_send_key,
                    radius::hide_key(msk.subspan(key_size), std::uint16_t(salt ^ 1U), request, secret));
  if (!user.empty()) answer.add_text(radius::type::user_name, user.substr(0, radius::max_value));
  if (reply.session_timeout.count() != 0)
    answer.add_number(radius::type::session_timeout, std::uint32_t(reply.session_timeout.count()));
}

void append_reject(radius::Builder& answer, const RadiusReply& reply) {
  if (!reply.reply_message.empty()) answer.add_text(radius::type::reply_message, reply.reply_message);
}

}  // namespace gatehouse::server
