// The SWIMA IMV's requests, and what comes of the answers (spec part 1b §5.6, §5.7, §5.9).
#include "tests/server_imv/swima_support.h"
#include "tests/wire_patnc/examples.h"
#include "tests/wire_patnc/value_rows.h"

namespace gatehouse::test {
namespace {

using swima::Action;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

using Swima = SwimaTest;

TEST_F(Swima, TheFirstTimeAnInventoryIsAskedFor) {
  ask_swidt("R");
  ByHand client(world());
  const auto request = requested(hello(client));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 1}));
  EXPECT_EQ(request->collector, pbtnc::any);
  const Answer last = tell_inventory(client, 1, 26, named({"a__1", "b__2", "c__3"}));
  EXPECT_EQ(last.type, pbtnc::BatchType::result);
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(assessment(last, ietf, swima_subtype), 0U);
  const pipeline::ItemResult result = swidt(client);
  EXPECT_EQ(result.result, "received inventory of 3 SW IDs and 0 SWID tags");
  EXPECT_EQ(result.evaluation, Evaluation::compliant);
  EXPECT_EQ(result.recommendation, Recommendation::allow);
  EXPECT_THAT(client.verdict().claims,
              ElementsAre("software: received inventory of 3 SW IDs and 0 SWID tags; no quote covers it"));
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__2", "c__3"));
  ASSERT_TRUE(head());
  EXPECT_EQ(head()->epoch, epoch);
  EXPECT_EQ(head()->last_eid, 26U);
  EXPECT_TRUE(head()->complete);
  EXPECT_TRUE(
      client.logged("received software ID inventory with 3 items for request 1 at last eid 26 of epoch 0x38cd4cc6, 0 "
                    "items to follow"));
}

TEST_F(Swima, LaterTheEventsSinceThen) {
  store_inventory(26, named({"a__1", "b__2"}));
  ByHand client(world());
  const auto request = requested(hello(client));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.earliest_eid, 27U);
  EXPECT_TRUE(request->request.identifiers_only);
  const Answer last = tell_events(
      client, request->request.id, {.last_eid = 28},
      {{27, Action::creation, "b__3", 3}, {27, Action::deletion, "b__2", 2}, {28, Action::creation, "c__1", 4}});
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received 3 SW ID events and 0 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__3", "c__1"));
  EXPECT_EQ(head()->last_eid, 28U);

  ByHand again(world());
  EXPECT_EQ(requested(hello(again))->request.earliest_eid, 29U);
  tell_events(again, 1, {.last_eid = 29}, {{29, Action::deletion, "c__1", 4}});
  EXPECT_EQ(swidt(again).result, "received 1 SW ID event and 0 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__3"));
}

TEST_F(Swima, NothingNewIsAnAnswerToo) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  tell_events(client, 1, {.last_eid = 26}, {});
  EXPECT_EQ(swidt(client).result, "received 0 SW ID events and 0 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__1"));
  EXPECT_TRUE(head()->complete);
}

TEST_F(Swima, AnEmptyInventoryReplacesTheOneBefore) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  EXPECT_EQ(tell_inventory(client, 1, 27, {}).access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 0 SW IDs and 0 SWID tags");
  EXPECT_THAT(installed(), IsEmpty());
  EXPECT_EQ(head()->last_eid, 27U);
}

TEST_F(Swima, EventsOfAnotherEpochAreKeptAndAnInventoryIsAskedFor) {
  store_inventory(26, named({"a__1", "b__2"}));
  ByHand client(world());
  hello(client);
  const Answer answer = tell_events(client, 1, {.last_eid = 3, .its_epoch = 7},
                                    {{2, Action::creation, "c__1"}, {3, Action::creation, "d__1", 2}});
  const auto request = requested(answer);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 2}));
  EXPECT_EQ(request->collector, 2U) << "the collector that answers is known";
  const Answer last = say(client, type::software_identifier_inventory,
                          inventory(2, 3, named({"c__1", "d__1"}), swima::Content::identifiers, 7));
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 2 SW IDs and 0 SWID tags");
  EXPECT_THAT(reasons(client.verdict()), ElementsAre(HasSubstr("the EID epoch changed from 952978630 to 7")));
  EXPECT_THAT(installed(), ElementsAre("c__1", "d__1"));
  EXPECT_EQ(head()->epoch, 7U);
  EXPECT_EQ(head()->events, 2U);
}

TEST_F(Swima, ALogThatWentBackIsFoundAndAnInventoryIsAskedFor) {
  store_inventory(26, named({"a__1", "b__2"}));
  ByHand client(world());
  hello(client);
  const auto request = requested(tell_events(client, 1, {.last_eid = 20}, {}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.earliest_eid, 0U);
  tell_inventory(client, 2, 20, named({"a__1"}));
  EXPECT_THAT(reasons(client.verdict()), ElementsAre("the event log went back from EID 26 to 20"));
  EXPECT_THAT(installed(), ElementsAre("a__1"));
  EXPECT_EQ(head()->last_eid, 20U);
}

TEST_F(Swima, APartialListIsFollowedToItsEnd) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  auto request =
      requested(tell_events(client, 1, {.last_eid = 40, .last_consulted = 30}, {{30, Action::creation, "b__1"}}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.identifiers_only = true, .id = 2, .earliest_eid = 31}));
  // Below what was asked for, in between, and beyond what was consulted: none of them is applied.
  request = requested(
      tell_events(client, 2, {.last_eid = 40, .last_consulted = 35},
                  {{29, Action::creation, "x__1"}, {33, Action::creation, "c__1"}, {36, Action::creation, "y__1"}}));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request.earliest_eid, 36U);
  tell_events(client, 3, {.last_eid = 41}, {{41, Action::creation, "d__1"}});
  EXPECT_EQ(swidt(client).result, "received 5 SW ID events and 0 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__1", "c__1", "d__1"));
  EXPECT_EQ(head()->last_eid, 41U);
  EXPECT_THAT(reasons(client.verdict()), ElementsAre("event out of range: EID 29", "event out of range: EID 36"));
}

TEST_F(Swima, APartialListIsFollowedFor64Rounds) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  Answer answer = hello(client);
  std::uint32_t requests = 0;
  while (const auto request = requested(answer)) {
    ++requests;
    ASSERT_EQ(request->request.earliest_eid, 26 + requests);
    answer = tell_events(client, request->request.id, {.last_eid = 1000, .last_consulted = 26 + requests}, {});
  }
  EXPECT_EQ(requests, 64U);
  EXPECT_EQ(answer.access, 1U);
  EXPECT_EQ(head()->last_eid, 26U + 64U) << "another session goes on there";
  EXPECT_THAT(reasons(client.verdict()), ElementsAre("after 64 requests the list of events ends at EID 90 of 1000"));
}

TEST_F(Swima, AListThatDoesntGoOnIsAnError) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  const Answer last = tell_events(client, 1, {.last_eid = 40, .last_consulted = 26}, {});
  EXPECT_EQ(last.type, pbtnc::BatchType::result);
  EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
  EXPECT_EQ(head()->last_eid, 26U);
}

// What strongSwan's collector does without its database: an error and an inventory, in one message.
TEST_F(Swima, AnInventoryInsteadOfEventsIsTaken) {
  store_inventory(26, named({"a__1"}));
  ByHand client(world());
  hello(client);
  const Answer last = client.say(
      {swima_message()
           .add(ietf, type::pa_tnc_error,
                swima_error(4, 1, "failed to collect SW ID events, fallback to SW ID inventory"))
           .add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1", "b__1"}), {}, 0x11223344))});
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 2 SW IDs and 0 SWID tags");
  EXPECT_EQ(head()->epoch, 0x11223344U);
  EXPECT_EQ(head()->last_eid, 1U);
  EXPECT_THAT(installed(), ElementsAre("a__1", "b__1"));
  EXPECT_TRUE(client.logged("received PA-TNC error 'SWIMA Error' for request 1"));
  EXPECT_TRUE(client.logged("description: failed to collect SW ID events, fallback to SW ID inventory"));
}

TEST_F(Swima, ErrorsWithoutDataFinishTheItem) {
  ask_swidt("R");
  const struct {
    std::uint32_t code;
    std::string text, result;
  } rows[] = {{4, "failed to collect SW ID inventory", "failed to collect SW ID inventory"},
              {4, "", "SWIMA Error"},
              {4, "a\nb", "a\\x0Ab"},
              {6, "too large for me", "too large for me (at most 4096 bytes)"}};
  for (const auto& row : rows) {
    ByHand client(world());
    hello(client);
    // Of another request: logged, and that is all.
    EXPECT_EQ(say(client, type::pa_tnc_error, swima_error(row.code, 99, row.text, 4096)).type, pbtnc::BatchType::sdata);
    const Answer last = say(client, type::pa_tnc_error, swima_error(row.code, 1, row.text, 4096));
    EXPECT_EQ(last.type, pbtnc::BatchType::result);
    EXPECT_EQ(last.access, 3U);
    EXPECT_EQ(assessment(last, ietf, swima_subtype), 3U);
    EXPECT_EQ(swidt(client).result, row.result);
    EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
    EXPECT_EQ(last.messages.size(), 1U) << "an error isn't answered by one";
  }
  EXPECT_FALSE(head());
}

TEST_F(Swima, AnIdThatIsInUseIsNotInsistedOn) {
  ask_swidt("R S");
  ByHand client(world());
  hello(client);
  for (std::uint32_t id = 1; id <= 3; ++id) {
    const auto request = requested(say(client, type::pa_tnc_error, swima_error(8, id, "in use")));
    ASSERT_TRUE(request);
    EXPECT_EQ(request->request, (swima::Request{.subscribe = true, .identifiers_only = true, .id = id + 1}));
  }
  EXPECT_EQ(say(client, type::pa_tnc_error, swima_error(8, 4, "in use")).type, pbtnc::BatchType::result);
  EXPECT_EQ(swidt(client).evaluation, Evaluation::error);
}

TEST_F(Swima, WithoutSegmentationItGoesOn) {
  ask_swidt("R");
  const auto refused = [](std::uint32_t vendor, std::uint32_t kind) {
    Writer information, w;
    patnc::append_error_information(information,
                                    patnc::TypeNotSupported{*from_hex("0100000000000005"), 0, vendor, kind});
    patnc::append_error(w, {ietf, 3, information.view()});
    return std::move(w).take();
  };
  ByHand client(world());
  hello(client);
  const Answer last =
      client.say({swima_message()
                      .add(ietf, type::pa_tnc_error, refused(tcg, type::contract_request))
                      .add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1"})))});
  EXPECT_EQ(last.access, 1U);
  ByHand other(world());
  hello(other);
  EXPECT_EQ(say(other, type::pa_tnc_error, refused(ietf, type::swima_request)).type, pbtnc::BatchType::result);
  EXPECT_EQ(swidt(other).evaluation, Evaluation::error);
  EXPECT_EQ(swidt(other).result, "the endpoint refused a message: Attribute Type Not Supported");
}

TEST_F(Swima, SilenceIsNoInventory) {
  ask_swidt("R");
  ByHand client(world());
  const Answer last = client.until_result(hello(client));
  EXPECT_EQ(last.type, pbtnc::BatchType::result);
  EXPECT_EQ(last.access, 3U);
  EXPECT_EQ(assessment(last, ietf, swima_subtype), 4U);
  EXPECT_EQ(swidt(client).result, "no software inventory received");
  EXPECT_EQ(swidt(client).evaluation, Evaluation::unknown);
  EXPECT_THAT(last.reasons, ElementsAre(std::pair("A required measurement is missing", "en")));
  EXPECT_FALSE(head());
}

TEST_F(Swima, WithoutAnItemNothingIsAskedOrTaken) {
  ask("\"FWDEN\"");
  ByHand client(world());
  const Answer last = client.say(
      {push(), swima_message().add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1"})))});
  EXPECT_EQ(last.access, 1U);
  EXPECT_THAT(last.of(ietf, swima_subtype), IsEmpty());
  EXPECT_FALSE(head());
}

TEST_F(Swima, WhatWasntAskedForIsDroppedAndCounted) {
  ask_swidt("R");
  ByHand client(world());
  hello(client);
  EXPECT_EQ(tell_inventory(client, 77, 5, named({"x__1"})).type, pbtnc::BatchType::sdata);
  EXPECT_EQ(tell_events(client, 0, {.last_eid = 5}, {{5, Action::creation, "x__1"}}).type, pbtnc::BatchType::sdata);
  // From another collector once one has answered; and a second time.
  const Answer last =
      client.say({swima_message(2).add(ietf, type::software_identifier_inventory, inventory(1, 1, named({"a__1"}))),
                  swima_message(3).add(ietf, type::software_identifier_inventory, inventory(1, 9, named({"x__2"}))),
                  swima_message(2).add(ietf, type::software_identifier_inventory, inventory(1, 9, named({"x__3"})))});
  EXPECT_EQ(last.access, 1U);
  EXPECT_THAT(client.verdict().warnings, ElementsAre("4 software attributes ignored: nothing had asked for it"));
  EXPECT_THAT(installed(), ElementsAre("a__1"));
}

TEST_F(Swima, OneAttributeTwiceHasToBeTheSame) {
  ask_swidt("R");
  const ByteVector one = inventory(1, 1, named({"a__1"})), other = inventory(1, 1, named({"b__1"}));
  for (const bool same : {true, false}) {
    ByHand client(world());
    hello(client);
    const Answer last = client.say({swima_message()
                                        .add(ietf, type::software_identifier_inventory, one)
                                        .add(ietf, type::software_identifier_inventory, same ? one : other)});
    EXPECT_EQ(last.type, pbtnc::BatchType::result);
    EXPECT_EQ(swidt(client).evaluation, same ? Evaluation::compliant : Evaluation::error);
    if (same) {
      EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags");
    }
  }
  EXPECT_THAT(installed(), ElementsAre("a__1"));
}

TEST_F(Swima, NothingIsKeptOfADeviceThatIsntEnrolled) {
  ask_swidt("R T");
  ByHand client(world());
  OsPush os;
  os.device = "somebody";
  const auto request = requested(client.say({os_push(os), contract()}));
  // Firmware and lists are asked of such a device too; it has none.
  ASSERT_TRUE(request);
  const Answer last = client.until_result(tell_inventory(client, request->request.id, 1, named({"a__1"})), 20);
  EXPECT_EQ(last.type, pbtnc::BatchType::result);
  EXPECT_NE(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags");
  EXPECT_FALSE(*world().state->software_head("somebody"));
}

TEST_F(Swima, AConversationThatEndsEarlyChangesNothing) {
  store_inventory(26, named({"a__1"}));
  {
    ByHand client(world());
    hello(client);
    tell_events(client, 1, {.last_eid = 40, .last_consulted = 30}, {{30, Action::creation, "b__1"}});
  }
  EXPECT_THAT(installed(), ElementsAre("a__1"));
  EXPECT_EQ(head()->last_eid, 26U);
}

TEST_F(Swima, EventsWhereAnInventoryWasAskedForAreKept) {
  ask_swidt("R");
  ByHand client(world());
  EXPECT_EQ(requested(hello(client))->request.earliest_eid, 0U);
  const Answer last =
      tell_events(client, 1, {.last_eid = 2}, {{1, Action::creation, "a__1"}, {2, Action::creation, "b__1"}});
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received 2 SW ID events and 0 SWID tags");
  ASSERT_TRUE(head());
  EXPECT_FALSE(head()->complete);
  EXPECT_EQ(head()->events, 2U);
  ByHand again(world());
  EXPECT_EQ(requested(hello(again))->request.earliest_eid, 0U) << "the set isn't known yet";
}

// ---- records

std::string tag_of(const std::string& id) {
  const auto parts = swima::split_identifier(id);
  return "<SoftwareIdentity tagId=\"" + std::string(parts->tag_id) + "\"><Entity regid=\"" + std::string(parts->regid) +
         "\" role=\"tagCreator\"/></SoftwareIdentity>";
}
std::vector<Software> tagged(const std::vector<std::string>& ids) {
  std::vector<Software> out;
  for (const std::string& id : ids) out.push_back({id, tag_of(id), 0});
  return out;
}
ByteVector tags(std::uint32_t request, const std::vector<Software>& software) {
  return inventory(request, 1, software, swima::Content::records);
}

TEST_F(Swima, WithoutRTheTagsThemselvesAreAskedFor) {
  store_inventory(26, named({"a__1"}));
  ask_swidt("");
  ByHand client(world());
  const auto request = requested(hello(client));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.id = 1}));
  say(client, type::software_inventory, tags(1, tagged({"a__wr-1", "b__wr-1"})));
  EXPECT_EQ(swidt(client).result, "received 2 SWID tags");
  EXPECT_THAT(installed(), ElementsAre("a__wr-1", "b__wr-1"));
  ASSERT_EQ(world().state->software_tags("b__wr-1")->size(), 1U);
  EXPECT_EQ(as_text(world().state->software_tags("b__wr-1")->front().content), tag_of("b__wr-1"));
}

TEST_F(Swima, TagsOfWhatHasNoneAreAskedFor) {
  ask_swidt("R T");
  ByHand client(world());
  hello(client);
  const auto request = requested(tell_inventory(client, 1, 26, named({"a__t-1", "b__t-1", "c__t-1"})));
  ASSERT_TRUE(request);
  EXPECT_EQ(request->request, (swima::Request{.id = 2}));
  EXPECT_THAT(request->targets, UnorderedElementsAre("a__t-1", "b__t-1", "c__t-1"));
  EXPECT_EQ(request->collector, 2U);
  // One has a tag, one is left out, and one that nobody asked for comes along.
  const Answer last = say(client, type::software_inventory, tags(2, tagged({"a__t-1", "z__t-1", "c__t-1"})));
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 3 SW IDs and 2 SWID tags");
  EXPECT_TRUE(*world().state->has_software_tag("a__t-1"));
  EXPECT_FALSE(*world().state->has_software_tag("z__t-1"));
  EXPECT_THAT(installed(), ElementsAre("a__t-1", "b__t-1", "c__t-1")) << "tags say nothing of what is installed";
  EXPECT_THAT(world().state->software_without_tag(device_, 10)->software, IsEmpty()) << "that b has none is known";
  // What is known isn't asked for again; what is new is, and what was installed without.
  ByHand again(world());
  hello(again);
  const auto more = requested(
      tell_events(again, 1, {.last_eid = 28}, {{27, Action::creation, "d__t-1"}, {28, Action::deletion, "c__t-1", 3}}));
  ASSERT_TRUE(more);
  EXPECT_THAT(more->targets, ElementsAre("d__t-1"));
  EXPECT_EQ(say(again, type::software_inventory, tags(2, {})).access, 1U) << "an answer without records is one";
  EXPECT_EQ(swidt(again).result, "received 2 SW ID events and 0 SWID tags");
}

TEST_F(Swima, TagsOfWhatWasInstalledBeforeAreAskedForToo) {
  store_inventory(26, named({"a__b4-1", "b__b4-1"}));
  ask_swidt("R T");
  ByHand client(world());
  hello(client);
  const auto request = requested(tell_events(client, 1, {.last_eid = 26}, {}));
  ASSERT_TRUE(request);
  EXPECT_THAT(request->targets, UnorderedElementsAre("a__b4-1", "b__b4-1"));
  say(client, type::software_inventory, tags(2, tagged({"a__b4-1", "b__b4-1"})));
  EXPECT_EQ(swidt(client).result, "received 0 SW ID events and 2 SWID tags");
  EXPECT_TRUE(*world().state->has_software_tag("b__b4-1"));
}

TEST_F(Swima, TagsAreAskedFor500AtATime) {
  ask_swidt("R T");
  std::vector<Software> many;
  for (unsigned i = 0; i < 1200; ++i) many.push_back({"m__" + std::to_string(i), {}, i});
  ByHand client(world());
  hello(client);
  Answer answer = tell_inventory(client, 1, 26, many);
  std::vector<std::size_t> sizes;
  std::set<std::string> asked;
  while (const auto request = requested(answer)) {
    sizes.push_back(request->targets.size());
    asked.insert(request->targets.begin(), request->targets.end());
    answer = say(client, type::software_inventory, tags(request->request.id, tagged(request->targets)));
  }
  EXPECT_THAT(sizes, ElementsAre(500U, 500U, 200U));
  EXPECT_EQ(asked.size(), 1200U);
  EXPECT_EQ(swidt(client).result, "received inventory of 1200 SW IDs and 1200 SWID tags");
  EXPECT_TRUE(*world().state->has_software_tag("m__1199"));
}

TEST_F(Swima, ATagOfAnotherSoftwareIsntKept) {
  ask_swidt("R T");
  ByHand client(world());
  hello(client);
  tell_inventory(client, 1, 26, named({"a__mm-1", "b__mm-1", "c__mm-1"}));
  say(client, type::software_inventory,
      tags(2, {{"a__mm-1", tag_of("b__mm-1")},
               {"b__mm-1", "<!DOCTYPE x>" + tag_of("b__mm-1")},
               {"c__mm-1", tag_of("c__mm-1")}}));
  EXPECT_EQ(swidt(client).result, "received inventory of 3 SW IDs and 3 SWID tags");
  EXPECT_EQ(swidt(client).evaluation, Evaluation::compliant);
  const auto& findings = client.verdict().findings;
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].reason, "tag identity mismatch");
  EXPECT_EQ(findings[0].path, "a__mm-1");
  EXPECT_EQ(findings[0].component, "software");
  EXPECT_EQ(findings[1].reason, "tag can't be read: document type declarations aren't allowed");
  EXPECT_FALSE(*world().state->has_software_tag("a__mm-1"));
  EXPECT_FALSE(*world().state->has_software_tag("b__mm-1"));
  EXPECT_TRUE(*world().state->has_software_tag("c__mm-1"));
}

TEST_F(Swima, TagsThatDontComeLeaveTheInventory) {
  ask_swidt("R T");
  ByHand client(world());
  hello(client);
  const Answer last = client.until_result(tell_inventory(client, 1, 26, named({"a__dc-1"})));
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received inventory of 1 SW ID and 0 SWID tags");
  EXPECT_THAT(reasons(client.verdict()), ElementsAre("the tags that were asked for didn't come"));
  EXPECT_THAT(installed(), ElementsAre("a__dc-1"));
}

// ---- the worked examples

TEST_F(Swima, TheExamplesOfTheSpecificationAreUnderstood) {
  enrol_host1(world(), "732c769e8d1b2efef8b64d5ae83f84d129733fdd", "Ubuntu 20.04 x86_64");
  ask_swidt("R S");
  const auto example = [](std::uint32_t subtype, std::uint16_t collector, std::string_view hex) {
    return Pa(ietf, subtype, collector).body(*from_hex(hex));
  };
  const auto with_id = [](std::string_view hex, std::uint32_t id) {
    std::string out(hex);
    Writer w;
    w.put(id);
    for (std::size_t at; (at = out.find("00000293")) != out.npos;) out.replace(at, 8, to_hex(w.view()));
    return out;
  };
  namespace examples = patnc::examples;
  ByHand client(world());
  client.say({example(os_subtype, 1, examples::os_push), example(swima_subtype, 2, examples::contract_request)});
  const Answer last = client.say({example(swima_subtype, 2, with_id(examples::swima_events, 1))});
  // An inventory was asked for, and events came: taken as they are.
  EXPECT_EQ(last.access, 1U);
  EXPECT_EQ(swidt(client).result, "received 2 SW ID events and 0 SWID tags") << "the subscription was denied";
  EXPECT_TRUE(client.logged("received PA-TNC error 'SWIMA Subscription Denied' for request 1"));
  EXPECT_TRUE(client.logged("description: subscriptions not enabled"));
  EXPECT_TRUE(client.logged("SWIMA subscription 1 cleared"));
}

}  // namespace
}  // namespace gatehouse::test
