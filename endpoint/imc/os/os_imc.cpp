#include "endpoint/imc/os/os_imc.h"

#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <ctime>

#include "base/file.h"
#include "endpoint/imc/attestation/evidence.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint {
namespace {

namespace type = patnc::type;

struct Told {
  std::uint32_t vendor, type;
};
// In strongSwan's order.
constexpr Told unasked[] = {
    {patnc::vendor_ietf, type::product_information}, {patnc::vendor_ietf, type::string_version},
    {patnc::vendor_ietf, type::numeric_version},     {patnc::vendor_ietf, type::operational_status},
    {patnc::vendor_ietf, type::forwarding_enabled},  {patnc::vendor_ietf, type::factory_default_password},
    {patnc::vendor_ita, type::ita_device_id}};

// Enterprise numbers by the start of a product's name (spec part 1b §1.5).
struct Vendor {
  std::string_view name;
  std::uint32_t number;
};
constexpr Vendor vendors[] = {
    {"Debian", 9586}, {"Ubuntu", 28978}, {"Fedora", 30401}, {"Red Hat", 2312}, {"Android", 11129}};

// The value of KEY=value in an os-release file, without its quotes.
std::string value_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != '=') continue;
    line.remove_prefix(key.size() + 1);
    if (line.size() >= 2 && (line.front() == '"' || line.front() == '\'') && line.back() == line.front())
      line = line.substr(1, line.size() - 2);
    return std::string(line);
  }
  return {};
}

}  // namespace

std::uint32_t product_vendor(std::string_view name) {
  for (const Vendor& v : vendors)
    if (name.starts_with(v.name)) return v.number;
  return 0;
}

void set_version(OsInfo& info, std::string version) {
  info.version = std::move(version);
  info.major = info.minor = 0;
  const char* at = info.version.data();
  const char* const end = at + info.version.size();
  const auto major = std::from_chars(at, end, info.major);
  if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') std::from_chars(major.ptr + 1, end, info.minor);
}

OsInfo read_os_info() {
  constexpr std::size_t limit = 65'536;
  OsInfo info;
  for (const char* path : {"/etc/os-release", "/usr/lib/os-release"}) {
    const auto file = read_file(path, limit);
    if (!file) continue;
    std::string id = value_of(as_text(*file), "ID");
    if (id.empty()) continue;
    if (id[0] >= 'a' && id[0] <= 'z') id[0] = char(id[0] - 'a' + 'A');
    utsname machine{};
    std::string version = value_of(as_text(*file), "VERSION_ID");
    if (::uname(&machine) == 0) version += (version.empty() ? "" : " ") + std::string(machine.machine);
    info.name = id.substr(0, 255);
    set_version(info, version.substr(0, 255));
    break;
  }
  info.product_vendor = product_vendor(info.name);
  if (const auto uptime = read_file("/proc/uptime", limit)) {
    const std::string_view text = as_text(*uptime);
    std::int64_t seconds = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), seconds).ec == std::errc())
      info.last_boot = measurement_time(std::int64_t(std::time(nullptr)) - seconds);
  }
  if (const auto forwarding = read_file("/proc/sys/net/ipv4/ip_forward", limit); forwarding && !forwarding->empty())
    info.forwarding = as_text(*forwarding)[0] == '1' ? 1 : 0;
  return info;
}

patnc::Supported OsImc::supported() const {
  return [](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_tcg) return kind >= type::contract_request && kind <= type::next_segment;
    if (vendor == patnc::vendor_ita)
      return (kind >= type::ita_get_settings && kind <= type::ita_stop_angel) || kind == type::ita_device_id;
    return vendor == patnc::vendor_ietf && kind >= type::attribute_request && kind <= type::factory_default_password;
  };
}

Result<void> OsImc::begin(Packer& out) {
  if (!sources_.push) return {};
  for (const Told& t : unasked) GH_CHECK(tell(t.vendor, t.type, out));
  return {};
}

Result<void> OsImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (attribute.is(patnc::vendor_ietf, type::attribute_request)) return answer(attribute, out);
  if (attribute.is(patnc::vendor_ita, type::ita_get_settings)) return tell_settings(attribute, out);
  return {};
}

// In the order asked; what isn't known is left out (spec part 1b §1.7.1), what is asked twice is told once.
Result<void> OsImc::answer(const patnc::Attribute& request, Packer& out) const {
  Reader r(request.value, "RFC 5792 4.2.1", request.value_offset());
  GH_TRY(const auto types, patnc::parse_attribute_request(r));
  bool told[std::size(unasked)] = {};
  bool packages = false;
  for (const patnc::TypeName& asked : types) {
    if (asked.vendor == patnc::vendor_ietf && asked.type == type::installed_packages && !packages) {
      packages = true;
      GH_CHECK(tell_packages(out));
    }
    for (std::size_t i = 0; i < std::size(unasked); ++i) {
      if (told[i] || asked.vendor != unasked[i].vendor || asked.type != unasked[i].type) continue;
      told[i] = true;
      GH_CHECK(tell(asked.vendor, asked.type, out));
    }
  }
  return {};
}

// As many as the wire and the server take. An empty list is never sent: there are servers that refuse it.
Result<void> OsImc::tell_packages(Packer& out) const {
  if (!sources_.packages) return {};
  const std::vector<InstalledPackage> installed = sources_.packages();
  std::vector<patnc::Package> listed;
  std::size_t size = patnc::attribute_header_size + patnc::PackagesFormat::header_size;
  for (const InstalledPackage& one : installed) {
    if (one.name.empty() || one.name.find('\0') != std::string::npos || one.version.find('\0') != std::string::npos)
      continue;
    size += 2 + std::min<std::size_t>(one.name.size(), 255) + std::min<std::size_t>(one.version.size(), 255);
    if (size > out.largest() || listed.size() == 65'535) break;
    listed.push_back({one.name, one.version});
  }
  if (listed.empty()) return {};
  Writer w;
  patnc::append_installed_packages(w, listed);
  return out.add(0, patnc::vendor_ietf, type::installed_packages, std::move(w).take());
}

// What can't be read is left out; nothing at all: no answer (spec part 1b §2.1.2).
Result<void> OsImc::tell_settings(const patnc::Attribute& request, Packer& out) const {
  Reader r(request.value, "spec part 1b 2.1.1", request.value_offset());
  GH_TRY(const auto names, patnc::parse_get_settings(r));
  if (!sources_.setting) return {};
  std::vector<ByteVector> values;
  std::vector<std::string_view> found;
  std::size_t size = patnc::attribute_header_size + 4;
  for (const std::string_view name : names) {
    auto value = sources_.setting(name);
    if (!value) continue;
    size += 4 + name.size() + value->size();
    if (size > out.largest()) break;
    found.push_back(name);
    values.push_back(*std::move(value));
  }
  if (found.empty()) return {};
  std::vector<patnc::Setting> settings;
  for (std::size_t i = 0; i < found.size(); ++i) settings.push_back({found[i], values[i]});
  Writer w;
  patnc::append_settings(w, settings);
  return out.add(0, patnc::vendor_ita, type::ita_settings, std::move(w).take());
}

Result<void> OsImc::tell(std::uint32_t vendor, std::uint32_t kind, Packer& out) const {
  Writer w;
  if (vendor == patnc::vendor_ita) {
    if (info_.device_id.empty()) return {};
    patnc::append_device_id(w, info_.device_id);
    return out.add(0, vendor, kind, w.view());
  }
  switch (kind) {
    case type::product_information:
      patnc::append_product_information(w, {info_.product_vendor, 0, info_.name});
      break;
    case type::string_version:
      patnc::append_string_version(w, {info_.version, {}, {}});
      break;
    case type::numeric_version:
      patnc::append_numeric_version(w, {info_.major, info_.minor, 0, 0, 0});
      break;
    case type::operational_status:
      patnc::append_operational_status(w, {3, 1, info_.last_boot});
      break;  // operational, successful
    case type::forwarding_enabled:
      patnc::append_u32(w, info_.forwarding);
      break;
    case type::factory_default_password:
      patnc::append_u32(w, info_.default_password);
      break;
    default:
      return {};
  }
  return out.add(0, vendor, kind, w.view());
}

}  // namespace gatehouse::endpoint
