// Subscriptions: asked for, denied, served on a later assessment of the same connection, cleared (spec part 1b §5.8,
// §5.9).
#include "tests/server_imv/swima_support.h"

namespace gatehouse::test {
namespace {

using swima::Action;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class SwimaSubscription : public SwimaTest {
 protected:
  // A first assessment that leaves a subscription.
  void subscribe(ByHand& client) const {
    ask_swidt("R S");
    const auto request = requested(hello(client));
    ASSERT_TRUE(request);
    EXPECT_TRUE(request->request.subscribe);
    EXPECT_FALSE(request->request.clear_subscriptions);
    ASSERT_EQ(tell_inventory(client, 1, 26, named({"a__1"})).type, pbtnc::BatchType::result);
    EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags from subscription 1");
  }
  // Another assessment of a kept connection, which begins with these.
  Answer again(ByHand& client, std::vector<Pa> more = {}) const {
    more.insert(more.begin(), push());
    return client.send(client_batch(more, pbtnc::BatchType::cretry));
  }
  static Pa fulfilment(const EventList& list, const std::vector<Happened>& happened, std::uint32_t id = 1,
                       std::uint16_t collector = 2) {
    return swima_message(collector).add(ietf, type::software_identifier_events, events(id, list, happened));
  }
};

TEST_F(SwimaSubscription, FulfilmentsAreTakenWithAndWithoutTheirFlag) {
  ByHand client(world());
  subscribe(client);
  std::uint32_t eid = 26;
  for (const bool flag : {false, true}) {
    ++eid;
    const Answer last = again(client, {fulfilment({.last_eid = eid, .fulfilment = flag},
                                                  {{eid, Action::creation, "b__" + std::to_string(eid)}})});
    EXPECT_EQ(last.type, pbtnc::BatchType::result) << "nothing is asked for: the identity says who it is";
    EXPECT_EQ(last.access, 1U);
    EXPECT_FALSE(requested(last));
    EXPECT_EQ(assessment(last, ietf, swima_subtype), 0U) << "the client's collector goes on from here";
    EXPECT_EQ(swidt(client).result, "received 1 SW ID event and 0 SWID tags from subscription 1");
  }
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__27", "b__28"));
  EXPECT_EQ(head()->last_eid, 28U);
}

TEST_F(SwimaSubscription, WhatIsToldAgainChangesNothing) {
  ByHand client(world());
  subscribe(client);
  again(client, {fulfilment({.last_eid = 27}, {{27, Action::creation, "b__1"}})});
  again(client, {fulfilment({.last_eid = 27}, {{27, Action::creation, "b__1"}})});
  EXPECT_EQ(swidt(client).result, "received 1 SW ID event and 0 SWID tags from subscription 1");
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__1"));
  EXPECT_THAT(reasons(client.verdict()), IsEmpty());
  EXPECT_TRUE(head()->complete);
}

TEST_F(SwimaSubscription, APartialOrVoidFulfilmentLeadsToRequestsWithOtherIds) {
  ByHand client(world());
  subscribe(client);
  auto request =
      requested(again(client, {fulfilment({.last_eid = 40, .last_consulted = 30}, {{30, Action::creation, "b__1"}})}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 2, .earliest_eid = 31}))
      << "the subscription lives on";
  tell_events(client, 2, {.last_eid = 40}, {{40, Action::creation, "c__1"}});
  EXPECT_EQ(swidt(client).result, "received 2 SW ID events and 0 SWID tags from subscription 1");
  request = requested(again(client, {fulfilment({.last_eid = 1, .its_epoch = 9}, {})}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 3}));
  say(client, type::software_identifier_inventory, inventory(3, 1, named({"z__1"}), swima::Content::identifiers, 9));
  EXPECT_THAT(installed(), ElementsAre("z__1"));
}

// An inventory may come too large for a message: its first segment arrives before it is known who the endpoint is.
TEST_F(SwimaSubscription, AFulfilmentMayComeInSegments) {
  ByHand client(world());
  subscribe(client);
  Writer whole;
  patnc::append_attribute(
      whole, 0, ietf, type::software_identifier_events,
      events(1, {.last_eid = 28}, {{27, Action::creation, "b__1"}, {28, Action::creation, "c__1"}}));
  const auto segment = [&](std::size_t at, std::size_t size, std::uint8_t flags) {
    Writer w;
    patnc::append_envelope(w, {flags, 5, whole.view().subspan(at, size)});
    return swima_message().add(tcg, type::segment_envelope, w.view());
  };
  Answer answer = again(client, {segment(0, 80, patnc::first_segment | patnc::more_segments)});
  EXPECT_FALSE(requested(answer));
  ASSERT_TRUE(answer.attribute(tcg, type::next_segment));
  answer = client.say({segment(80, whole.size() - 80, 0)});
  EXPECT_EQ(answer.access, 1U);
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__1", "c__1"));
}

TEST_F(SwimaSubscription, ADeniedOneIsGoneWithoutOne) {
  ask_swidt("R S");
  ByHand client(world());
  hello(client);
  client.say({swima_message()
                  .add(ietf, type::pa_tnc_error, swima_error(5, 1, "subscriptions not enabled"))
                  .add(ietf, type::software_identifier_inventory, inventory(1, 26, named({"a__1"})))});
  EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags");
  EXPECT_TRUE(client.logged("SWIMA subscription 1 cleared"));
  // Nothing comes by itself: what is unasked is dropped, and asked for anew.
  const auto request = requested(again(client, {fulfilment({.last_eid = 27}, {{27, Action::creation, "b__1"}})}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request,
            (swima::Request{.subscribe = true, .identifiers_only = true, .id = 2, .earliest_eid = 27}));
}

TEST_F(SwimaSubscription, WithoutAFulfilmentItIsAskedAgain) {
  ByHand client(world());
  subscribe(client);
  Answer answer = again(client);
  EXPECT_EQ(answer.type, pbtnc::BatchType::sdata);
  EXPECT_FALSE(requested(answer)) << "it may come with the next batch";
  answer = client.say({});
  const auto request = requested(answer);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request,
            (swima::Request{.subscribe = true, .identifiers_only = true, .id = 2, .earliest_eid = 27}));
  EXPECT_EQ(tell_events(client, 2, {.last_eid = 26}, {}).access, 1U);
  EXPECT_EQ(swidt(client).result, "received 0 SW ID events and 0 SWID tags from subscription 2");
}

TEST_F(SwimaSubscription, AFulfilmentThatFailedIsAskedFor) {
  ByHand client(world());
  subscribe(client);
  const auto request = requested(
      again(client, {swima_message().add(ietf, type::pa_tnc_error, swima_error(7, 1, std::string(8, '\0')))}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 2, .earliest_eid = 27}));
}

TEST_F(SwimaSubscription, IsClearedWithC) {
  ByHand client(world());
  subscribe(client);
  ask_swidt("R C");
  const auto request = requested(again(client, {fulfilment({.last_eid = 27}, {{27, Action::creation, "b__1"}})}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request,
            (swima::Request{.clear_subscriptions = true, .identifiers_only = true, .id = 2, .earliest_eid = 27}));
  tell_events(client, 2, {.last_eid = 27}, {{27, Action::creation, "b__1"}});
  EXPECT_EQ(swidt(client).result, "received 1 SW ID event and 0 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__1"));
}

TEST_F(SwimaSubscription, IsServedByItsCollectorOnly) {
  ByHand client(world());
  subscribe(client);
  const Answer answer = again(client, {fulfilment({.last_eid = 27}, {{27, Action::deletion, "a__1"}}, 1, 3)});
  EXPECT_EQ(answer.type, pbtnc::BatchType::sdata);
  EXPECT_THAT(installed(), ElementsAre("a__1"));
}

TEST_F(SwimaSubscription, EndsWithItsConnection) {
  {
    ByHand client(world());
    subscribe(client);
  }
  ByHand client(world());
  const auto request = requested(client.say({push(), fulfilment({.last_eid = 27}, {{27, Action::creation, "b__1"}})}));
  ASSERT_TRUE(request) << "what was subscribed to elsewhere is unasked here";
  EXPECT_TRUE(request->request.subscribe);
}

}  // namespace
}  // namespace gatehouse::test
