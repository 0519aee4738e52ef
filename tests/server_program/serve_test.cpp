// The programs themselves: gatehouse serve and gatehouse-endpoint with a software TPM, as an operator runs them.
#include <gtest/gtest.h>

#include <sstream>

#include "tests/server_program/program_test.h"

namespace gatehouse::test {
namespace {

constexpr std::string_view sentence =
    "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence measurements are ok";

class ServeTest : public ProgramTest {};

// From an unknown device to allow, with every command on the way, and a changed file named.
TEST_F(ServeTest, AttestsASoftwareTpmOverMutualTls13) {
  site.configure();
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  for (const char* algorithm : {"rsa", "ecc"}) {
    const Swtpm tpm;
    const std::string device = boot(tpm, list_file(), algorithm);
    const auto unknown = attest(tpm, port, list_file(), certificate());
    EXPECT_EQ(unknown.code, 1) << unknown.out;
    EXPECT_TRUE(server.says("No trusted AIK available for device " + device + ":"));
    const std::string command = "device trust " + device;
    EXPECT_TRUE(server.says("trust it with: gatehouse " + command));
    EXPECT_EQ(site.gatehouse(command).code, 0);
    const auto unapproved = attest(tpm, port, list_file(), certificate());
    EXPECT_EQ(unapproved.code, 1) << unapproved.out;
    EXPECT_NE(unapproved.out.find("No approved firmware baseline"), std::string::npos) << unapproved.out;
    EXPECT_EQ(site.gatehouse("device baseline approve " + device).code, 0);
    for (int n = 0; n < 2; ++n) {
      const auto clean = attest(tpm, port, list_file(), certificate());
      EXPECT_EQ(clean.code, 0) << clean.out << server.log();
      EXPECT_NE(clean.out.find("TLSv1.3"), std::string::npos) << clean.out;
      const auto verdict = last_verdict();
      EXPECT_EQ(verdict.at("recommendation").as_string(), "allow");
      EXPECT_EQ(std::string_view(verdict.at("summary").as_string()), sentence);
      EXPECT_EQ(std::string_view(verdict.at("device").as_string()), device);
      EXPECT_EQ(check(verdict, "L1"), "ok") << "the log came as it is";
      EXPECT_EQ(check(verdict, "Q9"), "ok") << "and the AK's attributes";
    }
    // The TPM still holds the original list.
    const auto tampered = attest(tpm, port, interop("evidence/tampered/binary_runtime_measurements"), certificate());
    EXPECT_EQ(tampered.code, 1) << tampered.out;
    EXPECT_EQ(last_verdict().at("quote").as_object().at("status").as_string(), "failed");
  }
  const Swtpm changed;
  const std::string list = interop("evidence/changed/binary_runtime_measurements");
  const std::string device = boot(changed, list, "ecc");
  EXPECT_EQ(site.gatehouse("device add " + device + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  EXPECT_EQ(attest(changed, port, list, certificate()).code, 1);
  EXPECT_EQ(site.gatehouse("device baseline approve " + device).code, 0);
  EXPECT_EQ(attest(changed, port, list, certificate()).code, 1);
  bool named = false;
  const auto verdict = last_verdict();
  for (const auto& finding : verdict.at("findings").as_array())
    named |= finding.as_object().at("status").as_string() == "differ" && finding.as_object().at("path").as_string() == "/usr/share/perl5/Dpkg/Exit.pm";
  EXPECT_TRUE(named);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
}

// Templates that PTS can't say, over the wire from a TPM that the list was extended into.
TEST_F(ServeTest, JudgesASignedListWithViolations) {
  site.configure();
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const std::string list = site.path("signed_list");
  const ByteVector bytes = signed_list();
  std::ofstream(list, std::ios::binary) << as_text(bytes);
  const Swtpm tpm;
  const std::string device = boot(tpm, list, "ecc");
  ASSERT_EQ(site.gatehouse("device add " + device + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  EXPECT_EQ(attest(tpm, port, list, certificate()).code, 1);
  ASSERT_EQ(site.gatehouse("device baseline approve " + device).code, 0);
  const auto out = attest(tpm, port, list, certificate());
  EXPECT_EQ(out.code, 0) << out.out << server.log();
  auto verdict = last_verdict();
  const auto& ima = verdict.at("ima").as_object();
  EXPECT_EQ(ima.at("processed").to_number<int>(), 1737);
  EXPECT_EQ(ima.at("ok").to_number<int>(), 1627);
  EXPECT_EQ(ima.at("violations").to_number<int>(), 2);
  EXPECT_EQ(check(verdict, "Q7"), "ok");
  EXPECT_EQ(check(verdict, "L1"), "ok");
  // Another vendor's extension is skipped, and one that isn't offered not asked for. Evidence items are as good for the
  // quote, but have no signatures: what was signed can't be told from what was changed.
  for (const char* option : {"--raw-vendor 4711", "--no-raw-evidence"}) {
    EXPECT_EQ(attest(tpm, port, list, certificate() + " " + option).code, 1) << option;
    verdict = last_verdict();
    EXPECT_EQ(verdict.at("ima").as_object().at("violations").to_number<int>(), 2) << option;
    EXPECT_EQ(verdict.at("ima").as_object().at("ok").to_number<int>(), 1625) << option;
    EXPECT_EQ(check(verdict, "Q7"), "ok") << option;
    EXPECT_EQ(check(verdict, "L1"), "absent") << option;
  }
  EXPECT_EQ(attest(tpm, port, list, certificate() + " --raw-vendor 0x5597").code, 2);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
}

TEST_F(ServeTest, AttestsWithAPasswordOverTls12) {
  std::ofstream(site.path("secret")) << "correct horse battery\n";
  std::ofstream(site.path("wrong")) << "wrong donkey staple\n";
  std::ofstream(site.path("tls12.cnf")) << "openssl_conf = c\n[c]\nssl_conf = s\n[s]\nsystem_default = d\n[d]\nMaxProtocol = TLSv1.2\n";
  const auto added = run(std::string(GATEHOUSE_PROGRAM) + " user add --users '" + site.path("users.db") + "' host1 --password-file '" + site.path("secret") + "'");
  ASSERT_EQ(added.code, 0) << added.out;
  site.configure("users = \"users.db\"\nauth = \"tls-or-sasl\"\n");
  Program server(site.serve({"--log-format", "json", "--log-level", "debug"}));
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const Swtpm tpm;
  const std::string device = boot(tpm, list_file(), "rsapss"), old = "OPENSSL_CONF='" + site.path("tls12.cnf") + "'";
  ASSERT_EQ(site.gatehouse("device add " + device + " --ak '" + site.path("ak.pem") + "' --trust").code, 0);
  const std::string right = "--no-raw-evidence --user host1 --password-file '" + site.path("secret") + "'", wrong = "--user host1 --password-file '" + site.path("wrong") + "'";
  EXPECT_EQ(attest(tpm, port, list_file(), right, old).code, 1);
  ASSERT_EQ(site.gatehouse("device baseline approve " + device).code, 0);
  const auto clean = attest(tpm, port, list_file(), right, old);
  EXPECT_EQ(clean.code, 0) << clean.out << server.log();
  EXPECT_NE(clean.out.find("TLSv1.2"), std::string::npos) << clean.out;
  const auto refused = attest(tpm, port, list_file(), wrong, old);
  EXPECT_EQ(refused.code, 4) << refused.out;
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
  // One JSON object a line, no secret in any, and the sizes of all that was said.
  std::istringstream lines(server.log());
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    boost::system::error_code bad;
    const auto object = boost::json::parse(line, bad);
    ASSERT_TRUE(!bad && object.is_object()) << line;
    for (const char* member : {"time", "level", "session", "message"}) EXPECT_TRUE(object.as_object().contains(member)) << line;
    for (const char* secret : {"correct horse", "wrong donkey", "PRIVATE KEY"}) EXPECT_EQ(line.find(secret), std::string::npos) << line;
  }
  EXPECT_GT(count, 50U);
  EXPECT_TRUE(server.says("PA-TNC attributes 'TCG/Simple Component Evidence', "));
}

// An attestation is under way while references, certificates and users are read again.
TEST_F(ServeTest, ReadsReferencesAgainUnderASession) {
  const Machine m = site.enrolled();
  site.configure();
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  std::ofstream(site.path("sums")) << std::string(64, 'a') << "  /usr/local/bin/another\n";
  int steps = 0;
  const auto outcome = site.attest(port, m, [&] {
    if (++steps != 4) return;
    const auto ingested = run(std::string(GATEHOUSE_PROGRAM) + " refdb ingest --json --refdb '" + site.path("refdb") + "' --product 'Debian 12 x86_64' 'sha256sums:" + site.path("sums") + "'");
    EXPECT_EQ(ingested.code, 0) << ingested.out;
    server.signal(SIGHUP);
    EXPECT_TRUE(server.says("reference generation 2")) << server.log();
  });
  ASSERT_TRUE(outcome) << server.log();
  EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(last_verdict().at("generation").as_int64(), 1) << "judged by the generation that it began with";
  EXPECT_EQ(site.attest(port, m)->recommendation, endpoint::Recommendation::allow);
  EXPECT_EQ(last_verdict().at("generation").as_int64(), 2);
}

TEST(ServeConfiguration, IsCheckedAndItsMistakesNamed) {
  Site site;
  site.configure();
  EXPECT_EQ(site.gatehouse("serve --check").code, 0);
  site.configure("kee = \"x\"\ntls_min = \"1.1\"\n");
  const auto bad = site.gatehouse("serve --check");
  EXPECT_EQ(bad.code, 2);
  EXPECT_NE(bad.out.find("gatehouse.toml:6: pt_tls.kee: unknown key"), std::string::npos) << bad.out;
  EXPECT_NE(bad.out.find("gatehouse.toml:7: pt_tls.tls_min: "), std::string::npos) << bad.out;
  site.configure();
  std::filesystem::remove(site.path("server.key"));
  const auto missing = site.gatehouse("serve");
  EXPECT_EQ(missing.code, 4);
  EXPECT_NE(missing.out.find("server.key"), std::string::npos) << missing.out;
}

}  // namespace
}  // namespace gatehouse::test
