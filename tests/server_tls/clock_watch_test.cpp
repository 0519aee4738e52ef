// A clock that jumps: what it would take for old stays until somebody has had a day to set it right.
#include "server/tls/clock_watch.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

constexpr std::int64_t minute = 60'000, then = 1'800'000'000'000;

TEST(ClockWatch, TrustsAClockThatGoesAsTimeDoes) {
  ClockWatch watch;
  for (std::int64_t at = 0; at < 3 * ClockWatch::day; at += minute) EXPECT_TRUE(watch.look(then + at, at).trusted);
}

TEST(ClockWatch, WaitsADayAfterAClockWentAhead) {
  ClockWatch watch;
  EXPECT_TRUE(watch.look(then, 0).trusted);
  const auto ahead = watch.look(then + minute + 365 * ClockWatch::day, minute);
  EXPECT_FALSE(ahead.trusted);
  EXPECT_EQ(ahead.ahead, 365 * ClockWatch::day);
  const auto after = watch.look(then + 2 * minute + 365 * ClockWatch::day, 2 * minute);
  EXPECT_FALSE(after.trusted);
  EXPECT_EQ(after.ahead, 0) << "it is said once";
  // Set right again: what was seen is not forgotten before the day is over, and going back takes nothing away.
  EXPECT_FALSE(watch.look(then + 3 * minute, 3 * minute).trusted);
  EXPECT_TRUE(watch.look(then + minute + ClockWatch::day, minute + ClockWatch::day).trusted);
}

TEST(ClockWatch, TakesSmallStepsAndStepsBackForWhatTheyAre) {
  ClockWatch watch;
  EXPECT_TRUE(watch.look(then, 0).trusted);
  EXPECT_TRUE(watch.look(then + 10 * minute, minute).trusted);
  EXPECT_TRUE(watch.look(then - ClockWatch::day, 2 * minute).trusted) << "what is younger than it is old goes later, not earlier";
}

}  // namespace
}  // namespace gatehouse::server
