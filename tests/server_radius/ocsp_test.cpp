// Client certificates inside EAP-TTLS whose responder is asked (`radius.client_ocsp`), with OpenSSL's responder and a server
// over RADIUS on loopback.
#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_ocsp/responder.h"
#include "tests/server_radius/peer.h"

namespace gatehouse::test {
namespace {

class RadiusOcsp : public RadiusTest {
 protected:
  void SetUp() override {
    RadiusTest::SetUp();
    for (const char* const name : {"gone", "new"}) authority->issue(name);
    responder_.emplace(*authority, folder + "/index.txt", std::vector{folder + "/client.pem"}, std::vector{folder + "/gone.pem"});
    config.radius.client_ocsp = responder_->url();
    config.radius.tls_client_auth = "optional";
    config.ocsp_limit = std::chrono::seconds(20);
  }
  GatewayPeer::As by(const std::string& name, bool tls_12 = false) const {
    return {.user = "", .password = "", .certificate = folder + "/" + name + ".pem", .key = folder + "/" + name + ".key", .tls_12 = tls_12};
  }
  bool refused(const std::string& name, bool tls_12 = false) const {
    const auto one = made(by(name, tls_12));
    return one->run() && !one->accepted() && !one->eap().succeeded();
  }
  std::optional<Responder> responder_;
};

TEST_F(RadiusOcsp, IsAskedBeforeAClientIsListenedTo) {
  start();
  EXPECT_TRUE(allowed(by("client")));
  EXPECT_TRUE(allowed(by("client", true)));
  for (const bool tls_12 : {false, true}) EXPECT_TRUE(refused("gone", tls_12)) << log->text();
  EXPECT_TRUE(log->has("the client's certificate is refused: ")) << log->text();
  EXPECT_TRUE(log->has("certificate was revoked")) << log->text();
  EXPECT_TRUE(refused("new"));
  EXPECT_TRUE(log->has("the OCSP responder doesn't know the certificate")) << log->text();
  // Who has no certificate is asked for a password, and nobody for his status.
  EXPECT_TRUE(allowed({}));
  // A responder that is gone: what it said stays, the others are refused.
  responder_->stop();
  EXPECT_TRUE(allowed(by("client")));
  authority->issue("newer");
  EXPECT_TRUE(refused("newer"));
  EXPECT_TRUE(log->has("the OCSP responder doesn't answer")) << log->text();
}

TEST_F(RadiusOcsp, SilenceIsForgivenWhereTheOperatorAcceptsIt) {
  config.silence_is_good = true;
  start();
  EXPECT_TRUE(refused("gone")) << "what is known to be revoked isn't silence";
  responder_->stop();
  EXPECT_TRUE(allowed(by("client")));
}

TEST_F(RadiusOcsp, IsAskedAgainOfWhoResumes) {
  config.radius.resumption = std::chrono::hours(1);
  start();
  double answers = 0;
  for (const bool tls_12 : {false, true}) {
    GatewayPeer::As as = by("client", tls_12);
    as.session = std::make_shared<endpoint::KeptSession>();
    for (const bool resumed : {false, true}) {
      const auto one = made(as);
      ASSERT_TRUE(one->run() && one->accepted()) << log->text();
      EXPECT_EQ(one->eap().resumed(), resumed);
      EXPECT_EQ(MetricsText(scrape(server->metrics_port())).value("gatehouse_ocsp_answers_total{answer=\"good\"}"), ++answers);
    }
  }
}

}  // namespace
}  // namespace gatehouse::test
