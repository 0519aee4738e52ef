// The values that spec part 1b §9.2 and §9.3 call violations, and their neighbours that aren't, row by row: the codec's
// tests and those of the IMVs' answers go through the same.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/hex.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::patnc {

// Blanks keep the fields apart.
inline ByteVector bytes(std::string hex) {
  std::erase(hex, ' ');
  return from_hex(hex).value();
}
inline std::string text(std::string_view s) { return to_hex(as_bytes(s)); }
inline std::string repeated(std::size_t n, std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += hex;
  return out;
}

struct ValueRow {
  const char* violation;
  std::uint32_t vendor, type;
  std::string value;
  std::optional<std::size_t> offset = std::nullopt;  // in the value; none: accepted
};

inline std::vector<ValueRow> ietf_value_rows() {
  const std::string time = text("2022-05-31T08:26:24Z"), product = "00713200 00";
  return {
      {"7 bytes", 0, type::attribute_request, "00000000000002", 0},
      {"9 bytes", 0, type::attribute_request, "000000000000000200", 0},
      {"empty", 0, type::attribute_request, ""},
      {"4 bytes", 0, type::product_information, "00713200", 0},
      {"empty", 0, type::product_information, "", 0},
      {"product without vendor", 0, type::product_information, "0000000001" + text("Ubuntu"), 3},
      {"empty name", 0, type::product_information, product},
      {"NUL in the name", 0, type::product_information, product + text("Ub") + "00" + text("untu"), 7},
      {"name not UTF-8", 0, type::product_information, product + text("Ub") + "c3", 5},
      {"name of 255", 0, type::product_information, product + repeated(255, "61")},
      {"name of 256", 0, type::product_information, product + repeated(256, "61"), 5},
      {"15 bytes", 0, type::numeric_version, repeated(15, "00"), 0},
      {"16 bytes", 0, type::numeric_version, repeated(16, "00")},
      {"17 bytes", 0, type::numeric_version, repeated(17, "00"), 16},
      {"2 bytes", 0, type::string_version, "0000", 0},
      {"version overruns", 0, type::string_version, "036162", 0},
      {"build overruns", 0, type::string_version, "0161036262", 2},
      {"configuration overruns", 0, type::string_version, "016100ff62", 3},
      {"no configuration", 0, type::string_version, "01610161", 4},
      {"NUL in the version", 0, type::string_version, "0261000000", 2},
      {"NUL in the configuration", 0, type::string_version, "0000 026100", 4},
      {"trailing", 0, type::string_version, "00000055", 3},
      {"23 bytes", 0, type::operational_status, "03010000" + time.substr(2), 0},
      {"25 bytes", 0, type::operational_status, "03010000" + time + "00", 0},
      {"status 4", 0, type::operational_status, "04010000" + time, 0},
      {"result 4", 0, type::operational_status, "03040000" + time, 1},
      {"reserved", 0, type::operational_status, "0301ffff" + time},
      {"no time", 0, type::operational_status, "03010000" + text("2022-05-31 08:26:24Z"), 4},
      {"time zero", 0, type::operational_status, "03010000" + text("0000-00-00T00:00:00Z")},
      {"month 13", 0, type::operational_status, "03010000" + text("2022-13-31T08:26:24Z")},
      {"3 bytes", 0, type::port_filter, "000600", 0},
      {"5 bytes", 0, type::port_filter, "0006001600", 0},
      {"reserved bits", 0, type::port_filter, "fe060016"},
      {"3 bytes", 0, type::installed_packages, "000000", 0},
      {"NUL in a name", 0, type::installed_packages, "00000001 03610062 0131", 6},
      {"NUL in a version", 0, type::installed_packages, "00000001 0161 023100", 8},
      {"left over", 0, type::installed_packages, "00000001 0161 0131 02", 8},
      {"left over after none", 0, type::installed_packages, "00000000 02", 4},
      {"count too high after one", 0, type::installed_packages, "00000002 0161 0131", 8},
      {"second incomplete", 0, type::installed_packages, "00000002 0161 0131 0361", 8},
      {"count too high, none", 0, type::installed_packages, "00000001", 4},
      {"none complete", 0, type::installed_packages, "00000001 0461", 4},
      {"count 0", 0, type::installed_packages, "00000000"},
      {"3 bytes", 0, type::assessment_result, "000000", 0},
      {"5 bytes", 0, type::assessment_result, "0000000000", 4},
      {"value 5", 0, type::assessment_result, "00000005"},
      {"7 bytes", 0, type::remediation_instructions, "00000000000000", 0},
      {"string overruns", 0, type::remediation_instructions, "0000000000000002 00000003 6162", 8},
      {"string length cut", 0, type::remediation_instructions, "0000000000000002 000000", 8},
      {"NUL in the string", 0, type::remediation_instructions, "0000000000000002 00000003 610062 00", 13},
      {"no language", 0, type::remediation_instructions, "0000000000000002 00000002 6162", 14},
      {"language overruns", 0, type::remediation_instructions, "0000000000000002 00000002 6162 0365", 14},
      {"trailing", 0, type::remediation_instructions, "0000000000000002 00000002 6162 0265 6e 00", 17},
      {"NUL in the URI", 0, type::remediation_instructions, "0000000000000001 610062", 9},
      {"another type", 0, type::remediation_instructions, "0000000000000003 00"},
      {"another vendor", 0, type::remediation_instructions, "0000559700000002 00"},
      {"3 bytes", 0, type::forwarding_enabled, "000000", 0},
      {"5 bytes", 0, type::forwarding_enabled, "0000000000", 0},
      {"unknown", 0, type::forwarding_enabled, "00000002"},
      {"value 3", 0, type::forwarding_enabled, "00000003", 0},
      {"3 bytes", 0, type::factory_default_password, "000000", 0},
      {"5 bytes", 0, type::factory_default_password, "0000000000", 0},
      {"value 2", 0, type::factory_default_password, "00000002", 0},
  };
}

inline std::vector<ValueRow> ita_value_rows() {
  return {
      {"NUL", vendor_ita, type::ita_device_id, text("ab") + "00" + text("c"), 2},
      {"empty", vendor_ita, type::ita_device_id, ""},
      {"255 bytes", vendor_ita, type::ita_device_id, repeated(255, "61")},
      {"256 bytes", vendor_ita, type::ita_device_id, repeated(256, "61"), 255},
      {"newline", vendor_ita, type::ita_device_id, text("abc\n"), 3},
      {"delete", vendor_ita, type::ita_device_id, "7f", 0},
      {"3 bytes", vendor_ita, type::ita_get_settings, "000000", 0},
      {"no name", vendor_ita, type::ita_get_settings, "00000000"},
      {"name overruns", vendor_ita, type::ita_get_settings, "00000002 000161 000361", 7},
      {"name missing", vendor_ita, type::ita_get_settings, "00000002 000161", 7},
      {"NUL in a name", vendor_ita, type::ita_get_settings, "00000001 00026100", 7},
      {"trailing", vendor_ita, type::ita_get_settings, "00000001 000161 00", 7},
      {"3 bytes", vendor_ita, type::ita_settings, "000000", 0},
      {"name overruns", vendor_ita, type::ita_settings, "00000001 000361", 4},
      {"value overruns", vendor_ita, type::ita_settings, "00000001 000161 000231", 7},
      {"value missing", vendor_ita, type::ita_settings, "00000001 000161", 7},
      {"1,024 settings", vendor_ita, type::ita_settings, "00000400" + repeated(1024, "00016100 00")},
      {"1,025 settings", vendor_ita, type::ita_settings, "00000401" + repeated(1025, "00016100 00"), 0},
      {"trailing", vendor_ita, type::ita_settings, "00000001 000161 000131 00", 10},
  };
}

}  // namespace gatehouse::patnc
