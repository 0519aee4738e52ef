#include "wire/eap/eap.h"

namespace gatehouse::eap {
namespace {

constexpr std::string_view spec = "RFC 3748 4";

ByteVector verdict(Code code, std::uint8_t identifier) {
  return {std::byte(code), std::byte(identifier), std::byte{0}, std::byte(header_size)};
}

}  // namespace

std::string_view name(std::uint8_t type) {
  switch (type) {
    case type::identity: return "Identity";
    case type::notification: return "Notification";
    case type::nak: return "Nak";
    case type::md5_challenge: return "EAP-MD5";
    case type::otp: return "EAP-OTP";
    case type::gtc: return "EAP-GTC";
    case type::tls: return "EAP-TLS";
    case type::ttls: return "EAP-TTLS";
    case type::mschap_v2: return "EAP-MSCHAPv2";
    case type::tnc: return "EAP-TNC";
    case type::pt_eap: return "PT-EAP";
    case type::expanded: return "Expanded";
    default: return "another EAP type";
  }
}

Result<Packet> parse_packet(Bytes bytes) {
  Reader all(bytes, spec);
  Packet out;
  GH_TRY(const auto code, all.get<std::uint8_t>());
  if (code < 1 || code > 4) return all.fail("unknown EAP code");
  out.code = Code(code);
  GH_TRY(out.identifier, all.get<std::uint8_t>());
  GH_TRY(const std::size_t length, all.get<std::uint16_t>());
  const bool typed = out.code == Code::request || out.code == Code::response;
  if (length < (typed ? typed_header_size : header_size)) return all.fail("EAP packet shorter than its header");
  GH_TRY(Reader rest, all.sub(length - header_size));
  if (!typed) {
    GH_CHECK(rest.finish());
    return out;
  }
  GH_TRY(out.type, rest.get<std::uint8_t>());
  out.data = rest.rest();
  return out;
}

void make_packet(ByteVector& out, Code code, std::uint8_t identifier, std::uint8_t type, Bytes data) {
  GH_ASSERT(data.size() <= max_packet - typed_header_size);
  const std::size_t size = typed_header_size + data.size();
  const std::array header{std::byte(code), std::byte(identifier), std::byte(size >> 8), std::byte(size), std::byte(type)};
  static_assert(header.size() == typed_header_size);
  out.clear();
  out.reserve(size);
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
}

ByteVector packet(Code code, std::uint8_t identifier, std::uint8_t type, Bytes data) {
  ByteVector out;
  make_packet(out, code, identifier, type, data);
  return out;
}

ByteVector success(std::uint8_t identifier) { return verdict(Code::success, identifier); }
ByteVector failure(std::uint8_t identifier) { return verdict(Code::failure, identifier); }

}  // namespace gatehouse::eap
