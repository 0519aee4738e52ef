// What a device's state, its lease and revocation lists do in a running server, by the operator's commands.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "base/file.h"
#include "tests/server_ocsp/saying.h"
#include "tests/server_program/site.h"

namespace gatehouse::test {
namespace {

using testing::HasSubstr;

class DevicesTest : public testing::Test {
 protected:
  void SetUp() override { ::signal(SIGPIPE, SIG_IGN); }
  boost::json::object last() { return boost::json::parse(site.gatehouse("session list --last 1 --json").out).as_object(); }
  std::string recommendation() { return std::string(last().at("recommendation").as_string()); }

  Site site;
};

TEST_F(DevicesTest, TheStateOfADeviceDecidesWhatItGets) {
  Machine m = site.enrolled();
  const std::string device = m.tpm->ak().key_id();
  site.configure();
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  const auto gets = [&](const std::string& what) {
    const auto outcome = site.attest(server.port(), m);
    EXPECT_TRUE(outcome);
    EXPECT_EQ(recommendation(), what);
  };
  const auto done = [&](const std::string& arguments) {
    const auto ran = site.gatehouse("device " + arguments);
    EXPECT_EQ(ran.code, 0) << ran.out;
    return ran.out;
  };
  gets("allow");
  done("suspend " + device + " --by alice --why 'reported lost'");
  gets("isolate");
  EXPECT_THAT(site.gatehouse("session why " + std::string(last().at("session").as_string())).out, HasSubstr("the device is suspended"));
  done("resume " + device + " --by bob --why 'found again'");
  gets("allow");
  done("revoke " + device + " --by alice");
  gets("block");
  EXPECT_EQ(site.gatehouse("device resume " + device).code, 1) << "a revoked device isn't resumed";
  done("trust " + device + " --key " + device);
  gets("allow");
  done("retire " + device + " --why sold");
  gets("block");
  const std::string shown = done("show " + device);
  EXPECT_THAT(shown, HasSubstr("alice  state suspended  (reported lost)"));
  EXPECT_THAT(shown, HasSubstr("bob  state trusted  (found again)"));
  EXPECT_THAT(shown, HasSubstr("retired since"));
  // Two operators at once: the second one's number is old.
  const auto changes = boost::json::parse(done("show " + device + " --json")).as_object().at("changes").to_number<int>();
  EXPECT_EQ(site.gatehouse("device set " + device + " --model A --if-changes " + std::to_string(changes - 1)).code, 1);
  done("set " + device + " --model A --if-changes " + std::to_string(changes));
}

// As often as it takes the server to look; nothing here depends on how long that is.
TEST_F(DevicesTest, ALeaseThatEndsIsToldAndListed) {
  Machine m = site.enrolled();
  const std::string device = m.tpm->ak().key_id();
  site.configure({}, {}, "[policy]\nlease_seconds = 1\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  ASSERT_TRUE(site.attest(server.port(), m));
  EXPECT_EQ(recommendation(), "allow");
  ASSERT_TRUE(server.says("the lease of device " + device + " has ended"));
  const auto overdue = site.gatehouse("device overdue");
  EXPECT_EQ(overdue.code, 0);
  EXPECT_THAT(overdue.out, HasSubstr(device + "  since "));
  EXPECT_THAT(overdue.out, HasSubstr("last allow in session " + std::string(last().at("session").as_string())));
  EXPECT_EQ(site.gatehouse("device overdue --lease 1d").out, "no device is overdue\n");
  EXPECT_EQ(site.gatehouse("device overdue --lease soon").code, 2);
}

TEST_F(DevicesTest, ANewRevocationListCountsAndWhatEndsIsSaid) {
  Machine m = site.enrolled();
  site.authority.issue("server", {.purpose = "serverAuth", .from_days = -10, .to_days = 1});
  site.authority.revoke({}, site.path("clients.crl"));
  site.configure("client_crl = \"clients.crl\"\n");
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  ASSERT_TRUE(site.attest(server.port(), m));
  ASSERT_TRUE(server.says("server.pem: the certificate of '"));
  // One that is broken changes nothing.
  std::ofstream(site.path("clients.crl")) << "nonsense\n";
  ASSERT_TRUE(server.says("a new revocation list can't be used, the one before stays"));
  EXPECT_TRUE(site.attest(server.port(), m));
  std::filesystem::remove(site.path("new.crl"));
  site.authority.revoke({site.path("client.pem")}, site.path("new.crl"));
  std::filesystem::rename(site.path("new.crl"), site.path("clients.crl"));
  ASSERT_TRUE(server.says("the new revocation list"));
  EXPECT_FALSE(site.attest(server.port(), m)) << "revoked";
}

TEST_F(DevicesTest, RevocationListsAreFetched) {
  Machine m = site.enrolled();
  const auto list = [&](const std::vector<std::string>& gone, long from) {
    const std::string path = site.path("said.crl");
    std::filesystem::remove(path);
    site.authority.revoke(gone, path, from);
    return test::http_ok(std::string(as_text(*read_file(path, 1 << 20))));
  };
  test::Saying pki(list({}, -120));
  site.configure("client_crl = \"clients.crl\"\nclient_crl_url = [\"" + pki.url() + "\"]\n");
  EXPECT_EQ(site.gatehouse("serve --check").code, 0) << "there is no list yet, and none is needed to check";
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    EXPECT_TRUE(site.attest(server.port(), m));
  }
  pki.say(list({site.path("client.pem")}, -60));
  Program server(site.serve());
  ASSERT_NE(server.port(), 0) << server.log();
  ASSERT_TRUE(server.says("the new revocation list"));
  EXPECT_FALSE(site.attest(server.port(), m)) << "revoked";
}

TEST_F(DevicesTest, ADiffSaysWhatTheEventsAre) {
  Machine m = site.enrolled();
  const std::string device = m.tpm->ak().key_id();
  site.configure({}, "keep_evidence = \"all\"\n");
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    ASSERT_TRUE(site.attest(server.port(), m));
    EXPECT_EQ(recommendation(), "allow");
  }
  // Approved with one event less in PCR 7: what was measured then is one that was added.
  auto record = boost::json::parse(site.gatehouse("device export").out).as_object();
  EXPECT_EQ(record.at("state").as_string(), "trusted");
  auto& pcrs = record.at("baselines").as_array().at(0).as_object().at("pcrs").as_object();
  pcrs.at("7").as_array().pop_back();
  std::ofstream(site.path("short.jsonl")) << boost::json::serialize(record) << '\n';
  const std::string elsewhere = " --state '" + site.path("elsewhere") + "'";
  const auto import = endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " device import '" + site.path("short.jsonl") + "'" + elsewhere);
  EXPECT_EQ(import.code, 0) << import.out;
  // The same endpoint, judged by the site's state with the shortened baseline in place of the whole one.
  std::filesystem::remove_all(site.path("state"));
  std::filesystem::rename(site.path("elsewhere"), site.path("state"));
  {
    Program server(site.serve());
    ASSERT_NE(server.port(), 0) << server.log();
    ASSERT_TRUE(site.attest(server.port(), m, {}, {.raw_evidence = true}));
    EXPECT_EQ(recommendation(), "isolate");
  }
  const auto diff = site.gatehouse("device baseline diff " + device);
  EXPECT_EQ(diff.code, 0) << diff.out;
  EXPECT_THAT(diff.out, HasSubstr("PCR 7 (Secure Boot policy): 1 event added"));
  EXPECT_THAT(diff.out, HasSubstr("added: EV_"));
}

}  // namespace
}  // namespace gatehouse::test
