#include <cstdlib>

#include "wire/patnc/attributes.h"

using namespace gatehouse;

namespace {

// Whole and one byte at a time: the same packages, and the same end.
void packages(const patnc::Attribute& a) {
  std::size_t whole = 0, pieces = 0;
  Reader r(a.value, "fuzz", a.value_offset());
  const auto count = [](const patnc::Package& p) { return 1 + p.name.size() + p.version.size(); };
  const auto header =
      patnc::parse_records(r, patnc::PackagesFormat{}, [&](const patnc::Package& p) { whole += count(p); });
  patnc::PackagesCursor cursor(a.value_offset());
  bool good = true;
  for (std::size_t at = 0; at < a.value.size() && good; ++at) {
    cursor.feed(a.value.subspan(at, 1));
    for (;;) {
      const auto package = cursor.next();
      good = package.has_value();
      if (!good || *package == nullptr) break;
      pieces += count(**package);
    }
  }
  const auto end = cursor.end();
  if (end.has_value() != header.has_value() || pieces != whole) std::abort();
  if (!end && end.error().offset != header.error().offset) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes message(reinterpret_cast<const std::byte*>(data), size);
  const auto parsed = patnc::parse_message(message, [](std::uint32_t vendor, std::uint32_t) { return vendor < 100'000; });
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
    with(patnc::parse_port_filter);
    with(patnc::parse_command);
    with(patnc::parse_get_settings);
    with(patnc::parse_settings);
    with(patnc::parse_empty);
    with([](Reader& r) {
      const auto v = patnc::parse_remediation_instructions(r);
      Writer w;
      if (v) patnc::append_remediation_instructions(w, *v);
    });
    with([](Reader& r) {
      const auto v = patnc::parse_error(r);
      Writer w;
      if (v) patnc::append_error_information(w, patnc::error_information(*v));
    });
    packages(a);
  }
  return 0;
}
