#include "server/tls/processors.h"

#include <gtest/gtest.h>

namespace gatehouse::server {
namespace {

TEST(Processors, CountsWhatNobodyUsed) {
  // As /proc/stat of a machine with two processors has it.
  const auto ticks = Processors::parse("cpu  3149921 13 219881 1905324 2231 0 5561 10023 7 0\ncpu0 1574991 7 109942 952662 1113 0 5561 5011 7 0\n");
  ASSERT_TRUE(ticks);
  EXPECT_EQ(ticks->idle, 1'905'324U + 2'231);
  EXPECT_EQ(ticks->all, 3'149'921U + 13 + 219'881 + 1'905'324 + 2'231 + 0 + 5'561 + 10'023);
}

TEST(Processors, WhatIsNoCountIsNone) {
  for (const char* text : {"", "cpu", "cpu ", "cpu0 1 2 3 4 5 6 7 8 9", "cpu  1 2 3 4 5 6 7", "cpu  1 2 3 four 5 6 7 8 9", "cpu  1 2 3 4 5 6 7 99999999999999999999 9"})
    EXPECT_FALSE(Processors::parse(text)) << text;
}

TEST(Processors, AShareIsBetweenNoneAndAll) {
  Processors processors;
  const auto since_it_runs = processors.idle();
  ASSERT_TRUE(since_it_runs);
  EXPECT_GE(*since_it_runs, 0);
  EXPECT_LE(*since_it_runs, 1);
}

}  // namespace
}  // namespace gatehouse::server
