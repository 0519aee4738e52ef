#include "wire/pbtnc/state.h"

#include <gtest/gtest.h>

#include <map>

namespace gatehouse::pbtnc {
namespace {

using enum State;
constexpr State states[] = {init, server_working, client_working, decided, end};
constexpr BatchType types[] = {BatchType::cdata,  BatchType::sdata,  BatchType::result,
                               BatchType::cretry, BatchType::sretry, BatchType::close};

struct Outcome {
  State out;
  Effect effect = Effect::deliver;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
using Table = std::map<std::pair<State, BatchType>, Outcome>;

// A machine in the given state, reached by the shortest way.
StateMachine reach(Role role, State state) {
  StateMachine m(role);
  const bool server = role == Role::server;
  const auto step = [&](BatchType t, bool from_client) {
    const bool sends = from_client != server;
    EXPECT_TRUE(sends ? m.send(t).has_value() : m.receive(t).has_value());
  };
  if (state == init) return m;
  if (state == end) {
    step(BatchType::close, true);
    return m;
  }
  step(BatchType::cdata, true);
  if (state == client_working) step(BatchType::sdata, false);
  if (state == decided) step(BatchType::result, false);
  EXPECT_EQ(m.state(), state);
  return m;
}

void expect_receptions(Role role, const Table& table) {
  for (const State state : states)
    for (const BatchType type : types) {
      StateMachine m = reach(role, state);
      const auto effect = m.receive(type);
      const auto row = table.find({state, type});
      EXPECT_EQ(effect.has_value(), row != table.end()) << name(state) << " " << name(type);
      if (row == table.end()) {
        EXPECT_EQ(m.state(), state) << "a refused batch changes nothing";
        if (!effect) {
          EXPECT_EQ(effect.error().fault, Fault::protocol);
        }
      } else if (effect) {
        EXPECT_EQ((Outcome{m.state(), *effect}), row->second) << name(state) << " " << name(type);
      }
    }
}
void expect_sendings(Role role, const Table& table) {
  for (const State state : states)
    for (const BatchType type : types) {
      StateMachine m = reach(role, state);
      const auto row = table.find({state, type});
      EXPECT_EQ(m.may_send(type), row != table.end()) << name(state) << " " << name(type);
      EXPECT_EQ(m.send(type).has_value(), row != table.end()) << name(state) << " " << name(type);
      EXPECT_EQ(m.state(), row == table.end() ? state : row->second.out) << name(state) << " " << name(type);
    }
}

// Spec part 1a §4.7: every state with every batch type, for both roles.
TEST(PbTncState, ServerReceives) {
  expect_receptions(Role::server, {
                                      {{init, BatchType::cdata}, {server_working}},
                                      {{init, BatchType::close}, {end}},
                                      {{server_working, BatchType::cretry}, {server_working, Effect::ignore}},
                                      {{server_working, BatchType::close}, {end}},
                                      {{client_working, BatchType::cdata}, {server_working}},
                                      {{client_working, BatchType::cretry}, {server_working, Effect::start_over}},
                                      {{client_working, BatchType::close}, {end}},
                                      {{decided, BatchType::cretry}, {server_working, Effect::start_over}},
                                      {{decided, BatchType::close}, {end}},
                                      {{end, BatchType::close}, {end, Effect::ignore}},
                                  });
}
TEST(PbTncState, ServerSends) {
  expect_sendings(Role::server, {
                                    {{init, BatchType::sdata}, {client_working}},
                                    {{init, BatchType::close}, {end}},
                                    {{server_working, BatchType::sdata}, {client_working}},
                                    {{server_working, BatchType::result}, {decided}},
                                    {{server_working, BatchType::close}, {end}},
                                    {{client_working, BatchType::close}, {end}},
                                    {{decided, BatchType::sretry}, {server_working}},
                                    {{decided, BatchType::close}, {end}},
                                });
}
TEST(PbTncState, ClientReceives) {
  expect_receptions(Role::client, {
                                      {{init, BatchType::sdata}, {client_working}},
                                      {{init, BatchType::close}, {end}},
                                      {{server_working, BatchType::sdata}, {client_working}},
                                      {{server_working, BatchType::result}, {decided}},
                                      {{server_working, BatchType::sretry}, {client_working, Effect::start_over}},
                                      {{server_working, BatchType::close}, {end}},
                                      {{client_working, BatchType::close}, {end}},
                                      {{decided, BatchType::sretry}, {server_working, Effect::start_over}},
                                      {{decided, BatchType::close}, {end}},
                                      {{end, BatchType::close}, {end, Effect::ignore}},
                                  });
}
TEST(PbTncState, ClientSends) {
  expect_sendings(Role::client, {
                                    {{init, BatchType::cdata}, {server_working}},
                                    {{init, BatchType::close}, {end}},
                                    {{server_working, BatchType::close}, {end}},
                                    {{client_working, BatchType::cdata}, {server_working}},
                                    {{client_working, BatchType::cretry}, {server_working}},
                                    {{client_working, BatchType::close}, {end}},
                                    {{decided, BatchType::cretry}, {server_working}},
                                    {{decided, BatchType::close}, {end}},
                                });
}

TEST(PbTncState, LossOfTheTransportIsAClose) {
  for (const Role role : {Role::client, Role::server})
    for (const State state : states) {
      StateMachine m = reach(role, state);
      m.transport_ended();
      EXPECT_EQ(m.state(), end);
    }
}

// Both sides of one session.
struct Pair {
  StateMachine client = reach(Role::client, decided), server = reach(Role::server, decided);
};

TEST(PbTncState, ServerStartsOverWithARetryAndData) {
  Pair p;
  ASSERT_TRUE(p.server.send(BatchType::sretry) && p.server.send(BatchType::sdata));
  EXPECT_EQ(*p.client.receive(BatchType::sretry), Effect::start_over);
  EXPECT_FALSE(p.client.may_send(BatchType::cretry));
  EXPECT_EQ(*p.client.receive(BatchType::sdata), Effect::deliver);
  ASSERT_TRUE(p.client.send(BatchType::cdata));
  EXPECT_EQ(*p.server.receive(BatchType::cdata), Effect::deliver);
  ASSERT_TRUE(p.server.send(BatchType::result));
  EXPECT_EQ(*p.client.receive(BatchType::result), Effect::deliver);
  EXPECT_EQ(p.client.state(), decided);
  EXPECT_EQ(p.server.state(), decided);
}

// CRETRY and SRETRY are on their way at once: one new assessment comes of it, and neither side waits for ever.
TEST(PbTncState, RetriesThatCrossMakeOneAssessment) {
  for (const bool data_before_cretry : {true, false}) {
    Pair p;
    ASSERT_TRUE(p.client.send(BatchType::cretry));
    ASSERT_TRUE(p.server.send(BatchType::sretry));
    bool sent = data_before_cretry && p.server.send(BatchType::sdata);
    EXPECT_EQ(*p.server.receive(BatchType::cretry), Effect::ignore);
    sent = sent || p.server.send(BatchType::sdata).has_value();
    EXPECT_TRUE(sent);
    EXPECT_EQ(*p.client.receive(BatchType::sretry), Effect::start_over_unheard);
    EXPECT_EQ(p.client.state(), server_working);
    EXPECT_EQ(*p.client.receive(BatchType::sdata), Effect::deliver);
    ASSERT_TRUE(p.client.send(BatchType::cdata));
    EXPECT_EQ(*p.server.receive(BatchType::cdata), Effect::deliver);
    EXPECT_EQ(p.server.state(), server_working);
    // From here on a retry is an ordinary one again.
    ASSERT_TRUE(p.server.send(BatchType::result));
    EXPECT_EQ(*p.client.receive(BatchType::result), Effect::deliver);
    ASSERT_TRUE(p.client.send(BatchType::cretry));
    EXPECT_EQ(*p.server.receive(BatchType::cretry), Effect::start_over);
    ASSERT_TRUE(p.server.send(BatchType::sdata));
    EXPECT_EQ(*p.client.receive(BatchType::sdata), Effect::deliver);
  }
}

// strongSwan's server starts over before its verdict with SRETRY in place of SDATA, and expects CDATA.
TEST(PbTncState, ServerWorkingMayBeAnsweredWithARetry) {
  StateMachine client = reach(Role::client, server_working);
  EXPECT_EQ(*client.receive(BatchType::sretry), Effect::start_over);
  EXPECT_TRUE(client.may_send(BatchType::cdata));
}

}  // namespace
}  // namespace gatehouse::pbtnc
