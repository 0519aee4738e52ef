#include "endpoint/service/schedule.h"

#include <gtest/gtest.h>

namespace gatehouse::endpoint {
namespace {

using namespace std::chrono_literals;
using Due = Schedule::Due;

const Time start = Time() + 1000h;

TEST(Schedule, TheIntervalCountsFromTheVerdictGiveOrTakeATenth) {
  Schedule s({.interval = 1000s}, start);
  EXPECT_EQ(s.due(start + 5000s), Due::nothing) << "the first assessment isn't over";
  for (const auto& [random, after] : {std::pair(0.0, 900s), std::pair(0.5, 1000s), std::pair(1.0, 1100s)}) {
    s.assessed(start, random);
    EXPECT_EQ(s.next(start), start + after);
    EXPECT_EQ(s.due(start + after - 1ms), Due::nothing);
    EXPECT_EQ(s.due(start + after), Due::interval);
  }
}

TEST(Schedule, RequestsAreDueAtOnceAndAnsweredByAnyAssessment) {
  Schedule s({}, start);
  s.assessed(start, 0.5);
  s.asked();
  EXPECT_EQ(s.next(start + 1s), start + 1s);
  EXPECT_EQ(s.due(start + 1s), Due::request);
  s.begun_by_server();
  EXPECT_EQ(s.due(start + 1s), Due::nothing);
  s.asked();
  s.begun(start + 2s);
  EXPECT_EQ(s.due(start + 2s), Due::nothing);
}

TEST(Schedule, SoftwareIsLookedAtWhenItIsQuietOrPatienceEnds) {
  Schedule s({.settle = 10s, .patience = 25s}, start);
  s.assessed(start, 0.5);
  s.software_touched(start);
  EXPECT_EQ(s.next(start), start + 10s);
  s.software_touched(start + 9s);
  EXPECT_EQ(s.due(start + 18s), Due::nothing);
  EXPECT_EQ(s.due(start + 19s), Due::look);
  s.software_touched(start + 18s);
  s.software_touched(start + 24s);
  EXPECT_EQ(s.due(start + 25s), Due::look) << "it never is quiet";
  s.software_unchanged();
  EXPECT_EQ(s.due(start + 100s), Due::nothing);
  s.software_touched(start + 100s);
  s.software_changed();
  EXPECT_EQ(s.due(start + 100s), Due::software);
  s.begun(start + 100s);
  EXPECT_EQ(s.due(start + 100s), Due::nothing);
}

// A server takes a burst of five retries, and then one each 10 s: else it ends the conversation.
TEST(Schedule, RetriesStayBelowWhatAServerTakes) {
  Schedule s({.interval = 1s}, start);
  Time now = start;
  s.assessed(now, 0);
  std::vector<Time> begun;
  for (int n = 0; n < 40; ++n) {
    s.asked();
    now = s.next(now);
    ASSERT_EQ(s.due(now), Due::request) << n;
    s.begun(now);
    begun.push_back(now);
    s.assessed(now, 0);
  }
  unsigned taken = 0;
  Time last{};
  for (const Time at : begun) {  // as the server counts
    if (taken != 0) {
      const auto earned = (at - last) / 10s;
      taken -= unsigned(std::min<std::int64_t>(taken, earned));
      last += earned * 10s;
    }
    if (taken == 0) last = at;
    EXPECT_LE(++taken, 5U);
  }
  EXPECT_EQ(begun[3], start) << "a few at once";
  EXPECT_EQ(begun.back() - begun[3], 36 * 11s);
}

TEST(Backoff, DoublesUpToItsMostAndStartsAgain) {
  Backoff b(2s, 60s);
  for (const auto whole : {2s, 4s, 8s, 16s, 32s, 60s, 60s}) EXPECT_EQ(b.next(1.0), whole);
  EXPECT_EQ(b.next(0.0), 30s);
  b.reset();
  EXPECT_EQ(b.next(0.0), 1s);
  Backoff least_above(10s, 3s);
  EXPECT_EQ(least_above.next(1.0), 10s);
  EXPECT_EQ(least_above.next(1.0), 10s);
}

}  // namespace
}  // namespace gatehouse::endpoint
