// The violations of spec part 1b §9.1 to §9.3, row by row: which error answers them, at which offset.
#include <gtest/gtest.h>

#include "rewrite.h"
#include "value_rows.h"

namespace gatehouse::patnc {
namespace {

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
      {"4,096 that may be skipped", in_message(repeated(4095, attribute(0, 99, ""))), {}},
      {"4,097 that may be skipped", in_message(repeated(4096, attribute(0, 99, ""))), invalid, A + 4095 * 12},
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
  expect_rows(ietf_value_rows());
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
  expect_rows(ita_value_rows());
}

}  // namespace
}  // namespace gatehouse::patnc
