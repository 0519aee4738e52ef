// strongSwan's acceptance scenarios whose endpoints come by way of a gateway (spec part 1a §8), in our form: our endpoint's collectors
// in PT-EAP in EAP-TTLS in RADIUS, against a real server. As there, carol is good and dave isn't.
#include "server/state/state.h"
#include "tests/server_radius/peer.h"

namespace gatehouse::test {
namespace {

using endpoint::Recommendation;
using Method = endpoint::EapClient::Method;

class GatewayScenario : public RadiusTest {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    write("passwords", "gatehouse-passwords 1\ncarol\tpassword\tcorrect horse battery\ndave\tpassword\tstaple and all that\n");
    authority->issue("dave");
    other.emplace(machine(endpoint::KeyAlgorithm::rsassa));  // nobody knows it
  }
  // What a gateway was told, as it says it.
  struct Told {
    bool accepted = false, success = false;
    std::string filter_id, tls;
    Recommendation recommendation = Recommendation::none;
  };
  Told assess(const Machine& of, const GatewayPeer::As& as) const {
    GatewayPeer one(server->radius_port(), of, authority->certificate(), as);
    EXPECT_TRUE(one.run()) << log->text();
    Told out{one.accepted(), one.eap().succeeded(), {}, one.eap().description(), Recommendation::none};
    if (one.answer()) out.filter_id = one.answer()->filter_id;
    if (one.eap().outcome()) out.recommendation = one.eap().outcome()->recommendation;
    // Keys are there with Access-Accept, and nowhere else.
    if (one.accepted()) {
      EXPECT_TRUE(one.keys_agree());
    } else if (one.answer()) {
      EXPECT_TRUE(one.answer()->msk.empty());
      EXPECT_EQ(one.answer()->eap.front(), std::byte(eap::Code::failure));
    }
    return out;
  }
  void is_allowed(const Told& told) const {
    EXPECT_TRUE(told.accepted && told.success) << log->text();
    EXPECT_EQ(told.filter_id, "allow");
    EXPECT_EQ(told.recommendation, Recommendation::allow);
  }
  void is_isolated(const Told& told) const {
    EXPECT_TRUE(told.accepted && told.success) << log->text();
    EXPECT_EQ(told.filter_id, "isolate");
    EXPECT_EQ(told.recommendation, Recommendation::isolate);
  }
  void is_refused(const Told& told, Recommendation recommendation) const {
    EXPECT_FALSE(told.accepted || told.success) << log->text();
    EXPECT_EQ(told.filter_id, "");
    EXPECT_EQ(told.recommendation, recommendation);
  }
  // Identities of the recorded sessions and how they were proved, the newest first, without those that enrolled the machine; the
  // server stops for it.
  std::vector<std::string> recorded() {
    stop();
    std::vector<std::string> out;
    auto state = server::State::open({.path = config.state});
    EXPECT_TRUE(state);
    const auto page = (*state)->sessions({}, 100);
    EXPECT_TRUE(page);
    for (const server::SessionRecord& one : page->sessions)
      if (one.intent.identity != "CN=test") out.push_back(one.intent.identity + " by " + one.intent.identity_type);
    return out;
  }
  GatewayPeer::As daves() const { return {.user = "dave", .password = "staple and all that", .station = "192.0.2.8[4500]"}; }
  std::optional<Machine> other;
};

TEST_F(GatewayScenario, 2_tnccs_20) {
  start();
  const Told carol = assess(*endpoint, {.method = Method::md5});
  is_allowed(carol);
  EXPECT_NE(carol.tls.find("TLSv1.3"), std::string::npos);
  auto as = daves();
  as.method = Method::md5;
  as.tls_12 = true;
  const Told dave = assess(*other, as);
  is_isolated(dave);
  EXPECT_NE(dave.tls.find("TLSv1.2"), std::string::npos);
}

TEST_F(GatewayScenario, 3_block) {
  std::ofstream(folder + "/policy.toml") << "[groups.all]\nask = [\"TPMRA\"]\n[groups.blocked]\nparent = \"all\"\nidentities = [\"password:dave\"]\nask = [\"DENY\"]\n";
  config.policy_file = folder + "/policy.toml";
  start();
  is_allowed(assess(*endpoint, {}));
  is_refused(assess(*other, daves()), Recommendation::block);
  EXPECT_TRUE(log->has("Access-Reject for 'anonymous' at 192.0.2.8[4500]"));
}

// Client certificates in the tunnel, and isolation is a refusal.
TEST_F(GatewayScenario, 8_certificates_and_a_refusal) {
  config.radius.tls_client_auth = "required";
  config.radius.isolate_is_reject = true;
  start();
  is_allowed(assess(*endpoint, {.user = "", .password = "", .certificate = folder + "/client.pem", .key = folder + "/client.key"}));
  is_refused(assess(*other, {.user = "", .password = "", .certificate = folder + "/dave.pem", .key = folder + "/dave.key"}), Recommendation::isolate);
  EXPECT_EQ(recorded(), (std::vector<std::string>{"CN=dave by certificate", "CN=client by certificate"}));
}

// The gateway's server at a distance, with the batch sizes of both clients, each over both versions of TLS.
TEST_F(GatewayScenario, 14_pdp_eap) {
  config.radius.referral = "aaa.strongswan.org:271";
  start();
  std::vector<std::string> heard;
  is_allowed(assess(*endpoint, {.heard = &heard}));
  EXPECT_EQ(std::count(heard.begin(), heard.end(), "the server speaks PT-TLS at aaa.strongswan.org, port 271"), 1) << "once, with the first answer";
  for (const bool tls_12 : {false, true}) {
    is_allowed(assess(*endpoint, {.method = Method::md5, .tls_12 = tls_12, .max_batch = 16'370}));
    auto as = daves();
    as.method = Method::md5;
    as.tls_12 = tls_12;
    as.max_batch = 32'754;
    is_isolated(assess(*other, as));
  }
  EXPECT_EQ(recorded(), (std::vector<std::string>{"dave by password", "carol by password", "dave by password", "carol by password", "carol by password"}));
}

TEST_F(GatewayScenario, 18_tls) {
  config.radius.tls_client_auth = "required";
  start();
  is_allowed(assess(*endpoint, {.user = "", .password = "", .certificate = folder + "/client.pem", .key = folder + "/client.key"}));
  is_isolated(assess(*other, {.user = "", .password = "", .certificate = folder + "/dave.pem", .key = folder + "/dave.key", .tls_12 = true}));
  EXPECT_FALSE(log->has("EAP-MD5"));
  EXPECT_EQ(recorded(), (std::vector<std::string>{"CN=dave by certificate", "CN=client by certificate"}));
}

}  // namespace
}  // namespace gatehouse::test
