// Client certificates whose responder is asked (`pt_tls.client_ocsp`), with OpenSSL's responder and a server over real TLS.
#include "tests/server_ocsp/responder.h"
#include "tests/server_tls/server_fixture.h"

namespace gatehouse::test {
namespace {

class OcspOfClients : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    for (const char* const name : {"gone", "new"}) authority->issue(name);
    responder_.emplace(*authority, folder + "/index.txt", std::vector{folder + "/client.pem"}, std::vector{folder + "/gone.pem"});
    config.client_ocsp = responder_->url();
    config.ocsp_limit = std::chrono::seconds(20);
  }
  // What a client hears: nothing where it is refused.
  bool heard(const std::string& name) {
    TlsPeer peer(server->port(), with(name));
    if (!peer.good()) return false;
    Client client(*endpoint);
    speak(peer, client.session());
    return client.session().outcome().has_value();
  }
  std::optional<Responder> responder_;
};

TEST_F(OcspOfClients, AreListenedToWhereItSaysThatTheyAreGood) {
  start();
  EXPECT_TRUE(allowed());
  EXPECT_TRUE(allowed(TLS1_2_VERSION));
  EXPECT_FALSE(heard("gone"));
  EXPECT_TRUE(log->has("the client's certificate is refused: ")) << log->text();
  EXPECT_TRUE(log->has("certificate was revoked")) << log->text();
  EXPECT_FALSE(heard("new"));
  EXPECT_TRUE(log->has("the OCSP responder doesn't know the certificate")) << log->text();
  // A responder that is gone: what it said stays, the others are refused.
  responder_->stop();
  EXPECT_TRUE(allowed());
  authority->issue("newer");
  EXPECT_FALSE(heard("newer"));
  EXPECT_TRUE(log->has("the OCSP responder doesn't answer")) << log->text();
}

TEST_F(OcspOfClients, AreListenedToDespiteSilenceWhereTheOperatorAcceptsIt) {
  config.silence_is_good = true;
  start();
  EXPECT_FALSE(heard("gone")) << "what is known to be revoked isn't silence";
  responder_->stop();
  EXPECT_TRUE(allowed());
  EXPECT_FALSE(heard("gone"));
}

TEST_F(OcspOfClients, ACertificateThatNamesNoResponderIsRefusedWhereItsOwnIsToBeAsked) {
  config.client_ocsp = "certificate";
  start();
  EXPECT_FALSE(heard("client"));
  EXPECT_TRUE(log->has("the certificate names no OCSP responder")) << log->text();
}

}  // namespace
}  // namespace gatehouse::test
