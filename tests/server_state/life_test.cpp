// The life cycle of devices: states, history, leases, and firmware changes that go to a model.
#include <gtest/gtest.h>

#include "tests/server_state/support.h"

namespace gatehouse::server {
namespace {

using pipeline::Recommendation;

const Author alice{.by = "alice", .why = "because"};

Digest digest(int n) { return Digest::filled(32, std::byte(n)); }
pipeline::Baseline of(std::vector<std::pair<std::uint32_t, std::vector<int>>> pcrs) {
  pipeline::Baseline out{.bank = HashAlgorithm::sha256, .events = {}};
  for (const auto& [pcr, numbers] : pcrs) {
    std::vector<Digest> list;
    for (const int n : numbers) list.push_back(digest(n));
    out.events.emplace_back(pcr, std::move(list));
  }
  return out;
}

// A record of an imported list.
Enrolment listed(const std::string& device) {
  Enrolment out;
  out.device = device;
  out.source = KeySource::import;
  return out;
}

class Life : public testing::Test {
 protected:
  Life() {
    StateOptions options;
    options.now = [this] { return clock_; };
    state_ = open_state(folder_ / "state", std::move(options));
  }
  PublicKey enrolled(const std::string& device) {
    const PublicKey key = new_key();
    EXPECT_TRUE(state_->enrol_blocking(enrolment(device, key, true)));
    return key;
  }
  // A session that ends now; its quote verified.
  SessionResult session(const std::string& id, const std::string& device, const PublicKey& key, Recommendation recommendation = Recommendation::allow) {
    SessionResult out = result_of(intent(id, device, clock_ - 100));
    out.quote_key = key;
    out.recommendation = recommendation;
    return out;
  }
  DeviceState state_of(const std::string& device) { return (*state_->device(device))->state; }

  Folder folder_;
  std::int64_t clock_ = 1'800'000'000'000;
  std::unique_ptr<State> state_;
};

TEST_F(Life, EachChangeIsRecorded) {
  const PublicKey key = enrolled("d1");
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::suspended, alice));
  clock_ += 1000;
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::trusted, {.by = "bob", .why = "found"}));
  EXPECT_EQ(state_->judge_key("d1", key).standing, KeyStanding::trusted);
  ASSERT_TRUE(state_->revoke_blocking("d1", {}, alice));
  EXPECT_EQ(state_of("d1"), DeviceState::revoked);
  ASSERT_TRUE(state_->trust_blocking("d1", key.key_id(), alice));
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::retired, alice));
  EXPECT_EQ(state_->judge_key("d1", key).standing, KeyStanding::revoked);
  ASSERT_TRUE(state_->remove_blocking("d1", alice));
  const auto history = *state_->history("d1", 100);
  ASSERT_EQ(history.size(), 7U);
  const std::string ak = "AK " + key.key_id();
  EXPECT_EQ(history[6].what, "state trusted, enrolled, " + ak + " trusted");
  EXPECT_EQ(history[4], (HistoryEntry{.number = 3, .time = clock_, .state = DeviceState::trusted, .by = "bob", .what = "state trusted", .why = "found"}));
  EXPECT_EQ(history[3].what, "state revoked, " + ak + " revoked");
  EXPECT_EQ(history[1].what, "state retired, " + ak + " revoked");
  EXPECT_EQ(history[0].what, "removed");
  // Another device of the same name goes on where its history ended.
  enrolled("d1");
  EXPECT_EQ((*state_->device("d1"))->changes, 8U);
}

TEST_F(Life, NoStateBySkippingTheOthers) {
  constexpr DeviceState all[] = {DeviceState::pending, DeviceState::trusted, DeviceState::suspended, DeviceState::revoked, DeviceState::retired};
  for (const DeviceState from : all)
    for (const DeviceState to : all) {
      const std::string id = "d-" + std::string(name(from)) + "-" + std::string(name(to));
      const PublicKey key = new_key();
      ASSERT_TRUE(state_->enrol_blocking(enrolment(id, key, from != DeviceState::pending)));
      if (from == DeviceState::revoked) {
        ASSERT_TRUE(state_->revoke_blocking(id));
      }
      if (from == DeviceState::suspended || from == DeviceState::retired) {
        ASSERT_TRUE(state_->change_state_blocking(id, from, {}));
      }
      ASSERT_EQ(state_of(id), from);
      const auto changed = state_->change_state_blocking(id, to, {});
      EXPECT_EQ(changed.has_value(), from == to || may_become(from, to)) << id;
      EXPECT_EQ(state_of(id), changed ? to : from) << id;
      // Only a trusted device's key counts, whatever the key itself is.
      EXPECT_EQ(state_->judge_key(id, key).standing == KeyStanding::trusted, state_of(id) == DeviceState::trusted) << id;
    }
  EXPECT_FALSE(may_become(DeviceState::revoked, DeviceState::trusted));
  EXPECT_FALSE(may_become(DeviceState::retired, DeviceState::trusted));
}

TEST_F(Life, ASuspendedDeviceIsNotTrustedByTheBackDoor) {
  const PublicKey key = enrolled("d1");
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::suspended, alice));
  EXPECT_EQ(state_->judge_key("d1", key).standing, KeyStanding::barred);
  const PublicKey second = new_key();
  ASSERT_TRUE(state_->enrol_blocking(enrolment("d1", second, true)));
  EXPECT_EQ(state_->judge_key("d1", second).standing, KeyStanding::barred);
  EXPECT_FALSE(state_->trust_blocking("d1"));
  Enrolment listed = enrolment("d1", key, true);
  listed.source = KeySource::import;
  const auto imported = state_->enrol_blocking(listed);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().fault, Fault::denied);
  EXPECT_EQ(state_of("d1"), DeviceState::suspended);
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::trusted, alice));
  EXPECT_EQ(state_->judge_key("d1", second).standing, KeyStanding::trusted);
}

// Neither by a word that sounds harmless, nor by a key that the list calls trusted.
TEST_F(Life, AnImportBringsNobodyBack) {
  for (const DeviceState barred : {DeviceState::suspended, DeviceState::retired}) {
    const std::string id = "d-" + std::string(name(barred));
    enrolled(id);
    ASSERT_TRUE(state_->change_state_blocking(id, barred, alice));
    Enrolment pending = listed(id);
    pending.state = DeviceState::pending;
    const auto outcomes = state_->import_blocking({pending});
    EXPECT_FALSE(outcomes.front()) << id;
    Enrolment key = listed(id);
    key.keys.push_back({SeenKey{.key = new_key(), .object_attributes = {}, .name_algorithm = {}}, {}, KeyState::trusted});
    const auto added = state_->import_blocking({key});
    // A key may be added to a suspended one, which stays so.
    EXPECT_EQ(added.front().has_value(), barred == DeviceState::suspended) << id;
    EXPECT_EQ((*state_->device(id))->state, barred) << id;
  }
}

TEST_F(Life, TrustIsOfTheKeysThatAreListed) {
  Enrolment record = listed("host-7");
  record.trust = true;
  const PublicKey key = new_key();
  record.keys.push_back({SeenKey{.key = key, .object_attributes = {}, .name_algorithm = {}}, {}, KeyState::trusted});
  const auto outcomes = state_->import_blocking({record});
  ASSERT_TRUE(outcomes.front()) << outcomes.front().error().text();
  const auto device = **state_->device("host-7");
  EXPECT_EQ(device.state, DeviceState::trusted);
  ASSERT_EQ(device.keys.size(), 1U);
  EXPECT_EQ(device.keys.front().pin, key.pin());
}

// Strangers fill the store with nothing that outlasts the operator's clearing; what was enrolled once is remembered.
TEST_F(Life, OfAStrangerNothingStays) {
  SessionResult seen = result_of(intent("s-1", "stranger", clock_ - 100));
  seen.pending_key = SeenKey{.key = new_key(), .object_attributes = {}, .name_algorithm = {}};
  ASSERT_TRUE(commit(*state_, seen));
  EXPECT_EQ(state_->history("stranger", 10)->size(), 1U);
  ASSERT_TRUE(state_->remove_blocking("stranger", alice));
  EXPECT_TRUE(state_->history("stranger", 10)->empty());

  enrolled("ours");
  ASSERT_TRUE(state_->remove_blocking("ours", alice));
  seen.intent = intent("s-2", "ours", clock_ - 50);
  seen.pending_key = SeenKey{.key = new_key(), .object_attributes = {}, .name_algorithm = {}};
  ASSERT_TRUE(commit(*state_, seen));
  ASSERT_TRUE(state_->remove_blocking("ours", alice));
  EXPECT_GE(state_->history("ours", 10)->size(), 3U);
}

TEST_F(Life, ASessionOfADeviceThatWasSuspendedMeanwhileAllowsNothing) {
  const PublicKey key = enrolled("d1");
  SessionResult by_quote = session("s1", "d1", key);
  SessionResult by_password = session("s2", "d1", key);
  by_password.quote_key.reset();
  SessionResult certified = session("s3", "d1", new_key());
  certified.key_certified = true;
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::suspended, alice));
  for (const SessionResult& result : {by_quote, by_password, certified}) {
    const auto done = commit(*state_, result);
    ASSERT_FALSE(done) << result.intent.session;
    EXPECT_EQ(done.error().fault, Fault::denied);
  }
  by_password.recommendation = Recommendation::isolate;
  EXPECT_TRUE(commit(*state_, by_password));
}

TEST_F(Life, TheSecondOfTwoOperatorsLooksAgain) {
  enrolled("d1");
  const std::uint64_t seen_by_both = (*state_->device("d1"))->changes;
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::suspended, {.by = "alice", .why = "lost", .expected = seen_by_both}));
  const auto second = state_->alter_blocking("d1", "Debian 13", std::nullopt, std::nullopt, {.by = "bob", .why = {}, .expected = seen_by_both});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().fault, Fault::denied);
  EXPECT_EQ(second.error().reason, "the device was changed meanwhile: look at it again");
  EXPECT_TRUE((*state_->device("d1"))->product.empty());
  EXPECT_EQ(state_->history("d1", 10)->size(), 2U);
}

TEST_F(Life, ReasonsAreBoundedText) {
  enrolled("d1");
  EXPECT_FALSE(state_->change_state_blocking("d1", DeviceState::suspended, {.by = "a\nb", .why = {}}));
  EXPECT_FALSE(state_->change_state_blocking("d1", DeviceState::suspended, {.by = "a", .why = std::string(1025, 'x')}));
  EXPECT_EQ(state_of("d1"), DeviceState::trusted);
}

TEST_F(Life, HistoryIsBounded) {
  enrolled("d1");
  for (std::size_t n = 0; n < max_history + 4; ++n)
    ASSERT_TRUE(state_->alter_blocking("d1", "p" + std::to_string(n), std::nullopt, std::nullopt, alice));
  const auto all = *state_->history("d1", 10'000);
  EXPECT_EQ(all.size(), max_history);
  EXPECT_EQ(all.front().number, max_history + 5);
}

TEST_F(Life, SeveralKeysAndIdentitiesAreTakenOverWithTheirStates) {
  const PublicKey first = new_key(), second = new_key(), gone = new_key();
  Enrolment record;
  record.device = "d1";
  record.source = KeySource::import;
  record.identities = {"CN=a", "CN=b"};
  record.keys = {{seen(first), {}, KeyState::trusted}, {seen(second), {}, KeyState::pending}, {seen(gone), {}, KeyState::revoked}};
  record.state = DeviceState::suspended;
  ASSERT_TRUE(state_->enrol_blocking(record));
  EXPECT_EQ(state_of("d1"), DeviceState::suspended);
  ASSERT_TRUE(state_->change_state_blocking("d1", DeviceState::trusted, alice));
  EXPECT_EQ(state_->judge_key("d1", first).standing, KeyStanding::trusted);
  EXPECT_EQ(state_->judge_key("d1", second).standing, KeyStanding::pending);
  EXPECT_EQ(state_->judge_key("d1", gone).standing, KeyStanding::revoked);
  record.device = "d2";
  record.keys.clear();
  record.identities.clear();
  record.state = DeviceState::trusted;
  EXPECT_FALSE(state_->enrol_blocking(record)) << "trusted by nothing";
}

// --- leases

TEST_F(Life, OverdueIsWhoHasNotAttestedInTime) {
  const auto lease = std::chrono::hours(1);
  const auto overdue = [&] {
    std::string place;
    std::vector<std::string> out;
    const auto found = state_->overdue(lease, "", 100, place);
    EXPECT_TRUE(found && place.empty());
    for (const OverdueDevice& one : *found) out.push_back(one.device.id);
    return out;
  };
  const PublicKey key = enrolled("a");
  enrolled("b");
  enrolled("c");
  ASSERT_TRUE(state_->change_state_blocking("c", DeviceState::retired, alice));
  EXPECT_TRUE(overdue().empty());
  clock_ += 3'000'000;
  ASSERT_TRUE(commit(*state_, session("s1", "a", key)));
  // Anybody may claim to be b.
  SessionResult claimed = session("s2", "b", key);
  claimed.quote_key.reset();
  ASSERT_TRUE(commit(*state_, claimed));
  clock_ += 600'000;
  EXPECT_EQ(overdue(), std::vector<std::string>{"b"});
  clock_ += 3'000'001;
  EXPECT_EQ(overdue(), (std::vector<std::string>{"a", "b"}));
  // A clock that was set back doesn't make a verdict hold longer.
  clock_ -= 10 * 3'600'000;
  EXPECT_EQ(overdue(), (std::vector<std::string>{"a", "b"}));
  ASSERT_TRUE(commit(*state_, session("s3", "a", key)));
  EXPECT_EQ(overdue(), std::vector<std::string>{"b"});
  std::string place;
  EXPECT_TRUE(state_->overdue(lease, "", 1, place)->empty());
  EXPECT_EQ(place, "a");
}

TEST_F(Life, ALeaseThatEndsIsToldOnce) {
  const auto lease = std::chrono::seconds(100);
  const PublicKey a = enrolled("a"), b = enrolled("b"), c = enrolled("c");
  ASSERT_TRUE(commit(*state_, session("s1", "a", a)));
  ASSERT_TRUE(commit(*state_, session("s2", "b", b, Recommendation::isolate)));
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  clock_ += 50'000;
  ASSERT_TRUE(commit(*state_, session("s3", "c", c)));
  clock_ += 50'000;
  const auto first = *state_->lapse_blocking(lease, 10);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].device, "a");
  EXPECT_EQ(first[0].last.session, "s1");
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  // Attested again, it has a lease again; a new verdict takes the place of the one before.
  ASSERT_TRUE(commit(*state_, session("s4", "a", a)));
  ASSERT_TRUE(commit(*state_, session("s5", "c", c)));
  clock_ += 60'000;
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  // Set back by a day: both verdicts lie ahead, and end.
  clock_ -= 86'400'000;
  const auto ahead = *state_->lapse_blocking(lease, 10);
  ASSERT_EQ(ahead.size(), 2U);
  EXPECT_TRUE(ahead[0].ahead);
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
}

TEST_F(Life, ALeaseCountsFromTheLastVerdict) {
  const auto lease = std::chrono::seconds(100);
  const PublicKey a = enrolled("a"), b = enrolled("b");
  // Whoever attests every half minute never lapses, and its lease ends 100 s after it came last.
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(commit(*state_, session("a" + std::to_string(i), "a", a)));
    ASSERT_TRUE(commit(*state_, session("b" + std::to_string(i), "b", b)));
    clock_ += 30'000;
    EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty()) << i;
  }
  // Told isolate after allow, it isn't admitted and has no lease to end.
  ASSERT_TRUE(commit(*state_, session("b-isolated", "b", b, Recommendation::isolate)));
  clock_ += 69'999;
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  clock_ += 1;
  const auto over = *state_->lapse_blocking(lease, 10);
  ASSERT_EQ(over.size(), 1U);
  EXPECT_EQ(over[0].last.session, "a19");
  EXPECT_FALSE(over[0].ahead);
  clock_ += 1'000'000;
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  // Allowed again, it has one again, also where the device was removed and came back between.
  ASSERT_TRUE(commit(*state_, session("b-again", "b", b)));
  ASSERT_TRUE(state_->remove_blocking("a", alice));
  clock_ += 100'000;
  EXPECT_EQ(state_->lapse_blocking(lease, 10)->at(0).last.session, "b-again");
}

// The clock was ahead when it attested: no lease outlives what it would have been by the first verdict's.
TEST_F(Life, ALeaseOfATimeYetToComeEnds) {
  const auto lease = std::chrono::seconds(1000);
  const PublicKey a = enrolled("a");
  ASSERT_TRUE(commit(*state_, session("s1", "a", a)));
  clock_ += 86'400'000;
  ASSERT_TRUE(commit(*state_, session("s2", "a", a)));
  clock_ -= 86'400'000 - 999'999;
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
  clock_ += 1;
  const auto over = *state_->lapse_blocking(lease, 10);
  ASSERT_EQ(over.size(), 1U);
  EXPECT_TRUE(over[0].ahead);
  EXPECT_TRUE(state_->lapse_blocking(lease, 10)->empty());
}

// --- firmware of a model

TEST(Change, NamesWhatGoesAndWhatComes) {
  const auto before = of({{0, {1, 2, 3, 4}}, {4, {9}}}), after = of({{0, {1, 7, 3, 5, 4}}, {7, {8}}});
  const BaselineChange change = change_between(before, after);
  ASSERT_EQ(change.hunks.size(), 4U);
  EXPECT_EQ(change.hunks[0].before, std::vector{digest(2)});
  EXPECT_EQ(change.hunks[0].after, std::vector{digest(7)});
  EXPECT_EQ(change.hunks[1].before, std::vector<Digest>{});
  EXPECT_EQ(change.hunks[1].after, std::vector{digest(5)});
  EXPECT_EQ(change.hunks[1].new_place, 3U);
  EXPECT_EQ(change.hunks[2].pcr, 4U);
  EXPECT_EQ(apply(change, before), after);
  EXPECT_TRUE(change_between(before, before).hunks.empty());
  EXPECT_EQ(apply(change_between(after, before), after), before);
}

TEST(Change, FitsDevicesThatDifferElsewhereAndNoOthers) {
  const BaselineChange change = change_between(of({{0, {1, 2, 3}}}), of({{0, {1, 7, 3}}}));
  EXPECT_EQ(apply(change, of({{0, {1, 2, 4}}, {1, {5}}})), of({{0, {1, 7, 4}}, {1, {5}}}));
  EXPECT_EQ(apply(change, of({{0, {0, 1, 2, 3}}})), of({{0, {0, 1, 7, 3}}}));
  EXPECT_EQ(apply(change, of({{0, {1, 6, 3}}})), std::nullopt);
  EXPECT_EQ(apply(change, of({{1, {1, 2, 3}}})), std::nullopt);
  // Where it would fit twice, only its own place tells.
  EXPECT_EQ(apply(change, of({{0, {1, 2, 1, 2}}})), of({{0, {1, 7, 1, 2}}}));
  EXPECT_EQ(apply(change, of({{0, {4, 4, 1, 2, 1, 2}}})), std::nullopt);
}

// Whatever the lists: a change makes of the one what the other is.
TEST(Change, OfAnyTwoListsLeadsFromOneToTheOther) {
  std::uint32_t seed = 1;
  const auto next = [&](std::uint32_t most) { return (seed = seed * 1'664'525 + 1'013'904'223) >> 16 & 0xFFFF ? (seed >> 16) % most : 0; };
  for (int round = 0; round < 500; ++round) {
    std::vector<int> a, b;
    for (std::uint32_t n = next(12); n-- > 0;) a.push_back(int(next(4)));
    for (std::uint32_t n = next(12); n-- > 0;) b.push_back(int(next(4)));
    std::vector<std::pair<std::uint32_t, std::vector<int>>> one, other;
    if (!a.empty()) one.push_back({0, a});
    if (!b.empty()) other.push_back({0, b});
    const auto changed = apply(change_between(of(one), of(other)), of(one));
    if (changed) {
      EXPECT_EQ(*changed, of(other)) << round;
    }
  }
}

class Model : public Life {
 protected:
  // A device of the model with this approved baseline.
  PublicKey of_model(const std::string& device, const pipeline::Baseline& approved) {
    const PublicKey key = new_key();
    Enrolment record = enrolment(device, key, true);
    record.model = "T14";
    record.approved_baseline = approved;
    EXPECT_TRUE(state_->enrol_blocking(record));
    return key;
  }
  void measure(const std::string& session_id, const std::string& device, const PublicKey& key, const pipeline::Baseline& measured) {
    SessionResult result = session(session_id, device, key, Recommendation::isolate);
    result.proposed_baseline = measured;
    EXPECT_TRUE(commit(*state_, result));
  }
};

TEST_F(Model, OneLookApprovesTheSameChangeOfAll) {
  const PublicKey a = of_model("a", of({{0, {1, 2}}, {1, {10}}})), b = of_model("b", of({{0, {1, 2}}, {1, {20}}})),
                  c = of_model("c", of({{0, {1, 2}}, {1, {30}}}));
  of_model("d", of({{0, {1, 2}}}));
  measure("s1", "a", a, of({{0, {1, 3}}, {1, {10}}}));
  measure("s2", "b", b, of({{0, {1, 3}}, {1, {20}}}));
  measure("s3", "c", c, of({{0, {1, 3}}, {1, {31}}}));
  const auto done = state_->approve_model_blocking("a", std::nullopt, true, alice);
  ASSERT_TRUE(done) << done.error().text();
  ASSERT_EQ(done->others.size(), 1U);
  EXPECT_EQ(done->others[0].first, "b");
  ASSERT_EQ(done->left.size(), 1U);
  EXPECT_EQ(done->left[0].device, "c");
  EXPECT_EQ(*state_->approved_baselines("b"), std::vector{of({{0, {1, 3}}, {1, {20}}})});
  EXPECT_EQ(*state_->approved_baselines("c"), std::vector{of({{0, {1, 2}}, {1, {30}}})});
  EXPECT_EQ(state_->history("b", 1)->front().by, "alice");
  EXPECT_FALSE(state_->approve_model_blocking("d", std::nullopt, true, alice)) << "shows no change";
}

TEST_F(Model, AnAnnouncedUpdateRaisesNoAlarmUntilItsTimeIsOver) {
  const PublicKey a = of_model("a", of({{0, {1, 2}}, {1, {10}}})), b = of_model("b", of({{0, {1, 2}}, {1, {20}}}));
  of_model("c", of({{0, {1, 2}}, {1, {30}}}));
  measure("s1", "a", a, of({{0, {1, 3}}, {1, {10}}}));
  EXPECT_FALSE(state_->announce_blocking("a", std::nullopt, clock_, alice)) << "over already";
  ASSERT_TRUE(state_->announce_blocking("a", std::nullopt, clock_ + 1'000'000, alice));
  // What is expected is judged by as if it were approved, besides what is.
  const auto expected = of({{0, {1, 3}}, {1, {20}}});
  EXPECT_EQ(*state_->approved_baselines("b"), (std::vector{expected, of({{0, {1, 2}}, {1, {20}}})}));
  measure("s2", "b", b, of({{0, {1, 4}}, {1, {20}}}));
  EXPECT_EQ(state_->baselines("b")->back().state, BaselineState::candidate) << "another change waits for the operator";
  measure("s3", "b", b, expected);
  EXPECT_EQ(state_->baselines("b")->back().state, BaselineState::approved);
  EXPECT_EQ(state_->history("b", 1)->front().by, "session s3");
  clock_ += 1'000'001;
  EXPECT_EQ(*state_->approved_baselines("c"), std::vector{of({{0, {1, 2}}, {1, {30}}})});
  EXPECT_EQ(state_->approved_baselines("b")->size(), 2U) << "what was approved stays";
  ASSERT_TRUE(state_->withdraw_blocking("T14", 1));
  EXPECT_TRUE(state_->announcements("")->empty());
}

// A baseline that the operator retired doesn't come back by an announcement.
TEST_F(Model, WhatWasRetiredIsNotExpected) {
  const PublicKey a = of_model("a", of({{0, {1}}}));
  measure("s1", "a", a, of({{0, {2}}}));
  ASSERT_TRUE(state_->approve_baseline_blocking("a", 2, true, alice));
  ASSERT_TRUE(state_->announce_blocking("a", 2, clock_ + 1000, alice));
  ASSERT_TRUE(state_->approve_baseline_blocking("a", 1, true, alice));
  EXPECT_EQ(*state_->approved_baselines("a"), std::vector{of({{0, {1}}})});
}

}  // namespace
}  // namespace gatehouse::server
