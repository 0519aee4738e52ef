#include "wire/patnc/patnc.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto parsed = patnc::parse_message(Bytes(reinterpret_cast<const std::byte*>(data), size), [](std::uint32_t vendor, std::uint32_t) { return vendor < 100'000; });
  if (!parsed) return 0;
  if (parsed->refusal) (void)patnc::error_value(*parsed->refusal, parsed->header.copy);
  for (const patnc::Attribute& a : parsed->attributes) {
    const auto with = [&](auto&& parse) {
      Reader r(a.value, "fuzz", a.value_offset());
      (void)parse(r);
    };
    with(patnc::parse_attribute_request);
    with(patnc::parse_product_information);
    with(patnc::parse_numeric_version);
    with(patnc::parse_string_version);
    with(patnc::parse_operational_status);
    with(patnc::parse_forwarding_enabled);
    with(patnc::parse_factory_default_password);
    with(patnc::parse_assessment_result);
    with(patnc::parse_device_id);
    with(patnc::parse_error);
    with(patnc::parse_remediation_string);
  }
  return 0;
}
