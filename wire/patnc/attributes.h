// The standard attributes that patnc.h leaves out, and ITA-HSR's (spec part 1b §1.7, §2.1): port filters, installed
// packages, remediation instructions, error information, settings, the test protocol. Conventions as in patnc.h: `r`
// starts at the value, parsed values borrow from it, functions that append write a whole value.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "wire/patnc/cursor.h"
#include "wire/patnc/patnc.h"

namespace gatehouse::patnc {

// Port Filter (6) and PWG Firewall Setting (21): n × 4 bytes.
inline constexpr std::uint8_t protocol_tcp = 6, protocol_udp = 17;
struct PortFilterEntry {
  bool blocked = false;
  std::uint8_t protocol = 0;  // IP's numbers
  std::uint16_t port = 0;
  bool operator==(const PortFilterEntry&) const = default;
};
Result<std::vector<PortFilterEntry>> parse_port_filter(Reader& r);
void append_port_filter(Writer& w, std::span<const PortFilterEntry> entries);

// Installed Packages (7): u16 reserved, u16 count, then each package as u8 length + name, u8 length + version.
struct Package {
  std::string_view name, version;
  bool operator==(const Package&) const = default;
};
struct PackagesFormat {
  struct Header {
    std::uint16_t count = 0;
  };
  using Record = Package;
  static constexpr std::size_t header_size = 4;
  static constexpr std::string_view spec = "RFC 5792 4.2.7";
  Result<Header> parse_header(Reader& r) const;
  std::uint64_t count(const Header& header) const { return header.count; }
  Result<std::size_t> needed(const Header& header, Reader r) const;
  Result<Package> parse(const Header& header, Reader& r) const;
};
using PackagesCursor = Cursor<PackagesFormat>;
// The first 65,535 packages; a name or version above 255 bytes is cut. Never send an empty list: there are peers that
// refuse it.
void append_installed_packages(Writer& w, std::span<const Package> packages);

// Remediation Instructions (10): u8 reserved, u24 vendor, u32 type, then by type.
struct RemediationUri {
  std::string_view uri;
};
struct OpaqueRemediation {
  std::uint32_t vendor = 0, type = 0;
  Bytes parameters;
};
using RemediationInstructions = std::variant<RemediationUri, RemediationString, OpaqueRemediation>;
Result<RemediationInstructions> parse_remediation_instructions(Reader& r);
void append_remediation_instructions(Writer& w, const RemediationInstructions& v);

// What a PA-TNC Error (8) says beside its code. `header` are the first 8 bytes of the refused message, or "FF FF FF FF"
// and the base message id of a segmented attribute. SWIMA's codes 4-8 are read by swima::parse_error_information.
struct InvalidParameter {
  Bytes header;
  std::uint32_t offset = 0;
};
struct VersionNotSupported {
  Bytes header;
  std::uint8_t max_version = 1, min_version = 1;
};
struct TypeNotSupported {
  Bytes header;
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
};
using ErrorInformation = std::variant<InvalidParameter, VersionNotSupported, TypeNotSupported, Bytes>;
// Bytes: of a code that isn't 1-3 of the IETF, or too short for it.
ErrorInformation error_information(const PaTncError& error);
void append_error_information(Writer& w, const ErrorInformation& v);

// ITA-HSR. Command (1) and Dummy (2) are the test protocol.
Result<std::string_view> parse_command(Reader& r);
void append_command(Writer& w, std::string_view command);
Result<Bytes> parse_dummy(Reader& r);
void append_dummy(Writer& w, std::size_t size);  // filler 0xDD

// Get Settings (3) and Settings (4): u32 count, then each name, and value, as u16 length + at most 65,535 bytes.
inline constexpr std::size_t max_settings = 1024;
struct Setting {
  std::string_view name;
  Bytes value;
};
Result<std::vector<std::string_view>> parse_get_settings(Reader& r);
void append_get_settings(Writer& w, std::span<const std::string_view> names);
Result<std::vector<Setting>> parse_settings(Reader& r);
void append_settings(Writer& w, std::span<const Setting> settings);
// A setting's value to compare with: without the one newline that ends a file.
std::string_view setting_text(const Setting& setting);

// Attributes without a value: Start and Stop Angel (ITA-HSR 5, 6), Subscription Status Request (18) and Source Metadata
// Request (20).
Result<void> parse_empty(Reader& r);

}  // namespace gatehouse::patnc
