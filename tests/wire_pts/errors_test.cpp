// Every PTS error code with its information (spec part 2 §1.15).
#include "wire/pts/errors.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "base/hex.h"
#include "wire/patnc/patnc.h"

using namespace gatehouse;
using namespace gatehouse::pts;

namespace {

const ByteVector request = from_hex("800001020000002f2f657463").value();

struct Row {
  std::uint32_t code;
  const char* name;
  ErrorForm form;
  const char* information;
};
constexpr Row rows[] = {
    {0, "Reserved", ErrorForm::none, ""},
    {1, "Hash Algorithm Not Supported", ErrorForm::set, "0000e000"},
    {2, "Invalid Path", ErrorForm::request, "800001020000002f2f657463"},
    {3, "File Not Found", ErrorForm::request, "800001020000002f2f657463"},
    {4, "Registry Not Supported", ErrorForm::none, ""},
    {5, "Registry Key Not Found", ErrorForm::none, ""},
    {6, "D-H Group Not Supported", ErrorForm::set, "0000e000"},
    {7, "DH-PN Nonce Not Acceptable", ErrorForm::lengths, "0011ffff"},
    {8, "Invalid Functional Name Family", ErrorForm::none, ""},
    {9, "TPM Version Information Unavailable", ErrorForm::request, "800001020000002f2f657463"},
    {10, "Invalid File Pathname Delimiter", ErrorForm::request, "800001020000002f2f657463"},
    {11, "PTS Operation Not Supported", ErrorForm::none, ""},
    {12, "Unable To Update Reference Manifest", ErrorForm::none, ""},
    {13, "Unable To Perform Local Validation", ErrorForm::request, "800001020000002f2f657463"},
    {14, "Unable To Collect Current Evidence", ErrorForm::request, "800001020000002f2f657463"},
    {15, "Unable To Determine Transitive Trust Chain", ErrorForm::request, "800001020000002f2f657463"},
    {16, "Unable To Determine PCR", ErrorForm::request, "800001020000002f2f657463"},
};

ByteVector value_of(const Row& row) {
  Writer w;
  switch (row.form) {
    case ErrorForm::none:
      append_error(w, row.code);
      break;
    case ErrorForm::set:
      append_set_error(w, row.code, 0xE000);
      break;
    case ErrorForm::lengths:
      append_nonce_error(w, 17);
      break;
    case ErrorForm::request:
      append_request_error(w, row.code, request);
      break;
  }
  return std::move(w).take();
}

}  // namespace

TEST(PtsError, every_code_is_written_and_read) {
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    EXPECT_EQ(error_name(row.code), row.name);
    EXPECT_EQ(error_form(row.code), row.form);
    const ByteVector value = value_of(row);
    char head[20];
    std::snprintf(head, sizeof head, "00005597%08x", row.code);
    EXPECT_EQ(to_hex(value), head + std::string(row.information));
    Reader r(value, "test");
    const auto error = patnc::parse_error(r);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->vendor, vendor_tcg);
    EXPECT_EQ(error->code, row.code);
    Reader information(error->information, "test");
    const auto parsed = parse_error_information(row.code, information);
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->supported, row.form == ErrorForm::set ? 0xE000 : 0);
    EXPECT_EQ(parsed->least_nonce, row.form == ErrorForm::lengths ? 17 : 0);
    EXPECT_EQ(parsed->most_nonce, 0xFFFF);
    EXPECT_TRUE(equal(parsed->request, row.form == ErrorForm::request ? Bytes(request) : Bytes()));
  }
  EXPECT_EQ(error_name(17), "Unknown");
}

TEST(PtsError, short_information_is_malformed_where_a_form_has_a_length) {
  for (const Row& row : rows)
    for (std::size_t size = 0; size < 4; ++size) {
      const ByteVector information(size);
      Reader r(information, "test", 20);
      const auto parsed = parse_error_information(row.code, r);
      EXPECT_EQ(parsed.has_value(), row.form == ErrorForm::none || row.form == ErrorForm::request) << row.code;
      EXPECT_TRUE(parsed || parsed.error().offset == 20) << row.code;
    }
}

TEST(PtsError, quoted_request_is_cut) {
  Writer w;
  append_request_error(w, error::invalid_path, ByteVector(1025, std::byte{'a'}));
  EXPECT_EQ(w.size(), 8U + 1024);
}
