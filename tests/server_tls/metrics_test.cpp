// What a running server counts of its sessions, and what it records of their time.
#include "server/control/control.h"
#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_tls/server_fixture.h"

namespace gatehouse::test {
namespace {

class MetricsTest : public ServerTest {
 protected:
  void SetUp() override {
    ServerTest::SetUp();
    config.metrics_listen = "127.0.0.1:0";
    enrolling = recorded().at(0).intent.session;
  }
  MetricsText read() const { return MetricsText(scrape(server->metrics_port())); }
  // Once the server has come to it.
  MetricsText read_until(const std::string& key, double value) const {
    for (;;)
      if (MetricsText text = read(); text.value(key) == value) return text;
  }
  // Newest first, without the one in which the endpoint was enrolled: that has another clock.
  std::vector<server::SessionRecord> recorded() const {
    const auto state = server::State::open({.path = config.state});
    EXPECT_TRUE(state);
    std::vector<server::SessionRecord> out = (*state)->sessions("", 100)->sessions;
    std::erase_if(out, [this](const server::SessionRecord& r) { return r.intent.session == enrolling; });
    return out;
  }
  std::string enrolling;
};

const std::string allow = R"(gatehouse_attestations_total{recommendation="allow",evaluation="compliant"})";

TEST_F(MetricsTest, NumbersFollowTheSessions) {
  config.proved_evidence_mb = 0;
  start();
  const MetricsText before = read();
  EXPECT_EQ(before.value(allow), 0);
  EXPECT_EQ(before.value("gatehouse_connections_accepted_total"), 0);
  EXPECT_EQ(before.value("gatehouse_reference_generation"), double(world.references->generation()));
  EXPECT_GT(before.value("gatehouse_evidence_budget_bytes"), 0);
  ASSERT_TRUE(allowed());
  const MetricsText first = read();
  ASSERT_TRUE(allowed());
  const MetricsText second = read();
  EXPECT_EQ(first.value(allow), 1);
  EXPECT_EQ(second.value(allow), 2);
  EXPECT_EQ(second.value("gatehouse_connections_accepted_total"), 2);
  EXPECT_EQ(second.value(R"(gatehouse_tls_handshakes_total{result="done"})"), 2);
  EXPECT_EQ(second.value("gatehouse_tls_handshake_seconds_count"), 2);
  EXPECT_EQ(second.value("gatehouse_session_seconds_count"), 2);
  EXPECT_EQ(second.value("gatehouse_state_commit_seconds_count"), 2);
  EXPECT_EQ(second.value("gatehouse_evidence_sessions_total"), 2);
  EXPECT_EQ(second.value("gatehouse_sessions_ended_early_total"), 0);
  for (const char* const stage : {"negotiation", "peer", "protocol", "evidence", "state", "parse", "lookup", "extend", "quote", "conclude"})
    EXPECT_EQ(second.value("gatehouse_session_stage_seconds_count{stage=\"" + std::string(stage) + "\"}"), 2) << stage;
  // A fleet asks for the same files: the first one asked the store for all that the second one found in the cache.
  const std::string known = R"(gatehouse_lookups_total{answer="cached_known"})", unknown = R"(gatehouse_lookups_total{answer="cached_unknown"})",
                    store = R"(gatehouse_lookups_total{answer="store"})";
  EXPECT_GE(first.value(store), 1732);
  EXPECT_EQ(second.value(known) - first.value(known), 1625);
  EXPECT_EQ(second.value(known) + second.value(unknown) + second.value(store), 2 * (first.value(known) + first.value(unknown) + first.value(store)));
  EXPECT_EQ(second.value("gatehouse_evidence_bytes_total"), 2 * first.value("gatehouse_evidence_bytes_total"));
  EXPECT_GE(second.value("process_cpu_seconds_total"), first.value("process_cpu_seconds_total"));
  for (const auto& [key, value] : second.values()) {
    const bool error = key.starts_with("gatehouse_protocol_errors_total") || key.starts_with("gatehouse_faults_total");
    EXPECT_TRUE(!error || value == 0) << key;
  }
}

// What an endpoint sent before isn't looked up again.
TEST_F(MetricsTest, CountWhatIsTakenAsItWasBefore) {
  start();
  const std::string reused = R"(gatehouse_lookups_total{answer="reused"})", store = R"(gatehouse_lookups_total{answer="store"})";
  ASSERT_TRUE(allowed());
  const MetricsText first = read();
  ASSERT_TRUE(allowed());
  const MetricsText second = read();
  EXPECT_EQ(first.value(reused), 0);
  EXPECT_EQ(second.value(reused), 1732);
  EXPECT_GT(first.value("gatehouse_proved_evidence_bytes"), 0);
  EXPECT_EQ(second.value("gatehouse_proved_evidence_bytes"), first.value("gatehouse_proved_evidence_bytes")) << "nothing new came";
  EXPECT_EQ(second.value(store), first.value(store));
}

TEST_F(MetricsTest, SayWhatGoesWrong) {
  authority->issue("expired", {.from_days = -3, .to_days = -1});
  config.max_connections_per_address = 3;
  start();
  {
    TlsPeer refused(server->port(), with("expired", TLS1_2_VERSION));
    EXPECT_FALSE(refused.good());
  }
  read_until(R"(gatehouse_tls_handshakes_total{result="failed"})", 1);
  {
    const TlsPeer silent(server->port());
    const MetricsText text = read_until("gatehouse_tls_handshakes_in_flight", 1);
    EXPECT_EQ(text.value(R"(gatehouse_connections{state="handshake"})"), 1);
    TlsPeer speaks(server->port(), with("client")), second(server->port(), with("client"));
    ASSERT_TRUE(speaks.good() && second.good());
    read_until(R"(gatehouse_connections{state="negotiation"})", 2);
    EXPECT_FALSE(TlsPeer(server->port(), with("client")).good());
    EXPECT_EQ(read().value(R"(gatehouse_connections_refused_total{reason="address"})"), 1);
    // A length that no message has, and a PB-TNC batch of version 9.
    const std::byte short_message[16] = {std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{1}};
    speaks.write(short_message);
    speaks.read_all();
    read_until(R"(gatehouse_protocol_errors_total{protocol="pt-tls",direction="sent",code="6"})", 1);
    Client client(*endpoint);
    speak(second, client.session(), 2);
    read_until(R"(gatehouse_connections{state="peer"})", 1);
    const std::byte bad_batch[24] = {std::byte{0}, std::byte{0}, std::byte{0},  std::byte{0}, std::byte{0}, std::byte{0},
                                     std::byte{0}, std::byte{7}, std::byte{0},  std::byte{0}, std::byte{0}, std::byte{24},
                                     std::byte{0}, std::byte{0}, std::byte{0},  std::byte{9}, std::byte{9}, std::byte{0},
                                     std::byte{0}, std::byte{1}, std::byte{0},  std::byte{0}, std::byte{0}, std::byte{8}};
    second.write(bad_batch);
    second.read_all();
    read_until(R"(gatehouse_protocol_errors_total{protocol="pb-tnc",direction="sent",code="4"})", 1);
    EXPECT_EQ(read_until("gatehouse_sessions_ended_early_total", 1).value(allow), 0);
  }
  const MetricsText after = read();
  EXPECT_EQ(after.value("gatehouse_connections_accepted_total"), 4);
}

// Each stage in the record of its session: together they are no longer than the whole took as the endpoint saw it.
TEST_F(MetricsTest, TimesAreRecordedBesideTheVerdict) {
  start();
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(allowed());
  const std::chrono::nanoseconds whole = std::chrono::steady_clock::now() - began;
  stop();
  const auto sessions = recorded();
  ASSERT_EQ(sessions.size(), 1U);
  const server::SessionRecord& newest = sessions[0];
  ASSERT_TRUE(newest.timing);
  using server::Stage;
  const server::SessionTiming& timing = *newest.timing;
  EXPECT_LE(timing.total(), whole);
  for (const Stage stage : {Stage::handshake, Stage::negotiation, Stage::peer, Stage::protocol, Stage::evidence, Stage::state, Stage::parse,
                            Stage::lookup, Stage::extend, Stage::quote, Stage::conclude}) {
    EXPECT_GT(timing[stage].count(), 0) << server::stage_names[std::size_t(stage)];
    EXPECT_LE(timing[stage], timing.total()) << server::stage_names[std::size_t(stage)];
  }
  EXPECT_EQ(timing[Stage::password].count(), 0) << "a certificate";
  EXPECT_EQ(timing[Stage::room].count(), 0);
  EXPECT_EQ(newest.verdict.find("timing"), std::string::npos);
}

// On a kept connection the second assessment has no handshake, and none of the time in between.
TEST_F(MetricsTest, AnotherAssessmentHasATimeOfItsOwn) {
  start();
  TlsPeer peer(server->port(), with("client"));
  ASSERT_TRUE(peer.good()) << peer.error();
  Client client(*endpoint, {.keep = true});
  speak(peer, client.session());
  ASSERT_TRUE(client.session().outcome());
  read_until(R"(gatehouse_connections{state="kept"})", 1);
  const auto began = std::chrono::steady_clock::now();
  endpoint::Session::Step step = client.session().retry();
  while (peer.write(step.send) && !client.session().outcome()) step = client.session().feed(peer.read());
  ASSERT_TRUE(client.session().outcome());
  const std::chrono::nanoseconds whole = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(read_until(allow, 2).value("gatehouse_tls_handshake_seconds_count"), 1);
  peer.reset();
  stop();
  const auto sessions = recorded();
  ASSERT_EQ(sessions.size(), 2U);
  ASSERT_TRUE(sessions[0].timing && sessions[1].timing);
  EXPECT_EQ((*sessions[0].timing)[server::Stage::handshake].count(), 0);
  EXPECT_GT((*sessions[1].timing)[server::Stage::handshake].count(), 0);
  EXPECT_LE(sessions[0].timing->total(), whole);
}

TEST_F(MetricsTest, AreOffUnlessConfigured) {
  config.metrics_listen.clear();
  start();
  EXPECT_EQ(server->metrics_port(), 0);
  const auto control = server::ControlClient::connect(config.control_socket);
  ASSERT_TRUE(control);
}

}  // namespace
}  // namespace gatehouse::test
