// RADIUS over TCP and TLS (RFC 6613, RFC 6614): the same answers, and cuts on the gateway's own connection.
#include "tests/server_radius/taken_back.h"

namespace gatehouse::test {
namespace {

// A gateway's stream of packets.
class Stream {
 public:
  Stream(std::uint16_t port, const TlsWanted& wanted) : tls_(std::in_place, port, wanted) {}
  explicit Stream(std::uint16_t port) : tls_(std::in_place, port), plain_(true) {}
  TlsPeer& peer() { return *tls_; }
  bool send(Bytes packet) {
    if (!plain_) return tls_->write(packet);
    tls_->write_raw(packet);
    return true;
  }
  // The next packet; empty: the connection has ended.
  ByteVector receive() {
    for (;;) {
      const auto packet = framer_.next();
      if (!packet) return {};
      if (!packet->empty()) return to_vector(*packet);
      ByteVector more;
      if (plain_) {
        more.resize(4'096);
        const ssize_t n = ::recv(tls_->fd(), more.data(), more.size(), 0);
        more.resize(std::size_t(std::max<ssize_t>(n, 0)));
      } else {
        more = tls_->read();
      }
      if (more.empty()) return {};
      framer_.feed(more);
    }
  }
  testing::AssertionResult run(GatewayPeer& one) {
    while (!one.over()) {
      const auto request = one.gateway().request(one.next());
      if (!request || !send(*request)) return testing::AssertionFailure() << "it can't be sent";
      if (!one.take(receive())) return testing::AssertionFailure() << "no answer that counts";
    }
    return testing::AssertionSuccess();
  }

 private:
  std::optional<TlsPeer> tls_;
  bool plain_ = false;
  radius::Framer framer_;
};

ByteVector alive(std::uint8_t identifier) {
  radius::Authenticator random{};
  fill_random(random);
  return *radius::Builder(radius::Code::status_server, identifier).finish_request(random, shared);
}

class Streams : public TakenBack {
 protected:
  void SetUp() override {
    TakenBack::SetUp();
    gateways.emplace(folder, "gateway CA");
    gateways->issue("gateway");
    gateways->issue("nobody");
    config.radius.listen_tcp = {"127.0.0.1:0"};
    config.radius.listen_tls = {"127.0.0.1:0"};
    config.radius.gateway_ca = gateways->certificate();
    server::RadiusClientConfig by_certificate;
    by_certificate.subject = "CN=gateway";
    config.radius.clients.push_back(by_certificate);
  }
  std::optional<Authority> gateways;
};

TEST_F(Streams, AWholeAssessmentOverTlsWithTheGatewaysCertificate) {
  start();
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    Stream stream(server->radius_ports().tls, with("gateway", version));
    ASSERT_TRUE(stream.peer().good()) << log->text();
    // Two conversations on one connection, one after the other, and accounting besides.
    for (int n = 0; n < 2; ++n) {
      const auto one = made({.secret = "radsec"});
      ASSERT_TRUE(stream.run(*one)) << log->text();
      EXPECT_TRUE(one->accepted());
      EXPECT_TRUE(one->keys_agree());
    }
    radius::Authenticator random{};
    fill_random(random);
    ASSERT_TRUE(stream.send(*radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("radsec"))));
    EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::access_accept);
    radius::Builder b(radius::Code::accounting_request, 2);
    b.add_number(radius::type::acct_status_type, 1);
    b.add_text(radius::type::acct_session_id, "over TLS");
    ASSERT_TRUE(stream.send(*std::move(b).finish_signed_request(as_bytes("radsec"))));
    EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::accounting_response);
  }
}

// Accounting comes on the same connection, whether there is a port of its own for it or not.
TEST_F(Streams, AClassGoesAlongWhereAccountingMayComeBack) {
  config.radius.accounting.clear();
  start();
  Stream stream(server->radius_ports().tls, with("gateway"));
  ASSERT_TRUE(stream.peer().good()) << log->text();
  const auto one = made({.secret = "radsec"});
  ASSERT_TRUE(stream.run(*one)) << log->text();
  const auto marks = classes(*one);
  ASSERT_EQ(marks.size(), 1U);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  radius::Builder b(radius::Code::accounting_request, 200);
  b.add_number(radius::type::acct_status_type, 1);
  b.add_text(radius::type::acct_session_id, "a-1");
  b.add_text(radius::type::class_, marks.front());
  ASSERT_TRUE(stream.send(*std::move(b).finish_signed_request(as_bytes("radsec"))));
  EXPECT_EQ(radius::parse_packet(stream.receive())->code, radius::Code::accounting_response);
  EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
  EXPECT_EQ(metric("gatehouse_radius_connected"), 1);
}

// A gateway that is reached over its connection alone is asked on that, and answers there (RFC 5176, RFC 6614).
TEST_F(Streams, WhoCameOverAConnectionIsCutOffOnIt) {
  for (server::RadiusClientConfig& one : config.radius.clients) {
    one.dynamic_port = 0;
    one.dynamic_on_connection = true;
  }
  start();
  struct Way {
    Bytes secret;
    bool tls;
  };
  int acks = 0;
  for (const Way way : {Way{as_bytes("radsec"), true}, Way{shared, false}}) {
    const auto connect = [&] { return way.tls ? std::make_unique<Stream>(server->radius_ports().tls, with("gateway")) : std::make_unique<Stream>(server->radius_ports().tcp); };
    const auto admit = [&](Stream& on) {
      const auto one = made({.secret = std::string(as_text(way.secret)), .accounting = "a-1"});
      ASSERT_TRUE(on.run(*one)) << log->text();
      ASSERT_TRUE(one->accepted()) << log->text();
    };
    const auto disconnect = [&] { return control({{"command", "radius.disconnect"}, {"device", device}}); };
    const auto cut = [&](Stream& on) {
      const ByteVector request = on.receive();
      const auto packet = radius::parse_packet(request);
      ASSERT_TRUE(packet) << log->text();
      EXPECT_EQ(packet->code, radius::Code::disconnect_request);
      EXPECT_EQ(packet->text(radius::type::acct_session_id), "a-1");
      ASSERT_TRUE(radius::authentic_accounting(*packet, way.secret));
      // An answer to nothing, and one by another secret: neither counts, and the connection stays.
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, std::uint8_t(packet->identifier + 1)).finish_answer(packet->authenticator, way.secret)));
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, packet->identifier).finish_answer(packet->authenticator, as_bytes("another secret of 22 l"))));
      EXPECT_EQ(metric("gatehouse_radius_admitted"), 1);
      ASSERT_TRUE(on.send(*radius::Builder(radius::Code::disconnect_ack, packet->identifier).finish_answer(packet->authenticator, way.secret)));
      await("gatehouse_radius_dynamic_total{kind=\"disconnect\",result=\"ack\"}", ++acks);
      EXPECT_EQ(metric("gatehouse_radius_admitted"), 0);
    };
    auto stream = connect();
    admit(*stream);
    EXPECT_EQ(disconnect().at("asked").to_number<int>(), 1);
    cut(*stream);
    // While there is no connection it waits for the next one, which has to prove that it is this gateway's.
    admit(*stream);
    stream.reset();
    (void)disconnect();
    const auto waits = [&] {
      const std::string text = log->text();
      std::size_t count = 0;
      for (std::size_t at = 0; (at = text.find("is asked as soon as it connects again", at)) != std::string::npos; ++at) ++count;
      return count;
    };
    while (waits() < (way.tls ? 1U : 2U)) {
    }
    Stream nobody(server->radius_ports().tls, with("nobody"));
    EXPECT_TRUE(nobody.receive().empty());
    stream = connect();
    if (!way.tls) {
      ASSERT_TRUE(stream->send(alive(1)));
      EXPECT_EQ(radius::parse_packet(stream->receive())->code, radius::Code::access_accept);
    }
    cut(*stream);
  }
}

TEST_F(Streams, OverTlsNobodyMayAskWithoutACertificateOfAGateway) {
  start();
  const auto port = server->radius_ports().tls;
  const auto status = [](Stream& stream) {
    radius::Authenticator random{};
    (void)stream.send(*radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("radsec")));
    return stream.receive();
  };
  // None; an endpoint's, of another authority; of the right authority, but nobody that is configured.
  TlsWanted none;
  Stream without(port, none);
  EXPECT_TRUE(status(without).empty());
  Stream endpoints(port, with("client"));
  EXPECT_TRUE(status(endpoints).empty());
  Stream nobody(port, with("nobody"));
  EXPECT_TRUE(status(nobody).empty());
  Stream good(port, with("gateway"));
  EXPECT_FALSE(status(good).empty()) << log->text();
  EXPECT_TRUE(log->has("nobody who may ask"));
}

TEST_F(Streams, OverTcpItIsTheSecretOfTheAddressAndWhatIsntRadiusEndsTheConnection) {
  start();
  const auto port = server->radius_ports().tcp;
  Stream stream(port);
  const auto one = made({});
  ASSERT_TRUE(stream.run(*one)) << log->text();
  EXPECT_TRUE(one->accepted());
  radius::Authenticator random{};
  const ByteVector wrong = *radius::Builder(radius::Code::status_server, 1).finish_request(random, as_bytes("another secret of 22 l"));
  const ByteVector right = *radius::Builder(radius::Code::status_server, 1).finish_request(random, shared);
  for (const ByteVector& bad : {wrong, to_vector(as_bytes("GET / HTTP/1.0\r\n\r\n")), ByteVector(8, std::byte{0})}) {
    Stream hostile(port);
    ASSERT_TRUE(hostile.send(bad));
    EXPECT_TRUE(hostile.receive().empty());
  }
  // Cut anywhere it is still whole.
  Stream slow(port);
  for (const std::byte b : right) ASSERT_TRUE(slow.send(Bytes(&b, 1)));
  EXPECT_FALSE(slow.receive().empty());
  EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"taken\"}"), 5);
}

TEST_F(Streams, WhoSaysNothingTakesNobodysPlace) {
  config.radius.max_connections = 2;
  start();
  const auto port = server->radius_ports().tcp;
  Stream gateways_own(port);
  ASSERT_TRUE(gateways_own.send(alive(1)));
  EXPECT_FALSE(gateways_own.receive().empty());
  // More than may be there without having said anything: the oldest makes room.
  std::vector<std::unique_ptr<Stream>> silent;
  for (int n = 0; n < 20; ++n) silent.push_back(std::make_unique<Stream>(port));
  EXPECT_TRUE(silent.front()->receive().empty());
  Stream second(port);
  ASSERT_TRUE(second.send(alive(2)));
  EXPECT_FALSE(second.receive().empty()) << log->text();
  ASSERT_TRUE(gateways_own.send(alive(3)));
  EXPECT_FALSE(gateways_own.receive().empty());
  // Two have proved who they are, and that is all there may be.
  Stream third(port);
  ASSERT_TRUE(third.send(alive(4)));
  EXPECT_TRUE(third.receive().empty());
  EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"refused\"}"), 1);
}

TEST_F(Streams, FromOneAddressThereAreOnlySoMany) {
  config.radius.max_connections_per_address = 1;
  start();
  const auto port = server->radius_ports().tcp;
  {
    Stream one(port);
    ASSERT_TRUE(one.send(alive(1)));
    EXPECT_FALSE(one.receive().empty());
    Stream more(port);
    EXPECT_TRUE(more.receive().empty());
    EXPECT_EQ(metric("gatehouse_radius_connections_total{result=\"refused\"}"), 1);
  }
  for (bool answered = false; !answered;) {
    Stream again(port);
    ASSERT_TRUE(again.send(alive(2)));
    answered = !again.receive().empty();
  }
}

// What comes byte by byte proves nothing, and prolongs nothing.
TEST_F(Streams, WhoProvesNothingInTimeIsCutOff) {
  config.radius.connect_deadline = std::chrono::seconds(1);
  start();
  const ByteVector request = alive(1);
  // Should it come too late itself, once more.
  std::optional<Stream> good;
  do {
    good.emplace(server->radius_ports().tcp);
    ASSERT_TRUE(good->send(request));
  } while (good->receive().empty());
  Stream slow(server->radius_ports().tcp), handshake(server->radius_ports().tls);
  ASSERT_TRUE(slow.send(Bytes(request).first(1)));
  EXPECT_TRUE(slow.receive().empty());
  EXPECT_TRUE(handshake.receive().empty());
  EXPECT_TRUE(log->has("it is silent"));
  ASSERT_TRUE(good->send(alive(2)));
  EXPECT_FALSE(good->receive().empty());
}

}  // namespace
}  // namespace gatehouse::test
