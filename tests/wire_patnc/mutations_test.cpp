// Every prefix of every example, and every value of every byte in it: an error inside the message, or a valid message.
#include <gtest/gtest.h>

#include <set>

#include "base/hex.h"
#include "examples.h"
#include "rewrite.h"

namespace gatehouse::patnc {
namespace {

TEST(Mutations, APrefixIsValidOnlyWhereAnAttributeEnds) {
  for (const auto& example : examples::messages) {
    const ByteVector whole = from_hex(example.hex).value();
    std::set<std::size_t> ends = {message_header_size};
    const Parsed parsed = parse_message(whole, supported).value();
    for (const Attribute& a : parsed.attributes) ends.insert(a.value_offset() + a.value.size());
    EXPECT_EQ(*ends.rbegin(), whole.size());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const ByteVector prefix(whole.begin(), whole.begin() + std::ptrdiff_t(size));  // its own end, for the sanitizer
      const auto refusal = refusal_of(prefix);
      EXPECT_EQ(refusal.has_value(), size >= message_header_size) << example.name << " " << size;
      if (!refusal) continue;
      EXPECT_EQ(!refusal->has_value(), ends.contains(size)) << example.name << " " << size;
      if (refusal->has_value()) {
        EXPECT_LE((*refusal)->offset, size) << example.name;
      }
    }
  }
}

TEST(Mutations, EveryValueOfEveryByteGivesAnErrorOrAMessageThatIsWrittenAgain) {
  for (const auto& example : examples::messages) {
    ByteVector message = from_hex(example.hex).value();
    std::size_t refused = 0;
    for (std::size_t at = 0; at < message.size(); ++at) {
      const std::byte original = message[at];
      for (unsigned value = 0; value < 256; ++value) {
        message[at] = std::byte(value);
        const auto first = rewrite(message);
        if (!first) {
          ++refused;
          EXPECT_LE(first.error().offset, message.size()) << example.name << " " << at << " " << value;
          continue;
        }
        if (equal(*first, message)) continue;  // the same bytes again
        ASSERT_NE(std::byte(value), original) << example.name << " " << at << ": an example is written as it was";
        // What was left out is reserved or surplus; written once, it stays.
        const auto second = rewrite(*first);
        ASSERT_TRUE(second) << example.name << " " << at << " " << value << ": " << second.error().text();
        ASSERT_TRUE(equal(*second, *first)) << example.name << " " << at << " " << value;
      }
      message[at] = original;
    }
    EXPECT_GT(refused, message.size()) << example.name;
  }
}

}  // namespace
}  // namespace gatehouse::patnc
