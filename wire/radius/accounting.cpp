#include "wire/radius/accounting.h"

#include <algorithm>

namespace gatehouse::radius {
namespace {

constexpr std::string_view rfc2866 = "RFC 2866 4.1";
constexpr std::size_t address_size = 4;

}  // namespace

Result<Accounting> parse_accounting(const Packet& packet) {
  if (packet.code != Code::accounting_request) return fail(Fault::protocol, "not an Accounting-Request", rfc2866);
  const auto status = packet.number(type::acct_status_type);
  if (!status) return fail(Fault::malformed, "no Acct-Status-Type", rfc2866);
  Accounting out;
  out.status = AcctStatus(*status);
  switch (out.status) {
    case AcctStatus::start:
    case AcctStatus::stop:
    case AcctStatus::interim:
    case AcctStatus::on:
    case AcctStatus::off: break;
    default: return fail(Fault::protocol, "an Acct-Status-Type that isn't known here", rfc2866);
  }
  const bool of_session = out.status != AcctStatus::on && out.status != AcctStatus::off;
  if (of_session) out.session = packet.text(type::acct_session_id);
  if (of_session && out.session.empty()) return fail(Fault::malformed, "no Acct-Session-Id", rfc2866);
  out.user = packet.text(type::user_name);
  out.station = packet.text(type::calling_station_id);
  out.gateway = packet.text(type::nas_identifier);
  for (const Attribute& a : packet.attributes)
    if (a.type == type::class_) out.classes.push_back(as_text(a.value));
  if (const auto address = packet.find(type::framed_ip_address); address && address->size() == address_size) out.framed_address = *address;
  const auto octets = [&](std::uint8_t low, std::uint8_t high) {
    return std::uint64_t(packet.number(high).value_or(0)) << 32 | packet.number(low).value_or(0);
  };
  out.octets_in = octets(type::acct_input_octets, type::acct_input_gigawords);
  out.octets_out = octets(type::acct_output_octets, type::acct_output_gigawords);
  out.seconds = packet.number(type::acct_session_time).value_or(0);
  return out;
}

Result<ByteVector> accounting_response(const Packet& request, Bytes secret) {
  Writer w;
  w.put(std::uint8_t(Code::accounting_response));
  w.put(request.identifier);
  w.put_zeros(2);
  w.put_bytes(request.authenticator);
  for (const Attribute& a : request.attributes)
    if (a.type == type::proxy_state) {
      w.put(a.type);
      w.put(std::uint8_t(a.value.size() + 2));
      w.put_bytes(a.value);
    }
  if (w.size() > max_packet) return fail(Fault::limit, "RADIUS packet longer than it may be", rfc2866);
  ByteVector out = std::move(w).take();
  out[2] = std::byte(out.size() >> 8);
  out[3] = std::byte(out.size());
  constexpr std::size_t authenticator_at = 4;
  const Md5 made = md5({out, secret});
  std::copy(made.begin(), made.end(), out.begin() + authenticator_at);
  return out;
}

}  // namespace gatehouse::radius
