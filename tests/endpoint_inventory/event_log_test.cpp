#include "endpoint/inventory/event_log.h"

#include <gtest/gtest.h>

#include <functional>
#include <set>

namespace gatehouse::endpoint {
namespace {

Package package(const std::string& name, const std::string& version = "1", const std::string& content = "",
                std::uint8_t source = source_dpkg) {
  return {source, name, version, "amd64", digest_of(HashAlgorithm::sha256, as_bytes(content))};
}
Found found(std::vector<Package> packages, std::int64_t time = 1000,
            std::vector<std::uint8_t> sources = {source_dpkg}) {
  return {std::move(sources), std::move(packages), time};
}
// "EID action name version #record id".
std::vector<std::string> told(const EventLog& log, std::uint32_t from = 1) {
  std::vector<std::string> out;
  const char* const actions[] = {"", "creation", "deletion", "alteration"};
  for (const LoggedEvent& one : log.events) {
    if (one.eid < from) continue;
    const LoggedInstance* const of = log.instance(one.record_id);
    out.push_back(std::to_string(one.eid) + " " + actions[std::size_t(one.action)] + " " +
                  (of ? of->package.name + " " + of->package.version : "?") + " #" + std::to_string(one.record_id));
  }
  return out;
}
using Told = std::vector<std::string>;

TEST(EventLog, NotesEachTransactionUnderOneEid) {
  EventLog log = new_event_log(7);
  EXPECT_EQ(update(log, found({package("b"), package("a"), package("b")})), 2U);
  EXPECT_EQ(told(log), (Told{"1 creation a 1 #1", "1 creation b 1 #2"}));
  EXPECT_EQ(update(log, found({package("a"), package("b")}, 2000)), 0U);
  EXPECT_EQ(log.last_eid, 1U) << "nothing changed";
  // An upgrade is another instance; a rebuilt package of the same version is altered.
  EXPECT_EQ(update(log, found({package("a", "2"), package("b", "1", "rebuilt"), package("c")}, 3000)), 4U);
  EXPECT_EQ(told(log, 2), (Told{"2 deletion a 1 #1", "2 alteration b 1 #2", "2 creation a 2 #3", "2 creation c 1 #4"}));
  EXPECT_EQ(log.events.back().time, 3000);
  // What comes back is a new instance: its id was never used.
  EXPECT_EQ(update(log, found({package("a", "1"), package("b", "1", "rebuilt"), package("c")}, 2500)), 2U);
  EXPECT_EQ(told(log, 3), (Told{"3 deletion a 2 #3", "3 creation a 1 #5"}));
  EXPECT_EQ(log.events.back().time, 3000) << "a clock that was set back doesn't turn the log around";
  EXPECT_EQ(log.epoch, 7U);
  EXPECT_EQ(update(log, found({})), 3U);
  for (const LoggedInstance& one : log.instances) EXPECT_FALSE(one.installed);
}

TEST(EventLog, SourcesThatWerentLookedAtStay) {
  EventLog log = new_event_log(7);
  update(log, found({package("a"), package("r", "1", "", source_rpm)}, 1, {source_dpkg, source_rpm}));
  EXPECT_EQ(update(log, found({package("b")}, 2)), 2U);
  EXPECT_EQ(told(log, 2), (Told{"2 deletion a 1 #1", "2 creation b 1 #3"}));
  EXPECT_EQ(update(log, found({}, 3, {})), 0U);
  // The same name from both is two instances.
  EXPECT_EQ(update(log, found({package("b"), package("b", "1", "", source_rpm)}, 4, {source_dpkg, source_rpm})), 2U);
}

TEST(EventLog, TheOldestTransactionsGo) {
  EventLog log = new_event_log(7);
  std::vector<Package> all;
  for (std::size_t i = 0; i < max_logged_events - 1; ++i) all.push_back(package("p" + std::to_string(i)));
  EXPECT_EQ(update(log, found(all)), max_logged_events - 1);
  EXPECT_EQ(log.first_eid, 1U);
  all.pop_back();
  all.push_back(package("x"));
  update(log, found(all));  // two events more: the first transaction goes as a whole
  EXPECT_EQ(log.first_eid, 2U);
  EXPECT_EQ(log.events.size(), 2U);
  EXPECT_EQ(log.instances.size(), max_logged_events) << "what is installed, and what the events name";
  update(log, found({}));
  EXPECT_EQ(log.events.size(), max_logged_events - 1);
  EXPECT_EQ(log.first_eid, 3U);
  // One transaction that is larger than all that may be kept is kept.
  std::vector<Package> many;
  for (std::size_t i = 0; i < max_logged_events + 5; ++i) many.push_back(package("m" + std::to_string(i)));
  update(log, found(many));
  EXPECT_EQ(log.events.size(), max_logged_events + 5);
  EXPECT_EQ(log.first_eid, log.last_eid);
  EXPECT_EQ(parse_event_log(serialize(log)).value(), log);
}

TEST(EventLog, BeginsAnewWhereNumbersRunOut) {
  for (const bool eids : {true, false}) {
    EventLog log = new_event_log(7);
    update(log, found({package("a"), package("r", "1", "", source_rpm)}, 1, {source_dpkg, source_rpm}));
    (eids ? log.last_eid : log.next_record_id) = UINT32_MAX;
    EXPECT_EQ(update(log, found({package("a"), package("b")})), 3U);
    EXPECT_NE(log.epoch, 7U);
    EXPECT_EQ(told(log), (Told{"1 creation a 1 #1", "1 creation b 1 #2", "1 creation r 1 #3"}));
  }
  std::set<std::uint32_t> epochs;
  for (int i = 0; i < 64; ++i) {
    const std::uint32_t epoch = new_epoch();
    EXPECT_GT(epoch, 0U);
    EXPECT_LE(epoch, 0x7FFFFFFFU);
    epochs.insert(epoch);
  }
  EXPECT_GT(epochs.size(), 60U);
}

EventLog sample() {
  EventLog log = new_event_log(0x38cd4cc6);
  update(log, found({package("a"), package("b")}));
  update(log, found({package("a", "2"), package("b", "1", "x")}, 2000));
  return log;
}

// With a digest that is right, so that the rules behind it are reached.
ByteVector sealed(ByteVector content) {
  const Digest digest = digest_of(HashAlgorithm::sha256, content);
  content.insert(content.end(), digest.view().begin(), digest.view().end());
  return content;
}

TEST(EventLog, ReadsBackWhatItWroteAndNothingElse) {
  const EventLog log = sample();
  const ByteVector file = serialize(log);
  EXPECT_EQ(parse_event_log(file).value(), log);
  EXPECT_EQ(parse_event_log(serialize(new_event_log(1))).value(), new_event_log(1));
  for (std::size_t n = 0; n < file.size(); ++n) EXPECT_FALSE(parse_event_log(Bytes(file).first(n))) << n;
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    ByteVector flipped = file;
    flipped[bit / 8] ^= std::byte(1 << (bit % 8));
    EXPECT_FALSE(parse_event_log(flipped)) << bit;
  }
  // Also where the digest is of the changed bytes: an error, or a log that keeps the rules and is written the same.
  const ByteVector content(file.begin(), file.end() - 32);
  for (std::size_t n = 0; n < content.size(); ++n)
    EXPECT_FALSE(parse_event_log(sealed(ByteVector(content.begin(), content.begin() + std::ptrdiff_t(n))))) << n;
  ByteVector longer = content;
  longer.push_back(std::byte(0));
  EXPECT_EQ(parse_event_log(sealed(longer)).error().reason, "trailing bytes");
  std::size_t accepted = 0;
  for (std::size_t bit = 0; bit < content.size() * 8; ++bit) {
    ByteVector flipped = content;
    flipped[bit / 8] ^= std::byte(1 << (bit % 8));
    const ByteVector whole = sealed(flipped);
    const auto again = parse_event_log(whole);
    if (!again) continue;
    ++accepted;
    EXPECT_EQ(serialize(*again), whole) << bit;
    for (const LoggedEvent& event : again->events) EXPECT_NE(again->instance(event.record_id), nullptr);
  }
  EXPECT_GT(accepted, 0U);
}

TEST(EventLog, RefusesWhatItsRulesForbid) {
  const auto reason = [](const std::function<void(EventLog&)>& change) {
    EventLog log = sample();
    change(log);
    const auto again = parse_event_log(serialize(log));
    return again ? std::string("accepted") : std::string(again.error().reason);
  };
  EXPECT_EQ(reason([](EventLog&) {}), "accepted");
  for (const auto& change : std::initializer_list<std::function<void(EventLog&)>>{
           [](EventLog& l) { l.epoch = 0; }, [](EventLog& l) { l.epoch = 0x80000000; },
           [](EventLog& l) { l.first_eid = 0; }, [](EventLog& l) { l.next_record_id = 0; },
           [](EventLog& l) { l.first_eid = l.last_eid + 2; }})
    EXPECT_EQ(reason(change), "epoch, EIDs or record id out of range");
  EXPECT_EQ(reason([](EventLog& l) { l.next_record_id = 3; }),
            "record ids aren't ascending, or one is from the future");
  EXPECT_EQ(reason([](EventLog& l) { std::swap(l.instances[0], l.instances[1]); }),
            "record ids aren't ascending, or one is from the future");
  EXPECT_EQ(reason([](EventLog& l) {
              l.instances[0] = {1, true, l.instances[1].package};
            }),
            "a package is installed twice");
  EXPECT_EQ(reason([](EventLog& l) { l.instances[1].package.name = "a b"; }),
            "text isn't 1 to 512 printable characters");
  EXPECT_EQ(reason([](EventLog& l) { l.events[0].record_id = 99; }), "event of an instance that isn't there");
  EXPECT_EQ(reason([](EventLog& l) { std::swap(l.events[0], l.events[1]); }),
            "events aren't ascending, or one is out of range");
  EXPECT_EQ(reason([](EventLog& l) { l.first_eid = 2; }), "events aren't ascending, or one is out of range");
  EXPECT_EQ(reason([](EventLog& l) { l.last_eid = 1; }), "events aren't ascending, or one is out of range");
  EXPECT_EQ(reason([](EventLog& l) { l.events[0].action = LogAction(4); }), "unknown action");
}

}  // namespace
}  // namespace gatehouse::endpoint
