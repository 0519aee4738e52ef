#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>

#include "tests/server_state/support.h"

// A sanitizer's own memory isn't the store's.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GATEHOUSE_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define GATEHOUSE_SANITIZED
#endif
#endif

namespace gatehouse::server {
namespace {

constexpr std::int64_t minute = 60'000;

SoftwareRecord record(const std::string& id, std::uint32_t record_id = 1, const std::string& locator = {}) {
  return {.source = 1, .software_id = id, .record_id = record_id, .locator = locator};
}
SoftwareEvent event(std::uint32_t eid, std::int64_t time, SoftwareAction action, const std::string& id,
                    std::uint32_t record_id = 1) {
  return {.eid = eid, .time = time, .action = action, .record = record(id, record_id)};
}
constexpr auto creation = SoftwareAction::creation, deletion = SoftwareAction::deletion,
               alteration = SoftwareAction::alteration;

// A store with one device that is bound to the identity of the sessions, and a clock that the test sets.
class Software : public testing::Test {
 protected:
  explicit Software(StateOptions options = {}) : options_(std::move(options)) {
    options_.now = [this] { return clock_.load(); };
    open();
    enrol("d");
  }
  void open() {
    state_.reset();
    state_ = open_state(folder_ / "state", options_);
  }
  void enrol(const std::string& device) {
    Enrolment out;
    out.device = device;
    out.identities = {"CN=device"};
    ASSERT_TRUE(state_->enrol_blocking(std::move(out)));
  }
  Result<void> stage(SoftwareChunk chunk) {
    std::promise<Result<void>> done;
    state_->stage_software(std::move(chunk), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
    return done.get_future().get();
  }
  // One session that brings this, a minute after the one before.
  Result<void> session(SoftwareUpdate update, std::vector<SoftwareRecord> installed,
                       std::vector<SoftwareEvent> events = {}, std::vector<SoftwareTag> tags = {}) {
    clock_ += minute;
    SessionResult result = result_of(intent("s" + std::to_string(++sessions_), "d", clock_ - 1000));
    update.staged_installed = installed.size();
    update.staged_events = events.size();
    const auto staged = stage({.session = result.intent.session,
                               .device = "d",
                               .installed = std::move(installed),
                               .events = std::move(events),
                               .tags = std::move(tags)});
    if (!staged) return staged;
    result.software = update;
    return commit(*state_, std::move(result));
  }
  Result<void> inventory(std::uint32_t epoch, std::uint32_t last_eid, std::vector<SoftwareRecord> installed) {
    return session({.epoch = epoch, .last_eid = last_eid, .inventory = true}, std::move(installed));
  }
  Result<void> events(std::uint32_t epoch, std::uint32_t last_eid, std::vector<SoftwareEvent> list) {
    return session({.epoch = epoch, .last_eid = last_eid, .events = true}, {}, std::move(list));
  }
  // Identifiers with their record ids, by the pages of `size`.
  std::vector<std::string> at(std::optional<std::int64_t> time = std::nullopt, std::size_t size = 2) const {
    std::vector<std::string> out;
    SoftwareCursor from;
    do {
      const auto page = state_->software_at("d", time, size, from);
      EXPECT_TRUE(page);
      if (!page) break;
      EXPECT_LE(page->software.size(), size);
      for (const InstalledSoftware& one : page->software)
        out.push_back(one.record.software_id + "#" + std::to_string(one.record.record_id));
      from = page->next;
    } while (!from.empty());
    return out;
  }
  std::vector<SoftwareHistoryItem> history(std::size_t size = 2) const {
    std::vector<SoftwareHistoryItem> out;
    SoftwareCursor from;
    do {
      const auto page = state_->software_history("d", size, from);
      EXPECT_TRUE(page);
      if (!page) break;
      out.insert(out.end(), page->items.begin(), page->items.end());
      from = page->next;
    } while (!from.empty());
    return out;
  }
  // The newest change.
  SoftwareChange change() const {
    const auto all = history();
    EXPECT_FALSE(all.empty());
    return all.empty() ? SoftwareChange{} : all.front().change;
  }
  InstalledSoftware find(const std::string& id, std::optional<std::int64_t> time = std::nullopt) const {
    const auto page = state_->software_at("d", time, 1000);
    EXPECT_TRUE(page);
    for (const InstalledSoftware& one : page->software)
      if (one.record.software_id == id) return one;
    ADD_FAILURE() << id;
    return {};
  }
  SoftwareHead head() const {
    const auto known = state_->software_head("d");
    EXPECT_TRUE(known && *known);
    return known && *known ? **known : SoftwareHead{};
  }

  Folder folder_;
  std::atomic<std::int64_t> clock_ = 1'700'000'000'000;
  int sessions_ = 0;
  StateOptions options_;
  std::unique_ptr<State> state_;
};
using Names = std::vector<std::string>;

TEST_F(Software, FirstAnInventoryThenEvents) {
  EXPECT_FALSE(*state_->software_head("d"));
  EXPECT_TRUE(at().empty());
  const std::int64_t first = clock_ + minute;
  ASSERT_TRUE(inventory(0x1234, 7, {record("b", 2), record("a", 1, "file:///usr"), record("c", 3)}));
  EXPECT_EQ(at(), (Names{"a#1", "b#2", "c#3"}));
  EXPECT_EQ(head().epoch, 0x1234U);
  EXPECT_EQ(head().last_eid, 7U);
  EXPECT_TRUE(head().complete);
  EXPECT_EQ(head().installed, 3U);
  EXPECT_EQ(head().session, "s1");
  EXPECT_EQ(find("a").record.locator, "file:///usr");
  EXPECT_TRUE(change().first);

  // An upgrade, the creation before the deletion; an installation; an alteration.
  const std::int64_t between = clock_ + 20'000;
  ASSERT_TRUE(events(0x1234, 9,
                     {event(9, between + 2, creation, "x", 9), event(8, between, creation, "b2", 4),
                      event(8, between, deletion, "b", 2), event(9, between + 2, alteration, "c", 3)}));
  EXPECT_EQ(at(), (Names{"a#1", "b2#4", "c#3", "x#9"}));
  EXPECT_EQ(head().last_eid, 9U);
  EXPECT_EQ(head().installed, 4U);
  EXPECT_EQ(head().events, 4U);
  EXPECT_EQ(find("b2").since, between);
  EXPECT_EQ(find("b2").first_seen, clock_);
  EXPECT_EQ(find("b2").eid, 8U);
  EXPECT_EQ(find("a").first_seen, first);
  EXPECT_EQ(find("a").last_seen, clock_);
  EXPECT_EQ(find("c").eid, 9U);
  EXPECT_EQ(change().added, 2U);
  EXPECT_EQ(change().removed, 1U);
  EXPECT_EQ(change().altered, 1U);
  EXPECT_FALSE(change().first);

  // What was installed when: the endpoint's times count between two sessions.
  EXPECT_TRUE(at(first - 1).empty());
  EXPECT_EQ(at(first), (Names{"a#1", "c#3", "b#2"})) << "what is gone comes last";
  EXPECT_EQ(at(between - 1), (Names{"a#1", "c#3", "b#2"}));
  EXPECT_EQ(at(between), (Names{"a#1", "b2#4", "c#3"}));
  EXPECT_EQ(at(between + 2), (Names{"a#1", "b2#4", "c#3", "x#9"}));
  EXPECT_EQ(*find("b", between - 1).until, between);
  EXPECT_EQ(find("b", between - 1).last_seen, first);

  // Nothing new: the time moves and no change is recorded.
  const std::size_t items = history().size();
  ASSERT_TRUE(events(0x1234, 9, {}));
  EXPECT_EQ(head().time, clock_);
  EXPECT_EQ(head().session, "s3");
  EXPECT_EQ(history().size(), items);
}

TEST_F(Software, AnInventoryReplacesTheSetAndKeepsWhatStays) {
  ASSERT_TRUE(inventory(1, 1, {record("a"), record("b"), record("c")}));
  const std::int64_t first = clock_;
  ASSERT_TRUE(inventory(1, 4, {record("a"), record("c", 1, "file:///opt"), record("d"), record("d"), record("a")}));
  EXPECT_EQ(at(), (Names{"a#1", "c#1", "d#1"}));
  EXPECT_EQ(head().installed, 3U);
  EXPECT_EQ(find("a").first_seen, first);
  EXPECT_EQ(find("c").record.locator, "file:///opt");
  EXPECT_EQ(find("d").first_seen, clock_);
  EXPECT_EQ(at(first), (Names{"a#1", "c#1", "b#1"}));
  EXPECT_EQ(find("b", first).until, clock_);
  const auto items = history();
  ASSERT_EQ(items.size(), 3U);  // the change, what it removed, the first inventory
  EXPECT_EQ(items[0].change.added, 1U);
  EXPECT_EQ(items[0].change.removed, 1U);
  EXPECT_EQ(items[0].change.altered, 1U);
  EXPECT_EQ(items[1].kind, SoftwareHistoryItem::Kind::removal);
  EXPECT_EQ(items[1].removed.record.software_id, "b");
  // The same again, and one with nothing in it.
  ASSERT_TRUE(inventory(1, 4, {record("a"), record("c", 1, "file:///opt"), record("d")}));
  EXPECT_EQ(history().size(), 3U);
  ASSERT_TRUE(inventory(1, 4, {}));
  EXPECT_TRUE(at().empty());
  EXPECT_EQ(head().installed, 0U);
  EXPECT_EQ(change().removed, 3U);
}

TEST_F(Software, AnotherEpochIsNotAppliedUntilAnInventoryComes) {
  ASSERT_TRUE(inventory(1, 10, {record("a"), record("b")}));
  ASSERT_TRUE(events(2, 3, {event(1, 0, deletion, "a"), event(3, 0, creation, "z")}));
  EXPECT_EQ(at(), (Names{"a#1", "b#1"})) << "events of an epoch that isn't the set's";
  EXPECT_FALSE(head().complete);
  EXPECT_EQ(head().epoch, 2U);
  EXPECT_TRUE(change().epoch_changed);
  EXPECT_EQ(change().previous_epoch, 1U);
  EXPECT_EQ(change().previous_eid, 10U);
  EXPECT_EQ(head().events, 2U) << "kept under the new epoch";
  // Events go on to be kept only.
  ASSERT_TRUE(events(2, 4, {event(4, 0, creation, "y")}));
  EXPECT_EQ(at(), (Names{"a#1", "b#1"}));
  ASSERT_TRUE(inventory(2, 4, {record("b"), record("z")}));
  EXPECT_EQ(at(), (Names{"b#1", "z#1"}));
  EXPECT_TRUE(head().complete);
  EXPECT_FALSE(change().epoch_changed);
  // Both in one session.
  ASSERT_TRUE(session({.epoch = 3, .last_eid = 2, .inventory = true, .events = true}, {record("q")},
                      {event(2, 0, creation, "q")}));
  EXPECT_EQ(at(), (Names{"q#1"}));
  EXPECT_TRUE(head().complete);
  EXPECT_EQ(change().epoch, 3U);
}

TEST_F(Software, AnEndpointThatWentBackIsNoticed) {
  ASSERT_TRUE(inventory(1, 10, {record("a")}));
  ASSERT_TRUE(events(1, 20, {event(15, 0, creation, "b"), event(20, 0, creation, "c")}));
  ASSERT_TRUE(events(1, 12, {event(11, 0, deletion, "a")}));
  EXPECT_TRUE(change().rolled_back);
  EXPECT_FALSE(head().complete);
  EXPECT_EQ(at(), (Names{"a#1", "b#1", "c#1"}));
  ASSERT_TRUE(inventory(1, 13, {record("a"), record("e")}));
  EXPECT_TRUE(head().complete);
  // The numbers are used again, for other events: the first ones stay as they were told.
  ASSERT_TRUE(events(1, 15, {event(15, 0, creation, "other")}));
  EXPECT_EQ(change().inconsistent, 0U);
  EXPECT_EQ(at(), (Names{"a#1", "e#1", "other#1"}));
  Names of_15;
  for (const SoftwareHistoryItem& item : history())
    if (item.kind == SoftwareHistoryItem::Kind::event && item.event.eid == 15)
      of_15.push_back(item.event.record.software_id);
  EXPECT_EQ(of_15, (Names{"other", "b"}));
}

TEST_F(Software, EventsToldAgainAreIgnoredAndContradictionsRecorded) {
  ASSERT_TRUE(inventory(1, 10, {record("a"), record("b")}));
  const std::vector<SoftwareEvent> told = {event(11, 1000, deletion, "a"), event(12, 2000, creation, "c")};
  ASSERT_TRUE(events(1, 12, told));
  const std::size_t items = history().size();
  ASSERT_TRUE(events(1, 12, told));
  EXPECT_EQ(history().size(), items) << "identical";
  // Before the first inventory nothing is known: nothing contradicts it.
  ASSERT_TRUE(events(1, 12, {event(9, 500, deletion, "b")}));
  EXPECT_EQ(history().size(), items);

  ASSERT_TRUE(events(1, 13,
                     {event(11, 1000, deletion, "b"),     // another instance under an old EID
                      event(12, 2001, creation, "c"),     // another time
                      event(14, 3000, creation, "late"),  // beyond the last EID
                      event(0, 3000, creation, "none"), event(13, 3000, creation, "d")}));
  EXPECT_EQ(at(), (Names{"b#1", "c#1", "d#1"}));
  EXPECT_EQ(change().inconsistent, 4U);
  ASSERT_EQ(change().examples.size(), 4U);
  EXPECT_EQ(change().examples[1].record.software_id, "b");
  EXPECT_EQ(change().examples[1].eid, 11U);
  EXPECT_EQ(change().added, 1U);
}

TEST_F(Software, AnEidIsASet) {
  ASSERT_TRUE(inventory(1, 1, {record("there"), record("moved", 0)}));
  ASSERT_TRUE(events(1, 5,
                     {event(2, 0, creation, "there"), event(2, 0, deletion, "there"),      // installed again
                      event(2, 0, creation, "passing"), event(2, 0, deletion, "passing"),  // came and went
                      event(3, 0, deletion, "never"),                                      // wasn't known
                      event(4, 0, deletion, "moved", 77)}));  // numbered differently; there's only one
  EXPECT_EQ(at(), (Names{"there#1"}));
  // In different EIDs the order counts.
  ASSERT_TRUE(events(1, 8, {event(7, 0, deletion, "x"), event(6, 0, creation, "x"), event(8, 0, creation, "x")}));
  EXPECT_EQ(at(), (Names{"there#1", "x#1"}));
  EXPECT_EQ(head().installed, 2U);
}

TEST_F(Software, TheEndpointsClockIsHeldBetweenTheSessions) {
  ASSERT_TRUE(inventory(1, 1, {record("a"), record("b")}));
  const std::int64_t first = clock_;
  ASSERT_TRUE(events(1, 5,
                     {event(2, 5, creation, "past"), event(3, INT64_MAX, creation, "future"),
                      event(4, INT64_MIN, deletion, "a"), event(5, INT64_MAX, deletion, "b")}));
  EXPECT_EQ(find("past").since, first);
  EXPECT_EQ(find("future").since, clock_);
  EXPECT_EQ(at(first), (Names{"past#1", "b#1"}));
  EXPECT_EQ(at(clock_ - 1), (Names{"past#1", "b#1"}));
  EXPECT_EQ(at(clock_), (Names{"future#1", "past#1"}));
  // A clock of ours that steps back moves nothing back.
  clock_ -= 30 * minute;
  const std::int64_t last = head().time;
  ASSERT_TRUE(inventory(1, 5, {record("z")}));
  EXPECT_EQ(head().time, last);
}

TEST_F(Software, StagedSoftwareIsSeenByNobody) {
  ASSERT_TRUE(inventory(1, 1, {record("a")}));
  ASSERT_TRUE(stage({.session = "s-dies",
                     .device = "d",
                     .installed = {record("b")},
                     .events = {event(2, 0, creation, "e")},
                     .tags = {{.software_id = "b", .source = 1, .content = ByteVector(9, std::byte{'x'})}}}));
  EXPECT_EQ(at(), (Names{"a#1"}));
  EXPECT_TRUE(state_->software_tags("b")->empty());
  EXPECT_EQ(head().last_eid, 1U);
  // The process dies, and what it had staged is gone; a session of the same name starts with nothing.
  open();
  EXPECT_EQ(at(), (Names{"a#1"}));
  SessionResult result = result_of(intent("s-dies", "d", clock_));
  result.software = SoftwareUpdate{.epoch = 1, .last_eid = 2, .inventory = true, .staged_installed = 1};
  ASSERT_TRUE(commit(*state_, result));
  EXPECT_EQ(at(), (Names{"a#1"})) << "less was staged than the result says: no effect";
  EXPECT_EQ(head().last_eid, 1U);

  // A session that ends without its software, and one that ends without a result.
  ASSERT_TRUE(stage({.session = "s-plain", .device = "d", .installed = {record("b")}}));
  ASSERT_TRUE(commit(*state_, result_of(intent("s-plain", "d", clock_))));
  ASSERT_TRUE(stage({.session = "s-gone", .device = "d", .installed = {record("b")}}));
  state_->drop_software("s-gone");
  EXPECT_EQ(at(), (Names{"a#1"}));
  // Begun again: an answer that failed half way doesn't count.
  ASSERT_TRUE(stage(
      {.session = "s-again", .device = "d", .installed = {record("wrong")}, .events = {event(2, 0, creation, "no")}}));
  ASSERT_TRUE(stage({.session = "s-again",
                     .device = "d",
                     .restart_installed = true,
                     .restart_events = true,
                     .installed = {record("right")}}));
  result = result_of(intent("s-again", "d", clock_));
  result.software = SoftwareUpdate{.epoch = 1, .last_eid = 2, .inventory = true, .events = true, .staged_installed = 1};
  ASSERT_TRUE(commit(*state_, result));
  EXPECT_EQ(at(), (Names{"right#1"}));
  EXPECT_EQ(head().events, 0U);
}

TEST_F(Software, OnlyAProvenEnrolledDeviceHasAnInventory) {
  const auto bring = [&](const std::string& session, const std::string& device, const std::string& identity,
                         std::optional<PublicKey> quoted) {
    SessionResult result = result_of(intent(session, device, clock_));
    result.intent.identity = identity;
    result.quote_key = std::move(quoted);
    result.software = SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 1};
    EXPECT_TRUE(stage({.session = session, .device = device, .installed = {record("a")}}));
    return commit(*state_, std::move(result));
  };
  ASSERT_TRUE(bring("s1", "stranger", "CN=device", std::nullopt));
  EXPECT_FALSE(*state_->software_head("stranger"));
  ASSERT_TRUE(bring("s2", "d", "CN=somebody", std::nullopt));
  EXPECT_FALSE(*state_->software_head("d"));
  const PublicKey key = new_key();
  ASSERT_TRUE(state_->enrol_blocking(enrolment("keyed", key, true)));
  ASSERT_TRUE(bring("s3", "keyed", "CN=device", std::nullopt));
  EXPECT_FALSE(*state_->software_head("keyed")) << "bound to no identity, and no quote verified";
  ASSERT_TRUE(bring("s4", "keyed", "CN=device", key));
  EXPECT_TRUE(*state_->software_head("keyed"));
  // A key that was revoked meanwhile: nothing is written, and the session may commit without it.
  ASSERT_TRUE(state_->revoke_blocking("keyed"));
  const auto refused = bring("s5", "keyed", "CN=device", key);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().fault, Fault::denied);
  EXPECT_EQ((*state_->software_head("keyed"))->session, "s4");
  EXPECT_TRUE(commit(*state_, result_of(intent("s5", "keyed", clock_))));
  EXPECT_EQ((*state_->software_head("keyed"))->session, "s4");
  EXPECT_TRUE(bring("s6", "d", "CN=device", std::nullopt));
  EXPECT_TRUE(*state_->software_head("d"));
}

TEST_F(Software, GoesWithItsDevice) {
  ASSERT_TRUE(inventory(1, 1, {record("a")}));
  ASSERT_TRUE(events(1, 2, {event(2, 0, creation, "b")}));
  ASSERT_TRUE(stage({.session = "running", .device = "d", .installed = {record("z")}}));
  ASSERT_TRUE(state_->remove_blocking("d"));
  enrol("d");
  EXPECT_FALSE(*state_->software_head("d"));
  EXPECT_TRUE(at().empty());
  EXPECT_TRUE(history().empty());
  SessionResult result = result_of(intent("running", "d", clock_));
  result.software = SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 1};
  ASSERT_TRUE(commit(*state_, result));
  EXPECT_FALSE(*state_->software_head("d")) << "staged for the device that was removed";
  ASSERT_TRUE(inventory(5, 5, {record("n")}));
  EXPECT_EQ(at(), (Names{"n#1"}));
  EXPECT_TRUE(change().first);
}

TEST_F(Software, TagsAreKeptInAllTheirVersions) {
  const auto tag = [](const std::string& id, const std::string& text) {
    return SoftwareTag{.software_id = id, .source = 1, .content = to_vector(as_bytes(text))};
  };
  ASSERT_TRUE(inventory(1, 1, {record("a"), record("b"), record("c")}));
  const auto wanted = [&] {
    Names out;
    SoftwareCursor from;
    do {
      const auto page = state_->software_without_tag("d", 1, from);
      EXPECT_TRUE(page);
      for (const InstalledSoftware& one : page->software) out.push_back(one.record.software_id);
      from = page->next;
    } while (!from.empty());
    return out;
  };
  EXPECT_EQ(wanted(), (Names{"a", "b", "c"}));
  ASSERT_TRUE(session({.epoch = 1, .last_eid = 1}, {}, {}, {tag("a", "<one/>"), tag("b", ""), tag("zz", "<zz/>")}));
  EXPECT_EQ(wanted(), (Names{"c"}));
  EXPECT_TRUE(find("b").no_tag);
  ASSERT_TRUE(session({.epoch = 1, .last_eid = 1}, {}, {}, {tag("a", "<two/>"), tag("a", "<one/>")}));
  const auto tags = *state_->software_tags("a");
  ASSERT_EQ(tags.size(), 2U);
  EXPECT_EQ(as_text(tags[0].content), "<one/>");
  EXPECT_EQ(as_text(tags[1].content), "<two/>");
  EXPECT_EQ(tags[0].device, "d");
  EXPECT_TRUE(*state_->has_software_tag("a"));
  EXPECT_TRUE(*state_->has_software_tag("a", as_bytes("<two/>")));
  EXPECT_FALSE(*state_->has_software_tag("a", as_bytes("<three/>")));
  EXPECT_FALSE(*state_->has_software_tag("b")) << "the endpoint had none";
  // That it has none is known as long as it's installed.
  ASSERT_TRUE(inventory(1, 1, {record("b"), record("c")}));
  EXPECT_EQ(wanted(), (Names{"c"}));
}

TEST_F(Software, WhatCantBeKeptIsRefused) {
  const auto refused = [&](SoftwareChunk chunk) {
    chunk.session = "s";
    chunk.device = "d";
    const auto outcome = stage(std::move(chunk));
    return outcome ? std::string("accepted") : std::string(name(outcome.error().fault));
  };
  EXPECT_EQ(refused({.installed = {record("")}}), name(Fault::malformed));
  EXPECT_EQ(refused({.installed = {record(std::string("a\0b", 3))}}), name(Fault::malformed));
  EXPECT_EQ(refused({.installed = {record(std::string(4097, 'a'))}}), name(Fault::limit));
  EXPECT_EQ(refused({.installed = {record("a", 1, std::string(4097, 'a'))}}), name(Fault::limit));
  EXPECT_EQ(refused({.installed = {record(std::string(4096, 'a'), 1, std::string(4096, 'b'))}}), "accepted");
  EXPECT_EQ(refused({.events = {event(1, 0, SoftwareAction(4), "a")}}), name(Fault::malformed));
  EXPECT_EQ(refused({.tags = {{.software_id = "a", .content = ByteVector(max_tag_bytes + 1)}}}), name(Fault::limit));
  EXPECT_EQ(refused({.installed = std::vector<SoftwareRecord>(max_chunk_items + 1, record("a"))}), name(Fault::limit));
  EXPECT_FALSE(stage({.session = "s", .device = "d2/../", .installed = {}}).has_value() &&
               *state_->software_head("d2/../"));
}

class BoundedSoftware : public Software {
 protected:
  static StateOptions bounds() {
    StateOptions out;
    out.max_installed = 10;
    out.max_software_events = 6;
    out.max_software_ended = 4;
    out.max_software_changes = 5;
    out.max_staged_bytes = 2000;
    out.max_staged_event_bytes = 1000;
    out.max_staged_total = 2950;
    out.max_tag_versions = 2;
    return out;
  }
  BoundedSoftware() : Software(bounds()) {}
};

TEST_F(BoundedSoftware, TheOldestChangesGo) {
  ASSERT_TRUE(inventory(1, 0, {record("base")}));
  for (std::uint32_t eid = 1; eid <= 20; ++eid)
    ASSERT_TRUE(events(
        1, eid,
        {event(eid, 0, creation, "p" + std::to_string(eid)), event(eid, 0, deletion, "p" + std::to_string(eid - 1))}));
  EXPECT_EQ(at(), (Names{"base#1", "p20#1"}));
  EXPECT_LE(head().events, 6U);
  std::size_t changes = 0, kept = 0;
  for (const SoftwareHistoryItem& item : history()) ++(item.kind == SoftwareHistoryItem::Kind::change ? changes : kept);
  EXPECT_EQ(changes, 3U) << "two events each";
  EXPECT_EQ(kept, 6U);
  // An event that is no longer kept can't be contradicted, one that is can.
  ASSERT_TRUE(events(1, 20, {event(5, 9, creation, "x"), event(20, 9, creation, "y")}));
  EXPECT_EQ(change().inconsistent, 1U);
  // More in one session than is kept: applied all the same.
  std::vector<SoftwareEvent> many;
  for (std::uint32_t n = 0; n < 8; ++n) many.push_back(event(21, 0, creation, "m" + std::to_string(n)));
  ASSERT_TRUE(events(1, 21, many));
  EXPECT_EQ(head().installed, 10U);
  EXPECT_EQ(change().not_kept, 2U);
  EXPECT_TRUE(head().complete);
  // And more than may be installed: an inventory has to say what there is.
  ASSERT_TRUE(events(1, 22, {event(22, 0, creation, "too many")}));
  EXPECT_EQ(head().installed, 10U);
  EXPECT_FALSE(head().complete);
  ASSERT_TRUE(inventory(1, 22, {record("base")}));
  EXPECT_EQ(change().removed, 9U);
  EXPECT_EQ(change().not_kept, 5U) << "four ended instances are kept";
  open();
  EXPECT_EQ(at(), (Names{"base#1"}));
  EXPECT_TRUE(inventory(1, 23, {record("base"), record("next")}));
}

TEST_F(BoundedSoftware, StagingIsBounded) {
  const auto fault = [&](const std::string& session, SoftwareChunk chunk) {
    chunk.session = session;
    chunk.device = "d";
    const auto outcome = stage(std::move(chunk));
    return outcome ? std::string("accepted") : std::string(name(outcome.error().fault));
  };
  EXPECT_EQ(fault("s1", {.installed = std::vector<SoftwareRecord>(11, record("a"))}), name(Fault::limit))
      << "instances";
  EXPECT_EQ(fault("s1", {.installed = {record(std::string(1900, 'a'))}}), "accepted");
  EXPECT_EQ(fault("s1", {.installed = {record("b")}}), name(Fault::limit)) << "bytes of a session";
  EXPECT_EQ(fault("s1", {.events = {event(1, 0, creation, std::string(900, 'e'))}}), "accepted");
  EXPECT_EQ(fault("s1", {.events = {event(2, 0, creation, "e")}}), name(Fault::limit)) << "events of a session";
  EXPECT_EQ(fault("s2", {.installed = {record("b")}}), name(Fault::limit)) << "bytes of all";
  state_->drop_software("s1");
  EXPECT_EQ(fault("s2", {.installed = {record("b")}}), "accepted");
}

TEST_F(Software, PolicyItemsKeepTheirLastResult) {
  const PublicKey key = new_key();
  ASSERT_TRUE(state_->enrol_blocking(enrolment("keyed", key, true)));
  for (int i = 0; i < 20; ++i) {
    SessionResult result = result_of(intent("i" + std::to_string(i), "keyed", 1000 * (i + 1)));
    result.items = {
        {.policy = "software",
         .type = "SWIDT",
         .recommendation = pipeline::Recommendation(i % 4),
         .evaluation = pipeline::Evaluation::minor,
         .text = "run " + std::to_string(i)},
        {.policy = "soft", .type = "PCKGS", .recommendation = pipeline::Recommendation::allow, .text = "other"}};
    if (i % 2 == 0) result.quote_key = key;
    ASSERT_TRUE(commit(*state_, std::move(result)));
  }
  const auto last = **state_->item_result("keyed", "software");
  EXPECT_EQ(last.result.text, "run 19");
  EXPECT_EQ(last.result.type, "SWIDT");
  EXPECT_EQ(last.result.recommendation, pipeline::Recommendation::none);
  EXPECT_EQ(last.time, 20'100);
  EXPECT_EQ(last.session, "i19");
  EXPECT_EQ(last.identity, "CN=device");
  EXPECT_EQ(last.key_pin, "") << "no quote of that session verified";
  EXPECT_EQ(last.failing_since, 1'100);
  EXPECT_EQ((**state_->item_result("keyed", "soft")).result.text, "other");
  EXPECT_FALSE(*state_->item_result("keyed", "so"));
  // Of a device that nobody enrolled nothing is kept.
  SessionResult result = result_of(intent("u", "stranger", 1000));
  result.items = {{.policy = "software", .type = "SWIDT"}};
  ASSERT_TRUE(commit(*state_, result));
  EXPECT_FALSE(*state_->item_result("stranger", "software"));
  ASSERT_TRUE(state_->remove_blocking("keyed"));
  EXPECT_FALSE(*state_->item_result("keyed", "software"));
  result = result_of(intent("bad", "d", 1000));
  result.items = {{.policy = "a\nb"}};
  EXPECT_FALSE(commit(*state_, result));
}

// Each write in turn fails: the result is refused and nothing is seen of it, and the same result may come again.
TEST(SoftwareWrites, AResultIsAppliedWholeOrNotAtAll) {
  std::vector<SoftwareRecord> old, fresh;
  for (std::uint32_t i = 0; i < 6000; ++i) {
    old.push_back(record("old-" + std::to_string(i), i));
    fresh.push_back(record((i % 2 ? "old-" : "new-") + std::to_string(i), i));
  }
  int writes_needed = 0;
  for (int failing = 0; failing == 0 || failing <= writes_needed; ++failing) {
    const Folder folder;
    std::atomic<int> writes = -1000;
    StateOptions options;
    options.before_write = [&]() -> Result<void> {
      if (++writes == failing) return fail(Fault::environment, "injected");
      return {};
    };
    auto state = open_state(folder / "state", options);
    const PublicKey key = new_key();
    ASSERT_TRUE(state->enrol_blocking(enrolment("d", key, true)));
    const auto bring = [&](const std::string& session, const std::vector<SoftwareRecord>& list) {
      for (std::size_t i = 0; i < list.size(); i += 2000) {
        std::promise<Result<void>> done;
        state->stage_software(
            {.session = session,
             .device = "d",
             .installed = {list.begin() + std::ptrdiff_t(i), list.begin() + std::ptrdiff_t(i + 2000)}},
            [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
        ASSERT_TRUE(done.get_future().get());
      }
    };
    const auto result = [&](const std::string& session) {
      SessionResult out = result_of(intent(session, "d", 1000));
      out.quote_key = key;
      out.software = SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 6000};
      return out;
    };
    bring("s1", old);
    ASSERT_TRUE(commit(*state, result("s1")));
    bring("s2", fresh);
    writes = 0;
    const auto outcome = commit(*state, result("s2"));
    if (failing == 0) {
      ASSERT_TRUE(outcome);
      writes_needed = writes;
      ASSERT_GT(writes_needed, 2);
    } else {
      ASSERT_FALSE(outcome) << failing;
      EXPECT_FALSE(*state->session("s2"));
      EXPECT_EQ((*state->software_head("d"))->session, "s1");
      const auto page = *state->software_at("d", INT64_MAX, 10'000);
      EXPECT_EQ(page.software.size(), 6000U) << "the set as it was";
      EXPECT_EQ(state->software_history("d", 10'000)->items.size(), 1U);
      if (failing % 2 == 0) {  // a process that starts anew, or the same one
        state.reset();
        state = open_state(folder / "state", options);
        bring("s2", fresh);
      }
      ASSERT_TRUE(commit(*state, result("s2")));
    }
    const auto head = **state->software_head("d");
    EXPECT_EQ(head.session, "s2");
    EXPECT_EQ(head.installed, 6000U);
    std::map<std::string, int> firsts;
    const auto page = *state->software_at("d", std::nullopt, 10'000);
    for (const InstalledSoftware& one : page.software) ++firsts[one.record.software_id.substr(0, 3)];
    EXPECT_EQ(firsts["new"], 3000);
    EXPECT_EQ(firsts["old"], 3000);
    EXPECT_EQ(state->software_history("d", 10'000)->items.size(), 1U + 3000 + 1);
  }
}

// Two sessions of one device at once: one after the other, whatever their writes are between.
TEST(SoftwareWrites, SessionsOfOneDeviceDontMix) {
  const Folder folder;
  const auto state = open_state(folder / "state");
  const PublicKey key = new_key();
  ASSERT_TRUE(state->enrol_blocking(enrolment("d", key, true)));
  constexpr int sessions = 6;
  std::vector<std::promise<Result<void>>> done(sessions);
  for (int s = 0; s < sessions; ++s)
    for (std::uint32_t i = 0; i < 3; ++i) {
      std::vector<SoftwareRecord> list;
      for (std::uint32_t n = 0; n < 1500; ++n)
        list.push_back(record(std::to_string(s) + "-" + std::to_string(i * 1500 + n)));
      state->stage_software({.session = "s" + std::to_string(s), .device = "d", .installed = std::move(list)},
                            [](Result<void> outcome) { EXPECT_TRUE(outcome); });
    }
  for (int s = 0; s < sessions; ++s) {
    SessionResult result = result_of(intent("s" + std::to_string(s), "d", 1000 + s));
    result.quote_key = key;
    result.software = SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 4500};
    state->commit_result(std::move(result),
                         [&, s](Result<void> outcome) { done[std::size_t(s)].set_value(std::move(outcome)); });
  }
  for (auto& one : done) EXPECT_TRUE(one.get_future().get());
  const auto page = *state->software_at("d", std::nullopt, 10'000);
  ASSERT_EQ(page.software.size(), 4500U);
  for (const InstalledSoftware& one : page.software)
    ASSERT_EQ(one.record.software_id[0], page.software[0].record.software_id[0]);
  std::uint64_t removed = 0;
  const auto history = *state->software_history("d", 100'000);
  for (const SoftwareHistoryItem& item : history.items)
    if (item.kind == SoftwareHistoryItem::Kind::change) removed += item.change.removed;
  EXPECT_EQ(removed, 4500U * (sessions - 1));
}

// The store is closed while a result is on its way: it is written.
TEST(SoftwareWrites, AResultOnItsWayIsFinishedBeforeTheStoreCloses) {
  const Folder folder;
  const PublicKey key = new_key();
  std::atomic<bool> good = false;
  {
    const auto state = open_state(folder / "state");
    ASSERT_TRUE(state->enrol_blocking(enrolment("d", key, true)));
    std::vector<SoftwareRecord> list;
    for (std::uint32_t n = 0; n < 4000; ++n) list.push_back(record(std::to_string(n)));
    state->stage_software({.session = "s", .device = "d", .installed = list}, [](Result<void>) {});
    SessionResult result = result_of(intent("s", "d", 1000));
    result.quote_key = key;
    result.software = SoftwareUpdate{.epoch = 1, .last_eid = 1, .inventory = true, .staged_installed = 4000};
    state->commit_result(std::move(result), [&](Result<void> outcome) { good = outcome.has_value(); });
  }
  EXPECT_TRUE(good);
  EXPECT_EQ((*open_state(folder / "state")->software_head("d"))->installed, 4000U);
}

// An inventory far larger than the memory that may be used for it. GATEHOUSE_LARGE_INVENTORY=1000000 in long runs.
TEST(SoftwareWrites, ALargeInventoryIsNeverInMemory) {
  const char* const asked = std::getenv("GATEHOUSE_LARGE_INVENTORY");
  const std::uint32_t records = asked ? std::uint32_t(std::strtoul(asked, nullptr, 10)) : 60'000;
  const Folder folder;
  const PublicKey key = new_key();
  const auto state = open_state(folder / "state");
  ASSERT_TRUE(state->enrol_blocking(enrolment("d", key, true)));
  const auto bring = [&](const std::string& session, std::uint32_t first) {
    for (std::uint32_t i = 0; i < records; i += 1000) {
      SoftwareChunk chunk{.session = session, .device = "d"};
      for (std::uint32_t n = first + i; n < first + i + 1000; ++n)
        chunk.installed.push_back(
            record("strongswan.org__Debian_12-x86_64-package-with-a-name-" + std::to_string(n) + "-1.0-1", n));
      std::promise<Result<void>> done;
      state->stage_software(std::move(chunk), [&](Result<void> outcome) { done.set_value(std::move(outcome)); });
      ASSERT_TRUE(done.get_future().get());
    }
    SessionResult result = result_of(intent(session, "d", 1000 + first));
    result.quote_key = key;
    result.software = SoftwareUpdate{.epoch = 1, .last_eid = first, .inventory = true, .staged_installed = records};
    ASSERT_TRUE(commit(*state, std::move(result)));
  };
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  bring("s1", 1000);
  bring("s2", 2000);  // a thousand less, a thousand more
  const auto head = **state->software_head("d");
  EXPECT_EQ(head.installed, records);
  std::size_t listed = 0;
  SoftwareCursor from;
  do {
    const auto page = state->software_at("d", std::nullopt, 10'000, from);
    ASSERT_TRUE(page);
    listed += page->software.size();
    from = page->next;
  } while (!from.empty());
  EXPECT_EQ(listed, records);
  const auto history = *state->software_history("d", 1);
  EXPECT_EQ(history.items.at(0).change.added, 1000U);
  EXPECT_EQ(history.items.at(0).change.removed, 1000U);
  RecordProperty("peak_kib", std::to_string(peak()));
#if !defined(GATEHOUSE_SANITIZED)
  // Memtables, block cache and one block of records, whatever the number. (A sanitizer keeps what is freed.)
  EXPECT_LT(peak(), 256 * 1024);
#endif
}

}  // namespace
}  // namespace gatehouse::server
