#include "server/radius/crowd.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

TEST(Crowd, BeginsNobodyNewWhileTheProcessorsAreBusyWithAsManyAsMayBe) {
  Crowd crowd;
  crowd.look(0.01, 0, 512);
  EXPECT_TRUE(crowd.admits(511));
  EXPECT_FALSE(crowd.admits(512));
}

TEST(Crowd, LetsAnyNumberWaitForTheirGatewaysOnAFreeProcessorAQuarterAtATime) {
  Crowd crowd;
  crowd.look(0.5, 0, 512);
  EXPECT_TRUE(crowd.admits(511));
  EXPECT_FALSE(crowd.admits(512));
  crowd.look(0.5, 512, 512);
  EXPECT_TRUE(crowd.admits(639));
  EXPECT_FALSE(crowd.admits(640));
  crowd.look(0.5, 10'000, 512);
  EXPECT_TRUE(crowd.admits(10'127));
  EXPECT_FALSE(crowd.admits(10'128));
  crowd.look(0.5, 0, 1);
  EXPECT_TRUE(crowd.admits(0));
}

TEST(Crowd, OfTooManyWhoAreThereNobodyIsFollowedByAnother) {
  Crowd crowd;
  crowd.look(0.5, 4'000, 512);
  crowd.look(0, 4'100, 512);
  EXPECT_FALSE(crowd.admits(4'100));
  EXPECT_FALSE(crowd.admits(512));
  EXPECT_TRUE(crowd.admits(511));
}

}  // namespace
}  // namespace gatehouse::server
