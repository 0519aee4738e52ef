#include "base/csv.h"

#include <gtest/gtest.h>

namespace gatehouse {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows rows_of(std::string_view text) {
  CsvReader reader(text);
  Rows out;
  for (;;) {
    auto row = reader.next();
    EXPECT_TRUE(row) << row.error().text();
    if (!row || !*row) return out;
    out.push_back(**std::move(row));
  }
}

// RFC 4180 section 2, its seven rules.
TEST(Csv, ReadsWhatTheStandardDescribes) {
  EXPECT_EQ(rows_of("aaa,bbb,ccc\r\nzzz,yyy,xxx\r\n"), (Rows{{"aaa", "bbb", "ccc"}, {"zzz", "yyy", "xxx"}}));
  EXPECT_EQ(rows_of("aaa,bbb\nzzz,yyy"), (Rows{{"aaa", "bbb"}, {"zzz", "yyy"}}));
  EXPECT_EQ(rows_of("\"aaa\",\"b\r\nbb\",\"ccc\"\r\nzzz,yyy,xxx"), (Rows{{"aaa", "b\r\nbb", "ccc"}, {"zzz", "yyy", "xxx"}}));
  EXPECT_EQ(rows_of("\"aaa\",\"b\"\"bb\",\"c,c\""), (Rows{{"aaa", "b\"bb", "c,c"}}));
  EXPECT_EQ(rows_of("a,,\n,"), (Rows{{"a", "", ""}, {"", ""}}));
  EXPECT_EQ(rows_of("\xEF\xBB\xBF" "a\n\n\r\n\"\"\n"), (Rows{{"a"}, {""}}));
  EXPECT_EQ(rows_of(""), Rows{});
}

TEST(Csv, NamesTheByteOfAMistake) {
  const auto error = [](std::string_view text) {
    CsvReader reader(text);
    for (;;) {
      const auto row = reader.next();
      if (!row) return std::string(row.error().reason) + " " + std::to_string(row.error().offset);
      if (!*row) return std::string("none");
    }
  };
  EXPECT_EQ(error("a,\"b"), "a quoted field that doesn't end 2");
  EXPECT_EQ(error("a\n\"b\"c"), "text behind a quoted field 5");
  EXPECT_EQ(error("a\"b"), "a quote within a field that isn't quoted 1");
  EXPECT_EQ(error(std::string(64, ',')), "more than 64 fields in a row 0");
  EXPECT_EQ(error("a,\"" + std::string((1 << 20) + 1, 'x') + "\""), "field longer than 1 MiB 2");
  EXPECT_EQ(error(std::string((1 << 20) + 1, 'x')), "field longer than 1 MiB 0");
}

TEST(Csv, KnowsTheLineOfARow) {
  CsvReader reader("a\n\"b\nb\"\nc\n");
  for (const std::size_t line : {1U, 2U, 4U}) {
    ASSERT_TRUE(reader.next());
    EXPECT_EQ(reader.line(), line);
  }
}

TEST(Csv, ReadsBackWhatItWrote) {
  const Rows rows{{"\xEF\xBB\xBF" "first"}, {"a", "", "b c"}, {"x,y", "\"", "\r\n"}, {""}, {"\r", "\n", "ä"}};
  std::string text;
  for (const auto& row : rows) append_csv_row(text, row);
  EXPECT_EQ(rows_of(text), rows);
}

}  // namespace
}  // namespace gatehouse
