#include "server/imv/values.h"

#include "wire/patnc/attributes.h"

namespace gatehouse::server {
namespace {

namespace type = patnc::type;

// As `parse` reads it, for its error alone.
template <class Parse>
Result<void> verify(Reader& r, Parse&& parse) {
  GH_CHECK(parse(r));
  return {};
}

Result<void> verify_ietf(std::uint32_t kind, Reader& r) {
  switch (kind) {
    case type::attribute_request:
      return verify(r, patnc::parse_attribute_request);
    case type::product_information:
      return verify(r, patnc::parse_product_information);
    case type::numeric_version:
      return verify(r, patnc::parse_numeric_version);
    case type::string_version:
      return verify(r, patnc::parse_string_version);
    case type::operational_status:
      return verify(r, patnc::parse_operational_status);
    case type::port_filter:
      return verify(r, patnc::parse_port_filter);
    case type::installed_packages:
      return verify(r, [](Reader& value) { return patnc::parse_records(value, patnc::PackagesFormat(), [](const auto&) {}); });
    case type::assessment_result:
      return verify(r, patnc::parse_assessment_result);
    case type::remediation_instructions:
      return verify(r, patnc::parse_remediation_instructions);
    case type::forwarding_enabled:
      return verify(r, patnc::parse_forwarding_enabled);
    case type::factory_default_password:
      return verify(r, patnc::parse_factory_default_password);
    default:
      return {};
  }
}

Result<void> verify_ita(std::uint32_t kind, Reader& r) {
  switch (kind) {
    case type::ita_command:
      return verify(r, patnc::parse_command);
    case type::ita_get_settings:
      return verify(r, patnc::parse_get_settings);
    case type::ita_settings:
      return verify(r, patnc::parse_settings);
    case type::ita_device_id:
      return verify(r, patnc::parse_device_id);
    default:
      return {};
  }
}

}  // namespace

Result<void> verify_value(const patnc::Attribute& a) {
  Reader r(a.value, "RFC 5792", a.value_offset());
  if (a.vendor == patnc::vendor_ietf) return verify_ietf(a.type, r);
  if (a.vendor == patnc::vendor_ita) return verify_ita(a.type, r);
  return {};
}

}  // namespace gatehouse::server
