#include "endpoint/client/radius_gateway.h"

#include "base/hash.h"

namespace gatehouse::endpoint {

Result<ByteVector> RadiusGateway::request(Bytes eap, std::uint8_t identifier) {
  constexpr std::uint32_t framed = 2, virtual_port = 5;
  fill_random(authenticator_);
  identifier_ = identifier;
  radius::Builder out(radius::Code::access_request, identifier);
  if (!config_.user.empty()) out.add_text(radius::type::user_name, config_.user);
  out.add_number(radius::type::service_type, framed);
  out.add_number(radius::type::nas_port_type, virtual_port);
  if (!config_.station.empty()) out.add_text(radius::type::calling_station_id, config_.station);
  if (!config_.accounting.empty()) out.add_text(radius::type::acct_session_id, config_.accounting);
  if (config_.framed_mtu) out.add_number(radius::type::framed_mtu, *config_.framed_mtu);
  out.add_eap(eap);
  out.add_text(radius::type::nas_identifier, config_.name);
  if (!state_.empty()) out.add(radius::type::state, state_);
  return std::move(out).finish_request(authenticator_, config_.secret.reveal());
}

std::optional<RadiusGateway::Answer> RadiusGateway::receive(Bytes datagram) {
  const auto packet = radius::parse_packet(datagram);
  const Bytes secret = config_.secret.reveal();
  if (!packet || packet->identifier != identifier_ || !radius::authentic_answer(*packet, authenticator_, secret, true)) return std::nullopt;
  if (packet->code != radius::Code::access_accept && packet->code != radius::Code::access_reject && packet->code != radius::Code::access_challenge)
    return std::nullopt;
  const auto eap = radius::eap_message(*packet);
  if (!eap) return std::nullopt;
  Answer out;
  out.code = packet->code;
  if (*eap) out.eap = **eap;
  const auto state = packet->find(radius::type::state);
  state_ = state ? to_vector(*state) : ByteVector();
  out.filter_id = packet->text(radius::type::filter_id);
  out.class_ = packet->text(radius::type::class_);
  out.reply_message = packet->text(radius::type::reply_message);
  out.session_timeout = packet->number(radius::type::session_timeout);
  out.vlan = packet->text(radius::type::tunnel_private_group_id);
  const auto receive_key = radius::find_vendor(*packet, radius::vendor_microsoft, radius::ms_mppe_recv_key);
  const auto send_key = radius::find_vendor(*packet, radius::vendor_microsoft, radius::ms_mppe_send_key);
  if (receive_key && send_key) {
    const auto first = radius::reveal_key(*receive_key, authenticator_, secret), second = radius::reveal_key(*send_key, authenticator_, secret);
    if (first && second) {
      ByteVector msk = to_vector(first->reveal());
      msk.insert(msk.end(), second->reveal().begin(), second->reveal().end());
      out.msk = Secret(Bytes(msk));
      wipe(msk);
    }
  }
  return out;
}

}  // namespace gatehouse::endpoint
