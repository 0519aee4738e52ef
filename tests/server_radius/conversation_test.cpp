// Whole assessments over RADIUS, EAP-TTLS and PT-EAP: each way to authenticate, each verdict, and what a gateway is told.
#include "server/state/state.h"
#include "tests/server_radius/peer.h"

namespace gatehouse::test {
namespace {

using endpoint::Recommendation;
using Method = endpoint::EapClient::Method;

class RadiusConversation : public RadiusTest {
 protected:
  // The newest session's record, but for those that enrolled the machine; the server stops for it.
  server::SessionRecord last_session() {
    stop();
    auto state = server::State::open({.path = config.state});
    EXPECT_TRUE(state) << state.error().text();
    const auto page = (*state)->sessions({}, 100);
    EXPECT_TRUE(page);
    for (const server::SessionRecord& one : page->sessions)
      if (one.intent.identity != "CN=test") return one;
    ADD_FAILURE() << "no session is recorded";
    return {};
  }
};

TEST_F(RadiusConversation, EndsInAllowForAGoodEndpointWithEachTls) {
  start();
  EXPECT_TRUE(allowed({}));
  EXPECT_TRUE(allowed({.tls_12 = true}));
  EXPECT_TRUE(log->has("TLSv1.3"));
  EXPECT_TRUE(log->has("TLSv1.2"));
  const auto record = last_session();
  EXPECT_EQ(record.intent.identity, "carol");
  EXPECT_EQ(record.intent.identity_type, "password");
  EXPECT_NE(record.intent.peer.find("192.0.2.7[4500] by way of 127.0.0.1:"), std::string::npos) << record.intent.peer;
  EXPECT_NE(record.verdict.find("processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 "
                                "BIOS evidence measurements are ok"),
            std::string::npos)
      << record.verdict;
}

TEST_F(RadiusConversation, TakesWhoEachMethodProves) {
  start();
  for (const Method method : {Method::md5, Method::mschapv2, Method::gtc, Method::pap})
    EXPECT_TRUE(allowed({.method = method})) << int(method);
  // Of whom only the NT hash is kept.
  EXPECT_TRUE(allowed({.user = "dave", .password = "clientPass", .method = Method::mschapv2}));
  EXPECT_TRUE(allowed({.user = "dave", .password = "clientPass", .method = Method::gtc}));
  EXPECT_EQ(last_session().intent.identity, "dave");
}

TEST_F(RadiusConversation, RefusesWrongPasswordsOfEachMethodBeforeAnAssessment) {
  start();
  for (const Method method : {Method::md5, Method::mschapv2, Method::gtc, Method::pap})
    for (const char* const user : {"carol", "nobody"}) {
      // Each from another place: after some mistakes from one, the next has to wait.
      const auto one = made({.user = user, .password = "wrong", .method = method, .station = std::string(user) + std::to_string(int(method))});
      ASSERT_TRUE(one->run()) << log->text();
      EXPECT_FALSE(one->accepted());
      EXPECT_FALSE(one->eap().succeeded());
      EXPECT_FALSE(one->eap().outcome());
      EXPECT_TRUE(one->answer()->msk.empty());
      EXPECT_TRUE(one->answer()->filter_id.empty());
    }
  // EAP-MD5 needs the password itself.
  const auto dave = made({.user = "dave", .password = "clientPass", .method = Method::md5});
  ASSERT_TRUE(dave->run());
  EXPECT_FALSE(dave->accepted());
  EXPECT_FALSE(log->has("correct horse"));
  EXPECT_FALSE(log->has("clientPass"));
  EXPECT_TRUE(allowed({}));
}

TEST_F(RadiusConversation, ChecksGtcAndPapAgainstAUsersFile) {
  server::UserFile users;
  ASSERT_TRUE(users.set("erin", Secret(as_bytes("another password")), min_iterations));
  ASSERT_TRUE(users.save(folder + "/users.db"));
  config.radius.users = folder + "/users.db";
  config.radius.passwords.clear();
  config.radius.methods = {"gtc", "pap"};
  start();
  EXPECT_TRUE(allowed({.user = "erin", .password = "another password", .method = Method::gtc}));
  EXPECT_TRUE(allowed({.user = "erin", .password = "another password", .method = Method::pap}));
  const auto wrong = made({.user = "erin", .password = "wrong", .method = Method::pap});
  ASSERT_TRUE(wrong->run());
  EXPECT_FALSE(wrong->accepted());
}

TEST_F(RadiusConversation, TakesTheIdentityOfACertificateAndNotTheClaimedOne) {
  config.radius.tls_client_auth = "required";
  start();
  GatewayPeer::As as{.user = "somebody else", .certificate = folder + "/client.pem", .key = folder + "/client.key"};
  EXPECT_TRUE(allowed(as));
  as.tls_12 = true;
  EXPECT_TRUE(allowed(as));
  // Without one the handshake fails, and the endpoint hears why.
  const auto without = made({});
  ASSERT_TRUE(without->run());
  EXPECT_FALSE(without->accepted());
  EXPECT_TRUE(log->has("peer did not return a certificate")) << log->text();
  const auto record = last_session();
  EXPECT_EQ(record.intent.identity, "CN=client");
  EXPECT_EQ(record.intent.identity_type, "certificate");
}

TEST_F(RadiusConversation, WhereACertificateIsOptionalAPasswordDoes) {
  config.radius.tls_client_auth = "optional";
  start();
  EXPECT_TRUE(allowed({}));
  EXPECT_TRUE(allowed({.user = "", .password = "", .certificate = folder + "/client.pem", .key = folder + "/client.key"}));
}

// An endpoint with one changed file isn't allowed; what the gateway gets is for its profile and the configuration.
TEST_F(RadiusConversation, TellsTheGatewayOfIsolationAsItIsConfigured) {
  endpoint.emplace(machine(endpoint::KeyAlgorithm::rsassa));  // nobody knows it
  start();
  auto one = made({});
  ASSERT_TRUE(one->run());
  ASSERT_TRUE(one->accepted()) << log->text();
  EXPECT_EQ(one->answer()->filter_id, "isolate");
  EXPECT_EQ(one->answer()->vlan, "");
  EXPECT_TRUE(one->keys_agree());
  EXPECT_EQ(one->eap().outcome()->recommendation, Recommendation::isolate);
  stop();

  config.radius.clients.front().profile = server::RadiusProfile::dot1x;
  config.radius.isolate.class_ = "quarantine";
  config.radius.isolate.session_timeout = std::chrono::seconds(300);
  start();
  one = made({});
  ASSERT_TRUE(one->run());
  EXPECT_EQ(one->answer()->vlan, "66");
  EXPECT_EQ(one->answer()->class_, "quarantine");
  EXPECT_EQ(one->answer()->session_timeout, 300U);
  stop();

  config.radius.isolate_is_reject = true;
  config.radius.block.reply_message = "see the help desk";
  start();
  one = made({});
  ASSERT_TRUE(one->run());
  EXPECT_FALSE(one->accepted());
  EXPECT_FALSE(one->eap().succeeded());
  EXPECT_TRUE(one->answer()->msk.empty());
  EXPECT_TRUE(one->answer()->filter_id.empty());
  EXPECT_EQ(one->answer()->reply_message, "see the help desk");
  EXPECT_EQ(one->eap().outcome()->recommendation, Recommendation::isolate);
}

TEST_F(RadiusConversation, BlocksWithRejectAndEapFailureAlone) {
  std::ofstream(folder + "/policy.toml") << "[groups.all]\nask = [\"DENY\"]\n";
  config.policy_file = folder + "/policy.toml";
  start();
  const auto one = made({});
  ASSERT_TRUE(one->run()) << log->text();
  ASSERT_TRUE(one->answer());
  EXPECT_EQ(one->answer()->code, radius::Code::access_reject);
  EXPECT_EQ(one->answer()->eap.front(), std::byte(eap::Code::failure));
  EXPECT_EQ(one->eap().outcome()->recommendation, Recommendation::block);
  const auto packet = radius::parse_packet(one->last_answer());
  EXPECT_EQ(packet->attributes.size(), 2U);  // Message-Authenticator, EAP-Message
}

TEST_F(RadiusConversation, WhoCantBeAssessedGetsWhatIsConfiguredAndNeverAllow) {
  start();
  auto one = made({.no_attestation = true});
  ASSERT_TRUE(one->run());
  EXPECT_FALSE(one->accepted());
  EXPECT_TRUE(log->has("knows no PT-EAP"));
  EXPECT_TRUE(allowed({}));
  stop();
  config.radius.without_attestation = "isolate";
  start();
  one = made({.no_attestation = true});
  ASSERT_TRUE(one->run());
  EXPECT_TRUE(one->accepted());
  EXPECT_EQ(one->answer()->filter_id, "isolate");
  EXPECT_TRUE(one->keys_agree());
}

// A supplicant that knows no PT-EAP, of a machine that is assessed over PT-TLS by the same certificate.
TEST_F(RadiusConversation, ALeaseOpensThePortForWhoHasAttestedLately) {
  config.radius.without_attestation = "lease";
  config.radius.tls_client_auth = "required";
  config.radius.allow.session_timeout = std::chrono::hours(100);
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    server::Enrolment bound;
    bound.device = endpoint->tpm->ak().key_id();
    bound.key = server::SeenKey{endpoint->tpm->ak(), std::nullopt, std::nullopt};
    bound.identities = {"CN=client"};
    bound.trust = true;
    ASSERT_TRUE((*state)->enrol_blocking(std::move(bound)));
  }
  const GatewayPeer::As as{.user = "whoever", .certificate = folder + "/client.pem", .key = folder + "/client.key", .no_attestation = true};
  const auto told = [&] {
    const auto one = made(as);
    EXPECT_TRUE(one->run()) << log->text();
    EXPECT_TRUE(one->accepted()) << log->text();
    return std::pair(one->answer()->filter_id, one->answer()->session_timeout);
  };
  start();
  EXPECT_EQ(told().first, "isolate");  // nobody has attested yet
  EXPECT_TRUE(ServerTest::allowed());
  const auto open = told();
  EXPECT_EQ(open.first, "allow") << log->text();
  ASSERT_TRUE(open.second);
  EXPECT_LE(*open.second, 28'800U);  // what is left of it
  EXPECT_GT(*open.second, 28'000U);
  // Over a restart, too.
  stop();
  start();
  EXPECT_EQ(told().first, "allow") << log->text();
  stop();
  // Not once the key is revoked.
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    ASSERT_TRUE((*state)->revoke_blocking(endpoint->tpm->ak().key_id()));
  }
  start();
  EXPECT_EQ(told().first, "isolate");
}

// strongSwan's default, a small path, batches and fragments of other sizes: the verdict is the same.
TEST_F(RadiusConversation, IsTheSameWhateverTheSizes) {
  start();
  EXPECT_TRUE(allowed({.framed_mtu = 300}));
  EXPECT_TRUE(allowed({.max_batch = 2'048, .fragment_size = 1'400}));
  EXPECT_TRUE(allowed({.framed_mtu = 65'535, .max_batch = 16'370, .fragment_size = 200}));
}

// A server that isn't who it should be hears no identity but the outer one.
TEST_F(RadiusConversation, TheEndpointTellsNothingToAnotherServer) {
  start();
  const auto one = made({.server_name = "another.example.org"});
  while (!one->over() && !one->eap().over() && one->step()) {
  }
  EXPECT_TRUE(one->eap().error());
  EXPECT_FALSE(one->eap().succeeded());
  EXPECT_FALSE(log->has("carol"));
}

// Two of one user behind one gateway, their packets in turn.
TEST_F(RadiusConversation, TwoOfOneUserAtTheSameMomentAreTwo) {
  config.max_assessments_per_device = 4;
  start();
  const auto first = made({}), second = made({});
  bool more = true;
  while (more) {
    more = false;
    for (GatewayPeer* const one : {first.get(), second.get()})
      if (!one->over()) {
        ASSERT_TRUE(one->step()) << log->text();
        more = true;
      }
  }
  EXPECT_TRUE(first->accepted());
  EXPECT_TRUE(second->accepted());
  EXPECT_TRUE(first->keys_agree());
  EXPECT_TRUE(second->keys_agree());
}

}  // namespace
}  // namespace gatehouse::test
