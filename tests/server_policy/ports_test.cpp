#include "server/policy/ports.h"

#include <gtest/gtest.h>

namespace gatehouse::server::policy {
namespace {

TEST(PortSets, HoldWhatAnOperatorWrote) {
  const auto ports = PortSet::parse("22 80-90");
  ASSERT_TRUE(ports);
  for (unsigned port = 0; port <= 65535; ++port)
    EXPECT_EQ(ports->contains(std::uint16_t(port)), port == 22 || (port >= 80 && port <= 90)) << port;
}

TEST(PortSets, AreWrittenInOneWay) {
  EXPECT_EQ(PortSet::parse("80-90 22")->text(), "22 80-90");
  EXPECT_EQ(PortSet::parse("  5 1-3 2-4  ")->text(), "1-5");
  EXPECT_EQ(PortSet::parse("1-10 3")->text(), "1-10");
  EXPECT_EQ(PortSet::parse("0 65535 7-7")->text(), "0 7 65535");
  EXPECT_EQ(PortSet::parse("0-65535 65535")->text(), "0-65535");
  EXPECT_EQ(PortSet::parse("")->text(), "");
  EXPECT_EQ(*PortSet::parse("80 81"), *PortSet::parse("80-81"));
}

TEST(PortSets, RefuseWhatIsNone) {
  for (const char* const bad :
       {"65536", "-1", "1-", "-", "a", "22,80", "22;", "1-2-3", "0x16", "+1", "22\t80", "1 - 2"})
    EXPECT_FALSE(PortSet::parse(bad)) << bad;
  const auto reversed = PortSet::parse("22 90-80");
  ASSERT_FALSE(reversed);
  EXPECT_EQ(reversed.error().offset, 3U);
  EXPECT_EQ(reversed.error().reason, "a range begins above its end");
}

}  // namespace
}  // namespace gatehouse::server::policy
