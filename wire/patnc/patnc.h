// PA-TNC messages and attributes (RFC 5792; spec part 1b §1, §2.1). Big-endian. Offsets count from the first byte of the
// PA-TNC message, as PA-TNC errors quote them. Parsed values borrow from the message.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::patnc {

inline constexpr std::uint32_t vendor_ietf = 0, vendor_tcg = 0x005597, vendor_ita = 0x00902A, vendor_pwg = 0x000A8B,
    vendor_fhh = 0x0080AB, vendor_reserved = 0xFFFFFF;
inline constexpr std::uint32_t type_reserved = 0xFFFFFFFF;
inline constexpr std::uint8_t noskip = 0x80;
inline constexpr std::size_t message_header_size = 8, attribute_header_size = 12;
inline constexpr std::size_t max_attributes = 4096;

// PA message subtypes (vendor_ietf, else as named).
inline constexpr std::uint32_t subtype_operating_system = 1, subtype_firewall = 5, subtype_swima = 9;
inline constexpr std::uint32_t subtype_pts = 1;  // vendor_tcg

// Attribute types of vendor_ietf.
namespace type {
inline constexpr std::uint32_t testing = 0, attribute_request = 1, product_information = 2, numeric_version = 3,
    string_version = 4, operational_status = 5, port_filter = 6, installed_packages = 7, pa_tnc_error = 8,
    assessment_result = 9, remediation_instructions = 10, forwarding_enabled = 11, factory_default_password = 12,
    swima_request = 13, software_identifier_inventory = 14, software_identifier_events = 15, software_inventory = 16,
    software_events = 17, subscription_status_request = 18, subscription_status_response = 19,
    source_metadata_request = 20, source_metadata_response = 21;
// vendor_ita
inline constexpr std::uint32_t ita_command = 1, ita_dummy = 2, ita_get_settings = 3, ita_settings = 4,
    ita_start_angel = 5, ita_stop_angel = 6, ita_device_id = 8, ita_get_symlinks = 9, ita_symlinks = 10;
// vendor_tcg
inline constexpr std::uint32_t contract_request = 0x21, contract_response = 0x22, segment_envelope = 0x23,
    next_segment = 0x24;
}  // namespace type

struct MessageHeader {
  std::uint8_t version = 1;
  std::uint32_t identifier = 0;
  Bytes copy;  // the 8 bytes, quoted in errors
};

struct Attribute {
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  std::size_t offset = 0;  // of the attribute header in the message
  Bytes value;

  std::size_t value_offset() const { return offset + attribute_header_size; }
  bool is(std::uint32_t v, std::uint32_t t) const { return vendor == v && type == t; }
};

// What a PA-TNC Error attribute of the IETF namespace says (§1.7.8).
enum class ErrorCode : std::uint32_t { invalid_parameter = 1, version_not_supported = 2, type_not_supported = 3 };

// A message that can't be acted on: what to answer.
struct Refusal {
  ErrorCode code = ErrorCode::invalid_parameter;
  std::size_t offset = 0;       // invalid_parameter
  Attribute attribute{};        // type_not_supported: flags, vendor, type
  std::string_view reason;      // literal
};

struct Message {
  MessageHeader header;
  std::vector<Attribute> attributes;
};

// The whole message in the order of checks of §1.3. `supported` tells which attributes are known: an unknown one with
// NOSKIP refuses the message, without it is skipped. Fewer than 8 bytes: malformed without an answer.
struct Parsed {
  MessageHeader header;
  std::vector<Attribute> attributes;
  std::optional<Refusal> refusal;
};
using Supported = std::function<bool(std::uint32_t vendor, std::uint32_t type)>;
Result<Parsed> parse_message(Bytes message, const Supported& supported);

// One attribute; checks 1-5 of §1.3. The reader starts at the attribute.
std::optional<Refusal> parse_attribute(Reader& r, Attribute& out);

// The 12 bytes in front of a value of `value_size` bytes.
void append_attribute_header(Writer& w, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type,
                             std::size_t value_size);
void append_attribute(Writer& w, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);

// Collects attributes into messages of at most `limit` bytes and max_attributes attributes, in order.
class Builder {
 public:
  Builder(std::size_t limit, std::uint32_t first_identifier) : limit_(limit), identifier_(first_identifier) {}
  // False: the attribute is larger than a message may be, and was left out.
  bool add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value);
  // The same for a value in parts that follow each other.
  bool add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, std::initializer_list<Bytes> parts);
  std::size_t limit() const { return limit_; }
  // Room for one more attribute's header and value in the message being filled.
  std::size_t room() const;
  bool empty() const { return messages_.empty() && open_.size() == 0; }
  // The messages, and the identifier for the next builder.
  std::vector<ByteVector> take(std::uint32_t* next_identifier = nullptr);

 private:
  void close();
  std::size_t limit_;
  std::uint32_t identifier_;
  Writer open_;
  std::size_t attributes_ = 0;  // in open_
  std::vector<ByteVector> messages_;
};

// Values.
struct ProductInformation {
  std::uint32_t vendor = 0;
  std::uint16_t id = 0;
  std::string_view name;
};
struct NumericVersion {
  std::uint32_t major = 0, minor = 0, build = 0;
  std::uint16_t service_pack_major = 0, service_pack_minor = 0;
};
struct StringVersion {
  std::string_view version, build, configuration;
};
struct OperationalStatus {
  std::uint8_t status = 0, result = 0;
  std::string_view last_use;  // 20 characters; "0000-00-00T00:00:00Z" or an implausible date: unknown
};
struct TypeName {
  std::uint32_t vendor = 0, type = 0;
};
struct PaTncError {
  std::uint32_t vendor = 0, code = 0;
  Bytes information;
};
struct RemediationString {
  std::string_view text, language;
};

// Errors carry the offset in the message: `r` starts at the value, its base is the value's offset. Strings that don't
// fit their length field are cut at a character's end when they are written.
Result<std::vector<TypeName>> parse_attribute_request(Reader& r);
void append_attribute_request(Writer& w, const std::vector<TypeName>& v);
Result<ProductInformation> parse_product_information(Reader& r);
void append_product_information(Writer& w, const ProductInformation& v);
Result<NumericVersion> parse_numeric_version(Reader& r);
void append_numeric_version(Writer& w, const NumericVersion& v);
Result<StringVersion> parse_string_version(Reader& r);
void append_string_version(Writer& w, const StringVersion& v);
Result<OperationalStatus> parse_operational_status(Reader& r);
void append_operational_status(Writer& w, const OperationalStatus& v);
Result<std::uint32_t> parse_forwarding_enabled(Reader& r);        // 0 no, 1 yes, 2 unknown
Result<std::uint32_t> parse_factory_default_password(Reader& r);  // 0 no, 1 yes
Result<std::uint32_t> parse_assessment_result(Reader& r);         // as IF-IMV's evaluation; above 4 is possible
void append_u32(Writer& w, std::uint32_t v);
Result<std::string_view> parse_device_id(Reader& r);              // empty: no Device ID
void append_device_id(Writer& w, std::string_view id);
Result<PaTncError> parse_error(Reader& r);                        // codes 1-3 have all of their information
void append_error(Writer& w, const PaTncError& v);
void append_remediation_string(Writer& w, const RemediationString& v);
Result<RemediationString> parse_remediation_string(Reader& r);  // the parameters after vendor and type

// The value of a PA-TNC Error attribute that answers `refusal`; `header_copy` are 8 bytes.
ByteVector error_value(const Refusal& refusal, Bytes header_copy);

// `size` bytes of a peer's text: a NUL is an error at its offset.
Result<std::string_view> parse_text(Reader& r, std::size_t size);
// The longest start of `text` of at most `limit` bytes that doesn't end inside a UTF-8 character.
std::string_view cut_text(std::string_view text, std::size_t limit);

// For logs; numbers without a name are written in hexadecimal.
std::string attribute_name(std::uint32_t vendor, std::uint32_t type);  // "IETF/Product Information"
std::string subtype_name(std::uint32_t vendor, std::uint32_t subtype);  // "TCG/PTS"
std::string vendor_name(std::uint32_t vendor);                          // "Canonical", of §1.5
std::string error_name(std::uint32_t vendor, std::uint32_t code);       // "Invalid Parameter"
std::string_view assessment_name(std::uint32_t result);                 // "non-compliant minor", above 4 "unknown"

}  // namespace gatehouse::patnc
