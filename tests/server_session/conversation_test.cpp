#include "tests/server_session/conversation.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/hex.h"
#include "tests/server_session/replay.h"

namespace gatehouse::test {
namespace {

pipeline::Status check(const Outcome& out, const std::string& code) {
  const auto at = out.verdict->checks.find(code);
  return at == out.verdict->checks.end() ? pipeline::Status::absent : at->second;
}

constexpr std::string_view sentence =
    "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence measurements are ok";

TEST(Conversation, AllowsTheCleanEndpointOnceItsFirmwareIsApproved) {
  for (const auto kind : {endpoint::KeyAlgorithm::rsassa, endpoint::KeyAlgorithm::rsapss, endpoint::KeyAlgorithm::ecc}) {
    World world;
    const Machine m = machine(kind);
    const std::string device = m.tpm->ak().key_id();
    world.enrol(m.tpm->ak(), device);
    const Outcome first = converse(world, m);
    ASSERT_TRUE(first.answer) << first.error;
    ASSERT_TRUE(first.verdict);
    EXPECT_EQ(first.answer->recommendation, endpoint::Recommendation::isolate);
    EXPECT_EQ(first.verdict->boot.unknown, 136U);
    EXPECT_EQ(first.verdict->quote.status, pipeline::Status::ok);
    world.approve(device);
    const Outcome second = converse(world, m);
    ASSERT_TRUE(second.answer && second.verdict) << second.error;
    EXPECT_EQ(second.answer->recommendation, endpoint::Recommendation::allow);
    EXPECT_EQ(int(second.answer->assessment), 0);
    EXPECT_EQ(second.verdict->summary, sentence);
    for (const char* code : {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q11", "Q12", "Q13", "Q14"})
      EXPECT_EQ(check(second, code), pipeline::Status::ok) << code;
  }
}

TEST(Conversation, NamesTheChangedFile) {
  World world;
  Machine m = machine();
  const std::string device = m.tpm->ak().key_id();
  world.enrol(m.tpm->ak(), device);
  converse(world, m);
  world.approve(device);
  m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  const Outcome out = converse(world, m);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::isolate);
  EXPECT_EQ(out.verdict->quote.status, pipeline::Status::ok);
  EXPECT_EQ(out.verdict->ima.differ, 1U);
  const auto found = std::find_if(out.verdict->findings.begin(), out.verdict->findings.end(),
                                  [](const pipeline::Finding& f) { return f.status == pipeline::Status::differ; });
  ASSERT_NE(found, out.verdict->findings.end());
  EXPECT_EQ(found->path, "/usr/share/perl5/Dpkg/Exit.pm");
  EXPECT_EQ(found->entry, 501U);
  EXPECT_FALSE(found->package.empty());
  EXPECT_FALSE(found->expected.empty());
  EXPECT_FALSE(out.answer->reasons.empty());
}

TEST(Conversation, AListThatThePcrContradictsIsRefused) {
  World world;
  Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  m.list = file(interop("evidence/tampered/binary_runtime_measurements"));  // PCR 10 still holds the original
  const Outcome out = converse(world, m);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_NE(out.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(out.verdict->quote.status, pipeline::Status::failed);
  EXPECT_EQ(check(out, "Q7"), pipeline::Status::failed);
}

TEST(Conversation, AnUntrustedKeyGetsNothingAndIsNamedToTheOperator) {
  World world;
  const Machine m = machine();
  const Outcome out = converse(world, m);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::isolate);
  EXPECT_EQ(check(out, "Q9"), pipeline::Status::failed);
  EXPECT_FALSE(out.verdict->ima_given) << "no evidence is asked of an untrusted key";
  const bool named = std::any_of(out.lines.begin(), out.lines.end(), [&](const std::string& line) {
    return line.find("device trust " + m.tpm->ak().key_id()) != std::string::npos;
  });
  EXPECT_TRUE(named);
  // The key waits for the operator; trusted, the device is asked for evidence.
  ASSERT_TRUE(world.state->trust_blocking(m.tpm->ak().key_id()));
  EXPECT_TRUE(converse(world, m).verdict->ima_given);
}

TEST(Conversation, AKeyOfAnotherDeviceIsRefused) {
  World world;
  const Machine a = machine(), b = machine();
  world.enrol(a.tpm->ak(), "device-a");
  world.enrol(b.tpm->ak(), "device-b");
  ClientOptions options;
  options.device_id = "device-a";
  const Outcome out = converse(world, b, options);
  ASSERT_TRUE(out.verdict) << out.error;
  EXPECT_EQ(check(out, "Q9"), pipeline::Status::failed);
  EXPECT_NE(out.answer->recommendation, endpoint::Recommendation::allow);
}

TEST(Conversation, AnotherProductThanTheRecordedOneIsNotAllowed) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  converse(world, m);
  world.approve(m.tpm->ak().key_id());
  ClientOptions options;
  options.os_version = "13 x86_64";
  const Outcome out = converse(world, m, options);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_NE(out.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(out.verdict->ima.ok, 1625U) << "judged by the recorded product";
}

TEST(Conversation, WorksWithSmallBatches) {
  World world;
  const Machine m = machine();
  world.enrol(m.tpm->ak(), m.tpm->ak().key_id());
  ClientOptions options;
  options.max_batch = 2080;
  converse(world, m, options);
  world.approve(m.tpm->ak().key_id());
  const Outcome out = converse(world, m, options);
  ASSERT_TRUE(out.answer && out.verdict) << out.error;
  EXPECT_EQ(out.answer->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(out.verdict->summary, sentence);
}

// The client's side of a recorded conversation, with the recorded nonce and DH secret.
struct Recorded {
  std::string folder;
  std::string key;
  bool allow;
  std::string_view counts;
};

class Recordings : public testing::TestWithParam<Recorded> {};

TEST_P(Recordings, GiveTheStatedVerdict) {
  const Recorded& r = GetParam();
  World world;
  world.settings.banks = {HashAlgorithm::sha256, HashAlgorithm::sha384};
  if (auto anchors = TrustAnchors::load(interop("keys/ak-ca.pem")))
    world.settings.ak_authorities = std::make_shared<const TrustAnchors>(std::move(*anchors));
  const auto key = PublicKey::from_pem(as_text(file(interop("keys/" + r.key + "/ak.pem"))));
  ASSERT_TRUE(key);
  world.enrol(*key, key->key_id());
  const Outcome first = replay(world, r.folder);
  ASSERT_TRUE(first.verdict) << (first.lines.empty() ? "" : first.lines.back());
  EXPECT_NE(first.verdict->recommendation, pipeline::Recommendation::allow) << "the firmware isn't approved yet";
  if (!r.allow) {
    EXPECT_NE(first.verdict->summary.find(r.counts), std::string::npos) << first.verdict->summary;
    return;
  }
  ASSERT_EQ(first.verdict->quote.status, pipeline::Status::ok) << pipeline::to_json(*first.verdict).substr(0, 3000);
  world.approve(key->key_id());
  // The same quote again: its clock doesn't go on, which Q11 sees. So judge the recorded session as a first one.
  World fresh;
  fresh.settings.banks = world.settings.banks;
  fresh.settings.ak_authorities = world.settings.ak_authorities;
  fresh.enrol(*key, key->key_id());
  server::Enrolment e;
  e.device = key->key_id();
  e.approved_baseline = world.state->approved_baselines(key->key_id())->front();
  ASSERT_TRUE(fresh.state->enrol_blocking(std::move(e)));
  const Outcome out = replay(fresh, r.folder);
  ASSERT_TRUE(out.verdict);
  EXPECT_EQ(out.verdict->recommendation, pipeline::Recommendation::allow) << pipeline::to_json(*out.verdict).substr(0, 2000);
  EXPECT_EQ(out.verdict->summary, sentence);
}

INSTANTIATE_TEST_SUITE_P(
    Interop, Recordings,
    testing::Values(Recorded{"mutual-tls-rsa", "rsa", true, ""}, Recorded{"sasl-rsa", "rsa", true, ""}, Recorded{"sasl-ecc", "ecc", true, ""},
                    Recorded{"mutual-tls-ecc-aikcert", "ecc", true, ""}, Recorded{"mutual-tls12-rsa-modp2048-pcrinfo", "rsa", true, ""},
                    Recorded{"sasl-rsa-32k", "rsa", true, ""}, Recorded{"sasl-ecc-2k", "ecc", true, ""}, Recorded{"sasl-rsa-sha384-ecp384", "rsa", true, ""},
                    Recorded{"changed-file-rsa", "rsa", false, "1 differ"}, Recorded{"tampered-list-rsa", "rsa", false, "1732"}),
    [](const auto& tested) {
      std::string name = tested.param.folder;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

}  // namespace
}  // namespace gatehouse::test
