// Waiting after wrong passwords, on a clock of the test's own.
#include "server/tls/backoff.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

using namespace std::chrono_literals;
using Wait = std::optional<std::chrono::milliseconds>;

TEST(Backoff, AFewMistakesCostNothingAndGuessingGetsSlower) {
  Backoff backoff;
  Backoff::Clock::time_point now{};
  const std::string peer = "192.0.2.7";
  for (const auto wait : {0s, 0s, 0s, 1s, 2s, 4s, 8s, 16s, 16s, 16s}) {
    EXPECT_EQ(backoff.reserve(peer, now), Wait(wait));
    EXPECT_EQ(backoff.reserve("192.0.2.8", now), Wait(0s)) << "another address has nothing to do with it";
    now += wait;
    backoff.failed(peer, now);
    now += 60s;
  }
  backoff.succeeded(peer);
  EXPECT_EQ(backoff.reserve(peer, now), Wait(0s));
}

// Many connections at once gain nothing: their attempts follow each other, and the rest is refused.
TEST(Backoff, AttemptsAtTheSameTimeAreMadeOneAfterTheOther) {
  Backoff backoff;
  const Backoff::Clock::time_point now{};
  for (int n = 0; n < 5; ++n) backoff.failed("192.0.2.7", now);
  for (const auto wait : {4s, 8s, 12s, 16s, 20s}) EXPECT_EQ(backoff.reserve("192.0.2.7", now), Wait(wait));
  for (int n = 0; n < 100; ++n) EXPECT_EQ(backoff.reserve("192.0.2.7", now), Wait());
  // Who was refused has taken nobody's place.
  EXPECT_EQ(backoff.reserve("192.0.2.7", now + 4s), Wait(20s));
}

// Those that have no outcome yet count as if they failed.
TEST(Backoff, NoMoreAreUnderWayThanMayFail) {
  Backoff backoff({.free_failures = 3, .at_once = 2});
  const Backoff::Clock::time_point now{};
  for (int n = 0; n < 5; ++n) {
    EXPECT_FALSE(backoff.crowded("192.0.2.7", now)) << n;
    backoff.begin("192.0.2.7");
  }
  EXPECT_TRUE(backoff.crowded("192.0.2.7", now));
  EXPECT_FALSE(backoff.crowded("192.0.2.8", now));
  // Right ones make room, wrong ones don't.
  backoff.end("192.0.2.7");
  EXPECT_FALSE(backoff.crowded("192.0.2.7", now));
  backoff.begin("192.0.2.7");
  backoff.end("192.0.2.7");
  backoff.failed("192.0.2.7", now);
  EXPECT_TRUE(backoff.crowded("192.0.2.7", now));
  EXPECT_FALSE(backoff.crowded("192.0.2.7", now + 10min));
  for (int n = 0; n < 2; ++n) backoff.failed("192.0.2.7", now);
  // From here on they follow each other at a distance.
  EXPECT_FALSE(backoff.crowded("192.0.2.7", now));
  EXPECT_EQ(backoff.reserve("192.0.2.7", now), Wait(1s));
  for (int n = 0; n < 9; ++n) backoff.end("192.0.2.7");
  EXPECT_FALSE(backoff.crowded("192.0.2.7", now));
}

TEST(Backoff, IsForgottenAfterAWhile) {
  Backoff backoff;
  const Backoff::Clock::time_point now{};
  for (int n = 0; n < 9; ++n) backoff.failed("192.0.2.7", now);
  EXPECT_EQ(backoff.reserve("192.0.2.7", now + 10min - 1ms), Wait(16s));
  EXPECT_EQ(backoff.reserve("192.0.2.7", now + 10min), Wait(0s));
  for (int n = 0; n < 9; ++n) backoff.failed("192.0.2.7", now);
  backoff.failed("192.0.2.7", now + 10min);
  EXPECT_EQ(backoff.reserve("192.0.2.7", now + 10min), Wait(0s));
}

TEST(Backoff, RemembersABoundedNumberOfAddresses) {
  Backoff backoff({.free_failures = 1, .addresses = 3});
  Backoff::Clock::time_point now{};
  for (const char* peer : {"a", "b", "c", "a", "d"}) backoff.failed(peer, now += 1s);
  EXPECT_EQ(backoff.reserve("b", now), Wait(0s)) << "its failure was the oldest";
  for (const char* peer : {"a", "c", "d"}) EXPECT_NE(backoff.reserve(peer, now), Wait(0s)) << peer;
}

}  // namespace
}  // namespace gatehouse::server
