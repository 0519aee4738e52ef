// TLS sessions that are resumed inside EAP-TTLS: who had authenticated in them needn't do so again, and is assessed as anybody.
#include <sys/wait.h>

#include <array>
#include <boost/json.hpp>
#include <csignal>
#include <cstdio>

#include "server/control/control.h"
#include "server/state/state.h"
#include "tests/server_radius/peer.h"

namespace gatehouse::test {
namespace {

using Method = endpoint::EapClient::Method;
using Kept = std::shared_ptr<endpoint::KeptSession>;

class Resumption : public RadiusTest {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    config.radius.resumption = std::chrono::hours(1);
    config.radius.tls_client_auth = "optional";
  }
  std::unique_ptr<GatewayPeer> conversation(GatewayPeer::As as, const Kept& session) const {
    as.session = session;
    auto one = made(as);
    EXPECT_TRUE(one->run()) << log->text();
    return one;
  }
  testing::AssertionResult is(const GatewayPeer& one, bool accepted, bool resumed) const {
    if (one.accepted() != accepted) return testing::AssertionFailure() << (accepted ? "refused\n" : "accepted\n") << log->text();
    if (one.eap().resumed() != resumed) return testing::AssertionFailure() << (resumed ? "not resumed\n" : "resumed\n") << log->text();
    if (accepted && !one.keys_agree()) return testing::AssertionFailure() << "EAP and RADIUS don't agree";
    return testing::AssertionSuccess();
  }
  void reload() const {
    const auto reads = [&] {
      std::size_t count = 0;
      const std::string text = log->text();
      for (std::size_t at = 0; (at = text.find("reference generation", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    const std::size_t already = reads();
    ASSERT_EQ(::raise(SIGHUP), 0);
    while (reads() == already) {
    }
  }
  void control(const boost::json::object& request) const {
    auto client = server::ControlClient::connect(config.control_socket);
    ASSERT_TRUE(client);
    const auto response = client->ask(boost::json::serialize(request));
    ASSERT_TRUE(response);
    EXPECT_FALSE(boost::json::parse(*response).as_object().contains("error")) << *response;
  }
};

TEST_F(Resumption, LeavesOutTheMethodAndNothingElse) {
  start();
  for (const bool tls_12 : {false, true}) {
    const Kept session = std::make_shared<endpoint::KeptSession>();
    const auto first = conversation({.tls_12 = tls_12}, session);
    ASSERT_TRUE(is(*first, true, false));
    ASSERT_FALSE(session->empty());
    // Whatever password it has now: it isn't asked for it, and is assessed in full.
    for (int n = 0; n < 2; ++n) {
      const auto again = conversation({.password = "forgotten", .tls_12 = tls_12}, session);
      ASSERT_TRUE(is(*again, true, true));
      ASSERT_TRUE(again->eap().outcome());
      EXPECT_EQ(again->eap().outcome()->recommendation, endpoint::Recommendation::allow);
      EXPECT_EQ(again->answer()->filter_id, "allow");
    }
    EXPECT_TRUE(log->has("TLS session resumption authentication of 'carol'"));
    // The identity of the session's record is the one that had been proved.
    EXPECT_TRUE(log->has("identity 'carol' (password)"));
  }
}

TEST_F(Resumption, BringsNoVerdictWithIt) {
  start();
  const Kept session = std::make_shared<endpoint::KeptSession>();
  ASSERT_TRUE(is(*conversation({}, session), true, false));
  const std::string device = endpoint->tpm->ak().key_id();
  control({{"command", "device.state"}, {"device", device}, {"state", "suspended"}});
  const auto suspended = conversation({}, session);
  ASSERT_TRUE(is(*suspended, true, true));
  EXPECT_EQ(suspended->answer()->filter_id, "isolate");
  control({{"command", "device.revoke"}, {"device", device}});
  const auto revoked = conversation({}, session);
  EXPECT_TRUE(is(*revoked, false, true));
  EXPECT_FALSE(revoked->eap().succeeded());
}

TEST_F(Resumption, IsForWhoHasAuthenticatedAlone) {
  start();
  for (const bool tls_12 : {false, true}) {
    const Kept session = std::make_shared<endpoint::KeptSession>();
    ASSERT_TRUE(is(*conversation({.password = "wrong", .tls_12 = tls_12}, session), false, false));
    const auto again = conversation({.tls_12 = tls_12}, session);
    EXPECT_TRUE(is(*again, true, false));  // in full
    // Another name in a session of carol's authenticates as that, or not at all.
    const Kept carols = std::make_shared<endpoint::KeptSession>();
    ASSERT_TRUE(is(*conversation({.tls_12 = tls_12}, carols), true, false));
    EXPECT_TRUE(is(*conversation({.user = "dave", .password = "wrong", .tls_12 = tls_12}, carols), false, true));
    const auto dave = conversation({.user = "dave", .password = "clientPass", .method = Method::mschapv2, .tls_12 = tls_12}, carols);
    EXPECT_TRUE(dave->accepted()) << log->text();
    EXPECT_TRUE(log->has("MSCHAPv2 authentication of 'dave'")) << log->text();
    // With TLS 1.3 a session in which somebody has failed isn't taken up again; where it is, it stays carol's.
    if (dave->eap().resumed()) {
      EXPECT_TRUE(is(*conversation({.password = "forgotten", .tls_12 = tls_12}, carols), true, true));
    }
  }
}

TEST_F(Resumption, OfACertificateKeepsItsSubject) {
  start();
  const GatewayPeer::As by_certificate{.user = "whoever", .certificate = folder + "/client.pem", .key = folder + "/client.key"};
  for (const bool tls_12 : {false, true}) {
    GatewayPeer::As as = by_certificate;
    as.tls_12 = tls_12;
    const Kept session = std::make_shared<endpoint::KeptSession>();
    ASSERT_TRUE(is(*conversation(as, session), true, false));
    as.certificate.clear();
    as.key.clear();
    EXPECT_TRUE(is(*conversation(as, session), true, true));
  }
  EXPECT_TRUE(log->has("identity 'CN=client' (certificate)"));
  EXPECT_FALSE(log->has("identity 'whoever'"));
}

// Users, passwords, revocation lists: with what was read again nobody goes on as before.
TEST_F(Resumption, EndsWithNewSettingsAndInItsTime) {
  start();
  const Kept session = std::make_shared<endpoint::KeptSession>();
  ASSERT_TRUE(is(*conversation({}, session), true, false));
  ASSERT_TRUE(is(*conversation({}, session), true, true));
  reload();
  EXPECT_TRUE(is(*conversation({.password = "wrong"}, session), false, false));
  ASSERT_TRUE(is(*conversation({}, session), true, false));
  stop();
  config.radius.resumption = std::chrono::seconds(0);
  start();
  ASSERT_TRUE(is(*conversation({}, session), true, false));
  EXPECT_TRUE(is(*conversation({}, session), true, false));
}

// Its time is counted from the authentication, however often it is resumed.
TEST_F(Resumption, IsntProlongedByItself) {
  config.radius.resumption = std::chrono::seconds(3);
  start();
  const Kept session = std::make_shared<endpoint::KeptSession>();
  ASSERT_TRUE(is(*conversation({}, session), true, false));
  std::unique_ptr<GatewayPeer> one;
  do one = conversation({.password = "forgotten"}, session);
  while (one->accepted());
  EXPECT_FALSE(one->eap().resumed());
}

// A supplicant that can't be assessed isn't asked once more, and gets what its device's lease is worth by then.
TEST_F(Resumption, WhoHasRefusedPtEapGetsWhatItsLeaseIsWorth) {
  config.radius.without_attestation = "lease";
  const std::string device = endpoint->tpm->ak().key_id();
  {
    auto state = server::State::open({.path = config.state});
    ASSERT_TRUE(state);
    ASSERT_TRUE((*state)->alter_blocking(device, std::nullopt, std::nullopt, std::vector<std::string>{"carol"}, {}));
  }
  start();
  for (const bool tls_12 : {false, true}) {
    const GatewayPeer::As port{.tls_12 = tls_12, .no_attestation = true};
    const Kept session = std::make_shared<endpoint::KeptSession>();
    ASSERT_TRUE(is(*conversation({.tls_12 = tls_12}, {}), true, false));
    ASSERT_TRUE(is(*conversation(port, session), true, false));
    const auto again = conversation(port, session);
    ASSERT_TRUE(is(*again, true, true));
    EXPECT_EQ(again->answer()->filter_id, "allow");
    EXPECT_LT(again->rounds(), 6U);
    if (!tls_12) continue;
    control({{"command", "device.revoke"}, {"device", device}});
    const auto revoked = conversation(port, session);
    ASSERT_TRUE(is(*revoked, true, true));
    EXPECT_EQ(revoked->answer()->filter_id, "isolate");
  }
}

// wpa_supplicant's, which goes on with nothing inside a tunnel that it has resumed.
TEST_F(Resumption, EapolTestResumes) {
  if (std::system("command -v eapol_test >/dev/null") != 0) GTEST_SKIP() << "eapol_test isn't installed";
  config.radius.without_attestation = "isolate";
  start();
  for (const char* const tls : {"tls_disable_tlsv1_3=0", "tls_disable_tlsv1_3=1"}) {
    write("network", std::string("network={\n  key_mgmt=IEEE8021X\n  eap=TTLS\n  identity=\"carol\"\n  anonymous_identity=\"anonymous\"\n"
                                 "  password=\"correct horse battery\"\n  ca_cert=\"") +
                         authority->certificate() + "\"\n  phase1=\"" + tls + "\"\n  phase2=\"autheap=MD5\"\n}\nfast_reauth=1\n");
    FILE* const pipe = ::popen(("timeout 60 eapol_test -c '" + folder + "/network' -r1 -a 127.0.0.1 -p " + std::to_string(server->radius_port()) + " -s '" +
                                std::string(radius_secret) + "' -t 20 2>&1")
                                   .c_str(),
                               "re");
    ASSERT_NE(pipe, nullptr);
    std::string out;
    std::array<char, 4096> buffer{};
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) out.append(buffer.data(), n);
    const int status = ::pclose(pipe);
    EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0) << tls << "\n" << out << log->text();
    EXPECT_NE(out.find("MPPE keys OK: 2"), std::string::npos) << out;
  }
  EXPECT_TRUE(log->has("TLS session resumption authentication of 'carol' at 02-00-00-00-00-01 by way of")) << log->text();
}

}  // namespace
}  // namespace gatehouse::test
