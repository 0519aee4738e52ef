#include <gtest/gtest.h>

#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

TEST(Devices, AKeyIsTrustedOnlyForItsDevice) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::unknown);
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, false)));
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::pending);
  const auto trusted = state->trust_blocking("d1");
  ASSERT_TRUE(trusted);
  EXPECT_EQ(trusted->key_id, key.key_id());
  EXPECT_EQ(trusted->pin, key.pin());
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::trusted);
  EXPECT_FALSE(state->judge_key("d1", key).first_use);
  const KeyJudgement elsewhere = state->judge_key("d2", key);
  EXPECT_EQ(elsewhere.standing, KeyStanding::other_device);
  EXPECT_EQ(elsewhere.owner, "d1");
  EXPECT_EQ(state->judge_key("", key).standing, KeyStanding::other_device);
  const auto stolen = state->enrol_blocking(enrolment("d2", key, true));
  ASSERT_FALSE(stolen);
  EXPECT_EQ(stolen.error().fault, Fault::denied);
  EXPECT_FALSE(*state->device("d2"));
  EXPECT_EQ(state->judge_key("d1", new_key()).standing, KeyStanding::unknown);
}

TEST(Devices, ARevokedKeyStaysRevokedWhereverItIsShown) {
  const Folder folder;
  const PublicKey key = new_key();
  {
    const auto state = open_state(folder / "state");
    ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
    EXPECT_EQ(state->revoke_blocking("d1").value(), 1U);
    EXPECT_EQ(state->revoke_blocking("d1").value(), 0U);
    EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::revoked);
    EXPECT_EQ(state->judge_key("d2", key).standing, KeyStanding::revoked);
    EXPECT_FALSE(state->trust_blocking("d1"));
    EXPECT_FALSE(state->enrol_blocking(enrolment("d1", key, true)));
    // Named by its key id, the operator means it.
    ASSERT_TRUE(state->trust_blocking("d1", key.key_id()));
    EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::trusted);
    ASSERT_TRUE(state->revoke_blocking("d1", key.pin()));
    ASSERT_TRUE(state->remove_blocking("d1"));
  }
  const auto state = open_state(folder / "state");
  EXPECT_FALSE(*state->device("d1"));
  EXPECT_EQ(state->judge_key("d1", key).standing, KeyStanding::revoked);
  EXPECT_FALSE(state->enrol_blocking(enrolment("d3", key, true)));
  EXPECT_FALSE(state->revoke_blocking("d1"));
}

TEST(Devices, AKeyIdAloneIsPinnedByTheFirstGoodQuote) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  Enrolment by_id;
  by_id.device = key.key_id();
  by_id.trust = true;
  ASSERT_TRUE(state->enrol_blocking(by_id));
  const KeyJudgement before = state->judge_key(key.key_id(), key);
  EXPECT_EQ(before.standing, KeyStanding::trusted);
  EXPECT_TRUE(before.first_use);

  // Without a verified quote nothing is learned.
  ASSERT_TRUE(commit(*state, result_of(intent("s1", key.key_id(), 1000))));
  EXPECT_TRUE(state->judge_key(key.key_id(), key).first_use);

  SessionResult good = result_of(intent("s2", key.key_id(), 2000));
  good.quote_key = key;
  ASSERT_TRUE(commit(*state, good));
  const KeyJudgement after = state->judge_key(key.key_id(), key);
  EXPECT_EQ(after.standing, KeyStanding::trusted);
  EXPECT_FALSE(after.first_use);
  ASSERT_TRUE(after.record);
  EXPECT_EQ(after.record->pin, key.pin());
  EXPECT_EQ(after.record->spki, key.spki());

  Enrolment no_key_id;
  no_key_id.device = "printer";
  no_key_id.trust = true;
  EXPECT_EQ(state->enrol_blocking(no_key_id).error().fault, Fault::usage);
}

TEST(Devices, AQuoteOfAKeyThatWasRevokedMeanwhileIsNotCommitted) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
  ASSERT_TRUE(begin(*state, intent("s1", "d1", 1000)));
  ASSERT_TRUE(state->revoke_blocking("d1"));
  SessionResult late = result_of(intent("s1", "d1", 1000));
  late.quote_key = key;
  late.quote = pipeline::LastQuote{.clock = 5};
  const auto refused = commit(*state, late);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::denied);
  EXPECT_EQ((*state->session("s1"))->state, SessionState::open);
  EXPECT_FALSE(*state->last_quote(key));
  late.quote_key.reset();
  late.quote.reset();
  EXPECT_TRUE(commit(*state, late));
  EXPECT_EQ((*state->session("s1"))->state, SessionState::complete);
}

TEST(Devices, ACertifiedKeyNeedsNoRecord) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  SessionResult result = result_of(intent("s1", "d1", 1000));
  result.quote_key = key;
  result.quote = pipeline::LastQuote{.clock = 5};
  EXPECT_FALSE(commit(*state, result));
  result.key_certified = true;
  EXPECT_TRUE(commit(*state, result));
  EXPECT_TRUE((*state->last_quote(key)).has_value());
  ASSERT_TRUE(state->enrol_blocking(enrolment("d2", key, true)));
  SessionResult other = result_of(intent("s2", "d1", 2000));
  other.quote_key = key;
  other.key_certified = true;
  EXPECT_FALSE(commit(*state, other)) << "enrolled for another device";
}

TEST(Devices, PendingKeysAreBoundedInNumberAndRate) {
  const Folder folder;
  std::int64_t now = 1'000'000;
  StateOptions options;
  options.max_pending_devices = 3;
  options.max_pending_keys = 2;
  options.pending_per_second = 1;
  options.pending_burst = 4;
  options.now = [&] { return now; };
  const auto state = open_state(folder / "state", options);
  int sessions = 0;
  const auto show = [&](const std::string& device, const PublicKey& key) {
    SessionResult result = result_of(intent("s" + std::to_string(++sessions), device, now));
    result.pending_key = seen(key);
    EXPECT_TRUE(commit(*state, result));
    return state->judge_key(device, key).standing == KeyStanding::pending;
  };
  const PublicKey first = new_key();
  EXPECT_TRUE(show("d1", first));
  EXPECT_TRUE(show("d1", new_key()));
  EXPECT_FALSE(show("d1", new_key())) << "two keys wait already";
  EXPECT_TRUE(show("d2", new_key()));
  EXPECT_TRUE(show("d3", new_key()));
  now += 60'000;
  EXPECT_FALSE(show("d4", new_key())) << "three devices wait already";
  EXPECT_FALSE(show(std::string("bad\nid"), new_key()));
  EXPECT_FALSE(show(std::string(257, 'x'), new_key()));
  EXPECT_FALSE(show("", new_key()));

  // One that was decided on makes room. Several keys wait: the operator has to say which.
  EXPECT_EQ(state->trust_blocking("d1").error().fault, Fault::usage);
  ASSERT_TRUE(state->trust_blocking("d1", first.key_id()));
  EXPECT_TRUE(show("d5", new_key()));
  ASSERT_TRUE(state->remove_blocking("d2"));
  EXPECT_TRUE(show("d6", new_key()));
  ASSERT_TRUE(state->remove_blocking("d3"));
  EXPECT_TRUE(show("d7", new_key()));
  ASSERT_TRUE(state->remove_blocking("d5"));
  EXPECT_TRUE(show("d8", new_key()));
  ASSERT_TRUE(state->remove_blocking("d6"));
  EXPECT_FALSE(show("d9", new_key())) << "four in a moment";
  now += 1'000;
  EXPECT_TRUE(show("d9", new_key()));
}

TEST(Devices, WhatASessionClaimedIsNotTheOperatorsWord) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  SessionResult result = result_of(intent("s1", "d1", 1000));
  result.intent.product = "Claimed 1.0";
  result.pending_key = seen(key);
  ASSERT_TRUE(commit(*state, result));
  EXPECT_EQ((*state->device("d1"))->product, "Claimed 1.0");
  EXPECT_FALSE((*state->device("d1"))->enrolled);
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
  const auto device = *state->device("d1");
  EXPECT_EQ(device->product, "");
  EXPECT_TRUE(device->enrolled);
  EXPECT_EQ(device->keys.size(), 1U);
}

TEST(Devices, BaselinesAreProposedByGoodSessionsAndApprovedByTheOperator) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
  EXPECT_EQ(state->approve_baseline_blocking("d1", std::nullopt, false).error().fault, Fault::denied);
  int sessions = 0;
  const auto propose = [&](std::uint8_t seed, bool good) {
    ++sessions;
    SessionResult result = result_of(intent("s" + std::to_string(sessions), "d1", 1000 + sessions));
    if (good) result.quote_key = key;
    result.proposed_baseline = baseline(seed);
    return commit(*state, result);
  };
  ASSERT_TRUE(propose(1, false));
  EXPECT_TRUE(state->baselines("d1")->empty()) << "learned without a verified quote";
  ASSERT_TRUE(propose(1, true));
  ASSERT_TRUE(propose(1, true));
  ASSERT_EQ(state->baselines("d1")->size(), 1U);
  EXPECT_EQ(state->baselines("d1")->front().session, "s2");
  EXPECT_TRUE(state->approved_baselines("d1")->empty());
  EXPECT_EQ(state->approve_baseline_blocking("d1", std::nullopt, false)->number, 1U);
  EXPECT_EQ(*state->approved_baselines("d1"), std::vector{baseline(1)});
  ASSERT_TRUE(propose(1, true));
  EXPECT_EQ(state->baselines("d1")->size(), 1U);

  ASSERT_TRUE(propose(2, true));
  ASSERT_TRUE(state->approve_baseline_blocking("d1", 2, false));
  EXPECT_EQ(state->approved_baselines("d1")->size(), 2U);
  ASSERT_TRUE(propose(3, true));
  ASSERT_TRUE(state->approve_baseline_blocking("d1", std::nullopt, true));
  EXPECT_EQ(*state->approved_baselines("d1"), std::vector{baseline(3)});
  EXPECT_EQ(state->baselines("d1")->size(), 3U);

  for (std::uint8_t seed = 10; seed < 60; ++seed) ASSERT_TRUE(propose(seed, true));
  const auto all = *state->baselines("d1");
  EXPECT_EQ(all.size(), 3U + 16U);
  EXPECT_EQ(all.back().baseline, baseline(59));
  EXPECT_EQ(*state->approved_baselines("d1"), std::vector{baseline(3)});
}

TEST(Devices, TheLastQuoteOnlyGoesForward) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d1", key, true)));
  int sessions = 0;
  const auto quote = [&](std::uint64_t clock, std::uint32_t reset) {
    SessionResult result = result_of(intent("s" + std::to_string(++sessions), "d1", 1000));
    result.quote_key = key;
    result.quote = pipeline::LastQuote{clock, reset, 3, 4};
    EXPECT_TRUE(commit(*state, result));
    return (*state->last_quote(key)).value();
  };
  EXPECT_EQ(quote(100, 0xFFFFFFFF).clock, 100U);
  EXPECT_EQ(quote(90, 0xFFFFFFFF).clock, 100U);
  EXPECT_EQ(quote(110, 0xFFFFFFFF).clock, 110U);
  const auto rebooted = quote(5, 0);  // the counter wrapped
  EXPECT_EQ(rebooted.clock, 5U);
  EXPECT_EQ(rebooted.reset_count, 0U);
  EXPECT_EQ(rebooted.restart_count, 3U);
  EXPECT_EQ(rebooted.firmware_version, 4U);
  EXPECT_EQ(quote(999, 0xFFFFFFFF).clock, 5U);
}

TEST(Devices, ImportEnrolsManyWithFewWrites) {
  const Folder folder;
  std::atomic<int> writes = 0;
  StateOptions options;
  options.before_write = [&]() -> Result<void> {
    ++writes;
    return {};
  };
  const auto state = open_state(folder / "state", options);
  const PublicKey key = new_key();
  std::vector<Enrolment> many;
  for (int i = 0; i < 500; ++i) {
    Enrolment one = enrolment("d" + std::to_string(1000 + i), new_key(), true);
    one.product = "p";
    one.identities = {"CN=x"};
    one.approved_baseline = baseline(std::uint8_t(i));
    many.push_back(std::move(one));
  }
  many[7].device = "";
  const int before = writes;
  const auto outcomes = state->import_blocking(std::move(many));
  EXPECT_LT(writes - before, 100);
  ASSERT_EQ(outcomes.size(), 500U);
  for (std::size_t i = 0; i < outcomes.size(); ++i) EXPECT_EQ(outcomes[i].has_value(), i != 7) << i;
  EXPECT_EQ(state->devices("", 1000)->size(), 499U);
  const auto page = *state->devices("d1000", 2);
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].id, "d1001");
  EXPECT_EQ(page[0].identities, std::vector<std::string>{"CN=x"});
  EXPECT_EQ(*state->approved_baselines("d1002"), std::vector{baseline(2)});
}

}  // namespace
}  // namespace gatehouse::server
