// What an operator sees of a running server: the metrics port, `gatehouse top` and the time of a session.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "tests/server_metrics/http_client.h"
#include "tests/server_metrics/text.h"
#include "tests/server_program/site.h"

namespace gatehouse::test {
namespace {

namespace json = boost::json;

TEST(Seen, ByPortByTopAndBySession) {
  ::signal(SIGPIPE, SIG_IGN);
  Site site;
  const Machine machine = site.enrolled();
  site.configure({}, {}, "proved_evidence_mb = 0\n");
  std::ofstream(site.path("gatehouse.toml"), std::ios::app) << "[metrics]\nlisten = \"127.0.0.1:0\"\n";
  const auto without = site.gatehouse("top --once");
  EXPECT_EQ(without.code, 4);
  EXPECT_NE(without.out.find("no server is running on this state directory"), std::string::npos) << without.out;

  Program server(site.serve());
  const std::uint16_t port = server.port();
  ASSERT_NE(port, 0) << server.log();
  constexpr std::string_view line = "metrics on 127.0.0.1:";
  ASSERT_TRUE(server.says(line)) << server.log();
  const std::string log = server.log();
  const auto metrics_port = std::uint16_t(std::stoul(log.substr(log.find(line) + line.size())));
  for (int n = 0; n < 2; ++n) {
    const auto outcome = site.attest(port, machine);
    ASSERT_TRUE(outcome) << server.log();
    EXPECT_EQ(outcome->recommendation, endpoint::Recommendation::allow);
  }
  const std::string text = scrape(metrics_port);
  const MetricsText metrics(text);
  EXPECT_EQ(metrics.value(R"(gatehouse_attestations_total{recommendation="allow",evaluation="compliant"})"), 2);
  EXPECT_GT(metrics.value("gatehouse_reference_generation_made_timestamp_seconds"), 1.7e9);
  EXPECT_EQ(text.find(machine.tpm->ak().key_id()), std::string::npos) << "no device is named";
  EXPECT_EQ(text.find("CN="), std::string::npos) << "and nobody else";

  const auto once = site.gatehouse("top --once --json");
  EXPECT_EQ(once.code, 0) << once.out;
  const json::object top = json::parse(once.out).as_object();
  EXPECT_EQ(top.at("attestations").at("count"), 2);
  EXPECT_EQ(top.at("attestations").at("allow"), 2);
  EXPECT_EQ(top.at("handshakes").at("done"), 2);
  EXPECT_GT(top.at("verdict_cache_hit_rate").as_double(), 0);
  EXPECT_TRUE(top.at("signature_cache_hit_rate").is_null());
  EXPECT_GE(top.at("references").at("age_seconds").as_int64(), 0);
  const json::object& session_ms = top.at("latency_ms").at("session").as_object();
  EXPECT_EQ(session_ms.at("count"), 2);
  EXPECT_GT(session_ms.at("p50").as_double(), 0);
  EXPECT_LE(session_ms.at("p50").as_double(), session_ms.at("p99").as_double());
  const auto readable = site.gatehouse("top --once");
  EXPECT_EQ(readable.code, 0) << readable.out;
  EXPECT_NE(readable.out.find("2 allow, 0 isolate, 0 block, 0 none; 0 ended early\n"), std::string::npos) << readable.out;
  EXPECT_EQ(readable.out.find('\x1b'), std::string::npos) << "no cursor movement into a pipe";
  EXPECT_EQ(site.gatehouse("top --interval 0").code, 2);
  EXPECT_EQ(site.gatehouse("top --interval 21").code, 2);

  // Until somebody ends it: after its first line, which is one object, it waits.
  const std::string fifo = site.path("lines");
  const auto live = endpoint::test::run("mkfifo '" + fifo + "'; '" GATEHOUSE_PROGRAM "' top --json --interval 20 --config '" +
                                        site.path("gatehouse.toml") + "' > '" + fifo +
                                        "' & p=$!; exec 3< '" + fifo + "'; read -r line <&3; kill -TERM $p; wait $p; echo \"$? $line\"");
  EXPECT_TRUE(live.out.starts_with("0 {\"interval_seconds\":")) << live.out;

  const auto listed = site.gatehouse("session list --last 1 --json");
  const json::object verdict = json::parse(listed.out).as_object();
  const std::string session(verdict.at("session").as_string());
  const auto plain = site.gatehouse("session show " + session + " --json");
  EXPECT_EQ(plain.out, listed.out);
  EXPECT_EQ(plain.out.find("timing"), std::string::npos);
  const auto timed = site.gatehouse("session show " + session + " --timing --json");
  EXPECT_EQ(timed.code, 0) << timed.out;
  const json::object shown = json::parse(timed.out).as_object();
  EXPECT_EQ(std::string_view(shown.at("session").as_string()), session);
  const json::object& timing = shown.at("timing_ns").as_object();
  std::int64_t sum = 0;
  for (const auto& stage : timing.at("stages").as_object()) sum += stage.value().as_int64();
  EXPECT_EQ(timing.at("total").as_int64(), sum);
  EXPECT_GT(sum, 0);
  for (const auto& stage : timing.at("evidence_plane").as_object()) {
    EXPECT_GT(stage.value().as_int64(), 0) << stage.key();
    EXPECT_LT(stage.value().as_int64(), sum) << stage.key();
  }
  const auto told = site.gatehouse("session show " + session + " --timing");
  EXPECT_EQ(told.code, 0) << told.out;
  EXPECT_NE(told.out.find(" ms up to its record\n  handshake "), std::string::npos) << told.out;
  EXPECT_EQ(site.gatehouse("session show nothing --timing").code, 1);
  server.signal(SIGTERM);
  EXPECT_EQ(server.wait(), 0) << server.log();
  EXPECT_EQ(site.gatehouse("session show " + session + " --timing --json").out, timed.out) << "the same without a server";
}

TEST(Seen, AnAddressThatIsNoneIsNamedByTheCheck) {
  Site site;
  site.configure();
  std::ofstream(site.path("gatehouse.toml"), std::ios::app) << "[metrics]\nlisten = \"localhost:9271\"\n";
  const auto named = endpoint::test::run(std::string(GATEHOUSE_PROGRAM) + " serve --check --config '" + site.path("gatehouse.toml") + "'");
  EXPECT_EQ(named.code, 2) << named.out;
  EXPECT_NE(named.out.find("localhost:9271: usage: not an ADDRESS:PORT to listen on"), std::string::npos) << named.out;
}

}  // namespace
}  // namespace gatehouse::test
