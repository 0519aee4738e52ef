// What an operator does with kept evidence: why, replay, export, verify --bundle, policy test, shadow and monitor mode.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/file.h"
#include "tests/server_program/site.h"

namespace gatehouse::test {
namespace {

using endpoint::test::run;
using testing::HasSubstr;
using testing::Not;

class EvidenceTest : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }

  boost::json::object last() {
    const auto listed = site.gatehouse("session list --last 1 --json");
    EXPECT_EQ(listed.code, 0) << listed.out;
    return boost::json::parse(listed.out).as_object();
  }
  std::string last_id() { return std::string(last().at("session").as_string()); }
  std::string recommendation() { return std::string(last().at("recommendation").as_string()); }
  // The verdict object to the byte, without what the record adds.
  std::string shown(const std::string& session) {
    auto object = boost::json::parse(site.gatehouse("session show " + session + " --json").out).as_object();
    object.erase("record");
    return boost::json::serialize(object);
  }
  static std::string parsed(const std::string& json) { return boost::json::serialize(boost::json::parse(json)); }
  void write(const std::string& name, const std::string& text) { std::ofstream(site.path(name)) << text; }
  // In a shell of its own, so that what goes to stderr may be put aside: run() joins it to the rest.
  static endpoint::test::Ran elsewhere(const std::string& arguments) {
    return run("(" + std::string(GATEHOUSE_PROGRAM) + " " + arguments + ")");
  }

  Site site;
};

TEST_F(EvidenceTest, ASessionIsExplainedJudgedAgainAndTakenElsewhere) {
  Machine m = site.enrolled();
  site.configure({}, "keep_evidence = \"all\"\n");
  std::string good, bad;
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    ASSERT_TRUE(site.attest(server.port(), m));
    EXPECT_EQ(recommendation(), "allow");
    good = last_id();
    m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
    ASSERT_TRUE(site.attest(server.port(), m));
    EXPECT_EQ(recommendation(), "isolate");
    bad = last_id();
    EXPECT_TRUE(last().at("record").as_object().at("evidence").as_bool());
    // Through the server that holds the state.
    const auto again = site.gatehouse("session replay " + good + " --json 2>/dev/null");
    EXPECT_EQ(again.code, 0);
    EXPECT_EQ(parsed(again.out), shown(good));
    server.signal(SIGTERM);
    EXPECT_EQ(server.wait(), 0);
  }
  // And without it.
  const auto again = site.gatehouse("session replay " + bad + " --json 2>/dev/null");
  EXPECT_EQ(again.code, 0) << again.out;
  EXPECT_EQ(parsed(again.out), shown(bad));

  const auto why = site.gatehouse("session why " + bad);
  EXPECT_EQ(why.code, 0);
  EXPECT_THAT(why.out, HasSubstr("was isolated, because:"));
  EXPECT_THAT(why.out, HasSubstr("1. a file isn't as its package has it: /usr/share/perl5/Dpkg/Exit.pm (entry 501 in PCR 10)"));
  EXPECT_THAT(why.out, HasSubstr("policy: ask = \"TPMRA B I\", on_fail = \"isolate\""));
  EXPECT_THAT(why.out, HasSubstr("to do: "));
  EXPECT_THAT(site.gatehouse("session why " + good).out, HasSubstr("was allowed"));
  const auto reasons = boost::json::parse(site.gatehouse("session why " + bad + " --json").out).as_object().at("why").as_object();
  EXPECT_EQ(reasons.at("reasons").as_array().size(), 1U);

  const std::string bundle = site.path("bad.bundle");
  EXPECT_EQ(site.gatehouse("session export " + bad + " '" + bundle + "'").code, 0);
  const std::string expected = shown(bad);
  // Another machine has neither state nor references.
  std::filesystem::rename(site.path("state"), site.path("gone"));
  std::filesystem::rename(site.path("refdb"), site.path("gone refdb"));
  const auto verified = elsewhere("verify --json --bundle '" + bundle + "' 2>/dev/null");
  EXPECT_EQ(verified.code, 1) << "as the verdict";
  EXPECT_EQ(parsed(verified.out), expected);
  EXPECT_EQ(elsewhere("verify --bundle '" + bundle + "' --refdb '" + site.path("gone refdb") + "'").code, 1);
  const auto other = machine().tpm->ak();
  write("other.pem", other.pem());
  EXPECT_THAT(elsewhere("verify --bundle '" + bundle + "' --ak '" + site.path("other.pem") + "' 2>&1").out, HasSubstr("another key"));
  write("own.pem", m.tpm->ak().pem());
  EXPECT_EQ(elsewhere("verify --bundle '" + bundle + "' --ak '" + site.path("own.pem") + "'").code, 1);
  EXPECT_EQ(elsewhere("verify --bundle '" + bundle + "' --nonce 00").code, 2);
  // Cut, and changed.
  const ByteVector bytes = file(bundle);
  for (const std::size_t size : {std::size_t(0), std::size_t(19), bytes.size() / 2, bytes.size() - 1}) {
    write("cut.bundle", std::string(as_text(Bytes(bytes).first(size))));
    EXPECT_EQ(elsewhere("verify --bundle '" + site.path("cut.bundle") + "'").code, 3) << size;
  }
}

TEST_F(EvidenceTest, WhatWasntKeptCantBeJudged) {
  const Machine m = site.enrolled();
  site.configure();  // what is allowed isn't kept
  Program server(site.serve());
  ASSERT_TRUE(site.attest(server.port(), m));
  EXPECT_EQ(recommendation(), "allow");
  const std::string id = last_id();
  EXPECT_FALSE(last().at("record").as_object().at("evidence").as_bool());
  const auto again = site.gatehouse("session replay " + id + " 2>&1");
  EXPECT_EQ(again.code, 4);
  EXPECT_THAT(again.out, HasSubstr("no evidence of this session is kept"));
  EXPECT_EQ(site.gatehouse("session export " + id + " '" + site.path("b") + "'").code, 4);
  EXPECT_FALSE(std::filesystem::exists(site.path("b")));
  EXPECT_EQ(site.gatehouse("session replay nosuch").code, 1);
  const auto tried = site.gatehouse("policy test --policy '" + site.path("p.toml") + "' --sessions 10 2>&1");
  EXPECT_EQ(tried.code, 4) << "there is no such policy: " << tried.out;
  write("p.toml", "[groups.all]\nask = [\"TPMRA\"]\n");
  EXPECT_THAT(site.gatehouse("policy test --policy '" + site.path("p.toml") + "' --sessions 10").out,
              HasSubstr("0 sessions judged again: 0 the same, 0 flip, 0 can't be told; 1 without evidence"));
}

TEST_F(EvidenceTest, AnotherPolicyIsTriedBeforeItIsSwitchedTo) {
  Machine m = site.enrolled();
  site.configure({}, "keep_evidence = \"all\"\n");
  Program server(site.serve());
  ASSERT_TRUE(site.attest(server.port(), m));
  ASSERT_TRUE(site.attest(server.port(), m));
  m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  ASSERT_TRUE(site.attest(server.port(), m));
  const std::string bad = last_id();

  write("same.toml", "[groups.all]\nask = [\"TPMRA\"]\n");
  const auto same = site.gatehouse("policy test --policy '" + site.path("same.toml") + "' --sessions 10 --json");
  EXPECT_EQ(same.code, 0) << same.out;
  auto sum = boost::json::parse(same.out).as_object();
  EXPECT_EQ(sum.at("judged").to_number<int>(), 3);
  EXPECT_EQ(sum.at("same").to_number<int>(), 3);

  write("strict.toml", "[groups.all]\non_fail = \"block\"\nask = [\"TPMRA\"]\n");
  const auto strict = site.gatehouse("policy test --policy '" + site.path("strict.toml") + "' --sessions 10");
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.out, HasSubstr(bad + "  " + m.tpm->ak().key_id() + "  isolate -> block"));
  EXPECT_THAT(strict.out, HasSubstr("recommendation: block (was: isolate)"));
  EXPECT_THAT(strict.out, HasSubstr("3 sessions judged again: 2 the same, 1 flip, 0 can't be told"));

  write("more.toml", "[groups.all]\nask = [\"TPMRA\", \"SWIDT\"]\n");
  write("ids", "# one\n" + bad + "\n");
  const auto more = site.gatehouse("policy test --policy '" + site.path("more.toml") + "' --sessions '" + site.path("ids") + "'");
  EXPECT_THAT(more.out, HasSubstr("can't be told: SWIDT"));
  EXPECT_THAT(more.out, HasSubstr("1 sessions judged again: 0 the same, 0 flip, 1 can't be told"));

  write("wrong.toml", "[groups.all]\nask = [\"NOSUCH\"]\n");
  const auto wrong = site.gatehouse("policy test --policy '" + site.path("wrong.toml") + "' --sessions 1 2>&1");
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.out, HasSubstr("wrong.toml:2: groups.all.ask"));
}

TEST_F(EvidenceTest, MonitorModeAndAShadowAreOnRecord) {
  Machine m = site.enrolled();
  write("shadow.toml", "[groups.all]\non_fail = \"block\"\nask = [\"TPMRA\"]\n");
  site.configure({}, {}, "[policy]\nenforce = false\nshadow = \"shadow.toml\"\n");
  EXPECT_EQ(site.gatehouse("serve --check").code, 0);
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  EXPECT_TRUE(server.says("monitor mode"));
  m.reboot(file(interop("evidence/changed/binary_runtime_measurements")));
  const auto told = site.attest(server.port(), m);
  ASSERT_TRUE(told);
  EXPECT_EQ(told->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(recommendation(), "isolate");
  EXPECT_TRUE(server.says("shadow policy"));
  EXPECT_TRUE(server.says("block instead of isolate"));
  const std::string id = last_id();
  const auto record = boost::json::parse(site.gatehouse("session show " + id + " --json").out).as_object().at("record").as_object();
  EXPECT_EQ(record.at("told").as_string(), "allow");
  EXPECT_THAT(site.gatehouse("session why " + id).out, HasSubstr("monitor mode"));
  EXPECT_THAT(site.gatehouse("session show " + id).out, HasSubstr("the endpoint was told allow"));
  // A policy with a mistake isn't taken, for either.
  write("shadow.toml", "[groups.all]\nask = [\"NOSUCH\"]\n");
  EXPECT_EQ(site.gatehouse("serve --check").code, 2);
  server.signal(SIGHUP);
  EXPECT_TRUE(server.says("reload failed"));
}

// As `session list` prints it, and into a new file once the old one was moved away.
TEST_F(EvidenceTest, ResultsGoOutAsTheyHappen) {
  const Machine m = site.enrolled();
  site.configure({}, {}, "[results]\nfile = \"results.jsonl\"\n");
  const auto lines = [&](const std::string& name) {
    std::vector<std::string> out;
    std::ifstream in(site.path(name));
    for (std::string line; std::getline(in, line);) out.push_back(line);
    return out;
  };
  Program server(site.serve());
  ASSERT_TRUE(site.attest(server.port(), m));
  std::filesystem::rename(site.path("results.jsonl"), site.path("old.jsonl"));
  server.signal(SIGHUP);
  ASSERT_TRUE(server.says("reference generation", 2));
  const std::string first = last_id();
  ASSERT_TRUE(site.attest(server.port(), m));
  const auto listed = last();
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0);
  const auto old = lines("old.jsonl");
  ASSERT_EQ(old.size(), 1U);
  EXPECT_EQ(boost::json::parse(old[0]).as_object().at("session").as_string(), first);
  const auto now = lines("results.jsonl");
  ASSERT_EQ(now.size(), 1U);
  EXPECT_EQ(boost::json::parse(now[0]), boost::json::value(listed));
}

}  // namespace
}  // namespace gatehouse::test
