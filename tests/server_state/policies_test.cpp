// The policy's versions, what the safety stop holds back, and since when an item isn't compliant.
#include <gtest/gtest.h>

#include "tests/server_state/support.h"

namespace gatehouse::server::policies {  // files of tests are compiled together
namespace {

StoredPolicy a_policy(const std::string& version, const std::string& text) {
  StoredPolicy out;
  out.version = version;
  out.file = "policy.toml";
  out.text = text;
  out.files = {{"dbx.txt", "ab\n"}};
  return out;
}

TEST(Policies, AreNumberedOnceAndNeverChanged) {
  Folder folder;
  StateOptions options;
  std::int64_t now = 1000;
  options.now = [&] { return now; };
  {
    const auto state = open_state(folder.path(), options);
    EXPECT_TRUE(state->policies()->empty());
    EXPECT_EQ(state->note_policy_blocking(a_policy("aa", "one")).value(), 1U);
    now = 2000;
    EXPECT_EQ(state->note_policy_blocking(a_policy("bb", "two")).value(), 2U);
    now = 3000;
    EXPECT_EQ(state->note_policy_blocking(a_policy("aa", "# the same with a comment\none")).value(), 1U);
  }
  const auto state = open_state(folder.path());
  const auto known = state->policies().value();
  ASSERT_EQ(known.size(), 2U);
  StoredPolicy first = a_policy("aa", "one");
  first.number = 1;
  first.since = 1000;
  EXPECT_EQ(known[0], first);
  EXPECT_EQ(known[1].number, 2U);
  EXPECT_EQ(known[1].since, 2000);
}

TEST(HeldSwitches, AreThereAfterARestartUntilTheyAreReleased) {
  Folder folder;
  HeldSwitch held;
  held.policy = "bb";
  held.policy_instead = "aa";
  held.generation = 8;
  held.since = 7;
  held.why = "3 of 4 devices that were allowed before are refused";
  {
    const auto state = open_state(folder.path());
    EXPECT_FALSE(state->held_switch().value());
    ASSERT_TRUE(state->hold_switch_blocking(held));
  }
  const auto state = open_state(folder.path());
  EXPECT_EQ(state->held_switch().value(), held);
  ASSERT_TRUE(state->hold_switch_blocking({}));
  EXPECT_FALSE(state->held_switch().value());
}

struct Failing : testing::Test {
  Failing() { EXPECT_TRUE(state->enrol_blocking(enrolment("d1", new_key(), true))); }
  // One session with one item; when it isn't compliant since then.
  std::optional<std::int64_t> since(std::int64_t started, pipeline::Evaluation evaluation, bool authenticated = true) {
    SessionIntent of = intent("s" + std::to_string(started), "d1", started);
    if (!authenticated) of.identity = of.identity_type = "";
    EXPECT_TRUE(begin(*state, of));
    SessionResult result = result_of(of);
    result.items.push_back({"FWDEN", "FWDEN", pipeline::Recommendation::allow, evaluation, "text"});
    EXPECT_TRUE(commit(*state, std::move(result)));
    return (**state->item_result("d1", "FWDEN")).failing_since;
  }
  using enum pipeline::Evaluation;
  Folder folder;
  std::unique_ptr<State> state = open_state(folder.path());
};

// However many sessions there are: only the last result is kept.
TEST_F(Failing, IsCountedFromTheFirstResultThatIsNotCompliant) {
  EXPECT_FALSE(since(1000, compliant));
  for (std::int64_t i = 0; i < 20; ++i) EXPECT_EQ(since(2000 + i, i % 2 == 0 ? minor : major), 2100);
  EXPECT_EQ(since(3000, pipeline::Evaluation::unknown), 2100) << "no answer changes nothing";
  EXPECT_FALSE(since(4000, compliant));
  EXPECT_EQ(since(5000, minor), 5100);
}

TEST_F(Failing, IsNotEndedByWhoIsNotAuthenticated) {
  EXPECT_EQ(since(1000, minor), 1100);
  EXPECT_EQ(since(2000, compliant, false), 1100);
  ASSERT_TRUE(state->remove_blocking("d1"));
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", new_key(), true)));
  EXPECT_EQ(since(3000, minor), 3100) << "another device of that name has nothing of it";
}

}  // namespace
}  // namespace gatehouse::server::policies
