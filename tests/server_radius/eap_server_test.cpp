// The EAP conversation's state machines without TLS: what is asked, in which order, and what each answer out of order gets.
#include "server/eap/eap_server.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/md5.h"
#include "tests/server_radius/plain_tunnel.h"
#include "wire/eap/eap.h"
#include "wire/pteap/pteap.h"

namespace gatehouse::server {
namespace {

using pipeline::Recommendation;

ByteVector response(std::uint8_t identifier, std::uint8_t type, Bytes data) { return eap::packet(eap::Code::response, identifier, type, data); }

class EapConversation : public testing::Test {
 protected:
  EapConversation() {
    config.inner.methods = {eap::type::md5_challenge, eap::type::mschap_v2, eap::type::gtc};
    config.inner.pap = true;
  }
  void begin(std::string subject = {}, bool good = true) {
    server.emplace(host, config, std::make_unique<test::PlainTunnel>(std::move(subject), good));
  }
  // A response to what is outstanding; what the server says to it.
  std::optional<ByteVector> say(std::uint8_t type, Bytes data) {
    const auto taken = server->receive(response(identifier, type, data));
    EXPECT_TRUE(taken) << (taken ? "" : taken.error().text());
    return listen();
  }
  std::optional<ByteVector> listen() {
    const auto packet = server->take_packet();
    if (!packet) return std::nullopt;
    identifier = std::uint8_t((*packet)[1]);
    return to_vector(*packet);
  }
  // Inside the tunnel.
  std::optional<eap::Packet> tell(Bytes avps) {
    Writer w;
    w.put(std::uint8_t{0});
    w.put_bytes(avps);
    return heard(say(eap::type::ttls, w.view()));
  }
  std::optional<eap::Packet> answer(std::uint8_t type, Bytes data) { return tell(ttls::eap_avp(response(inner, type, data))); }
  std::optional<eap::Packet> heard(std::optional<ByteVector> packet) {
    if (!packet) return std::nullopt;
    kept = *std::move(packet);
    const auto outer = eap::parse_packet(kept);
    if (outer->code != eap::Code::request) return std::nullopt;
    const auto data = ttls::parse_packet(outer->data);
    const auto avps = ttls::parse_avps(data->data);
    if (!avps || avps->all.empty()) return std::nullopt;
    const auto request = eap::parse_packet(avps->all.front().data);
    EXPECT_TRUE(request);
    inner = request->identifier;
    return *request;
  }
  // Up to the tunnel.
  void handshake() {
    EXPECT_EQ(to_hex(*say(eap::type::identity, as_bytes("outer"))).substr(8), "1520");
    EXPECT_TRUE(say(eap::type::ttls, *from_hex("0016")));  // "hello"
  }
  ByteVector md5_response(const eap::Packet& request, std::string_view password) {
    const std::byte id{request.identifier};
    const Md5 value = md5({Bytes(&id, 1), as_bytes(password), request.data.subspan(1, 16)});
    Writer w;
    w.put(std::uint8_t{16});
    w.put_bytes(value);
    return std::move(w).take();
  }
  // Authenticated, and asked for PT-EAP.
  void authenticate() {
    handshake();
    const auto challenge = answer(eap::type::identity, as_bytes("carol"));
    ASSERT_TRUE(challenge);
    const auto start = answer(eap::type::md5_challenge, md5_response(*challenge, "secret"));
    ASSERT_TRUE(start);
    EXPECT_EQ(start->type, eap::type::pt_eap);
    EXPECT_TRUE(pteap::parse_message(start->data)->start);
  }
  bool failed() const { return server->over() && kept_is(eap::Code::failure); }
  bool kept_is(eap::Code code) const { return !kept.empty() && kept.front() == std::byte(code); }

  EapServer::Config config;
  test::NotingHost host;
  std::optional<EapServer> server;
  std::uint8_t identifier = 9, inner = 0;
  ByteVector kept;
};

TEST_F(EapConversation, RunsFromIdentityToSuccess) {
  begin();
  authenticate();
  EXPECT_FALSE(answer(eap::type::pt_eap, pteap::message(ByteVector(40))));
  EXPECT_TRUE(server->waiting());
  server->on_batch(ByteVector(30, std::byte{1}));
  const auto batch = heard(listen());
  ASSERT_TRUE(batch);
  EXPECT_EQ(pteap::parse_message(batch->data)->batch.size(), 30U);
  EXPECT_FALSE(answer(eap::type::pt_eap, pteap::message(ByteVector(8))));
  server->on_assessed(Recommendation::allow);
  const auto last = listen();
  ASSERT_TRUE(last);
  EXPECT_EQ(*last, eap::success(identifier));
  EXPECT_TRUE(server->over());
  EXPECT_EQ(server->verdict(), Recommendation::allow);
  EXPECT_EQ(host.done, (std::vector<std::string>{"accepted carol by EAP-MD5", "begin carol password", "deliver 40", "deliver 8"}));
}

TEST_F(EapConversation, OnlyAllowAndIsolateEndInSuccess) {
  for (const auto verdict : {std::optional(Recommendation::allow), std::optional(Recommendation::isolate), std::optional(Recommendation::block),
                             std::optional(Recommendation::none), std::optional<Recommendation>()}) {
    identifier = 9;
    inner = 0;
    begin();
    authenticate();
    (void)answer(eap::type::pt_eap, pteap::message(ByteVector(8)));
    server->on_assessed(verdict);
    const auto last = listen();
    ASSERT_TRUE(last);
    const bool good = verdict == Recommendation::allow || verdict == Recommendation::isolate;
    EXPECT_EQ(last->front(), std::byte(good ? eap::Code::success : eap::Code::failure));
  }
}

// A client that says nothing once the tunnel is there is asked; one that says nothing then, either, fails.
TEST_F(EapConversation, WhoDoesntSayWhoItIsIsAskedOnce) {
  begin();
  handshake();
  const auto asked = tell({});
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->type, eap::type::identity);
  const auto challenge = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->type, eap::type::md5_challenge);

  identifier = 9;
  begin();
  handshake();
  (void)tell({});
  (void)tell({});
  EXPECT_TRUE(failed());
}

TEST_F(EapConversation, ACertificateNeedsNoMethod) {
  config.certificate = EapServer::Certificate::optional;
  begin("CN=client");
  handshake();
  const auto start = answer(eap::type::identity, as_bytes("somebody"));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->type, eap::type::pt_eap);
  (void)answer(eap::type::pt_eap, pteap::message(ByteVector(8)));
  EXPECT_EQ(host.done[1], "begin CN=client certificate");

  // Where none is asked for, one that is there counts for nothing.
  config.certificate = EapServer::Certificate::none;
  identifier = 9;
  begin("CN=client");
  handshake();
  EXPECT_EQ(answer(eap::type::identity, as_bytes("carol"))->type, eap::type::md5_challenge);
}

TEST_F(EapConversation, NothingIsHeardBeforeItIsKnownWhetherTheCertificateWasRevoked) {
  config.certificate = EapServer::Certificate::optional;
  host.asks = true;
  begin("CN=client");
  EXPECT_EQ(to_hex(*say(eap::type::identity, as_bytes("outer"))).substr(8), "1520");
  EXPECT_FALSE(say(eap::type::ttls, *from_hex("0016")));
  EXPECT_FALSE(server->receive(response(identifier, eap::type::ttls, *from_hex("00"))));
  EXPECT_FALSE(server->waiting());
  server->on_certificate({});
  EXPECT_TRUE(listen());
  server->on_certificate(gatehouse::fail(Fault::denied, "certificate was revoked"));  // the first word counts
  EXPECT_FALSE(server->over());
  EXPECT_EQ(answer(eap::type::identity, as_bytes("somebody"))->type, eap::type::pt_eap);
  EXPECT_EQ(host.done, (std::vector<std::string>{"certificate", "accepted somebody by certificate"}));

  identifier = 9;
  begin("CN=client");
  (void)say(eap::type::identity, as_bytes("outer"));
  EXPECT_FALSE(say(eap::type::ttls, *from_hex("0016")));
  server->on_certificate(gatehouse::fail(Error{Fault::denied, "certificate was revoked", "RFC 6960", 0, {}, "'CN=client'"}));
  const auto last = listen();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->front(), std::byte(eap::Code::failure));
  EXPECT_TRUE(server->over());
  EXPECT_FALSE(server->verdict());
  EXPECT_EQ(server->failure(), "certificate was revoked");
  EXPECT_EQ(server->failure_detail(), "'CN=client'");

  // Who has none is asked for a password, and nobody about a certificate.
  host.done.clear();
  identifier = 9;
  begin();
  handshake();
  EXPECT_EQ(answer(eap::type::identity, as_bytes("carol"))->type, eap::type::md5_challenge);
  EXPECT_TRUE(host.done.empty());
}

TEST_F(EapConversation, MethodsAreNegotiatedByNak) {
  begin();
  handshake();
  EXPECT_EQ(answer(eap::type::identity, as_bytes("carol"))->type, eap::type::md5_challenge);
  EXPECT_EQ(answer(eap::type::nak, *from_hex("0d06"))->type, eap::type::gtc);  // TLS isn't ours, GTC is
  (void)answer(eap::type::gtc, as_bytes("secret"));
  EXPECT_TRUE(server->waiting());
  EXPECT_EQ(host.done.back(), "check carol secret");
  server->on_password(true);
  EXPECT_EQ(heard(listen())->type, eap::type::pt_eap);
  // What was refused isn't offered again, and nothing in common is a failure.
  identifier = 9;
  begin();
  handshake();
  (void)answer(eap::type::identity, as_bytes("carol"));
  (void)answer(eap::type::nak, *from_hex("04"));
  EXPECT_TRUE(failed());
}

// Nobody's name can't be anybody's identity, unless a certificate has said it.
TEST_F(EapConversation, AnEmptyNameIsRefusedWithoutACertificate) {
  begin();
  handshake();
  EXPECT_FALSE(answer(eap::type::identity, {}));
  EXPECT_TRUE(failed());
  EXPECT_TRUE(host.done.empty());
  config.certificate = EapServer::Certificate::optional;
  identifier = 9;
  begin("CN=client");
  handshake();
  EXPECT_TRUE(answer(eap::type::identity, {}));
  EXPECT_EQ(host.done, std::vector<std::string>{"accepted  by certificate"});
}

TEST_F(EapConversation, PapIsTakenWhereItIsOffered) {
  Writer w;
  ttls::append_avp(w, ttls::avp::user_name, as_bytes("carol"));
  ttls::append_avp(w, ttls::avp::user_password, *from_hex("73656372657400000000000000000000"));
  begin();
  handshake();
  (void)tell(w.view());
  EXPECT_EQ(host.done.back(), "check carol secret");
  server->on_password(false);
  (void)heard(listen());
  EXPECT_TRUE(failed());
  config.inner.pap = false;
  identifier = 9;
  begin();
  handshake();
  (void)tell(w.view());
  EXPECT_TRUE(failed());
}

TEST_F(EapConversation, WhoRefusesPtEapIsTheHostsBusiness) {
  begin();
  authenticate();
  (void)answer(eap::type::nak, *from_hex("00"));
  EXPECT_EQ(host.done.back(), "without carol");
  server->on_assessed(Recommendation::block);
  (void)heard(listen());
  EXPECT_TRUE(failed());
}

// Rows: what comes inside the tunnel in place of the first batch. Each ends the conversation in Failure.
// Where TLS has resumed a session: the same client is believed, and assessed; another name isn't.
TEST_F(EapConversation, WhoResumesASessionIsAssessedAsAnybody) {
  std::shared_ptr<Resumable> resumable;
  const auto resume = [&](const std::shared_ptr<Resumable>& before, const std::string& subject = {}) {
    host.done.clear();
    server.emplace(host, config, std::make_unique<test::PlainTunnel>(subject, true, before, &resumable));
    identifier = 9;
    handshake();
  };
  const auto carols = std::make_shared<Resumable>("carol", EapIdentity{"carol", "password"});
  resume(carols);
  inner = 0;
  const auto start = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->type, eap::type::pt_eap);
  EXPECT_EQ(host.done, std::vector<std::string>({"accepted carol by TLS session resumption"}));
  EXPECT_EQ(resumable, carols);
  // It says nothing, as some do.
  resume(carols);
  const auto asked = heard(say(eap::type::ttls, ByteVector{std::byte{0}}));
  ASSERT_TRUE(asked);
  EXPECT_EQ(asked->type, eap::type::pt_eap);
  // It refuses PT-EAP, and isn't asked the next time: what it gets is the host's to say each time.
  EXPECT_FALSE(carols->refuses_assessment);
  (void)answer(eap::type::nak, ByteVector{std::byte{0}});
  EXPECT_TRUE(carols->refuses_assessment);
  resume(carols);
  (void)say(eap::type::ttls, ByteVector{std::byte{0}});
  EXPECT_EQ(host.done, std::vector<std::string>({"accepted carol by TLS session resumption", "without carol"}));
  EXPECT_TRUE(server->waiting());
  server->on_assessed(Recommendation::block);
  EXPECT_EQ(listen()->front(), std::byte(eap::Code::failure));
  // Another name has a method to go through, and the session stays whose it was.
  resumable = nullptr;
  resume(carols);
  inner = 0;
  const auto method = answer(eap::type::identity, as_bytes("dave"));
  ASSERT_TRUE(method);
  EXPECT_EQ(method->type, eap::type::md5_challenge);
  EXPECT_TRUE(host.done.empty());
  EXPECT_EQ(resumable, nullptr);
  // And so has everybody in a session that is nobody's.
  resume(nullptr);
  inner = 0;
  EXPECT_EQ(answer(eap::type::identity, as_bytes("carol"))->type, eap::type::md5_challenge);
  // What was proved by a certificate isn't proved without it, and a password's name isn't a certificate's.
  config.certificate = EapServer::Certificate::optional;
  resume(std::make_shared<Resumable>("carol", EapIdentity{"CN=client", "certificate"}));
  inner = 0;
  EXPECT_EQ(answer(eap::type::identity, as_bytes("carol"))->type, eap::type::md5_challenge);
  const auto refuses = std::make_shared<Resumable>("carol", EapIdentity{"CN=client", "certificate"});
  refuses->refuses_assessment = true;
  resume(refuses, "CN=client");
  inner = 0;
  (void)answer(eap::type::identity, as_bytes("whoever"));
  EXPECT_EQ(host.done, std::vector<std::string>({"accepted whoever by certificate", "without CN=client"}));
  resume(carols, "CN=client");
  inner = 0;
  EXPECT_EQ(answer(eap::type::identity, as_bytes("whoever"))->type, eap::type::pt_eap);
  EXPECT_EQ(host.done, std::vector<std::string>({"accepted whoever by certificate"}));
}

TEST_F(EapConversation, WhatIsOutOfOrderInsideFails) {
  const auto eap_request = [&] { return ttls::eap_avp(eap::packet(eap::Code::request, inner, eap::type::pt_eap, pteap::message(ByteVector(8)))); };
  const std::vector<std::function<ByteVector()>> rows = {
      [&] { return eap_request(); },
      [&] { return ttls::eap_avp(response(std::uint8_t(inner + 1), eap::type::pt_eap, pteap::message(ByteVector(8)))); },
      [&] { return ttls::eap_avp(response(inner, eap::type::tnc, *from_hex("21"))); },
      [&] { return ttls::eap_avp(response(inner, eap::type::md5_challenge, {})); },
      [&] { return ttls::eap_avp(response(inner, eap::type::pt_eap, pteap::start())); },
      [&] { return ttls::eap_avp(response(inner, eap::type::pt_eap, *from_hex("810200")) ); },
      [&] { return ttls::eap_avp(response(inner, eap::type::pt_eap, *from_hex("020200")) ); },
      [&] { return ttls::eap_avp(*from_hex("02")); },
      [&] { return ttls::eap_avp({}); },
      [&] { return *from_hex("0000004f40000007"); },
      [&] { return *from_hex("0000004f400000ff0000"); },
      [&] { return *from_hex("00000099400000080000"); },
      [&] { return *from_hex("0000009940000008"); },
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    identifier = 9;
    inner = 0;
    kept.clear();
    begin();
    authenticate();
    (void)tell(rows[i]());
    EXPECT_TRUE(failed()) << i;
    EXPECT_FALSE(server->verdict()) << i;
  }
}

TEST_F(EapConversation, WhatDoesntAnswerTheRequestIsDroppedAndChangesNothing) {
  begin();
  EXPECT_FALSE(server->receive(response(9, eap::type::ttls, *from_hex("00"))));  // before an identity
  EXPECT_FALSE(server->receive(eap::packet(eap::Code::request, 9, eap::type::identity, {})));
  EXPECT_FALSE(server->receive(eap::success(9)));
  EXPECT_FALSE(server->receive(*from_hex("0209")));
  ASSERT_TRUE(say(eap::type::identity, as_bytes("outer")));
  for (int other = 1; other < 256; ++other)
    EXPECT_FALSE(server->receive(response(std::uint8_t(identifier + other), eap::type::ttls, *from_hex("0016"))));
  EXPECT_FALSE(server->receive({}));
  EXPECT_TRUE(say(eap::type::ttls, *from_hex("0016")));
  (void)answer(eap::type::identity, as_bytes("carol"));
  EXPECT_FALSE(server->over());
}

// Fragments before the last, and nothing that means work: a handshake, a message that is whole, what isn't EAP-TTLS.
TEST_F(EapConversation, TellsFragmentsFromWhatMeansWork) {
  begin();
  const auto transport = [&](std::uint8_t type, std::string_view hex) {
    return server->transport_only(eap::packet(eap::Code::response, identifier, type, *from_hex(hex)));
  };
  handshake();
  EXPECT_TRUE(transport(eap::type::ttls, "c00000100000"));  // L and M
  EXPECT_TRUE(transport(eap::type::ttls, "4000"));          // M
  EXPECT_FALSE(transport(eap::type::ttls, "00aa"));         // the last one
  EXPECT_FALSE(transport(eap::type::ttls, "8000000001aa"));
  EXPECT_FALSE(transport(eap::type::ttls, "00"));  // acknowledges nothing
  EXPECT_FALSE(transport(eap::type::ttls, ""));
  EXPECT_FALSE(transport(eap::type::ttls, "41"));  // another version
  EXPECT_FALSE(transport(eap::type::identity, "4000"));
  EXPECT_FALSE(server->transport_only({}));
  EXPECT_FALSE(server->transport_only(eap::packet(eap::Code::request, identifier, eap::type::ttls, *from_hex("4000"))));
}

TEST_F(EapConversation, WhileTheHostIsAtWorkNothingIsTaken) {
  begin();
  authenticate();
  (void)answer(eap::type::pt_eap, pteap::message(ByteVector(8)));
  EXPECT_FALSE(server->receive(response(identifier, eap::type::ttls, *from_hex("00"))));
  server->on_batch(ByteVector(8));
  EXPECT_TRUE(listen());
}

TEST_F(EapConversation, AHandshakeThatFailsTellsWhyBeforeItIsOver) {
  begin({}, false);
  ASSERT_TRUE(say(eap::type::identity, as_bytes("outer")));
  const auto alert = say(eap::type::ttls, *from_hex("0016"));
  ASSERT_TRUE(alert);
  EXPECT_FALSE(server->over());
  EXPECT_NE(to_hex(*alert).find(to_hex(as_bytes("alert"))), std::string::npos);
  const auto last = say(eap::type::ttls, *from_hex("00"));
  ASSERT_TRUE(last);
  EXPECT_EQ(last->front(), std::byte(eap::Code::failure));
  EXPECT_EQ(server->failure(), "TLS handshake failed");
}

TEST_F(EapConversation, AnAcknowledgementWhereABatchWasExpectedIsOne) {
  begin();
  authenticate();
  (void)answer(eap::type::pt_eap, pteap::message(ByteVector(8)));
  server->on_batch(ByteVector(8));
  ASSERT_TRUE(heard(listen()));
  (void)answer(eap::type::pt_eap, *from_hex("00"));
  EXPECT_EQ(host.done.back(), "acknowledged");
  server->on_assessed(std::nullopt);
  (void)heard(listen());
  EXPECT_TRUE(failed());
}

TEST_F(EapConversation, ItIsNoLongerThanItMayBe) {
  config.max_packets = 10;
  begin();
  handshake();
  std::size_t n = 0;
  while (!server->over() && ++n < 100) (void)say(eap::type::ttls, *from_hex("c000001000aa"));
  EXPECT_LE(n, 10U);
  EXPECT_TRUE(server->over());

  config.max_packets = 20'000;
  config.max_bytes = 50'000;
  identifier = 9;
  begin();
  handshake();
  Writer fragment;
  fragment.put(std::uint8_t{0xC0});
  fragment.put(std::uint32_t(ttls::max_message));
  fragment.put_zeros(10'000);
  for (n = 0; !server->over() && n < 100; ++n) (void)say(eap::type::ttls, fragment.view());
  EXPECT_LE(n, 5U);
  EXPECT_TRUE(server->over());
}

// An older client: the same batches under the older number, where that is configured, and no other way around an assessment.
TEST_F(EapConversation, EapTncIsForWhoKnowsNoPtEapWhereItIsConfigured) {
  const std::byte tnc{eap::type::tnc};
  begin();
  authenticate();
  EXPECT_FALSE(answer(eap::type::nak, Bytes(&tnc, 1)));
  EXPECT_EQ(host.done.back(), "without carol");
  config.inner.tnc = true;
  begin();
  authenticate();
  const auto start = answer(eap::type::nak, Bytes(&tnc, 1));
  ASSERT_TRUE(start);
  EXPECT_EQ(start->type, eap::type::tnc);
  EXPECT_EQ(to_hex(start->data), "21");
  const ByteVector batch = to_vector(as_bytes("8 bytes."));
  EXPECT_FALSE(answer(eap::type::tnc, pteap::message(batch)));
  EXPECT_EQ(host.done.back(), "deliver 8");
  server->on_batch(as_bytes("an answer"));
  const auto next = heard(listen());
  ASSERT_TRUE(next);
  EXPECT_EQ(next->type, eap::type::tnc);
  // No way back to the other number.
  EXPECT_FALSE(answer(eap::type::pt_eap, pteap::message(batch)));
  EXPECT_TRUE(server->over());
  EXPECT_FALSE(server->verdict());
  // Who wants neither isn't assessed.
  begin();
  authenticate();
  ASSERT_TRUE(answer(eap::type::nak, Bytes(&tnc, 1)));
  EXPECT_FALSE(answer(eap::type::nak, Bytes(&tnc, 1)));
  EXPECT_EQ(host.done.back(), "without carol");
}

// What a host says of whose turn it is.
class SlowHost final : public EapHost {
 public:
  const StoredPassword* stored_password(const std::string& user) override { return inner.stored_password(user); }
  void check_password_of(std::string user, Secret password) override { inner.check_password_of(std::move(user), std::move(password)); }
  void authenticated(bool good, const std::string& user, std::string_view method, std::string_view reason) override {
    inner.authenticated(good, user, method, reason);
  }
  void begin_assessment(const EapIdentity& identity) override { inner.begin_assessment(identity); }
  void deliver(Bytes batch) override { inner.deliver(batch); }
  void acknowledged() override { inner.acknowledged(); }
  void without_assessment(const EapIdentity& identity) override { inner.without_assessment(identity); }
  ByteVector random_bytes_of(std::size_t count) override { return inner.random_bytes_of(count); }
  Turn turn(const std::string& user) override {
    inner.done.push_back("turn of " + user);
    return whose;
  }
  void attempted(const std::string& user, bool good) override { inner.done.push_back((good ? "right " : "wrong ") + user); }
  test::NotingHost inner;
  Turn whose = Turn::later;
};

TEST_F(EapConversation, WhoHasGuessedWrongWaitsOrIsntHeard) {
  SlowHost slow;
  const auto begin_slow = [&] {
    slow.inner.done.clear();
    server.emplace(slow, config, std::make_unique<test::PlainTunnel>());
    handshake();
  };
  begin_slow();
  const auto challenge = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(challenge);
  EXPECT_FALSE(answer(eap::type::md5_challenge, md5_response(*challenge, "secret")));
  EXPECT_TRUE(server->waiting());
  EXPECT_EQ(slow.inner.done, std::vector<std::string>{"turn of carol"});
  server->on_turn();
  const auto start = heard(listen());
  ASSERT_TRUE(start);
  EXPECT_EQ(start->type, eap::type::pt_eap);
  EXPECT_EQ(slow.inner.done, (std::vector<std::string>{"turn of carol", "right carol", "accepted carol by EAP-MD5"}));
  // A wrong one, and a password itself.
  begin_slow();
  const auto again = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(again);
  EXPECT_FALSE(answer(eap::type::md5_challenge, md5_response(*again, "wrong")));
  server->on_turn();
  EXPECT_TRUE(server->over());
  EXPECT_EQ(slow.inner.done[1], "wrong carol");
  begin_slow();
  Writer w;
  ttls::append_avp(w, ttls::avp::user_name, as_bytes("carol"));
  ttls::append_avp(w, ttls::avp::user_password, as_bytes("secret"));
  EXPECT_FALSE(tell(w.view()));
  EXPECT_EQ(slow.inner.done, std::vector<std::string>{"turn of carol"});
  server->on_turn();
  EXPECT_EQ(slow.inner.done.back(), "check carol secret");
  // Refused when its turn would have been.
  begin_slow();
  const auto late = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(late);
  EXPECT_FALSE(answer(eap::type::md5_challenge, md5_response(*late, "secret")));
  server->on_turn(false);
  EXPECT_TRUE(server->over());
  EXPECT_FALSE(server->verdict());
  EXPECT_EQ(slow.inner.done, (std::vector<std::string>{"turn of carol", "refused carol by EAP-MD5"}));
  // Not heard at all: it is as wrong as a wrong one to the client, and nobody looked at it.
  slow.whose = EapHost::Turn::refused;
  begin_slow();
  const auto last = answer(eap::type::identity, as_bytes("carol"));
  ASSERT_TRUE(last);
  EXPECT_FALSE(answer(eap::type::md5_challenge, md5_response(*last, "secret")));
  EXPECT_TRUE(server->over());
  EXPECT_EQ(slow.inner.done, (std::vector<std::string>{"turn of carol", "refused carol by EAP-MD5"}));
}

}  // namespace
}  // namespace gatehouse::server
