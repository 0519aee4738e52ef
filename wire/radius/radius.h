// RADIUS packets (RFC 2865, RFC 3579, RFC 2548; spec part 1a §3): reading, the two authenticators, building, what is hidden
// by the shared secret. Big-endian. Parsed values borrow from the datagram. Offsets count from its first byte.
//
//   const auto packet = radius::parse_packet(datagram);
//   if (!packet || !radius::authentic_request(*packet, secret)) return;      // silently (RFC 2865 section 3)
//   GH_TRY(const auto eap, radius::eap_message(*packet));
//   radius::Builder answer(radius::Code::access_challenge, packet->identifier);
//   answer.add_eap(request);
//   answer.add(radius::type::state, state);
//   send(*std::move(answer).finish_answer(packet->authenticator, secret));
//
// Where many come together, their authenticators are checked and made side by side: check_requests(), seal_answers().
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/md5.h"
#include "base/reader.h"
#include "base/secret.h"
#include "base/writer.h"

namespace gatehouse::radius {

inline constexpr std::size_t header_size = 20, max_packet = 4'096, max_value = 253;
using Authenticator = Md5;

enum class Code : std::uint8_t {
  access_request = 1,
  access_accept = 2,
  access_reject = 3,
  accounting_request = 4,
  accounting_response = 5,
  access_challenge = 11,
  status_server = 12,
  disconnect_request = 40,
  disconnect_ack = 41,
  disconnect_nak = 42,
  coa_request = 43,
  coa_ack = 44,
  coa_nak = 45,
};

namespace type {
inline constexpr std::uint8_t user_name = 1, user_password = 2, chap_password = 3, nas_ip_address = 4, nas_port = 5, service_type = 6,
                              framed_ip_address = 8, filter_id = 11, framed_mtu = 12, reply_message = 18, state = 24, class_ = 25,
                              vendor_specific = 26, session_timeout = 27, called_station_id = 30,
                              calling_station_id = 31, nas_identifier = 32, proxy_state = 33, acct_status_type = 40,
                              acct_input_octets = 42, acct_output_octets = 43,
                              acct_session_id = 44, acct_session_time = 46, acct_terminate_cause = 49,
                              acct_input_gigawords = 52, acct_output_gigawords = 53,
                              event_timestamp = 55, chap_challenge = 60, nas_port_type = 61, tunnel_type = 64, tunnel_medium_type = 65,
                              eap_message = 79, message_authenticator = 80, tunnel_private_group_id = 81,
                              nas_port_id = 87, nas_ipv6_address = 95, error_cause = 101;
}  // namespace type
inline constexpr std::uint32_t vendor_microsoft = 311;
// Vendor types of Microsoft (RFC 2548).
inline constexpr std::uint8_t ms_chap_challenge = 11, ms_mppe_send_key = 16, ms_mppe_recv_key = 17, ms_chap2_response = 25, ms_chap2_success = 26;

struct Attribute {
  std::uint8_t type = 0;
  Bytes value;
};

struct Packet {
  Code code = Code::access_request;
  std::uint8_t identifier = 0;
  Authenticator authenticator{};
  std::vector<Attribute> attributes;  // in order
  Bytes whole;                        // without padding behind it

  // The first one of this type.
  std::optional<Bytes> find(std::uint8_t type) const;
  std::string_view text(std::uint8_t type) const;  // empty: absent
  std::optional<std::uint32_t> number(std::uint8_t type) const;
};

// Length 20 to 4,096 and within the datagram, whose rest is padding; each attribute 2 bytes or more and inside;
// Message-Authenticator 18 bytes and there once at most; State at least 3. Any code. `room`: for the attributes, from an earlier
// packet: what was in it is gone.
Result<Packet> parse_packet(Bytes datagram, std::vector<Attribute> room = {});

// Access-Request and Status-Server: exactly one Message-Authenticator, and right (spec part 1a §3.2: in every request,
// whatever it asks for). Constant time.
bool authentic_request(const Packet& packet, Bytes secret);
bool authentic_request(const Packet& packet, const HmacMd5& secret);  // where many have the same
// The same of requests that came together, which takes little longer than of one (base/md5.h).
struct CheckedRequest {
  const Packet* packet = nullptr;
  const HmacMd5* secret = nullptr;
  bool authentic = false;  // told
};
void check_requests(std::span<CheckedRequest> requests);
// Accounting-Request: its authenticator is made with the secret; a Message-Authenticator, where there is one, must be
// right.
bool authentic_accounting(const Packet& packet, Bytes secret);
// The answer to a request with this authenticator: the response authenticator, and Message-Authenticator where there is
// one or `message_authenticator` asks for it.
bool authentic_answer(const Packet& packet, const Authenticator& request, Bytes secret, bool message_authenticator);

// EAP-Message attributes, put together: nullopt where there are none. They have to be consecutive, and as long as the EAP
// packet says (RFC 3579 section 3.1); of an EAP-Start, which has no packet, the result is empty.
Result<std::optional<ByteVector>> eap_message(const Packet& packet);
// The same into memory that is there; false: there are none.
Result<bool> eap_message(const Packet& packet, ByteVector& into);

// Builds a packet with Message-Authenticator as its first attribute. What doesn't fit makes finish_…() fail.
class Builder {
 public:
  Builder(Code code, std::uint8_t identifier);

  void add(std::uint8_t type, Bytes value);  // 1 to 253 bytes; EAP-Start has none
  void add_text(std::uint8_t type, std::string_view text) { add(type, as_bytes(text)); }
  void add_number(std::uint8_t type, std::uint32_t value);
  void add_vendor(std::uint32_t vendor, std::uint8_t type, Bytes value);  // RFC 2865 5.26, the usual inner form
  void add_eap(Bytes packet);                                           // in chunks of 253 bytes
  std::size_t size() const { return w_.size(); }

  // Fault::limit: it would be longer than a packet may be.
  Result<ByteVector> finish_answer(const Authenticator& request, Bytes secret) &&;
  // The answer but for its authenticators, which seal_answers() makes.
  Result<ByteVector> finish_unsealed(const Authenticator& request) &&;
  // An Access-Request or Status-Server with a random authenticator.
  Result<ByteVector> finish_request(const Authenticator& random, Bytes secret) &&;
  // A request whose authenticator is made with the secret: Disconnect, CoA, accounting.
  Result<ByteVector> finish_signed_request(Bytes secret) &&;

 private:
  Writer w_;
  bool good_ = true;
};

struct UnsealedAnswer {
  ByteVector packet;  // of Builder::finish_unsealed(); sealed afterwards
  Bytes secret;
  const HmacMd5* keyed = nullptr;  // of the same secret
};
// Message-Authenticator and the response authenticator of each (RFC 3579 section 3.2, RFC 2865 section 3).
void seal_answers(std::span<UnsealedAnswer> answers);

// RFC 2548 section 2.4: the attribute's value behind vendor type and length. `salt`: its first bit is set here; each salt of
// a packet has to be another one.
ByteVector hide_key(Bytes key, std::uint16_t salt, const Authenticator& request, Bytes secret);
Result<Secret> reveal_key(Bytes value, const Authenticator& request, Bytes secret);
// The vendor's attribute, by the usual inner form; the first one.
std::optional<Bytes> find_vendor(const Packet& packet, std::uint32_t vendor, std::uint8_t type);

// User-Password (RFC 2865 section 5.2), 1 to 128 bytes.
ByteVector hide_password(Bytes password, const Authenticator& request, Bytes secret);
Result<Secret> reveal_password(Bytes value, const Authenticator& request, Bytes secret);

// Finds packets in a stream of RADIUS over TCP or TLS (RFC 6613 section 2.6.4): a length that can't be ends it.
class Framer {
 public:
  void feed(Bytes bytes);
  // Empty: more bytes are needed. Borrows until the next call.
  Result<Bytes> next();
  // Nothing of a packet is there that hasn't come whole.
  bool empty() const { return at_ == buffer_.size(); }

 private:
  ByteVector buffer_;
  std::size_t at_ = 0;
};

}  // namespace gatehouse::radius
