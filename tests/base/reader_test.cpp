#include "base/reader.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/writer.h"

namespace gatehouse {
namespace {

TEST(Reader, ReadsBothByteOrdersAndCountsOffsets) {
  const auto bytes = from_hex("0102030405060708").value();
  Reader r(bytes, "test", 100);
  EXPECT_EQ(r.get<std::uint16_t>().value(), 0x0102);
  EXPECT_EQ(r.get_le<std::uint16_t>().value(), 0x0403);
  EXPECT_EQ(r.get24().value(), 0x050607U);
  EXPECT_EQ(r.offset(), 107U);
  EXPECT_EQ(r.finish().error().offset, 107U);
  EXPECT_EQ(r.get<std::uint32_t>().error().reason, "truncated");
  EXPECT_EQ(r.get<std::uint8_t>().value(), 8);
  EXPECT_TRUE(r.finish());
}

TEST(Reader, AChildCannotLeaveItsParent) {
  const auto bytes = from_hex("0102030405").value();
  Reader r(bytes, "test");
  ASSERT_TRUE(r.skip(1));
  Reader child = r.sub(2).value();
  EXPECT_EQ(child.offset(), 1U);
  EXPECT_FALSE(child.take(3));
  EXPECT_TRUE(child.take(2));
  EXPECT_TRUE(child.finish());
  EXPECT_EQ(r.remaining(), 2U);
  EXPECT_FALSE(r.sub(3));
  EXPECT_FALSE(r.take(std::size_t(-1)));
}

TEST(Writer, FillsLengthsAfterwards) {
  Writer w;
  w.put(std::uint8_t{1});
  const auto length = w.reserve<std::uint32_t>();
  w.put24(0xABCDEF);
  w.put_le(std::uint16_t{0x0102});
  w.fill(length, std::uint32_t(w.size()));
  EXPECT_EQ(to_hex(w.view()), "010000000aabcdef0201");
}

TEST(Hex, RoundTripsAndNamesTheOffsetOfABadDigit) {
  EXPECT_EQ(to_hex(from_hex("00ffAB").value()), "00ffab");
  EXPECT_EQ(from_hex("00zz").error().offset, 2U);
  EXPECT_FALSE(from_hex("abc"));
}

TEST(Escaped, KeepsUtf8AndMakesTheRestVisible) {
  EXPECT_EQ(escaped("/usr/bin/gr\xC3\xBC\xC3\x9F"), "/usr/bin/gr\xC3\xBC\xC3\x9F");
  EXPECT_EQ(escaped("a\nb\x1B[2J"), "a\\x0Ab\\x1B[2J");
  EXPECT_EQ(escaped("\xFF\xC3"), "\\xFF\\xC3");
  EXPECT_EQ(escaped("\xC2\x9B" "31m"), "\\xC2\\x9B31m");       // C1 control: CSI
  EXPECT_EQ(escaped("\xED\xA0\x80"), "\\xED\\xA0\\x80");       // a surrogate isn't UTF-8
  EXPECT_EQ(escaped("abcdef", 3), "abc...");
}

TEST(Utf8, IsWellFormedToItsLastByte) {
  EXPECT_TRUE(is_utf8(""));
  EXPECT_TRUE(is_utf8("gr\xC3\xBC\xC3\x9F \xF0\x9F\x94\x92"));
  EXPECT_FALSE(is_utf8("a\xC3"));
  EXPECT_FALSE(is_utf8("\xC0\x80"));
  EXPECT_FALSE(is_utf8("\xED\xA0\x80"));
  EXPECT_FALSE(is_utf8("\xF4\x90\x80\x80"));
}

TEST(Error, TextNamesSourceOffsetReasonAndRule) {
  Error e{Fault::malformed, "template name longer than the entry", "kernel ima_fs.c", 4132, {}, {}};
  EXPECT_EQ(std::move(e).from("ima.bin").text(),
            "ima.bin: byte 4132: malformed: template name longer than the entry (kernel ima_fs.c)");
  EXPECT_EQ(exit_code(Fault::malformed), 3);
  EXPECT_EQ(exit_code(Fault::environment), 4);
  EXPECT_EQ(exit_code(Fault::usage), 2);
  EXPECT_EQ(exit_code(Fault::denied), 1);
}

}  // namespace
}  // namespace gatehouse
