#include "server/radius/question.h"

#include <algorithm>

#include "base/hash.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t longest_password = 128;  // RFC 2865 section 5.2

void append(radius::Builder& out, const ChapAnswer& answer) {
  Writer chap;
  chap.put(answer.identifier);
  chap.put_bytes(answer.response);
  out.add(radius::type::chap_password, chap.view());
  out.add(radius::type::chap_challenge, answer.challenge);
}

// Ident, Flags, Peer-Challenge, eight reserved bytes, Response (RFC 2548 section 2.3.2).
void append(radius::Builder& out, const MsChap2Answer& answer) {
  out.add_vendor(radius::vendor_microsoft, radius::ms_chap_challenge, answer.challenge);
  constexpr std::size_t reserved = 8;
  Writer response;
  response.put(answer.identifier);
  response.put(std::uint8_t{0});
  response.put_bytes(answer.peer_challenge);
  response.put_zeros(reserved);
  response.put_bytes(answer.response);
  out.add_vendor(radius::vendor_microsoft, radius::ms_chap2_response, response.view());
}

// Ident, and a string of 42 characters (RFC 2548 section 2.3.3); what may stand behind it isn't passed on.
std::string proof_in(const radius::Packet& packet, std::uint8_t identifier) {
  constexpr std::size_t size = 42;
  const auto value = radius::find_vendor(packet, radius::vendor_microsoft, radius::ms_chap2_success);
  if (!value || value->size() < 1 + size || (*value)[0] != std::byte{identifier}) return {};
  const std::string_view text = as_text(value->subspan(1, size));
  const auto digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); };
  if (!text.starts_with("S=") || !std::all_of(text.begin() + 2, text.end(), digit)) return {};
  return std::string(text);
}

}  // namespace

Result<ByteVector> make_question(const UpstreamQuestion& question, std::uint8_t identifier, Bytes secret) {
  constexpr std::uint32_t authenticate_only = 8;
  radius::Authenticator random{};
  fill_random(random);
  radius::Builder out(radius::Code::access_request, identifier);
  out.add_text(radius::type::user_name, question.user);
  if (const auto* const password = std::get_if<Secret>(&question.about)) {
    if (password->size() == 0 || password->size() > longest_password) return fail(Fault::limit, "a password that RADIUS can't say", "RFC 2865 5.2");
    out.add(radius::type::user_password, radius::hide_password(password->reveal(), random, secret));
  }
  if (const auto* const chap = std::get_if<ChapAnswer>(&question.about)) append(out, *chap);
  if (const auto* const ms_chap = std::get_if<MsChap2Answer>(&question.about)) append(out, *ms_chap);
  out.add_number(radius::type::service_type, authenticate_only);
  if (!question.station.empty()) out.add_text(radius::type::calling_station_id, question.station);
  out.add_text(radius::type::nas_identifier, "gatehouse");
  return std::move(out).finish_request(random, secret);
}

UpstreamSays read_answer(const UpstreamQuestion& question, Bytes answer) {
  const auto packet = radius::parse_packet(answer);
  if (!packet) return {};
  UpstreamSays out{true, packet->code == radius::Code::access_accept, {}};
  const auto* const ms_chap = std::get_if<MsChap2Answer>(&question.about);
  if (out.good && ms_chap != nullptr) out.proof = proof_in(*packet, ms_chap->identifier);
  return out;
}

}  // namespace gatehouse::server
