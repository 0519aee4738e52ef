// The server over real TLS on loopback: what the I/O shell adds to the session core. Certificates and versions, stalls,
// peers that vanish, last words, stopping, reloading, many idle connections.
#include <sys/resource.h>

#include <csignal>
#include <map>

#include "endpoint/client/transport.h"
#include "server/state/users.h"
#include "tests/server_tls/server_fixture.h"

namespace gatehouse::test {
namespace {

TEST_F(ServerTest, AllowsAGoodEndpointInBothVersionsOfTls) {
  start();
  EXPECT_TRUE(allowed());
  EXPECT_TRUE(log->has("TLSv1.3 with TLS_AES_128_GCM_SHA256"));
  EXPECT_TRUE(allowed(TLS1_2_VERSION));
  EXPECT_TRUE(log->has("TLSv1.2 with ECDHE-ECDSA-"));
  EXPECT_TRUE(log->has("endpoint authenticated by certificate as 'CN=client'"));
}

TEST_F(ServerTest, RefusesCertificatesThatAreNotGoodAndSaysWhy) {
  Authority stranger(folder, "another CA"), middle(*authority, "middle CA"), gone(*authority, "gone CA");
  authority->issue("expired", {.from_days = -3, .to_days = -1});
  authority->issue("early", {.from_days = 1, .to_days = 2});
  authority->issue("for-servers", {.purpose = "serverAuth"});
  authority->issue("revoked");
  authority->issue("any-purpose", {.purpose = ""});
  middle.issue("below");
  middle.issue("below-revoked");
  gone.issue("below-gone");
  stranger.issue("strange");
  config.client_crl = folder + "/crl.pem";
  authority->revoke({folder + "/revoked.pem", gone.certificate()}, config.client_crl);
  middle.revoke({folder + "/below-revoked.pem"}, config.client_crl);
  gone.revoke({}, config.client_crl);
  start();
  struct Row {
    std::string name, logged;
    std::string_view alert;
  };
  const Row rows[] = {
      {"expired", "certificate of '/CN=expired': certificate has expired", "certificate expired"},
      {"early", "certificate of '/CN=early': certificate is not yet valid", ""},
      {"for-servers", "certificate of '/CN=for-servers': un", "unsupported certificate"},
      {"revoked", "certificate of '/CN=revoked': certificate revoked", "certificate revoked"},
      {"below-revoked", "certificate of '/CN=below-revoked': certificate revoked", "certificate revoked"},
      {"below-gone", "certificate of '/CN=gone CA': certificate revoked", "certificate revoked"},
      {"strange", "certificate of '/CN=strange': unable to get local issuer certificate", "unknown ca"},
      {"", "peer did not return a certificate", ""},
  };
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION})
    for (const Row& row : rows) {
      TlsPeer peer(server->port(), row.name.empty() ? TlsWanted{version} : with(row.name, version));
      // In TLS 1.3 a client hears of it with the first answer.
      EXPECT_TRUE(version == TLS1_3_VERSION || !peer.good()) << row.name;
      if (peer.good()) {
        EXPECT_TRUE(peer.read().empty()) << row.name;
      }
      EXPECT_NE(peer.error().find("alert"), std::string::npos) << row.name << ": " << peer.error();
      EXPECT_NE(peer.error().find(row.alert), std::string::npos) << row.name << ": " << peer.error();
    }
  for (const char* name : {"client", "any-purpose", "below"}) {
    TlsPeer peer(server->port(), with(name, TLS1_2_VERSION));
    EXPECT_TRUE(peer.good()) << name << ": " << peer.error();
  }
  EXPECT_TRUE(allowed());
  stop();
  std::map<std::string, int> said;
  std::istringstream lines(log->text());
  for (std::string line; std::getline(lines, line);)
    for (const Row& row : rows)
      said[row.name] += line.find("TLS handshake with 127.0.0.1:") != std::string::npos && line.find(row.logged) != std::string::npos;
  for (const Row& row : rows) EXPECT_EQ(said[row.name], 2) << row.logged << '\n' << log->text();
}

TEST_F(ServerTest, SpeaksTls12OnlyWithForwardSecrecyAndAead) {
  authority->issue("rsa-server", {.purpose = "serverAuth", .rsa = true});
  config.certificate = folder + "/rsa-server.pem";
  config.key = folder + "/rsa-server.key";
  start();
  TlsWanted wanted = with("client", TLS1_2_VERSION);
  for (const char* good : {"ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "DHE-RSA-AES256-GCM-SHA384"}) {
    wanted.ciphers = good;
    TlsPeer peer(server->port(), wanted);
    ASSERT_TRUE(peer.good()) << good << ": " << peer.error();
    EXPECT_EQ(peer.cipher(), good);
    EXPECT_EQ(SSL_session_reused(peer.ssl()), 0);
  }
  for (const char* bad : {"AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-AES256-SHA384", "ECDHE-RSA-AES128-SHA", "DHE-RSA-AES128-SHA256", "ADH-AES128-GCM-SHA256"}) {
    wanted.ciphers = bad;
    TlsPeer peer(server->port(), wanted);
    EXPECT_FALSE(peer.good()) << bad;
    EXPECT_NE(peer.error().find("handshake failure"), std::string::npos) << bad << ": " << peer.error();
  }
  for (const int old : {TLS1_VERSION, TLS1_1_VERSION}) {
    TlsWanted older = with("client", old);
    TlsPeer peer(server->port(), older);
    EXPECT_FALSE(peer.good());
    EXPECT_NE(peer.error().find("protocol version"), std::string::npos) << peer.error();
  }
  EXPECT_TRUE(allowed(TLS1_2_VERSION));
  stop();
  config.tls_13_only = true;
  start();
  TlsPeer peer(server->port(), with("client", TLS1_2_VERSION));
  EXPECT_FALSE(peer.good());
  EXPECT_TRUE(allowed());
}

// No record is longer than TLS allows, in the handshake or after it.
TEST_F(ServerTest, RefusesRecordsThatAreTooLong) {
  start();
  const std::byte hello[] = {std::byte{0x16}, std::byte{3}, std::byte{1}, std::byte{0x48}, std::byte{1}};
  TlsPeer stranger(server->port());
  stranger.write_raw(hello);
  EXPECT_EQ(stranger.alert_raw(), SSL_AD_RECORD_OVERFLOW);
  EXPECT_TRUE(stranger.ended_raw());
  const std::byte data[] = {std::byte{0x17}, std::byte{3}, std::byte{3}, std::byte{0x48}, std::byte{1}};
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsPeer peer(server->port(), with("client", version));
    ASSERT_TRUE(peer.good()) << peer.error();
    peer.write_raw(data);
    peer.read_all();
    EXPECT_NE(peer.error().find("record overflow"), std::string::npos) << peer.error();
  }
  EXPECT_TRUE(allowed());
}

// The endpoint's side of the same connection: whom it speaks to (RFC 6876 3.4.1).
TEST_F(ServerTest, IsSpokenToOnlyUnderItsNameAndAnAuthorityThatTheEndpointTrusts) {
  Authority stranger(folder, "another CA");
  authority->issue("expired-server", {.purpose = "serverAuth", .from_days = -3, .to_days = -1});
  authority->issue("for-clients");
  start();
  const auto connect = [&](const std::string& host, const std::string& ca) {
    endpoint::TransportOptions options;
    options.host = host;
    options.port = std::to_string(server->port());
    options.ca = ca;
    options.certificate = folder + "/client.pem";
    options.key = folder + "/client.key";
    auto connected = endpoint::Transport::connect(options);
    return connected ? std::string() : connected.error().text();
  };
  const auto expect_refused = [&](const std::string& host, const std::string& ca, const std::string& why) {
    const std::string said = connect(host, ca);
    EXPECT_NE(said.find(why), std::string::npos) << host << ": " << said;
  };
  const std::string mine = authority->certificate();
  EXPECT_EQ(connect("localhost", mine), "");
  EXPECT_EQ(connect("127.0.0.1", mine), "");
  expect_refused("127.0.0.1", stranger.certificate(), "self-signed certificate");
  // A name that leads here and that the certificate doesn't have, as an address it has would be written by few.
  expect_refused("127.1", mine, "hostname mismatch");
  stop();
  config.listen = {"127.0.0.2:0"};
  start();
  expect_refused("127.0.0.2", mine, "IP address mismatch");
  stop();
  config.listen = {"127.0.0.1:0"};
  for (const auto& [name, why] : {std::pair{"expired-server", "certificate has expired"}, std::pair{"for-clients", "purpose"}}) {
    config.certificate = folder + "/" + name + ".pem";
    config.key = folder + "/" + name + ".key";
    start();
    expect_refused("localhost", mine, why);
    stop();
  }
}

TEST_F(ServerTest, DoesNotRenegotiate) {
  start();
  TlsPeer peer(server->port(), with("client", TLS1_2_VERSION));
  ASSERT_TRUE(peer.good()) << peer.error();
  ASSERT_EQ(SSL_renegotiate(peer.ssl()), 1);
  EXPECT_NE(SSL_do_handshake(peer.ssl()), 1);
  ERR_clear_error();
  EXPECT_TRUE(allowed(TLS1_2_VERSION));
}

TEST_F(ServerTest, TakesPasswordsAndKeepsThemOutOfTheLog) {
  server::UserFile users;
  ASSERT_TRUE(users.set("host1", Secret(std::string("correct horse battery"))));
  config.users = folder + "/users.db";
  ASSERT_TRUE(users.save(config.users));
  config.auth = server::Auth::sasl;
  start();
  for (const bool right : {true, false}) {
    TlsPeer peer(server->port(), TlsWanted{});
    ASSERT_TRUE(peer.good()) << peer.error();
    Client with_password(*endpoint, {.user = "host1", .password = right ? "correct horse battery" : "wrong donkey staple"});
    speak(peer, with_password.session());
    EXPECT_EQ(with_password.session().outcome().has_value(), right);
  }
  // The client may know of its failure before the log does.
  while (server->connections() != 0) std::this_thread::yield();
  const std::string text = log->text();
  EXPECT_NE(text.find("endpoint authenticated by password as 'host1'"), std::string::npos);
  EXPECT_NE(text.find(" authentication of 'host1' failed"), std::string::npos);
  for (const char* secret : {"correct horse", "wrong donkey", "PRIVATE KEY"}) EXPECT_EQ(text.find(secret), std::string::npos) << secret;
  // Sizes of batches, messages and attributes are there, for whoever debugs.
  for (const char* line : {"received PB-TNC CDATA batch, ", "PB-PA message of type 'TCG/PTS', ", "PA-TNC attribute 'TCG/Simple Evidence Final', ",
                           "PA-TNC attributes 'TCG/Simple Component Evidence', ", "sending PA-TNC attribute 'TCG/DH Nonce Finish', "})
    EXPECT_NE(text.find(line), std::string::npos) << line;
}

// tls-exporter with TLS 1.3; tls-unique with TLS 1.2, where the master secret is bound to the handshake.
TEST_F(ServerTest, ScramBindsToTheConnectionWithEachTls) {
  server::UserFile users;
  ASSERT_TRUE(users.set("host1", Secret(std::string("correct horse battery"))));
  config.users = folder + "/users.db";
  ASSERT_TRUE(users.save(config.users));
  config.auth = server::Auth::sasl;
  start();
  const auto binding = [](SSL* ssl) -> ChannelBinding {
    ByteVector out(SSL_version(ssl) == TLS1_3_VERSION ? 32 : 12);
    constexpr std::string_view label = "EXPORTER-Channel-Binding";
    if (SSL_version(ssl) == TLS1_3_VERSION) {
      EXPECT_EQ(SSL_export_keying_material(ssl, reinterpret_cast<unsigned char*>(out.data()), out.size(), label.data(), label.size(), nullptr, 0, 1), 1);
      return {tls_exporter_binding, out};
    }
    EXPECT_EQ(SSL_get_finished(ssl, out.data(), out.size()), 12U);
    return {tls_unique_binding, out};
  };
  const auto succeeds = [&](const TlsWanted& wanted, bool same) {
    TlsPeer peer(server->port(), wanted);
    EXPECT_TRUE(peer.good()) << peer.error();
    Client client(*endpoint, {.user = "host1", .password = "correct horse battery"});
    ChannelBinding channel = binding(peer.ssl());
    if (!same) channel.value.front() ^= std::byte{1};
    client.session().bind_channel(std::move(channel));
    speak(peer, client.session());
    return client.session().outcome().has_value();
  };
  std::size_t bound = 0;
  const auto bound_until_now = [&] {
    const std::string text = log->text();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find("SCRAM-SHA-256-PLUS authentication successful", at)) != std::string::npos; ++at) ++count;
    return count;
  };
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    TlsWanted wanted;
    wanted.version = version;
    EXPECT_TRUE(succeeds(wanted, true)) << log->text();
    EXPECT_EQ(bound_until_now(), ++bound) << log->text();
    EXPECT_FALSE(succeeds(wanted, false));
  }
  // Without it tls-unique could be the same on two connections: it isn't offered, and the client doesn't think that it was cut.
  TlsWanted weak;
  weak.version = TLS1_2_VERSION;
  weak.extended_master_secret = false;
  EXPECT_TRUE(succeeds(weak, true)) << log->text();
  EXPECT_EQ(bound_until_now(), bound);
}

// Guessing from one address gets slow, for as long as nobody there knows a password.
TEST_F(ServerTest, LetsWaitWhoseAddressSentWrongPasswords) {
  server::UserFile users;
  ASSERT_TRUE(users.set("host1", Secret(std::string("correct horse battery"))));
  config.users = folder + "/users.db";
  ASSERT_TRUE(users.save(config.users));
  config.auth = server::Auth::tls_or_sasl;
  start();
  const auto attempt = [&](const std::string& password) {
    Client client(*endpoint, {.user = "host1", .password = password});
    {
      TlsPeer peer(server->port(), TlsWanted{});
      EXPECT_TRUE(peer.good()) << peer.error();
      speak(peer, client.session());
    }
    while (server->connections() != 0) std::this_thread::yield();
    return client.session().outcome().has_value();
  };
  for (int n = 0; n < 3; ++n) EXPECT_FALSE(attempt("wrong donkey"));
  EXPECT_FALSE(log->has("wrong passwords came from this address"));
  EXPECT_TRUE(attempt("correct horse battery"));
  EXPECT_TRUE(log->has("waits 1000 ms: wrong passwords came from this address")) << log->text();
  // Who has a certificate never waits; and all is forgiven.
  for (int n = 0; n < 4; ++n) EXPECT_FALSE(attempt("wrong donkey"));
  EXPECT_TRUE(allowed());
  const std::string text = log->text();
  std::size_t waits = 0;
  for (std::size_t at = 0; (at = text.find(" ms: wrong passwords", at)) != text.npos; ++at) ++waits;
  EXPECT_EQ(waits, 2U) << text;
}

// A write that ends in the middle of something, at every step of a conversation.
struct Stall {
  std::string_view name;
  bool tls;
  std::size_t steps;  // of the conversation, before
  ByteVector then;
};
std::vector<Stall> stalls() {
  const auto some = [](std::initializer_list<unsigned> list) {
    ByteVector out;
    for (const unsigned b : list) out.push_back(std::byte(b));
    return out;
  };
  return {
      {"nothing", false, 0, {}},
      {"half a ClientHello", false, 0, some({0x16, 3, 1, 2, 0, 1, 0})},
      {"no TLS at all", false, 0, some({'G', 'E', 'T', ' ', '/'})},
      {"a silent connection", true, 0, {}},
      {"half a PT-TLS header", true, 0, some({0, 0, 0, 0, 0, 0})},
      {"half a PT-TLS message", true, 0, some({0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0, 0, 0})},
      {"silence after the negotiation", true, 1, {}},
      {"half a batch", true, 1, some({0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 1})},
      {"silence after the first batch", true, 2, {}},
      {"silence after the capabilities", true, 3, {}},
      {"silence after the nonce", true, 4, {}},
      {"silence after the AIK", true, 5, {}},
      {"silence in the evidence", true, 6, {}},
      {"half an evidence batch", true, 6, some({0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0xFF, 0, 0, 0, 0, 0, 2, 0, 0, 1})},
  };
}

TEST_F(ServerTest, EndsPeersThatStallAtAnyStep) {
  config.idle_deadline = std::chrono::seconds(1);
  start();
  std::vector<std::thread> peers;
  for (const Stall& row : stalls())
    peers.emplace_back([&, row] {
      if (!row.tls) {
        TlsPeer peer(server->port());
        peer.write_raw(row.then);
        EXPECT_TRUE(peer.ended_raw()) << row.name;
        return;
      }
      TlsPeer peer(server->port(), with("client"));
      ASSERT_TRUE(peer.good()) << row.name << ": " << peer.error();
      Client client(*endpoint, {.max_batch = 16'384});
      if (row.steps != 0) speak(peer, client.session(), row.steps);
      EXPECT_TRUE(peer.write(row.then)) << row.name;
      peer.read_all();
      EXPECT_EQ(peer.error(), "close_notify") << row.name;
      EXPECT_FALSE(client.session().outcome()) << row.name;
    });
  for (std::thread& peer : peers) peer.join();
  EXPECT_TRUE(log->has("TLS handshake took too long"));
  EXPECT_TRUE(log->has("session ended: the endpoint was silent for too long"));
  EXPECT_TRUE(allowed());
}

TEST_F(ServerTest, ForgetsPeersThatVanishAtAnyStep) {
  start();
  for (const Stall& row : stalls()) {
    if (!row.tls) {
      TlsPeer peer(server->port());
      peer.write_raw(row.then);
      peer.reset();
      continue;
    }
    TlsPeer peer(server->port(), with("client"));
    ASSERT_TRUE(peer.good()) << row.name << ": " << peer.error();
    Client client(*endpoint, {.max_batch = 16'384});
    if (row.steps != 0) speak(peer, client.session(), row.steps);
    peer.write(row.then);
    peer.reset();
  }
  EXPECT_TRUE(allowed());
  stop();
  EXPECT_TRUE(log->has("the endpoint vanished"));
}

// The peer is in the middle of what it says when the server refuses it: the refusal must arrive, not a reset.
TEST_F(ServerTest, LastWordsArriveAlsoWhenThePeerIsStillSpeaking) {
  start();
  for (int n = 0; n < 3; ++n) {
    TlsPeer peer(server->port(), with("client"));
    ASSERT_TRUE(peer.good()) << peer.error();
    Client client(*endpoint);
    speak(peer, client.session(), 1);
    ByteVector batch(16 + 16'000'000, std::byte{0});  // more than the sockets' buffers hold
    batch[7] = std::byte{7};
    batch[8] = std::byte{0x7F};  // longer than any batch may be
    EXPECT_TRUE(peer.write(batch)) << "reset while it spoke";
    const auto answers = messages_of(peer.read_all());
    ASSERT_FALSE(answers.empty()) << peer.error();
    EXPECT_EQ(answers.back()[7], std::byte{8}) << "a PT-TLS error";
    EXPECT_EQ(peer.error(), "close_notify");
  }
  EXPECT_TRUE(allowed());
}

// However many there are: each connection is asked once whether it is one of those whose lease has ended.
TEST_F(ServerTest, AKeptConnectionIsAskedAgainWhenItsLeaseEnds) {
  config.lease = std::chrono::seconds(1);
  start();
  TlsPeer kept(server->port(), with("client"));
  Client client(*endpoint, {.keep = true});
  speak(kept, client.session());
  ASSERT_TRUE(client.session().outcome());
  const ByteVector again = kept.read();
  ASSERT_EQ(again.size(), 24U) << log->text();
  EXPECT_EQ(again[19], std::byte(pbtnc::BatchType::sretry));
  EXPECT_TRUE(log->has("the lease of device"));
}

TEST_F(ServerTest, StopsWhenTheSessionsInFlightHaveTheirVerdict) {
  start();
  TlsPeer silent(server->port(), with("client")), negotiated(server->port(), with("client")), decided(server->port(), with("client")),
      at_work(server->port(), with("client"));
  Client first(*endpoint), second(*endpoint, {.keep = true}), third(*endpoint);
  speak(negotiated, first.session(), 1);
  speak(decided, second.session());
  ASSERT_TRUE(second.session().outcome());
  endpoint::Session::Step step = third.session().start();
  for (int n = 0; n < 4; ++n) {
    at_work.write(step.send);
    step = third.session().feed(at_work.read());
  }
  server->stop();
  // Between assessments: ended at once, long before the grace period.
  silent.read_all();
  negotiated.read_all();
  const ByteVector last = decided.read_all();
  EXPECT_EQ(silent.error(), "close_notify");
  EXPECT_EQ(negotiated.error(), "close_notify");
  EXPECT_EQ(decided.error(), "close_notify");
  ASSERT_EQ(last.size(), 24U);
  EXPECT_EQ(last[19], std::byte(pbtnc::BatchType::close));
  // An assessment goes on to its verdict.
  while (!step.ended && !third.session().outcome()) {
    at_work.write(step.send);
    const ByteVector answer = at_work.read();
    step = answer.empty() ? third.session().end_of_stream() : third.session().feed(answer);
  }
  ASSERT_TRUE(third.session().outcome()) << log->text();
  EXPECT_EQ(third.session().outcome()->recommendation, endpoint::Recommendation::allow);
  thread.join();
  EXPECT_EQ(server->connections(), 0U);
  EXPECT_FALSE(log->has("grace period is over"));
}

TEST_F(ServerTest, CutsWhatIsLeftAfterTheGracePeriod) {
  config.grace = std::chrono::seconds(1);
  start();
  TlsPeer peer(server->port(), with("client"));
  Client client(*endpoint);
  speak(peer, client.session(), 4);
  server->stop();
  peer.read_all();
  thread.join();
  EXPECT_TRUE(log->has("the grace period is over: 1 sessions are cut"));
}

TEST_F(ServerTest, ReadsCertificatesAgainWithoutDroppingASession) {
  server::UserFile users;
  ASSERT_TRUE(users.set("host1", Secret(std::string("first"))));
  config.users = folder + "/users.db";
  ASSERT_TRUE(users.save(config.users));
  config.auth = server::Auth::tls_or_sasl;
  config.client_crl = folder + "/crl.pem";
  authority->issue("other");
  authority->revoke({}, config.client_crl);
  start();
  TlsPeer before(server->port(), with("client"));
  ASSERT_TRUE(before.good());
  const std::string old_serial = before.server_serial();
  Client client(*endpoint);
  endpoint::Session::Step step = client.session().start();
  for (int n = 0; n < 4; ++n) {
    before.write(step.send);
    step = client.session().feed(before.read());
  }
  EXPECT_TRUE(TlsPeer(server->port(), with("other", TLS1_2_VERSION)).good());
  // A key that isn't the certificate's: nothing is replaced.
  std::filesystem::rename(folder + "/server.key", folder + "/server.key.away");
  std::filesystem::copy(folder + "/client.key", folder + "/server.key");
  ASSERT_EQ(::raise(SIGHUP), 0);
  while (!log->has("reload failed, what was loaded before stays")) {
  }
  EXPECT_TRUE(TlsPeer(server->port(), with("other", TLS1_2_VERSION)).good());
  // Another server certificate, a revoked client, another password.
  authority->issue("server", {.purpose = "serverAuth"});
  std::filesystem::remove(config.client_crl);
  authority->revoke({folder + "/other.pem"}, config.client_crl);
  ASSERT_TRUE(users.set("host1", Secret(std::string("second"))));
  ASSERT_TRUE(users.save(config.users));
  ASSERT_EQ(::raise(SIGHUP), 0);
  std::string serial = old_serial;
  while (serial == old_serial) {
    TlsPeer now(server->port(), with("client", TLS1_2_VERSION));
    ASSERT_TRUE(now.good()) << now.error();
    serial = now.server_serial();
  }
  EXPECT_FALSE(TlsPeer(server->port(), with("other", TLS1_2_VERSION)).good());
  TlsPeer password(server->port(), TlsWanted{});
  Client by_password(*endpoint, {.user = "host1", .password = "second"});
  speak(password, by_password.session());
  EXPECT_TRUE(by_password.session().outcome());
  // The session that began before ends as if nothing had happened.
  while (!step.ended && !client.session().outcome()) {
    before.write(step.send);
    step = client.session().feed(before.read());
  }
  ASSERT_TRUE(client.session().outcome());
  EXPECT_EQ(client.session().outcome()->recommendation, endpoint::Recommendation::allow);
}

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * std::size_t(::sysconf(_SC_PAGESIZE));
}

TEST_F(ServerTest, HoldsFiveHundredIdleConnections) {
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  constexpr std::size_t count = 500;
  if (files.rlim_cur < 2 * count + 200) GTEST_SKIP() << "only " << files.rlim_cur << " file descriptors: nothing was tested";
  start();
  ASSERT_TRUE(allowed());
  const std::size_t before = resident_bytes();
  std::vector<std::unique_ptr<TlsPeer>> peers;
  for (std::size_t n = 0; n < count; ++n) {
    peers.push_back(std::make_unique<TlsPeer>(server->port(), with("client", TLS1_2_VERSION)));
    ASSERT_TRUE(peers.back()->good()) << n << ": " << peers.back()->error();
    Client client(*endpoint);
    speak(*peers.back(), client.session(), 1);
  }
  const std::size_t each = (resident_bytes() - std::min(before, resident_bytes())) / count;
  RecordProperty("bytes_each", int(each));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(each, 256U << 10) << "both ends of a connection";
#endif
  EXPECT_TRUE(allowed());
  stop();
  for (auto& peer : peers) peer->read_all();
}

TEST_F(ServerTest, RefusesMoreConnectionsThanConfigured) {
  config.max_connections_per_address = 2;
  start();
  TlsPeer first(server->port(), with("client")), second(server->port(), with("client"));
  ASSERT_TRUE(first.good() && second.good());
  TlsPeer third(server->port(), with("client"));
  EXPECT_FALSE(third.good());
  EXPECT_TRUE(log->has("refused: too many connections"));
  first.reset();
  // One has gone: the server notices at the end of its stream.
  bool good = false;
  while (!good) good = TlsPeer(server->port(), with("client")).good();
}

// They have all places for handshakes, and their crowd a queue for more.
TEST_F(ServerTest, PeersThatSayNothingKeepNobodyOut) {
  config.max_handshakes = 2;
  start();
  std::vector<std::unique_ptr<TlsPeer>> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(std::make_unique<TlsPeer>(server->port()));
  TlsWanted wanted = with("client");
  wanted.from = "127.0.0.2";
  EXPECT_TRUE(TlsPeer(server->port(), wanted).good());
  EXPECT_TRUE(log->has("TLS handshake gives way to others that wait"));
}

TEST_F(ServerTest, MoreThanMayWaitForTheirHandshakeAreRefused) {
  config.max_handshakes = 1;
  config.max_waiting = 1;
  start();
  const auto refused = [&] { return log->has("refused: too many wait for their handshake"); };
  // One has the place and one waits. Where the machine is so slow that the first one's second is over, the next are others.
  std::vector<std::unique_ptr<TlsPeer>> silent;
  while (!refused())
    if (silent.size() < 100) silent.push_back(std::make_unique<TlsPeer>(server->port()));
}

TEST_F(ServerTest, AnotherAssessmentOfADeviceThatHasItsShareIsNotAllowed) {
  config.max_assessments_per_device = 1;
  start();
  TlsPeer peer(server->port(), with("client"));
  Client client(*endpoint);
  endpoint::Session& at_work = client.session();
  endpoint::Session::Step step = at_work.start();
  const auto go_on = [&] {
    peer.write(step.send);
    const ByteVector answer = peer.read();
    step = answer.empty() ? at_work.end_of_stream() : at_work.feed(answer);
  };
  while (!step.ended && !log->has("Request Functional Component Evidence")) go_on();
  ASSERT_FALSE(step.ended) << log->text();
  EXPECT_FALSE(allowed());
  EXPECT_TRUE(log->has("too many assessments of this device at once"));
  while (!step.ended && !at_work.outcome()) go_on();
  ASSERT_TRUE(at_work.outcome()) << log->text();
  EXPECT_EQ(at_work.outcome()->recommendation, endpoint::Recommendation::allow) << "the first one isn't disturbed";
  EXPECT_TRUE(allowed());
}

}  // namespace
}  // namespace gatehouse::test
