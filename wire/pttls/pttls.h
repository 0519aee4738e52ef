// PT-TLS (RFC 6876; spec part 1a §1): message framing over TLS application data, version negotiation, SASL messages,
// errors. Big-endian. Offsets in errors count from the message's first byte.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pttls {

inline constexpr std::size_t header_size = 16;
inline constexpr std::size_t max_batch = 2'097'136;  // 128 TLS records less this header
inline constexpr std::size_t max_skipped = 65'536;    // value of a message of unknown type

enum class Type : std::uint32_t {
  experimental = 0,
  version_request = 1,
  version_response = 2,
  sasl_mechanisms = 3,
  sasl_selection = 4,
  sasl_data = 5,
  sasl_result = 6,
  pb_tnc_batch = 7,
  error = 8,
};
std::string name(std::uint32_t vendor, std::uint32_t type);

enum class ErrorCode : std::uint32_t {
  malformed = 1,
  version_not_supported = 2,
  type_not_supported = 3,
  invalid_message = 4,
  sasl_mechanism = 5,
  invalid_parameter = 6,
};

struct Header {
  std::uint32_t vendor = 0, type = 0, length = 0, identifier = 0;
  bool known() const { return vendor == 0 && type <= 8; }
  Type kind() const { return Type(type); }
};

// A received message; the value borrows from the framer until its next call.
struct Message {
  Header header;
  Bytes value;
  Bytes whole;  // header and value, for the copy in errors
};

// What is wrong with a header, before its value is read (§7).
struct Refusal {
  ErrorCode code = ErrorCode::invalid_parameter;
  std::string_view reason;
  Bytes copy;  // the header as it came
};

// Finds messages in a byte stream that is cut anywhere. A header is checked as soon as it is there.
class Framer {
 public:
  void feed(Bytes bytes);
  // nullptr: more bytes are needed. The refusal is final.
  std::expected<const Message*, Refusal> next();
  std::size_t buffered() const { return buffer_.size() - at_; }

 private:
  ByteVector buffer_;
  std::size_t at_ = 0;
  Message message_;
};

void append_message(Writer& w, Type type, std::uint32_t identifier, Bytes value);

struct VersionRequest {
  std::uint8_t minimum = 1, maximum = 1, preferred = 1;
};
Result<VersionRequest> parse_version_request(Bytes value);
void append_version_request(Writer& w, const VersionRequest& v);
Result<std::uint8_t> parse_version_response(Bytes value);
void append_version_response(Writer& w, std::uint8_t version);

Result<std::vector<std::string_view>> parse_mechanisms(Bytes value);
void append_mechanisms(Writer& w, const std::vector<std::string_view>& names);
struct Selection {
  std::string_view mechanism;
  Bytes initial_response;
};
Result<Selection> parse_selection(Bytes value);
void append_selection(Writer& w, const Selection& v);

enum class SaslResult : std::uint8_t { success = 0, failure = 1, abort = 2, mechanism_failure = 3 };
// Both widths in use: one octet, or two (RFC 6876); spec part 1a §1.5.
Result<SaslResult> parse_sasl_result(Bytes value);

struct Plain {
  std::string_view authorization, user, password;
};
// RFC 4616; a NUL in the password, an empty user or password, or over-long ones are malformed.
Result<Plain> parse_plain(Bytes message);
ByteVector plain_message(std::string_view user, std::string_view password);

struct ErrorMessage {
  std::uint32_t vendor = 0, code = 0;
  Bytes copy;
};
Result<ErrorMessage> parse_error(Bytes value);
// `offending`: the message that is answered; its first 1,024 bytes are copied.
void append_error(Writer& w, ErrorCode code, Bytes offending);

}  // namespace gatehouse::pttls
