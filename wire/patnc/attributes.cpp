#include "wire/patnc/attributes.h"

namespace gatehouse::patnc {
namespace {

constexpr std::uint32_t remediation_uri = 1, remediation_string = 2;

// u16 length + bytes; the length's offset when it leaves the attribute.
Result<Reader> parse_counted(Reader& r) {
  const auto at = r;
  GH_TRY(const auto length, r.get<std::uint16_t>());
  if (length > r.remaining()) return at.fail("setting longer than the attribute");
  return r.sub(length);
}

Result<std::string_view> parse_setting_name(Reader& r) {
  GH_TRY(Reader name, parse_counted(r));
  return parse_text(name, name.remaining());
}

Result<std::uint32_t> parse_setting_count(Reader& r) {
  const auto start = r;
  if (r.remaining() < 4) return r.fail("settings shorter than 4 bytes");
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count > max_settings) return start.fail(Fault::limit, "more than 1024 settings");
  return count;
}

void append_counted(Writer& w, Bytes bytes) {
  GH_ASSERT(bytes.size() <= 0xFFFF);
  w.put(std::uint16_t(bytes.size()));
  w.put_bytes(bytes);
}

}  // namespace

Result<std::vector<PortFilterEntry>> parse_port_filter(Reader& r) {
  if (r.remaining() % 4 != 0) return r.fail("Port Filter isn't a multiple of 4 bytes");
  std::vector<PortFilterEntry> out;
  out.reserve(r.remaining() / 4);
  while (!r.empty()) {
    PortFilterEntry v;
    GH_TRY(const auto flags, r.get<std::uint8_t>());
    v.blocked = (flags & 0x01) != 0;
    GH_TRY(v.protocol, r.get<std::uint8_t>());
    GH_TRY(v.port, r.get<std::uint16_t>());
    out.push_back(v);
  }
  return out;
}
void append_port_filter(Writer& w, std::span<const PortFilterEntry> entries) {
  for (const PortFilterEntry& v : entries) {
    w.put(std::uint8_t(v.blocked ? 0x01 : 0x00));
    w.put(v.protocol);
    w.put(v.port);
  }
}

Result<PackagesFormat::Header> PackagesFormat::parse_header(Reader& r) const {
  Header v;
  GH_CHECK(r.skip(2));
  GH_TRY(v.count, r.get<std::uint16_t>());
  return v;
}
Result<std::size_t> PackagesFormat::needed(const Header&, Reader r) const {
  std::size_t size = 0;
  for (int string = 0; string < 2; ++string) {
    if (r.empty()) return size + 1;
    GH_TRY(const auto length, r.get<std::uint8_t>());
    size += 1 + std::size_t(length);
    if (length > r.remaining()) return size;
    GH_CHECK(r.skip(length));
  }
  return size;
}
Result<Package> PackagesFormat::parse(const Header&, Reader& r) const {
  Package v;
  for (std::string_view* part : {&v.name, &v.version}) {
    GH_TRY(const auto length, r.get<std::uint8_t>());
    GH_TRY(*part, parse_text(r, length));
  }
  return v;
}
void append_installed_packages(Writer& w, std::span<const Package> packages) {
  packages = packages.first(std::min(packages.size(), std::size_t(0xFFFF)));
  w.put(std::uint16_t{0});
  w.put(std::uint16_t(packages.size()));
  for (const Package& v : packages)
    for (const std::string_view part : {v.name, v.version}) {
      const std::string_view fits = cut_text(part, 255);
      w.put(std::uint8_t(fits.size()));
      w.put_text(fits);
    }
}

Result<RemediationInstructions> parse_remediation_instructions(Reader& r) {
  if (r.remaining() < 8) return r.fail("Remediation Instructions shorter than 8 bytes");
  GH_CHECK(r.skip(1));
  GH_TRY(const auto vendor, r.get24());
  GH_TRY(const auto kind, r.get<std::uint32_t>());
  if (vendor == vendor_ietf && kind == remediation_uri) {
    GH_TRY(const auto uri, parse_text(r, r.remaining()));
    return RemediationUri{uri};
  }
  if (vendor == vendor_ietf && kind == remediation_string) return parse_remediation_string(r);
  GH_TRY(const Bytes parameters, r.take(r.remaining()));
  return OpaqueRemediation{vendor, kind, parameters};
}
void append_remediation_instructions(Writer& w, const RemediationInstructions& v) {
  if (const auto* text = std::get_if<RemediationString>(&v)) return append_remediation_string(w, *text);
  OpaqueRemediation out;
  if (const auto* uri = std::get_if<RemediationUri>(&v))
    out = {vendor_ietf, remediation_uri, as_bytes(uri->uri)};
  else
    out = std::get<OpaqueRemediation>(v);
  w.put(std::uint8_t{0});
  w.put24(out.vendor);
  w.put(out.type);
  w.put_bytes(out.parameters);
}

ErrorInformation error_information(const PaTncError& error) {
  const std::size_t least = error.code == std::uint32_t(ErrorCode::type_not_supported) ? 16 : 12;
  if (error.vendor != vendor_ietf || error.information.size() < least) return error.information;
  Reader r(error.information, "RFC 5792 4.2.8");
  const Bytes header = *r.take(message_header_size);
  switch (ErrorCode(error.code)) {
    case ErrorCode::invalid_parameter:
      return InvalidParameter{header, *r.get<std::uint32_t>()};
    case ErrorCode::version_not_supported: {
      const auto most = *r.get<std::uint8_t>();
      return VersionNotSupported{header, most, *r.get<std::uint8_t>()};
    }
    case ErrorCode::type_not_supported: {
      const auto flags = *r.get<std::uint8_t>();
      const auto vendor = *r.get24();
      return TypeNotSupported{header, flags, vendor, *r.get<std::uint32_t>()};
    }
  }
  return error.information;
}

namespace {

struct AppendInformation {
  Writer& w;
  void operator()(const InvalidParameter& v) const {
    w.put_bytes(v.header);
    w.put(v.offset);
  }
  void operator()(const VersionNotSupported& v) const {
    w.put_bytes(v.header);
    w.put(v.max_version);
    w.put(v.min_version);
    w.put(std::uint16_t{0});
  }
  void operator()(const TypeNotSupported& v) const {
    w.put_bytes(v.header);
    w.put(v.flags);
    w.put24(v.vendor);
    w.put(v.type);
  }
  void operator()(const Bytes& v) const { w.put_bytes(v); }
};

}  // namespace

void append_error_information(Writer& w, const ErrorInformation& v) { std::visit(AppendInformation{w}, v); }

Result<std::string_view> parse_command(Reader& r) { return parse_text(r, r.remaining()); }
void append_command(Writer& w, std::string_view command) { w.put_text(command); }
Result<Bytes> parse_dummy(Reader& r) { return r.take(r.remaining()); }
void append_dummy(Writer& w, std::size_t size) {
  const ByteVector filler(size, std::byte{0xDD});
  w.put_bytes(filler);
}

Result<std::vector<std::string_view>> parse_get_settings(Reader& r) {
  GH_TRY(const auto count, parse_setting_count(r));
  std::vector<std::string_view> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    GH_TRY(const auto name, parse_setting_name(r));
    out.push_back(name);
  }
  GH_CHECK(r.finish());
  return out;
}
void append_get_settings(Writer& w, std::span<const std::string_view> names) {
  w.put(std::uint32_t(names.size()));
  for (const std::string_view name : names) append_counted(w, as_bytes(name));
}
Result<std::vector<Setting>> parse_settings(Reader& r) {
  GH_TRY(const auto count, parse_setting_count(r));
  std::vector<Setting> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    Setting v;
    GH_TRY(v.name, parse_setting_name(r));
    GH_TRY(const Reader value, parse_counted(r));
    v.value = value.rest();
    out.push_back(v);
  }
  GH_CHECK(r.finish());
  return out;
}
void append_settings(Writer& w, std::span<const Setting> settings) {
  w.put(std::uint32_t(settings.size()));
  for (const Setting& v : settings) {
    append_counted(w, as_bytes(v.name));
    append_counted(w, v.value);
  }
}
std::string_view setting_text(const Setting& setting) {
  std::string_view text = as_text(setting.value);
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

Result<void> parse_empty(Reader& r) { return r.finish(); }

}  // namespace gatehouse::patnc
