// What clients say inside the tunnel that ours never would, and do in TLS: each ends in a refusal, and nobody else is the worse for it.
#include "base/hex.h"
#include "server/state/state.h"
#include "tests/server_radius/inside.h"

namespace gatehouse::test {
namespace {

class Inside : public RadiusTest {
 protected:
  std::unique_ptr<InsidePeer> peer_of(const InsidePeer::As& as = {}) const { return std::make_unique<InsidePeer>(server->radius_port(), as); }
  // The newest session's verdict, but for those that enrolled the machine; the server stops for it.
  pipeline::Verdict last_verdict() {
    stop();
    auto state = server::State::open({.path = config.state});
    EXPECT_TRUE(state);
    const auto page = (*state)->sessions({}, 100);
    EXPECT_TRUE(page);
    for (const server::SessionRecord& one : page->sessions)
      if (one.intent.identity != "CN=test") return *pipeline::verdict_from_json(one.verdict);
    ADD_FAILURE() << "no session is recorded";
    return {};
  }
};

// IF-TNCCS 1.1 is XML in the same EAP method, so its first byte stands where PB-TNC's version is (acceptance scenario 1).
constexpr std::string_view tnccs_11 =
    "<?xml version=\"1.0\"?>\n<TNCCS-Batch xmlns=\"http://www.trustedcomputinggroup.org/IWG/TNC/1_0/IF_TNCCS#\" BatchId=\"1\" "
    "Recipient=\"TNCS\"/>\n";

TEST_F(Inside, AClientOfTheOlderProtocolIsToldThatItsVersionIsntSpoken) {
  start();
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    const auto carol = peer_of({.version = version});
    ASSERT_TRUE(carol->handshake());
    ASSERT_TRUE(carol->authenticate());
    const auto refused = carol->answer(eap::type::pt_eap, pteap::message(as_bytes(tnccs_11)));
    ASSERT_TRUE(refused);
    ASSERT_EQ(refused->type, eap::type::pt_eap);
    const auto said = pteap::parse_message(refused->data);
    ASSERT_TRUE(said);
    const auto batch = pbtnc::parse_batch(said->batch, false);
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->type, pbtnc::BatchType::close);
    ASSERT_EQ(batch->messages.size(), 1U);
    const pbtnc::PbError error = pbtnc::pb_error(batch->messages.front());
    EXPECT_TRUE(error.fatal);
    EXPECT_EQ(error.code, std::uint16_t(pbtnc::ErrorCode::version_not_supported));
    EXPECT_EQ(error.bad_version, std::uint8_t('<'));
    // What isn't XML is an error to it, which it says.
    EXPECT_FALSE(carol->answer(eap::type::pt_eap, pteap::message(as_bytes(tnccs_11))));
    EXPECT_TRUE(carol->ends_in_refusal());
  }
  EXPECT_TRUE(log->has("PB-TNC Version Not Supported at offset 0"));
  EXPECT_TRUE(allowed({}));
}

TEST_F(Inside, TheRecordOfAClientOfTheOlderProtocolIsAnError) {
  config.radius.eap_tnc = true;  // by the older number as well
  start();
  const auto carol = peer_of();
  ASSERT_TRUE(carol->handshake());
  ASSERT_TRUE(carol->authenticate());
  const std::byte tnc{eap::type::tnc};
  const auto begins = carol->answer(eap::type::nak, Bytes(&tnc, 1));
  ASSERT_TRUE(begins);
  ASSERT_EQ(begins->type, eap::type::tnc);
  ASSERT_TRUE(carol->answer(eap::type::tnc, pteap::message(as_bytes(tnccs_11))));
  EXPECT_FALSE(carol->answer(eap::type::tnc, pteap::message(as_bytes(tnccs_11))));
  EXPECT_TRUE(carol->ends_in_refusal());
  const pipeline::Verdict verdict = last_verdict();
  EXPECT_EQ(verdict.evaluation, pipeline::Evaluation::error);
  EXPECT_NE(verdict.recommendation, pipeline::Recommendation::allow);
}

// Lengths of nothing and of everything, in each layer that the tunnel has.
TEST_F(Inside, LengthsThatCantBeEndInFailure) {
  start();
  const auto with = [](std::string_view hex) { return *from_hex(hex); };
  const std::vector<std::pair<const char*, ByteVector>> before = {
      {"an AVP of no length", with("0000004f40000000")},
      {"an AVP shorter than its header", with("0000004f40000007")},
      {"an AVP of 16 MiB", with("0000004f40ffffff0000")},
      {"a vendor's AVP shorter than its header", with("0000004fc000000800000000")},
      {"an EAP packet of no length", ttls::eap_avp(with("02000000"))},
      {"an EAP packet of no length, typed", ttls::eap_avp(with("0200000001"))},
      {"an EAP packet of 65,535 bytes that has 5", ttls::eap_avp(with("0200ffff01"))},
      {"an EAP packet with more behind it", ttls::eap_avp(with("0200000501aa"))},
      {"no EAP packet at all", ttls::eap_avp({})},
      {"a name of a megabyte's length", with("00000001401000006361726f6c")},
  };
  for (const auto& [name, avps] : before) {
    const auto one = peer_of();
    ASSERT_TRUE(one->handshake()) << name;
    EXPECT_TRUE(one->say(avps).empty()) << name;
    EXPECT_TRUE(one->ends_in_refusal()) << name;
  }
  const std::vector<std::pair<const char*, ByteVector>> batches = {
      {"a batch of no length", with("0200000100000000")},
      {"a batch of 4 GiB", with("02000001ffffffff")},
      {"a batch shorter than its header", with("02")},
      {"a message of no length", with("0200000100000014000000000000000100000000")},
      {"a message of 4 GiB", with("02000001000000140000000000000001ffffffff")},
  };
  for (const auto& [name, batch] : batches) {
    const auto one = peer_of();
    ASSERT_TRUE(one->handshake()) << name;
    ASSERT_TRUE(one->authenticate()) << name;
    const auto refused = one->answer(eap::type::pt_eap, pteap::message(batch));
    ASSERT_TRUE(refused) << name;
    const auto said = pteap::parse_message(refused->data);
    ASSERT_TRUE(said) << name;
    const auto close = pbtnc::parse_batch(said->batch, false);
    ASSERT_TRUE(close) << name;
    EXPECT_EQ(close->type, pbtnc::BatchType::close) << name;
    ASSERT_EQ(close->messages.size(), 1U) << name;
    EXPECT_EQ(pbtnc::pb_error(close->messages.front()).code, std::uint16_t(pbtnc::ErrorCode::invalid_parameter)) << name;
    EXPECT_TRUE(one->ends_in_refusal()) << name;
  }
  EXPECT_TRUE(allowed({}));
}

TEST_F(Inside, OlderTlsAndWeakerSuitesGetNoTunnel) {
  config.grace = std::chrono::seconds(0);  // what it begins is never ended
  authority->issue("server", {.purpose = "serverAuth", .rsa = true});
  start();
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION}) {
    const auto one = peer_of({.version = version});
    EXPECT_FALSE(one->handshake()) << version;
    EXPECT_TRUE(one->ends_in_refusal()) << version;
  }
  for (const char* const weak : {"ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-SHA256", "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES128-SHA", "ADH-AES128-GCM-SHA256"}) {
    const auto one = peer_of({.version = TLS1_2_VERSION, .ciphers = weak});
    EXPECT_FALSE(one->handshake()) << weak;
    EXPECT_TRUE(one->ends_in_refusal()) << weak;
  }
  for (const char* const good : {"ECDHE-RSA-AES128-GCM-SHA256", "DHE-RSA-AES128-GCM-SHA256"})
    EXPECT_TRUE(peer_of({.version = TLS1_2_VERSION, .ciphers = good})->handshake()) << good;
}

// Somebody in between who makes a client try an older version is found out, by the server where the client says that it fell back
// (RFC 7507 section 3), by the client by the mark in the server's random (RFC 8446 section 4.1.3).
TEST_F(Inside, ADowngradeIsFoundOut) {
  config.grace = std::chrono::seconds(0);  // what it begins is never ended
  start();
  const auto fell_back = peer_of({.version = TLS1_2_VERSION, .fallback = true});
  EXPECT_FALSE(fell_back->handshake());
  EXPECT_TRUE(fell_back->ends_in_refusal());
  EXPECT_TRUE(log->has("inappropriate fallback")) << log->text();
  const auto older = peer_of({.version = TLS1_2_VERSION});
  ASSERT_TRUE(older->handshake());
  ByteVector random(SSL3_RANDOM_SIZE);
  ASSERT_EQ(SSL_get_server_random(older->ssl(), reinterpret_cast<unsigned char*>(random.data()), random.size()), random.size());
  EXPECT_EQ(to_hex(Bytes(random).last(8)), "444f574e47524401");  // "DOWNGRD", 1
  const auto newest = peer_of({.fallback = true});
  EXPECT_TRUE(newest->handshake());
}

TEST_F(Inside, DoesNotRenegotiate) {
  start();
  const auto one = peer_of({.version = TLS1_2_VERSION});
  ASSERT_TRUE(one->handshake());
  ASSERT_TRUE(one->authenticate());
  ASSERT_EQ(SSL_renegotiate(one->ssl()), 1);
  (void)SSL_do_handshake(one->ssl());
  const auto said = one->converse(one->written());
  ASSERT_TRUE(said);
  // One record, an alert: no ServerHello.
  ASSERT_GT(said->size(), 5U);
  EXPECT_EQ(said->front(), std::byte{SSL3_RT_ALERT});
  EXPECT_EQ(said->size(), 5U + std::size_t((*said)[3]) * 256 + std::size_t((*said)[4]));
  ERR_clear_error();
  EXPECT_NE(SSL_do_handshake(one->ssl()), 1);
  // A client that says nothing more then has said that it knows no PT-EAP.
  EXPECT_TRUE(one->ends_in_refusal());
  EXPECT_TRUE(allowed({.tls_12 = true}));
}

}  // namespace
}  // namespace gatehouse::test
