// Who is taken on and who waits, on a clock of the test's own.
#include "server/tls/admission.h"

#include <gtest/gtest.h>

#include <vector>

namespace gatehouse::server {
namespace {

using namespace std::chrono_literals;
using Id = Admission::Id;

constexpr Admission::Clock::time_point start{};

Id arrive(Admission& a, const std::string& address, Admission::Clock::time_point now = start) { return a.arrive(address, now).value().id; }
std::vector<Id> begun(Admission& a, Admission::Clock::time_point now = start) {
  std::vector<Id> out;
  while (const auto turn = a.next(now, false)) out.push_back(turn->id);
  return out;
}

TEST(Admission, BeginsInTheOrderOfArrivalAndTheAddressesByTurns) {
  Admission a({});
  const Id crowd1 = arrive(a, "192.0.2.1"), crowd2 = arrive(a, "192.0.2.1"), crowd3 = arrive(a, "192.0.2.1");
  const Id other = arrive(a, "192.0.2.2");
  EXPECT_EQ(a.waiting(), 4u);
  EXPECT_EQ(begun(a), (std::vector{crowd1, other, crowd2, crowd3}));
  EXPECT_EQ(a.waiting(), 0u);
  EXPECT_EQ(a.handshakes(), 4u);
}

TEST(Admission, TakesNobodyOnWhileTheMachineIsBehind) {
  Admission a({});
  const Id one = arrive(a, "192.0.2.1");
  EXPECT_FALSE(a.next(start, true));
  EXPECT_EQ(a.waiting(), 1u);
  EXPECT_EQ(begun(a), std::vector{one});
}

TEST(Admission, RefusesWhatGoesBeyondItsLimits) {
  Admission a({.connections = 5, .connections_per_address = 3, .handshakes = 512, .waiting = 4, .waiting_per_address = 2});
  const Id first = arrive(a, "192.0.2.1");
  arrive(a, "192.0.2.1");
  EXPECT_EQ(a.arrive("192.0.2.1", start).error(), Admission::Refusal::waiting) << "two of its address wait";
  begun(a);
  arrive(a, "192.0.2.1");
  EXPECT_EQ(a.arrive("192.0.2.1", start).error(), Admission::Refusal::address);
  arrive(a, "192.0.2.2");
  arrive(a, "192.0.2.3");
  EXPECT_EQ(a.arrive("192.0.2.4", start).error(), Admission::Refusal::connections);
  a.gone(first);
  EXPECT_TRUE(a.arrive("192.0.2.4", start));
  EXPECT_EQ(a.connections(), 5u);
  EXPECT_EQ(a.waiting(), 4u);
  EXPECT_EQ(begun(a).size(), 4u);
}

TEST(Admission, BoundsTheRoomForAll) {
  Admission a({.connections = 100, .connections_per_address = 100, .handshakes = 512, .waiting = 3, .waiting_per_address = 2});
  for (const char* const address : {"192.0.2.1", "192.0.2.2", "192.0.2.3"}) arrive(a, address);
  EXPECT_EQ(a.arrive("192.0.2.4", start).error(), Admission::Refusal::waiting);
}

// A crowd that fills the room from many addresses keeps nobody else out: the longest queue gets shorter.
TEST(Admission, WhoComesFromWhereFewerWaitTakesAPlaceInAFullRoom) {
  Admission a({.connections = 100, .connections_per_address = 100, .handshakes = 1, .waiting = 6, .waiting_per_address = 100});
  for (int n = 0; n < 2; ++n) arrive(a, "192.0.2.1");
  std::vector<Id> crowd;
  for (int n = 0; n < 4; ++n) crowd.push_back(arrive(a, "192.0.2.2"));
  const auto other = a.arrive("192.0.2.3", start);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->leaves, crowd[3]) << "the last that came";
  EXPECT_EQ(a.arrive("192.0.2.3", start).value().leaves, crowd[2]);
  EXPECT_EQ(a.arrive("192.0.2.3", start).error(), Admission::Refusal::waiting) << "two of each wait: nobody has too many";
  EXPECT_EQ(a.arrive("192.0.2.2", start).error(), Admission::Refusal::waiting);
  EXPECT_TRUE(a.arrive("192.0.2.4", start));
  EXPECT_EQ(a.waiting(), 6u);
  EXPECT_EQ(a.connections(), 6u);
  a.gone(crowd[2]);  // is gone already
  EXPECT_EQ(a.waiting(), 6u);
}

// Nor where it holds all connections that there may be, and some of them only wait.
TEST(Admission, WhoWaitsInACrowdGivesHisConnectionToo) {
  Admission a({.connections = 4, .connections_per_address = 4, .handshakes = 1});
  std::vector<Id> crowd;
  for (int n = 0; n < 4; ++n) crowd.push_back(arrive(a, "192.0.2.1"));
  EXPECT_EQ(begun(a), std::vector{crowd[0]});
  const auto other = a.arrive("192.0.2.2", start);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->leaves, crowd[3]);
  EXPECT_EQ(a.connections(), 4u);
}

// Peers that connect and say nothing: they have their time, and then they keep nobody out.
TEST(Admission, AHandshakeThatTakesItsTimeGivesWayToWhoWaits) {
  Admission a({.connections = 100, .connections_per_address = 100, .handshakes = 2});
  const Id silent = arrive(a, "192.0.2.1"), quick = arrive(a, "192.0.2.1");
  begun(a);
  const Id waits = arrive(a, "192.0.2.2", start + 900ms);
  EXPECT_FALSE(a.next(start + 1'000ms, false));
  const auto turn = a.next(start + 1'001ms, false);
  ASSERT_TRUE(turn);
  EXPECT_EQ(turn->id, waits);
  EXPECT_EQ(turn->gives_way, silent);
  EXPECT_EQ(a.handshakes(), 2u);
  a.gone(silent);
  EXPECT_EQ(a.handshakes(), 2u) << "its place is another's";
  a.established(quick);
  EXPECT_EQ(a.handshakes(), 1u);
  const Id next = arrive(a, "192.0.2.2", start + 5s);
  const auto free = a.next(start + 5s, false);
  ASSERT_TRUE(free);
  EXPECT_EQ(free->id, next);
  EXPECT_FALSE(free->gives_way) << "there is a place";
}

// Of each address that waits one begins in turn, a hundred in a second.
class Crowded : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int n = 0; n < 1'000; ++n) arrive(a_, "192.0.2.1");
    serve(1s);
  }
  void serve(std::chrono::milliseconds time) {
    for (const auto until = now_ + time; now_ < until; now_ += 10ms)
      if (const auto turn = a_.next(now_, false)) a_.gone(turn->id);
  }
  Admission a_{{.connections = 10'000, .connections_per_address = 10'000, .waiting_per_address = 10'000}};
  Admission::Clock::time_point now_ = start;
};

TEST_F(Crowded, WhoWouldWaitTooLongIsRefusedAtOnce) {
  ASSERT_EQ(a_.waiting(), 900u);
  EXPECT_EQ(a_.arrive("192.0.2.1", now_).error(), Admission::Refusal::waiting) << "its turn would come in nine seconds";
  serve(2s);
  EXPECT_TRUE(a_.arrive("192.0.2.1", now_)) << "in seven";
}

TEST_F(Crowded, KeepsNobodyElseOut) { EXPECT_TRUE(a_.arrive("192.0.2.2", now_)); }

TEST_F(Crowded, SecondWithoutTurnsIsNotTakenForTheNext) {
  serve(6s);
  EXPECT_TRUE(a_.arrive("192.0.2.1", now_));
  now_ += 1s;  // nobody begins
  EXPECT_TRUE(a_.arrive("192.0.2.1", now_)) << "302 wait, and a hundred began in each second before";
}

TEST_F(Crowded, EmptiedRoomTakesEverybody) {
  serve(10s);
  ASSERT_EQ(a_.waiting(), 0u);
  now_ += 1h;
  for (int n = 0; n < 8'000; ++n) ASSERT_TRUE(a_.arrive("192.0.2.1", now_)) << n;
}

TEST(Admission, WhoHasWaitedTooLongIsClosedAndTakesNoPlace) {
  Admission a({.connections = 100, .connections_per_address = 100, .handshakes = 1});
  arrive(a, "192.0.2.1");
  begun(a);
  const Id late = arrive(a, "192.0.2.1"), good = arrive(a, "192.0.2.2", start + 9s);
  a.established(1);
  const auto first = a.next(start + 11s, false), second = a.next(start + 11s, false);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->id, late);
  EXPECT_TRUE(first->late);
  EXPECT_EQ(second->id, good);
  EXPECT_FALSE(second->late);
  a.gone(late);
  EXPECT_EQ(a.connections(), 2u);
}

TEST(Admission, WhoLeavesWhileHeWaitsIsForgotten) {
  Admission a({});
  const Id leaves = arrive(a, "192.0.2.1"), stays = arrive(a, "192.0.2.1"), alone = arrive(a, "192.0.2.2");
  a.gone(leaves);
  a.gone(alone);
  EXPECT_EQ(begun(a), std::vector{stays});
  a.gone(stays);
  EXPECT_EQ(a.connections() + a.waiting() + a.handshakes(), 0u);
}

TEST(Pace, IsBehindAfterTwoLongWaitsUntilOneIsHalfAsLong) {
  Pace pace(100ms);
  EXPECT_FALSE(pace.note(101ms)) << "a long piece of work";
  EXPECT_FALSE(pace.note(99ms));
  EXPECT_FALSE(pace.note(101ms));
  EXPECT_TRUE(pace.note(101ms));
  EXPECT_TRUE(pace.note(51ms)) << "not caught up yet";
  EXPECT_FALSE(pace.note(50ms));
  EXPECT_FALSE(pace.note(101ms));
}

}  // namespace
}  // namespace gatehouse::server
