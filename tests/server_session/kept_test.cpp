// What is kept of sessions: the verdict follows from it again, byte for byte, in this form and as a bundle.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/evidence/again.h"
#include "server/evidence/bundle.h"
#include "tests/server_session/conversation.h"

namespace gatehouse::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

class Kept : public testing::Test {
 protected:
  void keep(server::Keep what) {
    world.settings.keep = what;
    world.settings.evidence_memory = std::make_shared<evidence::Memory>(std::size_t(64) << 20, std::size_t(16) << 20);
  }
  // A machine that is allowed from now on.
  Machine admitted() {
    Machine m = machine();
    world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
    converse(world, m);
    world.approve(m.tpm->ak().key_id());
    return m;
  }
  // The record of the newest session.
  server::SessionRecord last() {
    auto page = world.state->sessions({}, 1);
    EXPECT_TRUE(page && !page->sessions.empty());
    return page->sessions.front();
  }
  std::shared_ptr<const evidence::Kept> kept(const std::string& session) {
    auto record = world.state->evidence(session);
    EXPECT_TRUE(record) << record.error().text();
    if (!record || !*record) return nullptr;
    auto decoded = evidence::decode((*record)->head, (*record)->pieces);
    EXPECT_TRUE(decoded) << decoded.error().text();
    return decoded ? std::make_shared<const evidence::Kept>(*std::move(decoded)) : nullptr;
  }
  evidence::Again judged_by(const std::shared_ptr<const evidence::Kept>& session, server::policy::PolicyPtr policy) {
    auto again = evidence::judge_again_blocking(session, policy, world.references, *world.pipeline);
    EXPECT_TRUE(again) << again.error().text();
    return again ? *std::move(again) : evidence::Again{};
  }
  void expect_same(const server::SessionRecord& record) {
    const auto session = kept(record.intent.session);
    ASSERT_NE(session, nullptr);
    const auto policy = evidence::policy_of(*session);
    ASSERT_TRUE(policy) << policy.error().text();
    EXPECT_EQ((*policy)->version(), record.intent.policy);
    const evidence::Again again = judged_by(session, *policy);
    EXPECT_EQ(pipeline::to_json(again.verdict), record.verdict);
    EXPECT_TRUE(again.unanswered.empty());
  }

  World world;
};

server::policy::PolicyPtr policy(const std::string& text) {
  auto read = server::policy::parse_policy(text, "policy.toml", [](const std::string&) -> Result<std::string> {
    return fail(Fault::environment, "no such file");
  });
  EXPECT_TRUE(read);
  return read ? *read : nullptr;
}

TEST_F(Kept, TheSameVerdictFollowsByteForByte) {
  keep(server::Keep::all);
  for (const bool raw : {false, true}) {
    Machine m = admitted();
    expect_same(last());
    EXPECT_EQ(converse(world, m, {.raw_evidence = raw}).answer->recommendation, endpoint::Recommendation::allow);
    expect_same(last());
    m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
    EXPECT_EQ(converse(world, m, {.raw_evidence = raw}).verdict->ima.differ, 1U);
    expect_same(last());
    m.list = file(interop("evidence/base/binary_runtime_measurements"));  // PCR 10 holds the changed one
    EXPECT_EQ(converse(world, m, {.raw_evidence = raw}).verdict->quote.status, pipeline::Status::failed);
    expect_same(last());
  }
}

TEST_F(Kept, OnlyWhatWasRefusedWhereThatIsWanted) {
  keep(server::Keep::refused);
  Machine m = admitted();
  expect_same(last());  // its firmware wasn't approved
  converse(world, m);
  EXPECT_FALSE(*world.state->evidence(last().intent.session));
  keep(server::Keep::none);
  m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  converse(world, m);
  EXPECT_FALSE(*world.state->evidence(last().intent.session));
}

TEST_F(Kept, NothingOfASessionThatGaveNoEvidence) {
  keep(server::Keep::all);
  const Machine m = machine();  // not enrolled: its key isn't trusted
  converse(world, m);
  EXPECT_EQ(last().state, server::SessionState::complete);
  EXPECT_FALSE(*world.state->evidence(last().intent.session));
}

TEST_F(Kept, EvidenceForWhichThereIsNoRoomIsLeftOutAndTheVerdictStands) {
  world.settings.keep = server::Keep::all;
  world.settings.evidence_memory = std::make_shared<evidence::Memory>(1 << 20, 1000);
  const Machine m = admitted();
  EXPECT_EQ(converse(world, m).answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_FALSE(*world.state->evidence(last().intent.session));
  EXPECT_EQ(world.settings.evidence_memory->held(), 0U);
  EXPECT_GE(world.settings.evidence_memory->left_out(), 2U);
}

// The same list once, whoever sends it and how often.
TEST_F(Kept, EqualContentIsStoredOnce) {
  keep(server::Keep::all);
  const Machine m = admitted();
  converse(world, m, {.raw_evidence = true});
  const auto once = *world.state->evidence_totals();
  for (int i = 0; i < 3; ++i) converse(world, m, {.raw_evidence = true});
  const auto four = *world.state->evidence_totals();
  EXPECT_EQ(four.sessions, once.sessions + 3);
  EXPECT_EQ(four.pieces, once.pieces);
  EXPECT_LT(four.bytes - once.bytes, once.bytes / 4);
  EXPECT_EQ(world.settings.evidence_memory->held(), 0U);
}

TEST_F(Kept, AnotherPolicyIsAskedWithoutTheEndpoint) {
  keep(server::Keep::all);
  world.settings.policy = policy("[groups.all]\nask = [\"TPMRA\", \"FWDEN\"]\n");
  const Machine m = admitted();
  converse(world, m);
  const auto record = last();
  expect_same(record);
  const auto session = kept(record.intent.session);
  const auto before = *pipeline::verdict_from_json(record.verdict);
  EXPECT_EQ(before.recommendation, pipeline::Recommendation::allow);

  // Other rules for the same evidence.
  const evidence::Again strict = judged_by(session, policy(
      "[rules.strict.firmware]\nsecure_boot = \"required\"\n[groups.all]\nrules = \"strict\"\non_fail = \"block\"\nask = [\"TPMRA\"]\n"));
  EXPECT_EQ(strict.verdict.recommendation, pipeline::Recommendation::block);
  EXPECT_TRUE(strict.unanswered.empty());
  EXPECT_THAT(evidence::differences(before, strict.verdict), Contains(HasSubstr("recommendation: block (was: allow)")));
  EXPECT_THAT(evidence::differences(before, strict.verdict), Contains(HasSubstr("FWDEN: not asked")));

  // What wasn't asked can't be told, and what was said without being asked can.
  const evidence::Again more = judged_by(session, policy("[groups.all]\nask = [\"TPMRA\", { type = \"SWIDT\", argument = \"R\" }, \"PWDEN\"]\n"));
  EXPECT_THAT(more.unanswered, testing::ElementsAre(HasSubstr("SWIDT R")));
  EXPECT_EQ(more.verdict.items.size(), 2U);

  const evidence::Again denied = judged_by(session, policy("[groups.all]\nask = [\"DENY\"]\n"));
  EXPECT_EQ(denied.verdict.recommendation, pipeline::Recommendation::block);
}

TEST_F(Kept, ABundleNeedsNoReferences) {
  keep(server::Keep::all);
  Machine m = admitted();
  m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  converse(world, m);
  const auto record = last();
  const auto session = kept(record.intent.session);
  ASSERT_NE(session, nullptr);
  const auto policy = *evidence::policy_of(*session);
  evidence::Bundle bundle;
  bundle.verdict = record.verdict;
  bundle.evidence = **world.state->evidence(record.intent.session);
  {
    const auto noting = std::make_shared<evidence::NotingView>(world.references);
    ASSERT_TRUE(evidence::judge_again_blocking(session, policy, noting, *world.pipeline));
    bundle.answers = noting->take();
  }
  const ByteVector bytes = evidence::append_bundle(bundle);

  auto read = evidence::read_bundle(bytes);
  ASSERT_TRUE(read) << read.error().text();
  const auto elsewhere = std::make_shared<evidence::AnswersView>(std::move(read->answers));
  auto decoded = evidence::decode(read->evidence.head, read->evidence.pieces);
  ASSERT_TRUE(decoded);
  pipeline::Pipeline pipeline({.threads = 2});
  const auto again = evidence::judge_again_blocking(std::make_shared<const evidence::Kept>(*std::move(decoded)), policy, elsewhere, pipeline);
  ASSERT_TRUE(again) << again.error().text();
  EXPECT_EQ(pipeline::to_json(again->verdict), record.verdict);

  // Every bit counts, and every byte.
  for (std::size_t at = 0; at < bytes.size(); at += 997) {
    ByteVector changed = bytes;
    changed[at] ^= std::byte{0x10};
    EXPECT_FALSE(evidence::read_bundle(changed)) << at;
    EXPECT_FALSE(evidence::read_bundle(Bytes(bytes).first(at))) << at;
  }
}

// A head that was cut or changed is refused or says something else; it is never read beyond its end.
TEST_F(Kept, ADamagedHeadIsRefused) {
  keep(server::Keep::all);
  const Machine m = admitted();
  const auto record = **world.state->evidence(last().intent.session);
  for (std::size_t n = 0; n < record.head.size(); n += 5)
    EXPECT_FALSE(evidence::decode(Bytes(record.head).first(n), record.pieces)) << n;
  for (std::size_t n = 0; n < record.head.size() * 8; n += 37) {
    ByteVector changed = record.head;
    changed[n / 8] ^= std::byte(1 << (n % 8));
    (void)evidence::decode(changed, record.pieces);
  }
  auto fewer = record.pieces;
  fewer.pop_back();
  EXPECT_FALSE(evidence::decode(record.head, fewer));
  auto more = record.pieces;
  more.push_back({});
  EXPECT_FALSE(evidence::decode(record.head, more));
}

TEST_F(Kept, MonitorModeTellsAllowAndRecordsWhatWasJudged) {
  keep(server::Keep::refused);
  world.settings.enforce = false;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  const Outcome out = converse(world, m);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_TRUE(out.answer->reasons.empty());
  EXPECT_EQ(out.verdict->recommendation, pipeline::Recommendation::isolate);
  EXPECT_FALSE(last().enforced);
  EXPECT_THAT(out.lines, Contains(HasSubstr("monitor mode: the endpoint is told allow")));
  expect_same(last());
}

}  // namespace
}  // namespace gatehouse::test
