// Whom gateways have let in, by what they tell of them; requests of this server's own, until they are answered; what goes along
// for a group. Time is the test's.
#include <gtest/gtest.h>

#include <map>

#include "base/hash.h"
#include "base/hex.h"
#include "server/radius/admitted.h"
#include "server/radius/exchanges.h"
#include "server/radius/reply.h"
#include "server/radius/shared_cuts.h"
#include "wire/radius/accounting.h"

namespace gatehouse::server {
namespace {

using namespace std::chrono_literals;
using pipeline::Recommendation;
using radius::AcctStatus;

const IpAddress moon_address = parse_prefix("192.0.2.1")->address, another_gateway = parse_prefix("192.0.2.2")->address;
const std::string carols_session = "20261126T204823.173-262ef9960bfb0e25";

Admitted::Entry entry(const std::string& user, const std::string& station, const std::string& of = carols_session) {
  Admitted::Entry e;
  e.gateway = moon_address;
  e.client = "192.0.2.1";
  e.nas = "moon";
  e.user = user;
  e.station = station;
  e.session = of;
  e.device = "device of " + user;
  e.recommendation = Recommendation::allow;
  e.admitted = 1'000;
  return e;
}

radius::Accounting told(AcctStatus status, std::string_view accounting, std::string_view user = {}, std::string_view station = {}) {
  radius::Accounting a;
  a.status = status;
  a.session = accounting;
  a.gateway = "moon";
  a.user = user;
  a.station = station;
  return a;
}

class AdmittedTest : public testing::Test {
 protected:
  void account(const radius::Accounting& a, std::int64_t now, const IpAddress& from = moon_address, std::string_view client = "192.0.2.1") {
    admitted.account(from, client, a, now, [&](std::string_view id) -> std::optional<Admitted::Entry> {
      recalled.emplace_back(id);
      if (id != "known before") return std::nullopt;
      Admitted::Entry e;
      e.session = id;
      e.device = "d9";
      return e;
    });
  }
  Admitted admitted;
  std::vector<std::string> recalled;
};

TEST_F(AdmittedTest, AccountingIsOfTheSessionThatItsClassNames) {
  admitted.note(entry("carol", "192.0.2.7"));
  admitted.note(entry("carol", "192.0.2.8", "another session of carol's"));
  const std::string mark = Admitted::mark(carols_session);
  EXPECT_GE(mark.size(), 44U);  // strongSwan takes shorter ones for groups
  EXPECT_GE(Admitted::mark("s").size(), 44U);
  EXPECT_EQ(Admitted::session_of(Admitted::mark("s")), "s");
  EXPECT_EQ(Admitted::session_of("quarantine"), "");
  EXPECT_EQ(admitted.connected(), 0U);
  auto start = told(AcctStatus::start, "a-1", "carol");
  start.classes = {"quarantine", mark};
  const ByteVector address{std::byte{10}, std::byte{3}, std::byte{0}, std::byte{1}};
  start.framed_address = address;
  account(start, 2'000);
  EXPECT_EQ(admitted.connected(), 1U);
  EXPECT_EQ(admitted.size(), 2U);
  const auto first = admitted.list(0, 1).front();
  EXPECT_EQ(first.accounting, "a-1");
  EXPECT_EQ(first.address, "10.3.0.1");
  EXPECT_EQ(first.station, "192.0.2.7");
  EXPECT_EQ(first.connected, 2'000);
  // By its own number from now on, Class or not; and repeated, it changes nothing.
  auto interim = told(AcctStatus::interim, "a-1", "carol");
  interim.octets_in = 5;
  interim.octets_out = std::uint64_t(3) << 32;
  account(interim, 3'000);
  account(interim, 3'000);
  EXPECT_EQ(admitted.list(0, 1).front().octets_out, std::uint64_t(3) << 32);
  EXPECT_EQ(admitted.list(0, 1).front().heard, 3'000);
  EXPECT_EQ(admitted.connected(), 1U);
  account(told(AcctStatus::stop, "a-1", "carol"), 4'000);
  account(told(AcctStatus::stop, "a-1", "carol"), 4'000);
  EXPECT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted.connected(), 0U);
  EXPECT_TRUE(recalled.empty());
}

TEST_F(AdmittedTest, WithoutClassItIsByUserAndStation) {
  admitted.note(entry("carol", "192.0.2.7", "s1"));
  admitted.note(entry("carol", "192.0.2.8", "s2"));
  account(told(AcctStatus::start, "a-2", "carol", "192.0.2.8"), 2'000);
  EXPECT_EQ(admitted.list(0, 9)[1].accounting, "a-2");
  EXPECT_EQ(admitted.list(0, 9)[0].accounting, "");
  // Another gateway's is none of these, and who was let in before we began is known by what it says alone.
  account(told(AcctStatus::start, "a-1", "carol", "192.0.2.7"), 2'000, another_gateway);
  EXPECT_EQ(admitted.list(0, 9).size(), 3U);
  EXPECT_EQ(admitted.list(0, 9)[2].device, "");
}

TEST_F(AdmittedTest, WhoWasLetInBeforeARestartIsKnownByItsClass) {
  auto interim = told(AcctStatus::interim, "a-1", "carol");
  const std::string mark = Admitted::mark("known before");
  interim.classes = {mark};
  account(interim, 2'000);
  EXPECT_EQ(recalled, std::vector<std::string>{"known before"});
  ASSERT_EQ(admitted.of_device("d9").size(), 1U);
  EXPECT_EQ(admitted.of_device("d9").front().user, "carol");
  EXPECT_EQ(admitted.of_device("d9").front().admitted, 0);
}

TEST_F(AdmittedTest, APortIsOneEndpointsAtATime) {
  const auto first = admitted.note(entry("carol", "192.0.2.7", "s1"));
  account(told(AcctStatus::start, "a-1", "carol", "192.0.2.7"), 2'000);
  auto again = entry("carol", "192.0.2.7", "s2");
  again.accounting = "a-1";
  admitted.note(again);
  EXPECT_FALSE(admitted.find(first));
  ASSERT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted.connected(), 1U);  // re-authenticated, still the same connection
  EXPECT_EQ(admitted.of_device("device of carol").size(), 1U);
  EXPECT_EQ(admitted.of_device("device of carol").front().session, "s2");
}

TEST_F(AdmittedTest, AGatewayThatStartsAnewHasForgottenThemAll) {
  admitted.note(entry("carol", "192.0.2.7", "s1"));
  auto elsewhere = entry("dave", "192.0.2.9", "s2");
  elsewhere.gateway = another_gateway;
  admitted.note(elsewhere);
  account(told(AcctStatus::on, {}), 2'000);
  ASSERT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted.list(0, 9).front().user, "dave");
}

// By gateway, its client and its name; what accounting says of it since counts.
TEST_F(AdmittedTest, SomebodyElseWithTheSameUserNameIsKnown) {
  const auto first = admitted.note(entry("anonymous", "192.0.2.7", "s1"));
  const auto anybody = [](const Admitted::Entry&) { return true; };
  EXPECT_FALSE(admitted.shares_name(*admitted.find(first), anybody));
  auto elsewhere = entry("anonymous", "192.0.2.8", "s2");
  elsewhere.gateway = another_gateway;
  admitted.note(elsewhere);
  auto behind_the_same_address = entry("anonymous", "192.0.2.8", "s3");
  behind_the_same_address.client = "another client";
  admitted.note(behind_the_same_address);
  admitted.note(entry("carol", "192.0.2.9", "s4"));
  EXPECT_FALSE(admitted.shares_name(*admitted.find(first), anybody));
  auto renamed = told(AcctStatus::start, "a-4", "anonymous");
  const std::string mark = Admitted::mark("s4");
  renamed.classes = {mark};
  account(renamed, 2'000);
  EXPECT_TRUE(admitted.shares_name(*admitted.find(first), anybody));
  EXPECT_FALSE(admitted.shares_name(*admitted.find(first), [](const Admitted::Entry& e) { return e.session != "s4"; }));
  account(told(AcctStatus::stop, "a-4"), 3'000);
  EXPECT_FALSE(admitted.shares_name(*admitted.find(first), anybody));
}

// Two that come from one address, as clients over TLS may, say nothing of each other's.
TEST_F(AdmittedTest, WhatAClientTellsIsOfItsOwnAlone) {
  auto other = entry("carol", "192.0.2.7", "s2");
  other.client = "CN=another";
  other.device = "another";
  admitted.note(entry("carol", "192.0.2.7", "s1"));
  admitted.note(other);
  EXPECT_EQ(admitted.size(), 2U);  // not one port
  account(told(AcctStatus::start, "a-1", "carol", "192.0.2.7"), 2'000);
  account(told(AcctStatus::start, "a-1", "carol", "192.0.2.7"), 2'000, moon_address, "CN=another");
  EXPECT_EQ(admitted.size(), 2U);
  EXPECT_EQ(admitted.connected(), 2U);
  auto foreign = told(AcctStatus::stop, "a-2", "carol", "192.0.2.7");
  const std::string mark = Admitted::mark("s1");
  foreign.classes = {mark};
  account(foreign, 3'000, moon_address, "CN=another");
  account(told(AcctStatus::stop, "a-1"), 3'000, moon_address, "CN=another");
  EXPECT_EQ(admitted.of_device("device of carol").size(), 1U);
  EXPECT_TRUE(admitted.of_device("another").empty());
  admitted.note(other);
  account(told(AcctStatus::off, {}), 4'000, moon_address, "CN=another");
  EXPECT_EQ(admitted.of_device("device of carol").size(), 1U);
  EXPECT_EQ(admitted.size(), 1U);
}

// A Class of ours says which session it is; that it isn't known here makes it nobody else's.
TEST_F(AdmittedTest, UserAndStationDecideOnlyWhereNoClassDoes) {
  admitted.note(entry("carol", "192.0.2.7", "s1"));
  auto start = told(AcctStatus::start, "a-1", "carol", "192.0.2.7");
  const std::string mark = Admitted::mark("known before");
  start.classes = {mark};
  account(start, 2'000);
  EXPECT_EQ(admitted.size(), 2U);
  EXPECT_EQ(admitted.of_device("device of carol").front().connected, 0);
  EXPECT_EQ(admitted.of_device("d9").front().connected, 2'000);
}

// Let in by a lease it could be each of its identity's devices: the end of any one's trust is its own.
TEST_F(AdmittedTest, WhoCouldBeSeveralDevicesIsFoundByEach) {
  auto several = entry("carol", "192.0.2.7");
  several.also = {"second", "third"};
  const auto number = admitted.note(several);
  for (const char* const device : {"device of carol", "second", "third"}) {
    ASSERT_EQ(admitted.of_device(device).size(), 1U) << device;
    EXPECT_EQ(admitted.of_device(device).front().number, number);
  }
  account(told(AcctStatus::start, "a-1", "carol", "192.0.2.7"), 2'000);
  EXPECT_EQ(admitted.of_device("third").size(), 1U);
  account(told(AcctStatus::stop, "a-1"), 3'000);
  for (const char* const device : {"device of carol", "second", "third"}) EXPECT_TRUE(admitted.of_device(device).empty()) << device;
}

// A gateway that tells of no end: each connection has a port of its own.
TEST_F(AdmittedTest, OfOneDeviceThereAreSoManyAndAClaimTakesNoPlaceOfItsOwn) {
  const auto one = [&](std::uint32_t port, bool sure) {
    auto e = entry("carol", "192.0.2.7", "s" + std::to_string(port));
    e.port = port;
    e.sure = sure;
    e.admitted = port;
    return admitted.note(e);
  };
  const auto connected = one(1, true), first = one(2, true);
  auto start = told(AcctStatus::start, "a-1", "carol", "192.0.2.7");
  const std::string mark = Admitted::mark("s1");
  start.classes = {mark};
  account(start, 1);
  for (std::uint32_t port = 3; port <= Admitted::most_of_device; ++port) one(port, true);
  EXPECT_EQ(admitted.size(), Admitted::most_of_device);
  for (std::uint32_t port = 100; port < 200; ++port) one(port, false);
  EXPECT_EQ(admitted.size(), 2 * Admitted::most_of_device);
  EXPECT_TRUE(admitted.find(first));
  one(200, true);
  EXPECT_FALSE(admitted.find(first));
  EXPECT_TRUE(admitted.find(connected));
  EXPECT_EQ(admitted.of_device("device of carol").size(), 2 * Admitted::most_of_device);
}

TEST(AdmittedBounds, TheOneThatWasHeardOfTheLongestAgoIsForgotten) {
  Admitted admitted(2);
  const auto recall = [](std::string_view) { return std::optional<Admitted::Entry>(); };
  const auto first = admitted.note(entry("a", "1", "s1"));
  const auto second = admitted.note(entry("b", "2", "s2"));
  admitted.account(moon_address, "192.0.2.1", told(AcctStatus::start, "x", "a", "1"), 5, recall);
  admitted.note(entry("c", "3", "s3"));
  EXPECT_TRUE(admitted.find(first));
  EXPECT_FALSE(admitted.find(second));
  EXPECT_TRUE(admitted.of_device("device of b").empty());
  admitted.change(first, Recommendation::isolate);
  EXPECT_EQ(admitted.find(first)->recommendation, Recommendation::isolate);
  admitted.remove(first);
  EXPECT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted.connected(), 0U);
}

// --- a name that others have, too

const SharedCuts::Name alices{moon_address, "192.0.2.1", "alice"};

TEST(SharedCuts, OfOneNameThereIsOneInAMinuteAndWhatHasToWaitIsDoneThen) {
  SharedCuts cuts;
  const SharedCuts::Clock::time_point now{1h};
  EXPECT_TRUE(cuts.take(alices, 1, now));
  EXPECT_TRUE(cuts.take(alices, 2, now));  // of the same moment
  EXPECT_TRUE(cuts.take({another_gateway, "192.0.2.1", "alice"}, 3, now + 1s));
  EXPECT_TRUE(cuts.take({moon_address, "192.0.2.1", "bob"}, 4, now + 1s));
  EXPECT_FALSE(cuts.next());
  EXPECT_FALSE(cuts.take(alices, 5, now + 1s));
  EXPECT_FALSE(cuts.take(alices, 6, now + 59s));
  EXPECT_FALSE(cuts.take(alices, 5, now + 59s));
  EXPECT_EQ(cuts.next(), now + 60s);
  EXPECT_TRUE(cuts.due(now + 60s - 1ns).empty());
  EXPECT_EQ(cuts.due(now + 60s), (std::vector<std::uint64_t>{5, 6}));
  EXPECT_TRUE(cuts.due(now + 60s).empty());
  // They count as well.
  EXPECT_FALSE(cuts.take(alices, 7, now + 119s));
  cuts.forget(7);
  EXPECT_FALSE(cuts.holds(7));
  EXPECT_FALSE(cuts.next());
  EXPECT_TRUE(cuts.due(now + 120s).empty());
  EXPECT_TRUE(cuts.take(alices, 8, now + 120s));
}

TEST(SharedCuts, BeyondWhatCanBeRememberedNobodyWaits) {
  SharedCuts cuts(1);
  const SharedCuts::Clock::time_point now{1h};
  EXPECT_TRUE(cuts.take(alices, 1, now));
  EXPECT_FALSE(cuts.take(alices, 2, now + 1s));
  EXPECT_TRUE(cuts.take(alices, 3, now + 2s));
  for (int n = 0; n < 2; ++n) EXPECT_TRUE(cuts.take({moon_address, "192.0.2.1", "bob"}, 4, now + 3s));
}

// --- across runs of the program, and until leases end

// What a store would have.
struct Disk {
  std::map<std::uint64_t, Admitted::Entry> rows;
  std::size_t writes = 0;
  bool full = false;
  Admitted::Journal journal() {
    return {[this](const Admitted::Entry& e, Admitted::Kept kept) {
              ++writes;
              if (!full) rows[e.number] = e;
              kept(!full);
            },
            [this](const Admitted::Entry& e) {
              ++writes;
              rows.at(e.number) = e;
            },
            [this](std::vector<std::uint64_t> numbers) {
              for (const std::uint64_t number : numbers) rows.erase(number);
            }};
  }
  std::vector<Admitted::Entry> all() const {
    std::vector<Admitted::Entry> out;
    for (const auto& [_, e] : rows) out.push_back(e);
    return out;
  }
};

TEST(AdmittedOnDisk, TheNextRunKnowsWhatThisOneKnew) {
  Disk disk;
  Admitted first;
  first.restore({}, disk.journal());
  bool kept = false;
  const std::uint64_t carols = first.note(entry("carol", "192.0.2.7"), [&](bool good) { kept = good; });
  EXPECT_TRUE(kept);
  first.note(entry("dave", "192.0.2.8", "dave's session"));
  auto start = told(AcctStatus::start, "a-1", "carol", "192.0.2.7");
  const ByteVector address{std::byte{10}, std::byte{3}, std::byte{0}, std::byte{1}};
  start.framed_address = address;
  const std::string mark = Admitted::mark(carols_session);
  start.classes = {mark};
  const auto recall = [](std::string_view) { return std::nullopt; };
  first.account(moon_address, "192.0.2.1", start, 2'000, recall);
  first.put_off(carols, 9'000);
  // What comes with each interim update alone isn't written each time.
  const std::size_t writes = disk.writes;
  auto interim = told(AcctStatus::interim, "a-1", "carol", "192.0.2.7");
  interim.octets_in = 77;
  first.account(moon_address, "192.0.2.1", interim, 3'000, recall);
  EXPECT_EQ(disk.writes, writes);
  first.change(carols, Recommendation::isolate);

  Admitted second;
  Disk after = disk;
  second.restore(after.all(), after.journal());
  EXPECT_EQ(second.size(), 2U);
  EXPECT_EQ(second.connected(), 1U);
  const auto found = second.of_device("device of carol");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found.front(), first.of_device("device of carol").front());
  EXPECT_EQ(found.front().accounting, "a-1");
  EXPECT_EQ(found.front().address, "10.3.0.1");
  EXPECT_EQ(found.front().recommendation, Recommendation::isolate);
  EXPECT_EQ(second.due(9'000, 100'000, 10).size(), 1U);
  // Its stop is of the entry that was restored, and numbers go on.
  second.account(moon_address, "192.0.2.1", told(AcctStatus::stop, "a-1"), 4'000, recall);
  EXPECT_EQ(second.size(), 1U);
  EXPECT_EQ(after.rows.size(), 1U);
  EXPECT_GT(second.note(entry("erin", "192.0.2.9", "erin's")), carols + 1);
  // A gateway that starts anew has forgotten them all.
  second.account(moon_address, "192.0.2.1", told(AcctStatus::on, ""), 5'000, recall);
  EXPECT_TRUE(after.rows.empty());
}

// Killed between a new entry and the end of the one whose port it has; and a store that has more than there may be.
TEST(AdmittedOnDisk, WhatIsntMeantAnyMoreIsDropped) {
  Disk disk;
  for (std::uint64_t n = 1; n <= 2; ++n) {
    disk.rows[n] = entry("carol", "192.0.2.7");
    disk.rows[n].number = n;
  }
  Admitted admitted;
  admitted.restore(disk.all(), disk.journal());
  EXPECT_EQ(admitted.size(), 1U);
  EXPECT_EQ(admitted.list(0, 9).front().number, 2U);
  ASSERT_EQ(disk.rows.size(), 1U);
  EXPECT_TRUE(disk.rows.contains(2));
  disk.rows.clear();
  for (std::uint64_t n = 1; n <= 9; ++n) {
    disk.rows[n] = entry("u" + std::to_string(n), "p");
    disk.rows[n].number = n;
    disk.rows[n].heard = std::int64_t(100 - n);  // the last one was heard of the longest ago
    disk.rows[n].admitted = 0;
  }
  Admitted few(8);
  few.restore(disk.all(), disk.journal());
  EXPECT_EQ(few.size(), 8U);
  EXPECT_FALSE(disk.rows.contains(9));
  EXPECT_EQ(disk.rows.size(), 8U);
}

TEST(AdmittedOnDisk, WhoCantBeKeptIsKnownToItsCaller) {
  Disk disk;
  disk.full = true;
  Admitted admitted;
  admitted.restore({}, disk.journal());
  std::optional<bool> kept;
  const std::uint64_t number = admitted.note(entry("carol", "192.0.2.7"), [&](bool good) { kept = good; });
  EXPECT_EQ(kept, false);
  admitted.remove(number);
  EXPECT_EQ(admitted.size(), 0U);
}

TEST(AdmittedOnDisk, LeasesEndInTheirOrderAlsoWhereTheClockWasSetBack) {
  Admitted admitted;
  const auto until = [&](const std::string& user, std::int64_t time) {
    Admitted::Entry e = entry(user, "p");
    e.until = time;
    return admitted.note(std::move(e));
  };
  const auto users = [&](std::int64_t now, std::size_t most = 10) {
    std::string out;
    for (const auto& e : admitted.due(now, 10'000, most)) out += e.user;
    return out;
  };
  until("c", 3'000);
  const std::uint64_t b = until("b", 2'000);
  until("a", 1'000);
  until("never", 0);
  until("ahead", 50'001);
  EXPECT_EQ(users(40'001), "abc");
  EXPECT_EQ(users(40'001, 2), "ab");
  EXPECT_EQ(users(999, 10), "ahead");
  EXPECT_EQ(users(40'000 - 1, 10), "abcahead");
  admitted.put_off(b, 9'000);
  EXPECT_EQ(users(40'001), "acb");
  admitted.put_off(b, 0);
  EXPECT_EQ(users(40'001), "ac");
  admitted.remove(b);
  EXPECT_EQ(users(40'001), "ac");
}


// --- requests of our own

class ExchangesTest : public testing::Test {
 protected:
  Exchanges::Request request(std::uint16_t port = 3799) const {
    return {{moon_address, port}, secret, [key = secret](std::uint8_t identifier) {
              radius::Builder b(radius::Code::disconnect_request, identifier);
              b.add_text(radius::type::user_name, "carol");
              return std::move(b).finish_signed_request(key->reveal());
            }, {2s, 4s, 8s}, false};
  }
  ByteVector answer(const ByteVector& to, radius::Code code, std::string_view key = "a secret of 22 letters") const {
    const auto asked = radius::parse_packet(to);
    return *radius::Builder(code, asked->identifier).finish_answer(asked->authenticator, as_bytes(key));
  }
  const std::shared_ptr<const Secret> secret = std::make_shared<const Secret>(as_bytes("a secret of 22 letters"));
  Exchanges exchanges;
  Exchanges::Clock::time_point now{1h};
};

TEST_F(ExchangesTest, SendsTheSameBytesAgainUntilTheAnswerComes) {
  const auto id = exchanges.begin(request(), now);
  ASSERT_TRUE(id);
  const auto first = exchanges.to_send();
  ASSERT_EQ(first.size(), 1U);
  EXPECT_TRUE(exchanges.to_send().empty());
  EXPECT_EQ(*exchanges.next(), now + 2s);
  EXPECT_TRUE(exchanges.expire(now + 1999ms).empty());
  EXPECT_TRUE(exchanges.to_send().empty());
  now += 2s;
  EXPECT_TRUE(exchanges.expire(now).empty());
  const auto second = exchanges.to_send();
  ASSERT_EQ(second.size(), 1U);
  EXPECT_EQ(second.front().packet, first.front().packet);
  EXPECT_EQ(*exchanges.next(), now + 4s);
  // Whoever doesn't know the secret, or sits elsewhere, or answers something else, isn't heard.
  const ByteVector good = answer(first.front().packet, radius::Code::disconnect_ack);
  EXPECT_FALSE(exchanges.receive({moon_address, 3799}, answer(first.front().packet, radius::Code::disconnect_ack, "another secret of 22 l"), now));
  EXPECT_FALSE(exchanges.receive({another_gateway, 3799}, good, now));
  EXPECT_FALSE(exchanges.receive({moon_address, 3798}, good, now));
  ByteVector wrong = good;
  wrong[1] ^= std::byte{1};
  EXPECT_FALSE(exchanges.receive({moon_address, 3799}, wrong, now));
  EXPECT_FALSE(exchanges.receive({moon_address, 3799}, as_bytes("rubbish"), now));
  const auto end = exchanges.receive({moon_address, 3799}, good, now);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->id, *id);
  EXPECT_EQ(end->answer, good);
  EXPECT_FALSE(exchanges.receive({moon_address, 3799}, good, now));
  EXPECT_EQ(exchanges.size(), 0U);
  EXPECT_FALSE(exchanges.next());
}

TEST_F(ExchangesTest, IsGivenUpAfterTheLastWait) {
  const auto id = exchanges.begin(request(), now);
  std::size_t sent = exchanges.to_send().size();
  std::vector<Exchanges::End> ended;
  while (const auto next = exchanges.next()) {
    now = *next;
    for (auto& one : exchanges.expire(now)) ended.push_back(std::move(one));
    sent += exchanges.to_send().size();
  }
  EXPECT_EQ(sent, 3U);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended.front().id, *id);
  EXPECT_TRUE(ended.front().answer.empty());
  EXPECT_EQ(now, Exchanges::Clock::time_point(1h) + 14s);
}

TEST_F(ExchangesTest, AnAnswerWithoutMessageAuthenticatorIsForThoseAloneWhoMayDoWithout) {
  const auto bare = [&](const ByteVector& to) {
    const auto asked = radius::parse_packet(to);
    ByteVector out{std::byte(radius::Code::disconnect_ack), std::byte{asked->identifier}, std::byte{0}, std::byte{20}};
    out.insert(out.end(), asked->authenticator.begin(), asked->authenticator.end());
    const Md5 made = md5({out, secret->reveal()});
    std::copy(made.begin(), made.end(), out.begin() + 4);
    return out;
  };
  exchanges.begin(request(), now);
  EXPECT_TRUE(exchanges.receive({moon_address, 3799}, bare(exchanges.to_send().front().packet), now));
  auto strict = request();
  strict.authenticated = true;
  exchanges.begin(std::move(strict), now);
  const ByteVector packet = exchanges.to_send().front().packet;
  EXPECT_FALSE(exchanges.receive({moon_address, 3799}, bare(packet), now));
  EXPECT_TRUE(exchanges.receive({moon_address, 3799}, answer(packet, radius::Code::disconnect_ack), now));
}

TEST_F(ExchangesTest, TwoHundredAndFiftySixAreUnderWayToOneGatewayAndTheRestWaitInOrder) {
  std::vector<Exchanges::Id> ids;
  for (int n = 0; n < 258; ++n) ids.push_back(*exchanges.begin(request(), now));
  auto sent = exchanges.to_send();
  EXPECT_EQ(sent.size(), 256U);
  std::set<std::byte> identifiers;
  for (const auto& one : sent) identifiers.insert(one.packet[1]);
  EXPECT_EQ(identifiers.size(), 256U);
  EXPECT_TRUE(exchanges.begin(request(4000), now));  // another port has its own
  EXPECT_EQ(exchanges.to_send().size(), 1U);
  ASSERT_TRUE(exchanges.receive({moon_address, 3799}, answer(sent[7].packet, radius::Code::disconnect_nak), now));
  const auto next = exchanges.to_send();
  ASSERT_EQ(next.size(), 1U);
  const auto end = exchanges.receive({moon_address, 3799}, answer(next.front().packet, radius::Code::disconnect_ack), now);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->id, ids[256]);
  Exchanges few(1);
  EXPECT_TRUE(few.begin(request(), now));
  EXPECT_FALSE(few.begin(request(), now));
}

// A gateway that is gone: what waits for it is given up in time, and what it holds is let go.
TEST_F(ExchangesTest, WhoWaitsTooLongForItsTurnIsGivenUp) {
  for (int n = 0; n < 256; ++n) exchanges.begin(request(), now);
  EXPECT_EQ(exchanges.to_send().size(), 256U);
  auto impatient = request();
  impatient.patience = 3s;
  const auto held = std::make_shared<int>(1);
  impatient.make = [held, make = impatient.make](std::uint8_t identifier) { return make(identifier); };
  const auto second = exchanges.begin(request(), now), first = exchanges.begin(std::move(impatient), now);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_EQ(exchanges.size(), 258U);
  EXPECT_TRUE(exchanges.expire(now + 3s - 1ms).empty());
  const auto ended = exchanges.expire(now + 3s);
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended.front().id, *first);
  EXPECT_TRUE(ended.front().answer.empty());
  EXPECT_EQ(held.use_count(), 1);
  // The other one has its turn when all 256 are given up (after 4 and 8 s more), and its own waits after that.
  std::vector<Exchanges::Id> later;
  while (const auto next = exchanges.next()) {
    now = *next;
    for (const auto& one : exchanges.expire(now)) later.push_back(one.id);
  }
  EXPECT_EQ(later.size(), 257U);
  EXPECT_EQ(later.back(), *second);
  EXPECT_EQ(now, Exchanges::Clock::time_point(1h) + 29s - 1ms);
  EXPECT_EQ(exchanges.size(), 0U);
}

// --- what goes along

TEST(RadiusReply, TheNearestGroupThatHasOneDecides) {
  RadiusConfig config;
  config.allow.vlan = 10;
  RadiusReply servers, printers;
  servers.vlan = 20;
  servers.vendor = {{9, 1, to_vector(as_bytes("shell:priv-lvl=15"))}};
  printers.vlan_name = "printers";
  config.groups = {{"servers", servers, std::nullopt, std::nullopt}, {"printers", printers, printers, std::nullopt}};
  const std::vector<std::string> nobody, near{"web", "servers", "printers"}, away{"printers", "servers"};
  EXPECT_EQ(reply_for(config, nobody, Recommendation::allow).group_id(), "10");
  EXPECT_EQ(reply_for(config, near, Recommendation::allow).group_id(), "20");
  EXPECT_EQ(reply_for(config, away, Recommendation::allow).group_id(), "printers");
  EXPECT_EQ(reply_for(config, near, Recommendation::isolate).group_id(), "printers");
  EXPECT_EQ(reply_for(config, near, Recommendation::block).filter_id, "");
  EXPECT_EQ(reply_for(config, near, std::nullopt).filter_id, "");
  radius::Builder b(radius::Code::coa_request, 1);
  append_place(b, servers, RadiusProfile::dot1x);
  const ByteVector made = *std::move(b).finish_signed_request(as_bytes("secret"));
  const auto packet = radius::parse_packet(made);
  EXPECT_EQ(packet->text(radius::type::tunnel_private_group_id), "20");
  EXPECT_EQ(as_text(radius::find_vendor(*packet, 9, 1).value_or(Bytes())), "shell:priv-lvl=15");
}

}  // namespace
}  // namespace gatehouse::server
