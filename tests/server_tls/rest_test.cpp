// When a server rests.
#include "server/tls/rest.h"

#include <gtest/gtest.h>

using namespace gatehouse::server;
using namespace std::chrono_literals;

namespace {

struct Times {
  Rest rest;
  Rest::Clock::time_point now{};
  std::chrono::nanoseconds used{0};
  // Whether a rest begins within so much time, looked at every 25 ms.
  bool begins_within(std::chrono::milliseconds time, std::chrono::microseconds work_each = 0us, bool busy = false) {
    bool begun = false;
    for (auto passed = 0ms; passed < time; passed += 25ms) {
      now += 25ms;
      used += work_each;
      begun |= rest.begun(now, used, busy);
    }
    return begun;
  }
};

TEST(Rest, BeginsOnceAfterWork) {
  Times t;
  EXPECT_FALSE(t.begins_within(10s)) << "nobody has worked yet";
  EXPECT_FALSE(t.begins_within(5s, 2ms));
  EXPECT_FALSE(t.begins_within(950ms));
  EXPECT_TRUE(t.begins_within(100ms));
  EXPECT_FALSE(t.begins_within(60s)) << "it has been told";
  EXPECT_FALSE(t.begins_within(25ms, 2ms));
  EXPECT_TRUE(t.begins_within(2s));
}

TEST(Rest, ALittleWorkIsRest) {
  Times t;
  EXPECT_FALSE(t.begins_within(1s, 2ms));
  EXPECT_TRUE(t.begins_within(2s, 200us));
}

TEST(Rest, WhoLeavesIsWork) {
  Times t;
  EXPECT_FALSE(t.begins_within(5s, 0us, true));
  EXPECT_TRUE(t.begins_within(2s));
}

TEST(Rest, WhatGivingBackTakesIsNone) {
  Times t;
  EXPECT_FALSE(t.begins_within(1s, 2ms));
  EXPECT_TRUE(t.begins_within(1050ms));
  t.used += 300ms;
  t.rest.except(t.used);
  EXPECT_FALSE(t.begins_within(60s));
}

}  // namespace
