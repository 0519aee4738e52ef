// What gateways and those that aren't ones send: wrong secrets, repeated, forged and replayed packets, limits, reload.
#include <csignal>

#include "base/hex.h"
#include "server/state/state.h"
#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_radius/peer.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::test {
namespace {

const Bytes secret = as_bytes(radius_secret);

class RadiusGatewayTest : public RadiusTest {
 protected:
  double metric(const std::string& key) const { return MetricsText(scrape(server->metrics_port())).value(key); }
  double dropped(const std::string& why) const { return metric("gatehouse_radius_dropped_total{reason=\"" + why + "\"}"); }
  // What is dropped gets no answer, so it is waited for by its counter.
  void await_dropped(const std::string& why, double count) const {
    while (dropped(why) < count) {
    }
  }
};

ByteVector status_request(std::uint8_t identifier, Bytes with_secret) {
  radius::Authenticator random{};
  fill_random(random);
  return *radius::Builder(radius::Code::status_server, identifier).finish_request(random, with_secret);
}

TEST_F(RadiusGatewayTest, StatusServerIsAnsweredByItsSecretAlone) {
  start();
  const UdpPeer udp(server->radius_port());
  const ByteVector request = status_request(9, secret);
  udp.send(request);
  const ByteVector bytes = udp.receive();
  const auto answer = radius::parse_packet(bytes);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, radius::Code::access_accept);
  EXPECT_TRUE(radius::authentic_answer(*answer, radius::parse_packet(request)->authenticator, secret, true));
  EXPECT_EQ(answer->attributes.size(), 1U);
}

// Blast-RADIUS's kind, other secrets, other addresses, what isn't RADIUS: silence, a counter, a line in the log.
TEST_F(RadiusGatewayTest, WhatIsntAuthenticIsDroppedCountedAndLogged) {
  start();
  const UdpPeer udp(server->radius_port());
  udp.send(status_request(1, as_bytes("another secret of 22 l")));
  await_dropped("unauthenticated", 1);
  // Without Message-Authenticator, with one that is too short, with two.
  ByteVector bare{std::byte{1}, std::byte{2}, std::byte{0}, std::byte{27}};
  bare.resize(20, std::byte{7});
  for (const unsigned c : {1U, 7U}) bare.push_back(std::byte(c));
  const ByteVector name = to_vector(as_bytes("carol"));
  bare.insert(bare.end(), name.begin(), name.end());
  udp.send(bare);
  await_dropped("unauthenticated", 2);
  ByteVector twice = status_request(3, secret);
  const ByteVector again(twice.begin() + 20, twice.end());
  twice.insert(twice.end(), again.begin(), again.end());
  twice[3] = std::byte(twice.size());
  udp.send(twice);
  udp.send(as_bytes("GET / HTTP/1.0\r\n\r\n"));
  udp.send({});
  await_dropped("malformed", 3);
  // CoA-Request: nothing that is asked of a server.
  udp.send(*radius::Builder(radius::Code::coa_request, 4).finish_signed_request(secret));
  await_dropped("code", 1);
  const UdpPeer stranger(server->radius_port(), "127.0.0.9");
  stranger.send(status_request(5, secret));
  await_dropped("client", 1);
  EXPECT_FALSE(udp.has_answer());
  EXPECT_FALSE(stranger.has_answer());
  EXPECT_TRUE(log->has("Message-Authenticator missing or wrong"));
  EXPECT_TRUE(log->has("no client of this address"));
  EXPECT_FALSE(log->has(radius_secret));
  EXPECT_TRUE(allowed({}));
}

// Whoever floods a server fills a counter and not its log.
TEST_F(RadiusGatewayTest, WhatIsDroppedIsLoggedAtABoundedRate) {
  start();
  const auto began = std::chrono::steady_clock::now();
  const UdpPeer udp(server->radius_port()), stranger(server->radius_port(), "127.0.0.9");
  constexpr int many = 1'000, at_once = 50;  // as many as the socket holds in any case
  for (int n = 0; n < many; n += at_once) {
    for (int i = 0; i < at_once; ++i) {
      udp.send(status_request(std::uint8_t(i), as_bytes("another secret of 22 l")));
      stranger.send(status_request(std::uint8_t(i), secret));
    }
    await_dropped("unauthenticated", n + at_once);
    await_dropped("client", n + at_once);
  }
  const auto lines = [&](std::string_view what) {
    std::size_t count = 0;
    const std::string text = log->text();
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++count;
    return count;
  };
  const auto most = 1 + std::size_t((std::chrono::steady_clock::now() - began) / std::chrono::seconds(10));
  for (const std::string_view what : {"Message-Authenticator missing or wrong", "no client of this address"}) {
    EXPECT_GE(lines(what), 1U) << what;
    EXPECT_LE(lines(what), most) << what;
  }
}

TEST_F(RadiusGatewayTest, ARepeatedRequestGetsTheSameOctetsAndCountsOnce) {
  start();
  const auto one = made({});
  while (!one->over()) {
    ASSERT_TRUE(one->step());
    const ByteVector request = one->last_request(), answer = one->last_answer();
    one->udp().send(request);
    ASSERT_EQ(one->udp().receive(), answer) << one->rounds();
  }
  EXPECT_TRUE(one->accepted());
  EXPECT_EQ(metric("gatehouse_radius_requests_total{kind=\"repeated\"}"), double(one->rounds()));
  EXPECT_EQ(metric("gatehouse_radius_requests_total{kind=\"access\"}"), double(one->rounds()));
  EXPECT_EQ(metric("gatehouse_eap_conversations_total"), 1);
}

// A lost answer: the request is sent again, and the conversation goes on as if nothing had been lost.
TEST_F(RadiusGatewayTest, LostRequestsAndAnswersCostNoVerdict) {
  start();
  const auto one = made({});
  for (std::size_t n = 0; !one->over(); ++n) {
    auto request = one->gateway().request(one->next());
    ASSERT_TRUE(request);
    if (n % 3 == 0) {
      one->udp().send(*request);
      ASSERT_FALSE(one->udp().receive().empty());  // lost on the way
    }
    one->udp().send(*request);
    ASSERT_TRUE(one->take(one->udp().receive()));
  }
  EXPECT_TRUE(one->accepted());
}

TEST_F(RadiusGatewayTest, ProxyStatesComeBackInOrder) {
  config.grace = std::chrono::seconds(0);  // what it begins is never ended
  start();
  const UdpPeer udp(server->radius_port());
  radius::Authenticator random{};
  fill_random(random);
  radius::Builder b(radius::Code::access_request, 1);
  b.add_text(radius::type::proxy_state, "first");
  b.add_eap(eap::packet(eap::Code::response, 1, eap::type::identity, as_bytes("x")));
  b.add_text(radius::type::proxy_state, "second");
  udp.send(*std::move(b).finish_request(random, secret));
  const ByteVector bytes = udp.receive();
  const auto answer = radius::parse_packet(bytes);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, radius::Code::access_challenge);
  std::vector<std::string> states;
  for (const radius::Attribute& a : answer->attributes)
    if (a.type == radius::type::proxy_state) states.emplace_back(as_text(a.value));
  EXPECT_EQ(states, (std::vector<std::string>{"first", "second"}));
  EXPECT_EQ(answer->attributes.front().type, radius::type::message_authenticator);
  EXPECT_EQ(answer->attributes.back().type, radius::type::proxy_state);
}

TEST_F(RadiusGatewayTest, AnEapStartIsAskedWhoItIs) {
  start();
  const auto one = made({});
  const ByteVector identity = one->next();
  one->next().clear();
  ASSERT_TRUE(one->step());
  EXPECT_EQ(one->answer()->code, radius::Code::access_challenge);
  EXPECT_TRUE(one->run());
  EXPECT_TRUE(one->accepted()) << log->text();
}

TEST_F(RadiusGatewayTest, APasswordWithoutATunnelIsRejected) {
  start();
  const UdpPeer udp(server->radius_port());
  radius::Authenticator random{};
  fill_random(random);
  radius::Builder b(radius::Code::access_request, 1);
  b.add_text(radius::type::user_name, "carol");
  b.add(radius::type::user_password, radius::hide_password(as_bytes("correct horse battery"), random, secret));
  udp.send(*std::move(b).finish_request(random, secret));
  const ByteVector bytes = udp.receive();
  const auto answer = radius::parse_packet(bytes);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->code, radius::Code::access_reject);
}

// A State that is forged, of another client's address, or of a conversation that is over: Access-Reject, and nobody else's
// conversation is the worse for it.
TEST_F(RadiusGatewayTest, AStateThatIsntTheClientsOwnIsRejected) {
  config.radius.clients.push_back({"127.0.0.5", *server::parse_prefix("127.0.0.5"), folder + "/secret", server::RadiusProfile::ipsec});
  start();
  const auto live = made({});
  ASSERT_TRUE(live->step());
  ASSERT_TRUE(live->step());
  const auto answer = radius::parse_packet(live->last_answer());
  const ByteVector state = to_vector(*answer->find(radius::type::state));
  const auto ask = [&](const UdpPeer& udp, Bytes with_state, std::uint8_t identifier) {
    radius::Authenticator random{};
    fill_random(random);
    radius::Builder b(radius::Code::access_request, identifier);
    b.add_eap(eap::packet(eap::Code::response, 77, eap::type::ttls, ttls::acknowledgement));
    b.add(radius::type::state, with_state);
    udp.send(*std::move(b).finish_request(random, secret));
    const ByteVector bytes = udp.receive();
    const auto read = radius::parse_packet(bytes);
    EXPECT_TRUE(read);
    EXPECT_EQ(read->code, radius::Code::access_reject);
    const auto eap_packet = radius::eap_message(*read);
    EXPECT_TRUE(eap_packet && *eap_packet);
    EXPECT_EQ(**eap_packet, eap::failure(77));
  };
  const UdpPeer same(server->radius_port()), other(server->radius_port(), "127.0.0.5");
  for (std::size_t i = 0; i < state.size(); ++i) {
    ByteVector forged = state;
    forged[i] ^= std::byte{1};
    ask(same, forged, std::uint8_t(i));
  }
  ask(same, as_bytes("x"), 200);
  ask(same, ByteVector(253), 201);
  ask(other, state, 202);
  EXPECT_TRUE(live->run());
  EXPECT_TRUE(live->accepted());
  while (metric("gatehouse_eap_conversations") != 0) {
  }
  ask(same, state, 203);  // it is over
}

// A State of an earlier round with a new authenticator: dropped, and the conversation stays where it was.
TEST_F(RadiusGatewayTest, AnEarlierRoundIsDropped) {
  start();
  const auto one = made({});
  ASSERT_TRUE(one->step());
  ASSERT_TRUE(one->step());
  const ByteVector earlier = to_vector(*radius::parse_packet(one->last_request())->find(radius::type::state));
  radius::Authenticator random{};
  fill_random(random);
  radius::Builder b(radius::Code::access_request, 250);
  b.add_eap(one->next());
  b.add(radius::type::state, earlier);
  one->udp().send(*std::move(b).finish_request(random, secret));
  await_dropped("replayed", 1);
  EXPECT_TRUE(one->run());
  EXPECT_TRUE(one->accepted());
}

TEST_F(RadiusGatewayTest, AnEapIdentifierOutOfOrderIsDropped) {
  start();
  const auto one = made({});
  ASSERT_TRUE(one->step());
  ASSERT_TRUE(one->step());
  const ByteVector good = one->next();
  ByteVector wrong = good;
  wrong[1] ^= std::byte{0x40};
  const auto dropped_one = one->gateway().request(wrong);
  one->udp().send(*dropped_one);
  await_dropped("eap", 1);
  EXPECT_FALSE(one->udp().has_answer());
  EXPECT_TRUE(one->run());
  EXPECT_TRUE(one->accepted());
}

// Rows: what the endpoint says instead of its first TLS message, as EAP-TTLS data; each ends in EAP-Failure.
TEST_F(RadiusGatewayTest, FragmentsThatOverlapOrNeverEndEndInFailure) {
  start();
  const auto with = [](std::string_view hex) { return *from_hex(hex); };
  const std::vector<std::vector<ByteVector>> rows = {
      {with("01")},                                          // another version
      {with("20")},                                          // Start
      {with("40aa")},                                        // no length
      {with("c0ffffffffaa")},                                // giant
      {with("8000000001aabb")},                              // too short
      {with("c000000004aa"), with("40")},                    // empty fragment
      {with("c000000002aa"), with("40bb"), with("00cc")},    // more than was said
      {with("8000000004aabbccdd")},                          // no TLS
      {with("00")},                                          // nothing where a handshake was expected
  };
  for (const auto& row : rows) {
    const auto one = made({});
    ASSERT_TRUE(one->step());
    for (const ByteVector& data : row) {
      ASSERT_EQ(one->answer()->code, radius::Code::access_challenge);
      const std::byte identifier = one->answer()->eap[1];
      one->next() = eap::packet(eap::Code::response, std::uint8_t(identifier), eap::type::ttls, data);
      ASSERT_TRUE(one->step());
    }
    // An alert may come first.
    for (int n = 0; n < 3 && !one->over(); ++n) {
      one->next() = eap::packet(eap::Code::response, std::uint8_t(one->answer()->eap[1]), eap::type::ttls, ttls::acknowledgement);
      ASSERT_TRUE(one->step());
    }
    ASSERT_TRUE(one->over()) << to_hex(row.back());
    EXPECT_EQ(one->answer()->code, radius::Code::access_reject);
    EXPECT_EQ(one->answer()->eap.front(), std::byte(eap::Code::failure));
  }
  EXPECT_TRUE(allowed({}));
}

TEST_F(RadiusGatewayTest, WhoWantsAnotherMethodOutsideIsRefused) {
  start();
  const auto one = made({});
  ASSERT_TRUE(one->step());
  one->next() = eap::packet(eap::Code::response, std::uint8_t(one->answer()->eap[1]), eap::type::nak, *from_hex("1a"));
  ASSERT_TRUE(one->step());
  EXPECT_EQ(one->answer()->code, radius::Code::access_reject);
  EXPECT_TRUE(log->has("the client can't do EAP-TTLS"));
}

// As many conversations as there may be: new ones wait, and those that are there go on.
TEST_F(RadiusGatewayTest, NewConversationsAreDroppedFirst) {
  config.radius.max_conversations = 1;
  start();
  const auto first = made({}), second = made({});
  ASSERT_TRUE(first->step());
  auto request = second->gateway().request(second->next());
  second->udp().send(*request);
  await_dropped("limit", 1);
  EXPECT_TRUE(first->run());
  EXPECT_TRUE(first->accepted());
  // The gateway asks again: the same packet.
  while (metric("gatehouse_eap_conversations") != 0) {
  }
  second->udp().send(*request);
  ASSERT_TRUE(second->take(second->udp().receive()));
  EXPECT_TRUE(second->run());
  EXPECT_TRUE(second->accepted());
}

// A machine that is behind with what it has begun begins nothing: the gateway asks again. What is under way ends with its verdict.
TEST_F(RadiusGatewayTest, WhileTheServerIsBehindOnlyConversationsUnderWayGoOn) {
  config.max_delay = std::chrono::milliseconds(0);  // behind from the second probe on
  config.grace = std::chrono::seconds(0);
  std::unique_ptr<GatewayPeer> first;
  for (bool begun = false; !begun;) {
    if (server) stop();
    start();
    first = made({});
    first->udp().send(*first->gateway().request(first->next()));
    while (!(begun = first->udp().has_answer()) && dropped("load") == 0) {
    }
  }
  ASSERT_TRUE(first->take(first->udp().receive()));
  while (metric("gatehouse_behind") == 0) {
  }
  const auto second = made({});
  second->udp().send(*second->gateway().request(second->next()));
  await_dropped("load", 1);
  EXPECT_TRUE(first->run());
  EXPECT_TRUE(first->accepted());
  EXPECT_FALSE(second->udp().has_answer());
  EXPECT_EQ(metric("gatehouse_radius_answers_total{code=\"accept\"}"), 1);
}

// What begins with no word on who it is isn't begun: nothing of it stays.
TEST_F(RadiusGatewayTest, WhatBeginsInTheMiddleTakesNoPlace) {
  config.radius.max_conversations = 1;
  start();
  const auto one = made({});
  const ByteVector fragment = eap::packet(eap::Code::response, 7, eap::type::ttls, *from_hex("c00000100000"));
  for (int n = 1; n <= 2; ++n) {
    one->udp().send(*one->gateway().request(fragment));
    await_dropped("eap", n);
  }
  EXPECT_TRUE(allowed({}));
}

// Nobody comes any more: its place is free after the deadline, and what it began is a session without a verdict.
TEST_F(RadiusGatewayTest, AnEndpointThatVanishesIsForgotten) {
  config.radius.idle_deadline = std::chrono::seconds(3);
  config.radius.max_conversations = 1;
  start();
  const auto gone = made({});
  for (int n = 0; n < 100 && !log->has("PT-EAP with "); ++n) ASSERT_TRUE(gone->step());
  while (metric("gatehouse_eap_conversations") != 0) {
  }
  EXPECT_EQ(metric("gatehouse_eap_conversations_expired_total"), 1);
  ASSERT_TRUE(gone->step());
  EXPECT_EQ(gone->answer()->code, radius::Code::access_reject);
  EXPECT_TRUE(allowed({}));
  stop();
  auto state = server::State::open({.path = config.state});
  ASSERT_TRUE(state);
  const auto page = (*state)->sessions({}, 100);
  ASSERT_TRUE(page);
  std::vector<pipeline::Recommendation> told;  // the newest first
  for (const server::SessionRecord& one : page->sessions)
    if (one.intent.identity == "carol") told.push_back(pipeline::verdict_from_json(one.verdict)->recommendation);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0], pipeline::Recommendation::allow);
  EXPECT_NE(told[1], pipeline::Recommendation::allow);
}

TEST_F(RadiusGatewayTest, AGatewayThatRestartsHalfWayBeginsAnew) {
  config.grace = std::chrono::seconds(0);
  start();
  {
    const auto first = made({});
    for (int n = 0; n < 12; ++n) ASSERT_TRUE(first->step());
  }
  EXPECT_TRUE(allowed({}));
}

TEST_F(RadiusGatewayTest, AServerThatRestartsHalfWayIsAskedAnew) {
  config.grace = std::chrono::seconds(0);
  start();
  const auto port = server->radius_port();
  const auto one = made({});
  for (int n = 0; n < 12; ++n) ASSERT_TRUE(one->step());
  stop();
  config.radius.listen = {"127.0.0.1:" + std::to_string(port)};
  start();
  // The old conversation is unknown; the endpoint's next attempt is a new one.
  ASSERT_TRUE(one->step());
  EXPECT_EQ(one->answer()->code, radius::Code::access_reject);
  EXPECT_TRUE(allowed({}));
}

TEST_F(RadiusGatewayTest, ReadsClientsAndSecretsAgainAndLetsConversationsGoOn) {
  start();
  const auto before = made({});
  for (int n = 0; n < 12; ++n) ASSERT_TRUE(before->step());
  write("secret", "short\n");
  ASSERT_EQ(::raise(SIGHUP), 0);
  while (!log->has("reload failed, what was loaded before stays")) {
  }
  EXPECT_TRUE(log->has("a shared secret has 16 characters or more"));
  EXPECT_TRUE(allowed({}));
  write("passwords", "gatehouse-passwords 1\nerin\tpassword\tanother one\n");
  write("secret", std::string(radius_secret) + "\n");
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
  EXPECT_TRUE(before->run());
  EXPECT_TRUE(before->accepted());
  EXPECT_TRUE(allowed({.user = "erin", .password = "another one"}));
  const auto gone = made({});
  ASSERT_TRUE(gone->run());
  EXPECT_FALSE(gone->accepted());
}

TEST_F(RadiusGatewayTest, StopsOnceThoseThatAreThereHaveTheirVerdict) {
  start();
  const auto live = made({}), late = made({});
  for (int n = 0; n < 12; ++n) ASSERT_TRUE(live->step());
  ASSERT_EQ(::raise(SIGTERM), 0);
  while (dropped("load") < 1) late->udp().send(*late->gateway().request(late->next()));
  EXPECT_TRUE(live->run());
  EXPECT_TRUE(live->accepted());
  thread.join();
  server.reset();
}

TEST_F(RadiusGatewayTest, SecretsThatOthersCanReadAreRefusedAtTheStart) {
  std::filesystem::permissions(folder + "/secret", std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  const auto checked = server::Server::check(config);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().fault, Fault::usage);
  EXPECT_NE(checked.error().text().find("chmod 600"), std::string::npos);
  write("secret", "fifteen letters\n");
  EXPECT_FALSE(server::Server::check(config));
  write("secret", "sixteen letters.\n");
  EXPECT_TRUE(server::Server::check(config));
  std::filesystem::permissions(folder + "/passwords", std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  EXPECT_FALSE(server::Server::check(config));
}

TEST_F(RadiusGatewayTest, ACertificateThatIsntThereIsNamedAsThat) {
  for (std::string* const file : {&config.radius.certificate, &config.radius.key}) {
    const std::string before = std::exchange(*file, folder + "/absent.pem");
    const auto checked = server::Server::check(config);
    ASSERT_FALSE(checked);
    EXPECT_NE(checked.error().text().find("absent.pem"), std::string::npos) << checked.error().text();
    EXPECT_NE(checked.error().text().find("No such file or directory"), std::string::npos) << checked.error().text();
    *file = before;
  }
  EXPECT_TRUE(server::Server::check(config));
}

}  // namespace
}  // namespace gatehouse::test
