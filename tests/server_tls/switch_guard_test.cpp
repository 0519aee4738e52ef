#include "server/tls/switch_guard.h"

#include "server/tls/held.h"

#include <gtest/gtest.h>

namespace gatehouse::server::switches {  // files of tests are compiled together
namespace {

using namespace std::chrono_literals;
using Time = SwitchGuard::Clock::time_point;
const Time start{};

SwitchGuard guard(double share, std::size_t devices) {
  SwitchGuard out({.share = share, .devices = devices, .watch = 1h});
  out.begin(start);
  return out;
}
std::string device(int n) { return "d" + std::to_string(n); }

TEST(SwitchGuard, SpeaksWhenMoreThanTheShareIsRefused) {
  SwitchGuard g = guard(0.25, 4);
  EXPECT_FALSE(g.note(device(0), start, true, true)) << "too few have come";
  EXPECT_FALSE(g.note(device(1), start, true, false));
  EXPECT_FALSE(g.note(device(2), start, true, false));
  EXPECT_FALSE(g.note(device(3), start, true, false)) << "exactly the share";
  EXPECT_TRUE(g.note(device(4), start, true, true));
  EXPECT_FALSE(g.watching());
  EXPECT_EQ(g.counts().devices, 5U);
  EXPECT_EQ(g.counts().refused, 2U);
  EXPECT_FALSE(g.note(device(5), start, true, true)) << "once";
}

TEST(SwitchGuard, CountsEachDeviceOnceAndNoneThatWasRefusedBefore) {
  SwitchGuard g = guard(0.5, 2);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(g.note("again", start, true, true));
    EXPECT_FALSE(g.note(device(i), start, false, true));
  }
  EXPECT_FALSE(g.note("", start, true, true));
  EXPECT_FALSE(g.awaits("again", start));
  EXPECT_EQ(g.counts().devices, 1U);
  EXPECT_TRUE(g.note("other", start, true, true));
}

TEST(SwitchGuard, WatchesForItsTimeAndAnewAtEachSwitch) {
  SwitchGuard g = guard(0.1, 1);
  EXPECT_FALSE(g.over(start + 59min));
  EXPECT_TRUE(g.over(start + 1h));
  EXPECT_FALSE(g.note(device(0), start + 1h, true, true));
  g.begin(start + 2h);
  EXPECT_FALSE(g.over(start + 2h));
  EXPECT_TRUE(g.note(device(0), start + 2h, true, true));
  SwitchGuard off = guard(0, 1);
  EXPECT_FALSE(off.watching());
  EXPECT_FALSE(off.note(device(0), start, true, true));
}

TEST(HeldBack, HasAReasonForEachOfTheTwo) {
  HeldSwitch policy;
  policy.policy = "bb";
  policy.policy_instead = "aa";
  policy.since = 1;
  policy.why = "refuses 2 of 3";
  HeldSwitch references;
  references.generation = 8;
  references.since = 2;
  references.why = "refuses 3 of 3";
  EXPECT_EQ(both_held({}, policy), policy);
  for (const HeldSwitch& both : {both_held(policy, references), both_held(references, policy)}) {
    EXPECT_EQ(both.policy, "bb");
    EXPECT_EQ(both.policy_instead, "aa");
    EXPECT_EQ(both.generation, 8U);
    EXPECT_EQ(both.why, "policy: refuses 2 of 3; references: refuses 3 of 3");
    EXPECT_EQ(without_policy(both).why, "refuses 3 of 3");
    EXPECT_TRUE(without_policy(both).policy_instead.empty());
    EXPECT_EQ(without_generation(both).why, "refuses 2 of 3");
    EXPECT_TRUE(without_generation(without_policy(both)).empty());
    HeldSwitch later = references;
    later.generation = 9;
    later.why = "refuses 1 of 3";
    EXPECT_EQ(both_held(both, later).generation, 9U);
    EXPECT_EQ(both_held(both, later).why, "policy: refuses 2 of 3; references: refuses 1 of 3");
  }
  // One switch of both, undone as a whole.
  HeldSwitch undone = policy;
  undone.generation = 8;
  EXPECT_EQ(both_held(references, undone), undone);
  EXPECT_EQ(without_policy(undone).why, "refuses 2 of 3");
}

}  // namespace
}  // namespace gatehouse::server::switches
