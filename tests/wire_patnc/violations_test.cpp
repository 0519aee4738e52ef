// The violations of spec part 1b §9.1 to §9.3, row by row: which error answers them, at which offset.
#include <gtest/gtest.h>

#include "base/hex.h"
#include "rewrite.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::patnc {
namespace {

// Blanks keep the fields apart.
ByteVector bytes(std::string hex) {
  std::erase(hex, ' ');
  return from_hex(hex).value();
}
std::string text(std::string_view s) { return to_hex(as_bytes(s)); }
std::string repeated(std::size_t n, std::string_view hex) {
  std::string out;
  for (std::size_t i = 0; i < n; ++i) out += hex;
  return out;
}

// A message with a good attribute of 16 bytes, so that the attribute under test is at A = 24, its value at V = 36.
constexpr std::string_view message_header = "0100000000000005", good = "000000000000000b0000001000000001";
constexpr std::size_t A = 24, V = 36;

std::string attribute(std::uint32_t vendor, std::uint32_t type, const std::string& value, std::uint8_t flags = 0) {
  Writer w;
  append_attribute(w, flags, vendor, type, bytes(value));
  return to_hex(w.view());
}

std::string in_message(const std::string& attributes) {
  return std::string(message_header) + std::string(good) + attributes;
}

struct MessageRow {
  const char* violation;
  std::string message;
  std::optional<ErrorCode> code;
  std::size_t offset = 0;
};

TEST(Violations, OfMessageAndAttributeHeaders) {
  constexpr auto invalid = ErrorCode::invalid_parameter;
  const MessageRow rows[] = {
      {"no attribute", std::string(message_header), {}},
      {"version 0", "00000000000000050000", ErrorCode::version_not_supported},
      {"version 2", "0200000000000005", ErrorCode::version_not_supported},
      {"reserved in the message header", "01ffffff00000005" + std::string(good), {}},
      {"reserved flags", in_message(attribute(0, 11, "00000000", 0x7F)), {}},
      {"1 byte left", in_message("00"), invalid, A},
      {"11 bytes left", in_message("0000000000000b00000010"), invalid, A},
      {"length 11", in_message("000000000000000b0000000b"), invalid, A + 8},
      {"length 0", in_message("000000000000000b00000000"), invalid, A + 8},
      {"length beyond the message", in_message("000000000000000b00000011 00000001"), invalid, A + 8},
      {"length of 2^32 - 1", in_message("000000000000000bffffffff 00000001"), invalid, A + 8},
      {"reserved vendor", in_message(attribute(0xFFFFFF, 11, "")), invalid, A + 1},
      {"reserved type", in_message(attribute(0, 0xFFFFFFFF, "")), invalid, A + 4},
      {"reserved type of a foreign vendor", in_message(attribute(311, 0xFFFFFFFF, "")), invalid, A + 4},
      {"length before vendor", in_message("00ffffff0000000b00000000"), invalid, A + 8},
      {"unknown, may be skipped", in_message(attribute(0, 99, "0102")), {}},
      {"unknown, NOSKIP", in_message(attribute(0, 99, "0102", 0x80)), ErrorCode::type_not_supported, A},
      {"unknown vendor, NOSKIP and more", in_message(attribute(311, 1, "", 0xC1)), ErrorCode::type_not_supported, A},
      {"Testing, NOSKIP", in_message(attribute(0, type::testing, "0102", 0x80)), {}},
      {"Subscription Status Request, NOSKIP", in_message(attribute(0, 18, "", 0x80)), {}},
      {"Subscription Status Response, NOSKIP", in_message(attribute(0, 19, "00000000", 0x80)), {}},
      {"Source Metadata Request, NOSKIP", in_message(attribute(0, 20, "", 0x80)), {}},
      {"Source Metadata Response, NOSKIP", in_message(attribute(0, 21, "000000", 0x80)), {}},
      {"Cancel, NOSKIP", in_message(attribute(vendor_tcg, 0x25, "", 0x80)), ErrorCode::type_not_supported, A},
      {"Oversized Message, NOSKIP", in_message(attribute(vendor_tcg, 0x26, "", 0x80)), ErrorCode::type_not_supported,
       A},
      {"Contract Exemption, NOSKIP", in_message(attribute(vendor_tcg, 0x27, "", 0x80)), ErrorCode::type_not_supported,
       A},
      {"what only the server sends", in_message(attribute(0, type::assessment_result, "00000000")), {}},
      {"the same attribute twice", in_message(std::string(good)), {}},
      {"4,096 attributes", in_message(repeated(4095, good)), {}},
      {"4,097 attributes", in_message(repeated(4096, good)), invalid, 8 + 4096 * 16},
  };
  for (const MessageRow& row : rows) {
    const ByteVector message = bytes(row.message);
    const auto refusal = refusal_of(message);
    ASSERT_TRUE(refusal) << row.violation;
    ASSERT_EQ(refusal->has_value(), row.code.has_value()) << row.violation;
    if (!row.code) continue;
    EXPECT_EQ((*refusal)->code, *row.code) << row.violation;
    EXPECT_EQ((*refusal)->offset, row.offset) << row.violation;
  }
  for (std::size_t size = 0; size < 8; ++size) {
    const ByteVector message = bytes(std::string(message_header.substr(0, 2 * size)));
    EXPECT_EQ(refusal_of(message).error().reason, "truncated PA-TNC header") << size;
  }
}

TEST(Violations, AnUnsupportedAttributeIsQuotedAsItCame) {
  const ByteVector message = bytes(in_message(attribute(311, 1, "", 0xC1)));
  const auto refusal = refusal_of(message).value().value();
  EXPECT_EQ(to_hex(error_value(refusal, Bytes(message).first(8))), "00000000000000030100000000000005c100013700000001");
  const ByteVector newer = bytes("02abcdef00000005");
  EXPECT_EQ(to_hex(error_value(refusal_of(newer).value().value(), newer)), "000000000000000202abcdef0000000501010000");
}

struct ValueRow {
  const char* violation;
  std::uint32_t vendor, type;
  std::string value;
  std::optional<std::size_t> offset = std::nullopt;  // in the value; none: accepted
};

void expect_rows(std::span<const ValueRow> rows) {
  for (const ValueRow& row : rows) {
    const ByteVector message = bytes(in_message(attribute(row.vendor, row.type, row.value)));
    const auto refusal = refusal_of(message).value();
    ASSERT_EQ(refusal.has_value(), row.offset.has_value())
        << attribute_name(row.vendor, row.type) << ": " << row.violation;
    if (!refusal) continue;
    EXPECT_EQ(refusal->code, ErrorCode::invalid_parameter) << row.violation;
    EXPECT_EQ(refusal->offset, V + *row.offset) << attribute_name(row.vendor, row.type) << ": " << row.violation;
  }
}

TEST(Violations, OfIetfAttributes) {
  const std::string time = text("2022-05-31T08:26:24Z"), product = "00713200 00";
  const ValueRow rows[] = {
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
  expect_rows(rows);
}

TEST(Violations, ErrorsAreDroppedOrHandedOnButNeverAnswered) {
  const struct {
    const char* what;
    std::string value;
    bool dropped;
  } rows[] = {
      {"7 bytes", "00000000000000", true},
      {"code 1 without its offset", "0000000000000001 0100000000000005", true},
      {"code 2 too short", "0000000000000002 0100000000000005 010100", true},
      {"code 3 too short", "0000000000000003 0100000000000005 00000000 000000", true},
      {"code 1", "0000000000000001 0100000000000005 00000014", false},
      {"code 9", "0000000000000009 00", false},
      {"unknown vendor", "0000013700000001", false},
  };
  for (const auto& row : rows) {
    const ByteVector value = bytes(row.value);
    Reader r(value, "test");
    EXPECT_EQ(!parse_error(r), row.dropped) << row.what;
    EXPECT_FALSE(refusal_of(bytes(in_message(attribute(0, type::pa_tnc_error, row.value)))).value()) << row.what;
  }
}

TEST(Violations, OfItaAttributes) {
  const ValueRow rows[] = {
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
  expect_rows(rows);
}

}  // namespace
}  // namespace gatehouse::patnc
