// EAP packets (RFC 3748 section 4; spec part 1a §2.1). Big-endian; parsed values borrow.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::eap {

inline constexpr std::size_t header_size = 4, typed_header_size = 5, max_packet = 65'535;

enum class Code : std::uint8_t { request = 1, response = 2, success = 3, failure = 4 };

namespace type {
inline constexpr std::uint8_t identity = 1, notification = 2, nak = 3, md5_challenge = 4, otp = 5, gtc = 6, tls = 13,
                              ttls = 21, mschap_v2 = 26, tnc = 38, pt_eap = 54, expanded = 254;
}
// "EAP-TTLS"; "EAP type 99" is all that's known of others.
std::string_view name(std::uint8_t type);

struct Packet {
  Code code = Code::request;
  std::uint8_t identifier = 0;
  std::uint8_t type = 0;  // of requests and responses
  Bytes data;             // behind the type
};

// Code 1 to 4; the length within `bytes`, whose rest is padding of the layer below; requests and responses have a type,
// success and failure are 4 bytes long.
Result<Packet> parse_packet(Bytes bytes);
// Data up to 65,530 bytes.
ByteVector packet(Code code, std::uint8_t identifier, std::uint8_t type, Bytes data);
// The same into memory that is there.
void make_packet(ByteVector& into, Code code, std::uint8_t identifier, std::uint8_t type, Bytes data);
ByteVector success(std::uint8_t identifier);
ByteVector failure(std::uint8_t identifier);

}  // namespace gatehouse::eap
