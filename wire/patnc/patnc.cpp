#include "wire/patnc/patnc.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/hex.h"

namespace gatehouse::patnc {
namespace {

constexpr std::string_view spec = "RFC 5792";

Refusal invalid(std::size_t offset, std::string_view reason) {
  return {ErrorCode::invalid_parameter, offset, {}, reason};
}

}  // namespace

std::optional<Refusal> parse_attribute(Reader& r, Attribute& out) {
  const std::size_t at = r.offset();
  const Bytes head = r.rest();
  if (head.size() < attribute_header_size) return invalid(at, "truncated attribute header");
  // All of the header is there, and there are thousands in a session: its fields are read where they are.
  const auto word = [&](std::size_t i) {
    std::uint32_t big;
    std::memcpy(&big, head.data() + i, sizeof big);
    return std::byteswap(big);
  };
  out.offset = at;
  out.flags = std::uint8_t(word(0) >> 24);
  out.vendor = word(0) & 0xFFFFFF;
  out.type = word(4);
  const std::uint32_t length = word(8);
  if (length < attribute_header_size) return invalid(at + 8, "attribute length below its header");
  if (length > head.size()) return invalid(at + 8, "attribute longer than the message");
  if (out.vendor == vendor_reserved) return invalid(at + 1, "reserved attribute vendor");
  if (out.type == type_reserved) return invalid(at + 4, "reserved attribute type");
  out.value = head.subspan(attribute_header_size, length - attribute_header_size);
  r.pass(length);
  return std::nullopt;
}

Result<Parsed> parse_message(Bytes message, const Supported& supported) {
  Reader r(message, spec);
  if (r.remaining() < message_header_size) return r.fail("truncated PA-TNC header");
  Parsed out;
  out.header.copy = message.first(message_header_size);
  GH_TRY(out.header.version, r.get<std::uint8_t>());
  GH_CHECK(r.skip(3));
  GH_TRY(out.header.identifier, r.get<std::uint32_t>());
  if (out.header.version != 1) {
    out.refusal = Refusal{ErrorCode::version_not_supported, 0, {}, "PA-TNC version isn't 1"};
    return out;
  }
  constexpr std::size_t short_attribute = 64;
  out.attributes.reserve(std::min(max_attributes, r.remaining() / short_attribute + 1));
  // Thousands of one type follow each other.
  std::optional<TypeName> last;
  bool last_supported = false;
  for (std::size_t count = 0; !r.empty(); ++count) {  // those that are skipped count, too
    const std::size_t at = r.offset();
    if (count == max_attributes) {
      out.refusal = invalid(at, "more than 4096 attributes");
      return out;
    }
    Attribute attribute;
    if (auto refusal = parse_attribute(r, attribute)) {
      out.refusal = std::move(refusal);
      return out;
    }
    if (!last || !attribute.is(last->vendor, last->type)) {
      last = {attribute.vendor, attribute.type};
      last_supported = supported(attribute.vendor, attribute.type);
    }
    if (!last_supported) {
      if ((attribute.flags & noskip) == 0) continue;
      attribute.value = {};
      out.refusal = Refusal{ErrorCode::type_not_supported, at, attribute, "unsupported attribute with NOSKIP"};
      return out;
    }
    out.attributes.push_back(attribute);
  }
  return out;
}

void append_attribute_header(Writer& w, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type,
                             std::size_t value_size) {
  w.put(flags);
  w.put24(vendor);
  w.put(type);
  w.put(std::uint32_t(attribute_header_size + value_size));
}

void append_attribute(Writer& w, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value) {
  append_attribute_header(w, flags, vendor, type, value.size());
  w.put_bytes(value);
}

std::size_t Builder::room() const {
  const std::size_t used = open_.size() == 0 ? message_header_size : open_.size();
  return used > limit_ || attributes_ >= max_attributes ? 0 : limit_ - used;
}

bool Builder::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value) {
  return add(flags, vendor, type, std::initializer_list<Bytes>{value});
}

bool Builder::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, std::initializer_list<Bytes> parts) {
  std::size_t size = attribute_header_size;
  for (const Bytes part : parts) size += part.size();
  if (limit_ < message_header_size || size > limit_ - message_header_size) return false;
  if (size > room()) close();
  open_.reserve_bytes((open_.size() == 0 ? message_header_size : 0) + size);
  if (open_.size() == 0) {
    open_.put(std::uint8_t{1});
    open_.put24(0);
    open_.put(identifier_++);
  }
  append_attribute_header(open_, flags, vendor, type, size - attribute_header_size);
  for (const Bytes part : parts) open_.put_bytes(part);
  ++attributes_;
  return true;
}

void Builder::close() {
  if (open_.size() != 0) messages_.push_back(std::move(open_).take());
  open_ = Writer();
  attributes_ = 0;
}

std::vector<ByteVector> Builder::take(std::uint32_t* next_identifier) {
  close();
  if (next_identifier != nullptr) *next_identifier = identifier_;
  return std::exchange(messages_, {});
}

Result<std::vector<TypeName>> parse_attribute_request(Reader& r) {
  if (r.remaining() % 8 != 0) return r.fail("Attribute Request isn't a multiple of 8 bytes");
  std::vector<TypeName> out;
  while (!r.empty()) {
    TypeName v;
    GH_CHECK(r.skip(1));
    GH_TRY(v.vendor, r.get24());
    GH_TRY(v.type, r.get<std::uint32_t>());
    out.push_back(v);
  }
  return out;
}
void append_attribute_request(Writer& w, const std::vector<TypeName>& types) {
  for (const TypeName& t : types) {
    w.put(std::uint8_t{0});
    w.put24(t.vendor);
    w.put(t.type);
  }
}

Result<std::string_view> parse_text(Reader& r, std::size_t size) {
  const auto start = r;
  GH_TRY(const Bytes bytes, r.take(size));
  const std::string_view out = as_text(bytes);
  if (const std::size_t nul = out.find('\0'); nul != std::string_view::npos) {
    Reader at = start;
    GH_CHECK(at.skip(nul));
    return at.fail("NUL in a string");
  }
  return out;
}

std::string_view cut_text(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && limit - end < 3 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  if ((static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) end = limit;  // not UTF-8: any cut is as good
  return text.substr(0, end);
}

Result<ProductInformation> parse_product_information(Reader& r) {
  if (r.remaining() < 5) return r.fail("Product Information shorter than 5 bytes");
  ProductInformation v;
  GH_TRY(v.vendor, r.get24());
  const auto at_id = r;
  GH_TRY(v.id, r.get<std::uint16_t>());
  if (v.vendor == 0 && v.id != 0) return at_id.fail("product id without a vendor");
  const auto at_name = r;
  if (r.remaining() > 255) return at_name.fail("product name longer than 255 bytes");
  GH_TRY(v.name, parse_text(r, r.remaining()));
  if (!is_utf8(v.name)) return at_name.fail("product name isn't UTF-8");
  return v;
}
void append_product_information(Writer& w, const ProductInformation& v) {
  w.put24(v.vendor);
  w.put(v.id);
  w.put_text(cut_text(v.name, 255));
}

Result<NumericVersion> parse_numeric_version(Reader& r) {
  if (r.remaining() < 16) return r.fail("Numeric Version shorter than 16 bytes");
  NumericVersion v;
  GH_TRY(v.major, r.get<std::uint32_t>());
  GH_TRY(v.minor, r.get<std::uint32_t>());
  GH_TRY(v.build, r.get<std::uint32_t>());
  GH_TRY(v.service_pack_major, r.get<std::uint16_t>());
  GH_TRY(v.service_pack_minor, r.get<std::uint16_t>());
  GH_CHECK(r.finish());
  return v;
}
void append_numeric_version(Writer& w, const NumericVersion& v) {
  w.put(v.major);
  w.put(v.minor);
  w.put(v.build);
  w.put(v.service_pack_major);
  w.put(v.service_pack_minor);
}

Result<StringVersion> parse_string_version(Reader& r) {
  if (r.remaining() < 3) return r.fail("String Version shorter than 3 bytes");
  StringVersion v;
  for (std::string_view* part : {&v.version, &v.build, &v.configuration}) {
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint8_t>());
    if (length > r.remaining()) return at.fail("version string longer than the attribute");
    GH_TRY(*part, parse_text(r, length));
  }
  GH_CHECK(r.finish());
  return v;
}
void append_string_version(Writer& w, const StringVersion& v) {
  for (const std::string_view part : {v.version, v.build, v.configuration}) {
    const std::string_view fits = cut_text(part, 255);
    w.put(std::uint8_t(fits.size()));
    w.put_text(fits);
  }
}

Result<OperationalStatus> parse_operational_status(Reader& r) {
  if (r.remaining() != 24) return r.fail("Operational Status isn't 24 bytes");
  OperationalStatus v;
  const auto at_status = r;
  GH_TRY(v.status, r.get<std::uint8_t>());
  if (v.status > 3) return at_status.fail("status above 3");
  const auto at_result = r;
  GH_TRY(v.result, r.get<std::uint8_t>());
  if (v.result > 3) return at_result.fail("result above 3");
  GH_CHECK(r.skip(2));
  const auto at_time = r;
  GH_TRY(const Bytes time, r.take(20));
  v.last_use = as_text(time);
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:ddZ";
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool digit = v.last_use[i] >= '0' && v.last_use[i] <= '9';
    if (form[i] == 'd' ? !digit : v.last_use[i] != form[i]) return at_time.fail("last use isn't an RFC 3339 time");
  }
  return v;
}
void append_operational_status(Writer& w, const OperationalStatus& v) {
  w.put(v.status);
  w.put(v.result);
  w.put(std::uint16_t{0});
  w.put_text(v.last_use);
}

namespace {

Result<std::uint32_t> bounded(Reader& r, std::uint32_t most, std::string_view why) {
  const auto start = r;
  if (r.remaining() != 4) return r.fail(why);
  GH_TRY(const auto v, r.get<std::uint32_t>());
  if (v > most) return start.fail(why);
  return v;
}

}  // namespace

Result<std::uint32_t> parse_forwarding_enabled(Reader& r) { return bounded(r, 2, "Forwarding Enabled isn't 0, 1 or 2 in 4 bytes"); }
Result<std::uint32_t> parse_factory_default_password(Reader& r) {
  return bounded(r, 1, "Factory Default Password Enabled isn't 0 or 1 in 4 bytes");
}
Result<std::uint32_t> parse_assessment_result(Reader& r) {
  if (r.remaining() < 4) return r.fail("Assessment Result shorter than 4 bytes");
  GH_TRY(const auto v, r.get<std::uint32_t>());
  GH_CHECK(r.finish());
  return v;
}
void append_u32(Writer& w, std::uint32_t v) { w.put(v); }

Result<std::string_view> parse_device_id(Reader& r) {
  if (r.remaining() > 255) {
    Reader at = r;
    GH_CHECK(at.skip(255));
    return at.fail("Device ID longer than 255 bytes");
  }
  const auto start = r;
  GH_TRY(const std::string_view id, parse_text(r, r.remaining()));
  for (std::size_t i = 0; i < id.size(); ++i)
    if (static_cast<unsigned char>(id[i]) < 0x20 || id[i] == 0x7F) {
      Reader at = start;
      GH_CHECK(at.skip(i));
      return at.fail("control character in the Device ID");
    }
  return id;
}

void append_device_id(Writer& w, std::string_view id) { w.put_text(cut_text(id, 255)); }

Result<PaTncError> parse_error(Reader& r) {
  if (r.remaining() < 8) return r.fail("PA-TNC Error shorter than 8 bytes");
  PaTncError v;
  GH_CHECK(r.skip(1));
  GH_TRY(v.vendor, r.get24());
  GH_TRY(v.code, r.get<std::uint32_t>());
  v.information = r.rest();
  const std::size_t least = v.vendor != 0 ? 0 : v.code == 3 ? 16 : v.code == 1 || v.code == 2 ? 12 : 0;
  if (v.information.size() < least) return r.fail("error information shorter than its code needs");
  GH_CHECK(r.skip(r.remaining()));
  return v;
}

void append_error(Writer& w, const PaTncError& v) {
  w.put(std::uint8_t{0});
  w.put24(v.vendor);
  w.put(v.code);
  w.put_bytes(v.information);
}

void append_remediation_string(Writer& w, const RemediationString& v) {
  w.put(std::uint8_t{0});
  w.put24(vendor_ietf);
  w.put(std::uint32_t{2});
  w.put(std::uint32_t(v.text.size()));
  w.put_text(v.text);
  const std::string_view language = cut_text(v.language, 255);
  w.put(std::uint8_t(language.size()));
  w.put_text(language);
}
Result<RemediationString> parse_remediation_string(Reader& r) {
  RemediationString v;
  const auto start = r;
  GH_TRY(const auto length, r.get<std::uint32_t>());
  if (length > r.remaining()) return start.fail("remediation string longer than the attribute");
  GH_TRY(v.text, parse_text(r, length));
  const auto at_language = r;
  GH_TRY(const auto language, r.get<std::uint8_t>());
  if (language > r.remaining()) return at_language.fail("language code longer than the attribute");
  GH_TRY(v.language, parse_text(r, language));
  GH_CHECK(r.finish());
  return v;
}

ByteVector error_value(const Refusal& refusal, Bytes header_copy) {
  Writer w;
  w.put(std::uint8_t{0});
  w.put24(vendor_ietf);
  w.put(std::uint32_t(refusal.code));
  w.put_bytes(header_copy);
  switch (refusal.code) {
    case ErrorCode::invalid_parameter: w.put(std::uint32_t(refusal.offset)); break;
    case ErrorCode::version_not_supported:
      w.put(std::uint8_t{1});
      w.put(std::uint8_t{1});
      w.put(std::uint16_t{0});
      break;
    case ErrorCode::type_not_supported:
      w.put(refusal.attribute.flags);
      w.put24(refusal.attribute.vendor);
      w.put(refusal.attribute.type);
      break;
  }
  return std::move(w).take();
}

std::string attribute_name(std::uint32_t vendor, std::uint32_t kind) {
  struct Name {
    std::uint32_t vendor, type;
    std::string_view name;
  };
  static constexpr Name names[] = {
      {0, 0, "IETF/Testing"}, {0, 1, "IETF/Attribute Request"}, {0, 2, "IETF/Product Information"}, {0, 3, "IETF/Numeric Version"},
      {0, 4, "IETF/String Version"}, {0, 5, "IETF/Operational Status"}, {0, 6, "IETF/Port Filter"}, {0, 7, "IETF/Installed Packages"},
      {0, 8, "IETF/PA-TNC Error"}, {0, 9, "IETF/Assessment Result"}, {0, 10, "IETF/Remediation Instructions"},
      {0, 11, "IETF/Forwarding Enabled"}, {0, 12, "IETF/Factory Default Password Enabled"}, {0, 13, "IETF/SWIMA Request"},
      {0, 14, "IETF/SW Identifier Inventory"}, {0, 15, "IETF/SW Identifier Events"}, {0, 16, "IETF/SW Inventory"}, {0, 17, "IETF/SW Events"},
      {0, 18, "IETF/Subscription Status Request"}, {0, 19, "IETF/Subscription Status Response"},
      {0, 20, "IETF/Source Metadata Request"}, {0, 21, "IETF/Source Metadata Response"},
      {vendor_ita, 1, "ITA-HSR/Command"}, {vendor_ita, 2, "ITA-HSR/Dummy"}, {vendor_ita, 3, "ITA-HSR/Get Settings"},
      {vendor_ita, 4, "ITA-HSR/Settings"}, {vendor_ita, 5, "ITA-HSR/Start Angel"}, {vendor_ita, 6, "ITA-HSR/Stop Angel"}, {vendor_ita, 7, "ITA-HSR/Echo"},
      {vendor_ita, 8, "ITA-HSR/Device ID"}, {vendor_ita, 9, "ITA-HSR/Get Symlinks"}, {vendor_ita, 10, "ITA-HSR/Symlinks"},
      {vendor_pwg, 1, "PWG/Attributes Natural Language"}, {vendor_pwg, 2, "PWG/Machine Type Model"},
      {vendor_pwg, 3, "PWG/Vendor Name"}, {vendor_pwg, 4, "PWG/Vendor SMI Code"},
      {vendor_pwg, 20, "PWG/Default Password Enabled"}, {vendor_pwg, 21, "PWG/Firewall Setting"},
      {vendor_pwg, 22, "PWG/Forwarding Enabled"}, {vendor_pwg, 40, "PWG/PSTN Fax Enabled"}, {vendor_pwg, 50, "PWG/Time Source"},
      {vendor_pwg, 60, "PWG/Firmware Name"}, {vendor_pwg, 61, "PWG/Firmware Patches"},
      {vendor_pwg, 62, "PWG/Firmware String Version"}, {vendor_pwg, 63, "PWG/Firmware Version"},
      {vendor_pwg, 80, "PWG/Resident Application Name"}, {vendor_pwg, 81, "PWG/Resident Application Patches"},
      {vendor_pwg, 82, "PWG/Resident Application String Version"}, {vendor_pwg, 83, "PWG/Resident Application Version"},
      {vendor_pwg, 100, "PWG/User Application Name"}, {vendor_pwg, 101, "PWG/User Application Patches"},
      {vendor_pwg, 102, "PWG/User Application String Version"}, {vendor_pwg, 103, "PWG/User Application Version"},
      {vendor_pwg, 104, "PWG/User Application Enabled"}, {vendor_pwg, 105, "PWG/User Application Persistence Enabled"},
      {vendor_pwg, 200, "PWG/Certification State"}, {vendor_pwg, 201, "PWG/Configuration State"},
      {vendor_tcg, 0x21, "TCG/Segmentation Contract Request"}, {vendor_tcg, 0x22, "TCG/Segmentation Contract Response"},
      {vendor_tcg, 0x23, "TCG/Segment Envelope"}, {vendor_tcg, 0x24, "TCG/Next Segment"},
      {vendor_tcg, 0x25, "TCG/Cancel"}, {vendor_tcg, 0x26, "TCG/Oversized Message"}, {vendor_tcg, 0x27, "TCG/Contract Exemption"},
      {vendor_tcg, 0x01000000, "TCG/Request PTS Protocol Capabilities"}, {vendor_tcg, 0x02000000, "TCG/PTS Protocol Capabilities"},
      {vendor_tcg, 0x03000000, "TCG/DH Nonce Parameters Request"}, {vendor_tcg, 0x04000000, "TCG/DH Nonce Parameters Response"},
      {vendor_tcg, 0x05000000, "TCG/DH Nonce Finish"}, {vendor_tcg, 0x06000000, "TCG/PTS Measurement Algorithm Request"},
      {vendor_tcg, 0x07000000, "TCG/PTS Measurement Algorithm"}, {vendor_tcg, 0x08000000, "TCG/Get TPM Version Information"},
      {vendor_tcg, 0x09000000, "TCG/TPM Version Information"},
      {vendor_tcg, 0x0A000000, "TCG/Request Template Reference Manifest Set Metadata"},
      {vendor_tcg, 0x0B000000, "TCG/Template Reference Manifest Set Metadata"},
      {vendor_tcg, 0x0C000000, "TCG/Update Template Reference Manifest"}, {vendor_tcg, 0x0D000000, "TCG/Get Attestation Identity Key"},
      {vendor_tcg, 0x0E000000, "TCG/Attestation Identity Key"}, {vendor_tcg, 0x00100000, "TCG/Request Functional Component Evidence"},
      {vendor_tcg, 0x00200000, "TCG/Generate Attestation Evidence"}, {vendor_tcg, 0x00300000, "TCG/Simple Component Evidence"},
      {vendor_tcg, 0x00400000, "TCG/Simple Evidence Final"}, {vendor_tcg, 0x00500000, "TCG/Verification Result"},
      {vendor_tcg, 0x00600000, "TCG/Integrity Report"}, {vendor_tcg, 0x00700000, "TCG/Request File Metadata"},
      {vendor_tcg, 0x00800000, "TCG/Windows-Style File Metadata"}, {vendor_tcg, 0x00900000, "TCG/Unix-Style File Metadata"},
      {vendor_tcg, 0x00A00000, "TCG/Request Registry Value"}, {vendor_tcg, 0x00B00000, "TCG/Registry Value"},
      {vendor_tcg, 0x00C00000, "TCG/Request File Measurement"}, {vendor_tcg, 0x00D00000, "TCG/File Measurement"},
      {vendor_tcg, 0x00E00000, "TCG/Request Integrity Measurement Log"}, {vendor_tcg, 0x00F00000, "TCG/Integrity Measurement Log"},
  };
  for (const Name& n : names)
    if (n.vendor == vendor && n.type == kind) return std::string(n.name);
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "0x%06x/0x%08x", vendor, kind);
  return out.data();
}

}  // namespace gatehouse::patnc
