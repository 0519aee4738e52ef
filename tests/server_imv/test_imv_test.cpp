// The Test IMV: the endpoint's commands, where the operator lets it decide; nothing at all where he doesn't.
#include "tests/server_imv/support.h"

namespace gatehouse::test {
namespace {

using TestProtocol = Imvs;

Pa command(const std::string& word, std::uint16_t collector = 1) {
  return Pa(ita, 1, collector).add(ita, type::ita_command, word);
}

TEST_F(TestProtocol, RecommendsWhatItIsTold) {
  const struct {
    const char* word;
    Recommendation recommendation;
    std::uint32_t assessment;
    std::uint16_t access;
  } rows[] = {
      {"allow", Recommendation::allow, 0, 1},
      {"isolate", Recommendation::isolate, 1, 3},
      {"block", Recommendation::block, 2, 2},
      {"none", Recommendation::allow, 4, 1},  // no opinion: that of the others
      {"reboot", Recommendation::isolate, 3, 3},
      {"", Recommendation::isolate, 3, 3},
      {"allow ", Recommendation::isolate, 3, 3},
  };
  for (const auto& row : rows) {
    ask("\"FWDEN\"");
    world().settings.test_imv = true;
    ByHand client(world());
    const Answer answer = client.say({os_push(), command(row.word)});
    ASSERT_EQ(answer.type, pbtnc::BatchType::result) << row.word;
    EXPECT_EQ(answer.access, row.access) << row.word;
    EXPECT_EQ(assessment(answer, ita, 1), row.assessment) << row.word;
    EXPECT_EQ(client.verdict().recommendation, row.recommendation) << row.word;
  }
}

// A "none" that all have to agree on is no allow.
TEST_F(TestProtocol, TakesPartInTheCombination) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"", "combine = \"all\"");
  ByHand none(world());
  EXPECT_EQ(none.say({os_push(), command("none")}).access, 2U);
  ask("\"FWDEN\"", "combine = \"any\"");
  OsPush os;
  os.forwarding = 1;
  ByHand any(world());
  EXPECT_EQ(any.say({os_push(os), command("allow")}).access, 1U);
  ask("\"FWDEN\"");
  ByHand strictest(world());
  EXPECT_EQ(strictest.say({os_push(os), command("allow")}).access, 3U);
}

TEST_F(TestProtocol, OfSeveralCollectorsTheStrictestCounts) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"");
  ByHand client(world());
  EXPECT_EQ(client.say({os_push(), command("block", 1), command("allow", 2)}).access, 2U);
}

TEST_F(TestProtocol, TellsEachCollectorThatSpokeAndNobodyElse) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"");
  ByHand client(world());
  const Answer answer = client.say({os_push(), command("isolate", 7), command("allow", 5), command("isolate", 7)});
  std::vector<std::uint16_t> told;
  for (const ServerMessage* m : answer.of(ita, 1)) {
    EXPECT_TRUE(m->exclusive);
    EXPECT_EQ(m->names(), std::vector<std::string>{"IETF/Assessment Result"});
    told.push_back(m->collector);
  }
  EXPECT_EQ(told, (std::vector<std::uint16_t>{7, 5}));
}

TEST_F(TestProtocol, ACommandAfterItsResultCountsToo) {
  world().settings.test_imv = true;
  ask("{type = \"TCPOP\", argument = \"22\"}");
  const Pa ports = Pa(ietf, patnc::subtype_firewall).add(ietf, type::port_filter, *from_hex("00060016"));
  for (const auto& [word, access] : {std::pair{"allow", 1U}, std::pair{"isolate", 3U}, std::pair{"block", 2U}}) {
    ByHand client(world());
    client.say({os_push(), command("allow")});
    EXPECT_EQ(client.say({command(word), ports}).access, access) << word;
  }
}

TEST_F(TestProtocol, MeansNothingUnlessItIsEnabled) {
  ask("\"FWDEN\"");
  for (const char* word : {"allow", "isolate", "block", "none", "reboot"}) {
    OsPush os;
    ByHand good(world());
    const Answer answer = good.say({os_push(os), command(word)});
    EXPECT_EQ(answer.access, 1U) << word;
    EXPECT_TRUE(answer.of(ita, 1).empty());
    os.forwarding = 1;
    ByHand bad(world());
    EXPECT_EQ(bad.say({os_push(os), command(word)}).access, 3U) << word;
  }
}

TEST_F(TestProtocol, WithoutATestCollectorHasNoOpinion) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"");
  ByHand client(world());
  const Answer answer = client.say({os_push()});
  EXPECT_EQ(answer.access, 1U);
  EXPECT_TRUE(answer.of(ita, 1).empty());
}

TEST_F(TestProtocol, RepeatsForSomeRounds) {
  ask("\"FWDEN\"");
  world().settings.test_imv = true;
  world().settings.test_rounds = 2;
  ByHand client(world());
  Answer answer = client.say({os_push(), command("allow")});
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(answer.type, pbtnc::BatchType::sdata) << round;
    const ServerAttribute* const repeat = answer.attribute(ita, type::ita_command);
    ASSERT_NE(repeat, nullptr);
    EXPECT_EQ(as_text(repeat->value), "repeat");
    EXPECT_EQ(assessment(answer, ita, 1), std::nullopt);
    answer = client.say({command("allow")});
  }
  EXPECT_EQ(answer.access, 1U);
  EXPECT_EQ(assessment(answer, ita, 1), 0U);
  // An endpoint that doesn't is judged by what it has said.
  ByHand silent(world());
  answer = silent.until_result(silent.say({os_push(), command("isolate")}));
  EXPECT_EQ(answer.access, 3U);
}

TEST_F(TestProtocol, ToleratesDummiesOfAnySize) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"");
  for (const std::size_t size : {0U, 1U, 60'000U, 1'000'000U}) {
    Writer dummy;
    patnc::append_dummy(dummy, size);
    ByHand client(world());
    const Answer answer = client.say({os_push(), command("allow").add(ita, type::ita_dummy, dummy.view())});
    EXPECT_EQ(answer.access, 1U) << size;
  }
}

TEST_F(TestProtocol, AnotherAssessmentMayComeToAnotherResult) {
  world().settings.test_imv = true;
  ask("\"FWDEN\"");
  ByHand client(world());
  EXPECT_EQ(client.say({os_push(), command("isolate")}).access, 3U);
  EXPECT_EQ(client.send(client_batch({os_push(), command("allow")}, pbtnc::BatchType::cretry)).access, 1U);
}

}  // namespace
}  // namespace gatehouse::test
