// gatehouse-endpoint attest --radius, the program, before gatehouse serve: gateway and endpoint in one.
#include "tests/server_program/program_test.h"

namespace gatehouse::test {
namespace {

constexpr std::string_view sentence =
    "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence measurements are ok";

class RadiusProgramTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    secret("secret", "a secret of 22 letters\n");
    secret("passwords", "gatehouse-passwords 1\ncarol\tpassword\tcorrect horse battery\n");
    secret("carol", "correct horse battery\n");
  }
  void secret(const std::string& name, const std::string& content) const {
    std::ofstream(site.path(name)) << content;
    std::filesystem::permissions(site.path(name), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  // `more`: further keys of [radius].
  void configure(const std::string& more = {}) {
    site.configure({}, {}, "[imv]\ntest = true\n[radius]\nlisten = [\"127.0.0.1:0\"]\npasswords = \"passwords\"\n" + more +
                               "[[radius.client]]\naddress = \"127.0.0.1\"\nsecret_file = \"secret\"\n");
  }
  std::string options(const Swtpm& tpm, const std::string& list) const {
    return " --ca '" + site.authority.certificate() + "' --tcti " + tpm.tcti() + " --eventlog " + log_file() + " --ima " + list +
           " --os-name Debian --os-version '12 x86_64' --inventory '" + site.path("inventory") + "'";
  }
  endpoint::test::Ran by_radius(const Swtpm& tpm, std::uint16_t port, const std::string& more = {}) const {
    return run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " attest --radius localhost:" + std::to_string(port) + " --secret-file '" +
               site.path("secret") + "' --user carol --password-file '" + site.path("carol") + "'" + options(tpm, list_file()) + " " + more);
  }
};

TEST_F(RadiusProgramTest, EndsInAllowIsolateOrBlockAsTheGatewayIsTold) {
  configure();
  Program server(site.serve());
  const std::uint16_t port = server.radius_port();
  ASSERT_NE(port, 0) << server.log();
  const Swtpm tpm;
  const std::string device = boot(tpm, list_file(), "ecc");
  ASSERT_EQ(site.gatehouse("device add " + device + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  const auto unapproved = by_radius(tpm, port);
  EXPECT_EQ(unapproved.code, 1) << unapproved.out;
  EXPECT_NE(unapproved.out.find("No approved firmware baseline"), std::string::npos) << unapproved.out;
  ASSERT_EQ(site.gatehouse("device baseline approve " + device).code, 0);

  const auto clean = by_radius(tpm, port, "--json");
  EXPECT_EQ(clean.code, 0) << clean.out << server.log();
  const auto said = boost::json::parse(clean.out).as_object();
  EXPECT_EQ(said.at("recommendation").as_string(), "allow");
  EXPECT_EQ(boost::json::serialize(said.at("radius")), R"(["Access-Accept","Filter-Id allow","Session-Timeout 86400"])");
  auto verdict = last_verdict();
  EXPECT_EQ(verdict.at("recommendation").as_string(), "allow");
  EXPECT_EQ(std::string_view(verdict.at("summary").as_string()), sentence);
  EXPECT_EQ(std::string_view(verdict.at("device").as_string()), device);
  const auto& record = verdict.at("record").as_object();
  EXPECT_EQ(record.at("identity").as_string(), "carol");
  EXPECT_EQ(record.at("identity_type").as_string(), "password");
  for (const char* const method : {"md5", "mschapv2", "gtc", "pap"})
    EXPECT_EQ(by_radius(tpm, port, std::string("--tls12 --method ") + method).code, 0) << method << server.log();

  const auto isolated = by_radius(tpm, port, "--test-command isolate");
  EXPECT_EQ(isolated.code, 1) << isolated.out;
  EXPECT_NE(isolated.out.find("radius: Access-Accept\nradius: Filter-Id isolate\n"), std::string::npos) << isolated.out;
  EXPECT_EQ(last_verdict().at("recommendation").as_string(), "isolate");
  const auto blocked = by_radius(tpm, port, "--test-command block");
  EXPECT_EQ(blocked.code, 1) << blocked.out;
  EXPECT_NE(blocked.out.find("radius: Access-Reject\n"), std::string::npos) << blocked.out;
  EXPECT_EQ(blocked.out.find("Filter-Id"), std::string::npos) << blocked.out;
  EXPECT_EQ(last_verdict().at("recommendation").as_string(), "block");

  secret("carol", "wrong donkey staple\n");
  const auto refused = by_radius(tpm, port);
  EXPECT_EQ(refused.code, 4) << refused.out;
  EXPECT_NE(refused.out.find("authentication failed"), std::string::npos) << refused.out;
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
  for (const char* const hidden : {"correct horse", "wrong donkey", "a secret of"}) EXPECT_EQ(server.log().find(hidden), std::string::npos) << hidden;
}

// The server is killed in the middle of an assessment, and started anew: it knows nothing of that conversation, so the attempt
// fails, and the next one is as good as any.
TEST_F(RadiusProgramTest, AServerKilledHalfWayCostsAnAttempt) {
  configure();
  const Swtpm tpm;
  const std::string device = boot(tpm, list_file(), "ecc");
  Program first(site.serve());
  const std::uint16_t port = first.radius_port();
  ASSERT_NE(port, 0) << first.log();
  ASSERT_EQ(site.gatehouse("device add " + device + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  EXPECT_EQ(by_radius(tpm, port).code, 1);
  ASSERT_EQ(site.gatehouse("device baseline approve " + device).code, 0);
  Program client({GATEHOUSE_ENDPOINT_PROGRAM, "attest", "--radius", "localhost:" + std::to_string(port), "--secret-file", site.path("secret"),
                  "--user", "carol", "--password-file", site.path("carol"), "--ca", site.authority.certificate(), "--tcti", tpm.tcti(),
                  "--eventlog", log_file(), "--ima", list_file(), "--os-name", "Debian", "--os-version", "12 x86_64", "--inventory",
                  site.path("inventory"), "--max-batch", "2048"});
  ASSERT_TRUE(first.says("PT-EAP with ", 2)) << first.log();
  first.signal(SIGKILL);
  EXPECT_EQ(first.wait(), -1);
  std::string text(as_text(file(site.path("gatehouse.toml"))));
  const std::string any = "[radius]\nlisten = [\"127.0.0.1:";
  const auto at = text.find(any);
  ASSERT_NE(at, std::string::npos);
  text.replace(at + any.size(), 1, std::to_string(port));
  std::ofstream(site.path("gatehouse.toml")) << text;
  Program again(site.serve());
  ASSERT_EQ(again.radius_port(), port) << again.log();
  EXPECT_EQ(client.wait(), 4) << client.log();
  const auto clean = by_radius(tpm, port);
  EXPECT_EQ(clean.code, 0) << clean.out << again.log();
  EXPECT_EQ(std::string_view(last_verdict().at("summary").as_string()), sentence);
  again.signal(SIGTERM);
  EXPECT_EQ(again.wait(), 0) << again.log();
}

// Nobody there, which is another thing than no answer.
TEST_F(RadiusProgramTest, SaysThatNobodyListens) {
  const Swtpm tpm;
  boot(tpm, list_file(), "ecc");
  const auto nobody = by_radius(tpm, 1, "--deadline 1");
  EXPECT_EQ(nobody.code, 4);
  EXPECT_NE(nobody.out.find("nobody listens there"), std::string::npos) << nobody.out;
}

}  // namespace
}  // namespace gatehouse::test
