// Enrolment by credential activation with the programs: an operator expects a machine, its TPM proves its key, and it
// attests as a trusted device.
#include "base/hex.h"
#include "tests/endpoint_tpm/ek_ca.h"
#include "tests/server_program/program_test.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::test {
namespace {

class EnrolmentTest : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    if (IsSkipped()) return;
    tpm_.emplace();
    boot(*tpm_, list_file(), "ecc");
    std::filesystem::create_directories(site.path("ek-ca"));
    maker_.write(site.path("ek-ca/maker.pem"));
    site.configure({}, {}, "[attestation]\nek_ca = \"ek-ca\"\n");
  }
  endpoint::test::Ran enrol(std::uint16_t port, const std::string& more) const {
    return run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " enrol --server localhost:" + std::to_string(port) + " --ca '" + site.authority.certificate() +
               "' " + certificate() + " --tcti " + tpm_->tcti() + " " + more);
  }
  // Its EK, as the endpoint shows it.
  std::string ek() const {
    const auto shown = run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " enrol --show-ek --tcti " + tpm_->tcti());
    EXPECT_EQ(shown.code, 0) << shown.out;
    return shown.out;
  }
  // The manufacturer's certificate of that EK, in a file.
  std::string certify() const {
    const std::string pem = ek();
    BIO* const bio = BIO_new_mem_buf(pem.data(), int(pem.size()));
    const Owned<EVP_PKEY, EVP_PKEY_free> key(PEM_read_bio_PUBKEY(bio, nullptr, nullptr, nullptr));
    BIO_free(bio);
    const ByteVector der = maker_.issue(key.get());
    std::ofstream(site.path("ek.der"), std::ios::binary).write(reinterpret_cast<const char*>(der.data()), std::streamsize(der.size()));
    return "--ek-cert '" + site.path("ek.der") + "'";
  }
  endpoint::test::Ran attest_as(const std::string& device, std::uint16_t port) { return attest(*tpm_, port, list_file(), certificate() + " --device-id " + device); }

  std::optional<Swtpm> tpm_;
  EkCa maker_;
};

TEST_F(EnrolmentTest, AMachineProvesItsKeyAndAttestsAsWhoItIs) {
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const std::string with_certificate = certify(), token = "--token-file '" + site.path("token") + "'";
  EXPECT_EQ(enrol(port, with_certificate).code, 1) << "nobody expects it";
  const auto opened = site.gatehouse("device enrol laptop-17 --product 'Debian 12 x86_64' --why 'ticket 4711' --token-file '" + site.path("token") + "'");
  ASSERT_EQ(opened.code, 0) << opened.out;
  EXPECT_EQ(std::filesystem::status(site.path("token")).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_NE(site.gatehouse("device enrolments").out.find("laptop-17"), std::string::npos);
  const auto bare = enrol(port, token);
  EXPECT_EQ(bare.code, 1) << bare.out;
  EXPECT_NE(bare.out.find("refused (certificate): the TPM has no certificate"), std::string::npos) << bare.out;
  const auto enrolled = enrol(port, token + " " + with_certificate);
  ASSERT_EQ(enrolled.code, 0) << enrolled.out << server.log();
  EXPECT_NE(enrolled.out.find("enrolled as laptop-17"), std::string::npos) << enrolled.out;
  const auto again = enrol(port, token + " " + with_certificate);
  EXPECT_EQ(again.code, 1);
  EXPECT_NE(again.out.find("refused (not_expected)"), std::string::npos) << again.out;

  const auto first = attest_as("laptop-17", port);
  EXPECT_EQ(first.code, 1) << first.out;
  ASSERT_EQ(site.gatehouse("device baseline approve laptop-17").code, 0);
  const auto second = attest_as("laptop-17", port);
  EXPECT_EQ(second.code, 0) << second.out << server.log();
  const auto verdict = last_verdict();
  const auto shown = site.gatehouse("session show " + std::string(verdict.at("session").as_string()) + " --json");
  EXPECT_NE(shown.out.find("\"Q10\":\"ok\""), std::string::npos) << "the qualified name came with the enrolment: " << shown.out.substr(0, 3000);
  const auto history = site.gatehouse("device history laptop-17");
  EXPECT_NE(history.out.find("trusted by credential activation"), std::string::npos) << history.out;
  EXPECT_NE(history.out.find("ticket 4711"), std::string::npos) << history.out;
  EXPECT_NE(site.gatehouse("device show laptop-17").out.find("EK "), std::string::npos);

  // Another key of the same TPM, without the operator.
  const auto made = run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " provision --tcti " + tpm_->tcti() + " --handle 0x81010003 --algorithm rsa");
  ASSERT_EQ(made.code, 0) << made.out;
  const auto changed = enrol(port, with_certificate + " --ak 0x81010003");
  EXPECT_EQ(changed.code, 0) << changed.out << server.log();
  EXPECT_EQ(attest_as("laptop-17 --ak 0x81010003", port).code, 0);
  EXPECT_NE(attest_as("laptop-17", port).code, 0) << "the key before is revoked";
  EXPECT_TRUE(server.says("enrolment refused (not_expected)", 2)) << server.log();
}

TEST_F(EnrolmentTest, TheOperatorNamesAnEkWithoutACertificate) {
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const std::string shown = ek(), mark = "EK (SHA-256): ";
  const std::string pin = shown.substr(shown.find(mark) + mark.size(), 64);
  const std::string token = "--token-file '" + site.path("token") + "'";
  ASSERT_EQ(site.gatehouse("device enrol --ek " + std::string(64, '0') + " " + token).code, 0);
  EXPECT_EQ(enrol(port, token).code, 1) << "another TPM is expected";
  ASSERT_EQ(site.gatehouse("device enrol --ek " + pin + " " + token).code, 0);
  const auto enrolled = enrol(port, token + " --json");
  ASSERT_EQ(enrolled.code, 0) << enrolled.out << server.log();
  const auto told = boost::json::parse(enrolled.out).as_object();
  EXPECT_EQ(told.at("device"), told.at("key_id")) << "named by its AK";
}

TEST_F(EnrolmentTest, WhatTheEndpointIsToldWronglyIsNamedBeforeAnybodyIsAsked) {
  const auto file = [&](const char* name, std::string_view content) {
    std::ofstream(site.path(name)) << content;
    return "'" + site.path(name) + "'";
  };
  // Nobody listens there: who gets that far says so, by exit code 4.
  const std::tuple<std::string, int, const char*> wrong[] = {
      {"--token-file " + file("junk-token", "not a token\n"), 3, "junk-token"},
      {"--token-file " + file("empty-token", "\n"), 3, "no secret on the first line"},
      {"--token-file '" + site.path("absent") + "'", 4, "absent"},
      {"--ek-cert " + file("junk.pem", "junk"), 3, ""},
      {"--ek-cert " + file("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n"), 3, "cut.pem"},
      {"--ek-algorithm dsa", 2, "ek-algorithm"},
      {"--ak nonsense", 2, "nonsense"},
      {"--ak 0x81010077", 4, ""},
  };
  for (const auto& [arguments, code, words] : wrong) {
    const auto ran = enrol(1, arguments);
    EXPECT_EQ(ran.code, code) << arguments << ": " << ran.out;
    EXPECT_NE(ran.out.find(words), std::string::npos) << arguments << ": " << ran.out;
  }
}

TEST_F(EnrolmentTest, ATokenThatIsOverAndADeviceThatIsBarredEnrolNobody) {
  const enrolment::Token old = enrolment::make_token();
  std::ofstream(site.path("old-token")) << old.text << "\n";
  {
    // Opened two hours ago, for one.
    const std::int64_t then = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count() - 7'200'000;
    const auto state = *server::State::open({.path = site.path("state"), .create = true, .now = [then] { return then; }});
    server::EnrolmentOffer offer;
    offer.id = to_hex(old.id);
    offer.key = to_vector(old.key.reveal());
    offer.device = "laptop-17";
    offer.until = then + 3'600'000;
    ASSERT_TRUE(state->open_enrolment_blocking(offer, {}));
  }
  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  const std::string with_certificate = certify(), token = "--token-file '" + site.path("token") + "'";
  const auto late = enrol(port, "--token-file '" + site.path("old-token") + "' " + with_certificate);
  EXPECT_EQ(late.code, 1) << late.out;
  EXPECT_NE(late.out.find("refused (not_expected)"), std::string::npos) << late.out;
  EXPECT_NE(site.gatehouse("device enrolments").out.find("(over)"), std::string::npos);
  EXPECT_EQ(site.gatehouse("device show laptop-17").code, 1) << "nobody was enrolled";

  ASSERT_EQ(site.gatehouse("device enrol laptop-17 " + token).code, 0);
  ASSERT_EQ(enrol(port, token + " " + with_certificate).code, 0) << server.log();
  // A second enrolment is open when the device is found to be stolen.
  ASSERT_EQ(site.gatehouse("device enrol laptop-17 " + token).code, 0);
  ASSERT_EQ(site.gatehouse("device suspend laptop-17 --why stolen").code, 0);
  for (const std::string& by : {token + " ", std::string()}) {
    const auto barred = enrol(port, by + with_certificate + " --json");
    EXPECT_EQ(barred.code, 1) << barred.out;
    EXPECT_EQ(boost::json::parse(barred.out).at("outcome").as_string(), "device") << barred.out;
  }
  const auto refused = site.gatehouse("device enrol laptop-17");
  EXPECT_EQ(refused.code, 1) << refused.out;
  EXPECT_NE(site.gatehouse("device show laptop-17").out.find("suspended since"), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::test
