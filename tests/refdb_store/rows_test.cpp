// Rows as they are on disk, and as a damaged disk or a hostile export may have them.
#include "refdb/store/rows.h"

#include <gtest/gtest.h>

namespace gatehouse::refdb {
namespace {

Package package() {
  Package p;
  p.layer = 3;
  p.name = "coreutils";
  p.version = "9.1-1";
  p.architecture = "amd64";
  p.source = "coreutils.deb";
  p.digest = p.identity = std::string(32, 'x');
  p.files = 2;
  return p;
}

// Each in memory of just its size, so that a byte that is read beyond it is seen.
bool is_package(std::string_view row) {
  const std::vector<char> own(row.begin(), row.end());
  Package copy;
  PackageView view;
  const std::string_view only(own.data(), own.size());
  const bool good = decode(only, copy);
  EXPECT_EQ(decode(only, view), good);
  return good;
}

TEST(PackageRow, IsReadAgain) {
  const std::string row = encode(package());
  Package again;
  ASSERT_TRUE(decode(row, again));
  EXPECT_EQ(encode(again), row);
}

TEST(PackageRow, CutAnywhereOrWithAnotherByteIsReadWithinItsBytes) {
  const std::string row = encode(package());
  for (std::size_t size = 0; size < row.size(); ++size) EXPECT_FALSE(is_package(row.substr(0, size))) << size;
  EXPECT_FALSE(is_package(row + "x"));
  for (std::size_t at = 0; at < row.size(); ++at)
    for (const int byte : {0, 1, 0x7F, 0x80, 0xFF}) {
      std::string changed = row;
      changed[at] = char(byte);
      (void)is_package(changed);
    }
}

// A text that says it is longer than what is left, by a little or by much.
TEST(PackageRow, ALengthBeyondTheRowIsNotBelieved) {
  const std::string row = encode(package());
  for (const std::size_t left : {0U, 1U, 2U, 3U, 40U})
    for (const std::size_t said : {std::size_t(0), left, left + 1, left + 2, left + 3, std::size_t(0xFFFF)}) {
      std::string text;
      put(text, std::uint16_t(said));
      text.append(left, 'x');
      const std::vector<char> own(text.begin(), text.end());
      std::string_view from(own.data(), own.size());
      EXPECT_EQ(take_text(from).size(), std::min(said, left));
      EXPECT_EQ(from.size(), left - std::min(said, left));
      EXPECT_FALSE(is_package(row.substr(0, 4) + text));
    }
}

}  // namespace
}  // namespace gatehouse::refdb
