#include "server/radius/crowd.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

// How many of so many are let in besides those that are open, until the next look.
std::size_t let_in(Crowd& crowd, std::size_t open, std::size_t come) {
  std::size_t in = 0;
  for (std::size_t n = 0; n < come; ++n)
    if (crowd.admits(open + in)) ++in;
  return in;
}

TEST(Crowd, BusyProcessorsTakeOnAsManyAsMayBeAndFewBesides) {
  Crowd crowd;
  crowd.look(0.01, 0, 512);
  EXPECT_EQ(let_in(crowd, 0, 10'000), 512U + 32);
  EXPECT_EQ(let_in(crowd, 400, 10'000), 112U) << "until another look, places that become free are all";
}

// Who fills all places and falls silent keeps nobody out.
TEST(Crowd, SomeoneIsAlwaysLetIn) {
  Crowd crowd;
  for (int n = 0; n < 3; ++n) {
    crowd.look(0, 5'000, 512);
    EXPECT_EQ(let_in(crowd, 5'000, 10'000), 32U);
  }
  crowd.look(0, 5'000, 1);
  EXPECT_EQ(let_in(crowd, 5'000, 10'000), 1U);
}

TEST(Crowd, FreeProcessorsTakeOnAnyNumberAQuarterAtATime) {
  Crowd crowd;
  crowd.look(0.5, 0, 512);
  EXPECT_EQ(let_in(crowd, 0, 10'000), 512U + 32);
  crowd.look(0.5, 544, 512);
  EXPECT_EQ(let_in(crowd, 544, 10'000), 128U + 32);
  crowd.look(0.5, 10'000, 512);
  EXPECT_EQ(let_in(crowd, 10'000, 10'000), 128U + 32);
}

}  // namespace
}  // namespace gatehouse::server
