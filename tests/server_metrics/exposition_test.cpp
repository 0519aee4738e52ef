// What is counted, and the text that is told of it.
#include <thread>

#include "server/metrics/metrics.h"
#include "tests/server_metrics/text.h"

namespace gatehouse::test {
namespace {

using namespace std::chrono_literals;
using namespace server;
using namespace server::metrics;

TEST(Exposition, EscapesWhatItIsTold) {
  const std::string text = exposition({{"a_total", "one\nline, \\ and \"", Type::counter, {{{{"x", "a\"b\\c\nd"}, {"y", ""}}, 1.5}}}});
  EXPECT_EQ(text,
            "# HELP a_total one\\nline, \\\\ and \"\n# TYPE a_total counter\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1.5\n");
  const MetricsText read(text);
  EXPECT_EQ(read.values().size(), 1U);
}

TEST(Exposition, NumbersAreReadAsTheyWere) {
  for (const double value : {0.0, 1.0, 1e-9, 0.1, 123456789.0, 9007199254740991.0, 1e300, 2.5e-5}) {
    const MetricsText read(exposition({{"a", "b", Type::gauge, {{{}, value}}}}));
    EXPECT_EQ(read.value("a"), value);
  }
  EXPECT_NE(exposition({{"a", "b", Type::gauge, {{{}, 1e9}}}}).find("a 1000000000\n"), std::string::npos);
}

TEST(Histograms, CountWhatIsAtMostABound) {
  Histogram histogram;
  histogram.observe(0ns);
  histogram.observe(10us);
  histogram.observe(10'001ns);
  histogram.observe(119s);
  histogram.observe(121s);
  const Sample sample = histogram.sample({{"stage", "peer"}});
  EXPECT_EQ(sample.count, 5U);
  EXPECT_EQ(sample.buckets.front(), (std::pair<double, std::uint64_t>(1e-5, 2)));
  EXPECT_EQ(sample.buckets.at(1).second, 3U);
  EXPECT_EQ(sample.buckets.back(), (std::pair<double, std::uint64_t>(120, 4)));
  EXPECT_NEAR(sample.value, 240.00002, 1e-6);
}

TEST(Families, AreWellFormedWhateverWasCounted) {
  Metrics metrics;
  const MetricsText empty(exposition(families(metrics, {})));
  SessionTiming timing;
  for (std::size_t i = 0; i < timing.spent.size(); ++i) timing.spent[i] = std::chrono::milliseconds(i);
  metrics.observe(timing);
  metrics.told[std::size_t(pipeline::Recommendation::isolate)][std::size_t(pipeline::Evaluation::minor)].add(3);
  metrics.state_faults[std::size_t(Fault::environment)].add();
  Readings readings;
  readings.connections[std::size_t(Doing::kept)] = 4;
  readings.evidence.cached_hits = 1625;
  readings.generation = 7;
  const MetricsText text(exposition(families(metrics, readings)));
  EXPECT_EQ(text.types(), empty.types());
  EXPECT_EQ(text.values().size(), empty.values().size()) << "no sample comes into being later";
  EXPECT_EQ(text.value(R"(gatehouse_attestations_total{recommendation="isolate",evaluation="minor"})"), 3);
  EXPECT_EQ(text.value(R"(gatehouse_attestations_total{recommendation="allow",evaluation="compliant"})"), 0);
  EXPECT_EQ(text.value(R"(gatehouse_faults_total{part="state",fault="environment"})"), 1);
  EXPECT_EQ(text.value(R"(gatehouse_connections{state="kept"})"), 4);
  EXPECT_EQ(text.value(R"(gatehouse_lookups_total{answer="cached_known"})"), 1625);
  EXPECT_EQ(text.value("gatehouse_reference_generation"), 7);
  EXPECT_NEAR(text.value("gatehouse_session_seconds_sum"), 0.028, 1e-9) << "successive stages";
  EXPECT_EQ(text.value(R"(gatehouse_session_stage_seconds_count{stage="lookup"})"), 1);
  EXPECT_GT(text.value("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(text.value("process_cpu_seconds_total"), 0);
}

// Whatever number a peer puts into an error, there is a place for it already.
TEST(Codes, ThatAreNotTheStandardsAreOneOther) {
  Metrics metrics;
  for (const std::optional<std::uint32_t> code : {std::optional<std::uint32_t>(4), {5}, {65'535}, {4'000'000'000}, {}})
    metrics.pb_tnc_errors[0].add(code);
  const MetricsText text(exposition(families(metrics, {})));
  EXPECT_EQ(text.value(R"(gatehouse_protocol_errors_total{protocol="pb-tnc",direction="received",code="4"})"), 1);
  EXPECT_EQ(text.value(R"(gatehouse_protocol_errors_total{protocol="pb-tnc",direction="received",code="other"})"), 4);
  EXPECT_EQ(text.value(R"(gatehouse_protocol_errors_total{protocol="pb-tnc",direction="sent",code="other"})"), 0);
}

TEST(Counting, LosesNothingAmongThreads) {
  Metrics metrics;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) {
        metrics.connections.add();
        metrics.commit.observe(1ms);
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(metrics.connections.value(), 40'000U);
  EXPECT_EQ(metrics.commit.sample().count, 40'000U);
  EXPECT_DOUBLE_EQ(metrics.commit.sample().value, 40.0);
}

TEST(SessionClocks, GiveEachMomentToOneStage) {
  SessionClock clock;
  EXPECT_EQ(clock.doing(), Doing::handshake);
  const auto handshake = clock.enter(Doing::peer);
  EXPECT_EQ(clock.enter(Doing::peer).count(), 0) << "it goes on";
  EXPECT_EQ(clock.timing()[Stage::handshake], handshake);
  const auto peer = clock.enter(Doing::kept);
  const SessionTiming before = clock.timing();
  EXPECT_GE(before[Stage::peer], peer);
  clock.enter(Doing::closing);
  EXPECT_EQ(clock.timing(), before) << "what is between two assessments is of none";
  EXPECT_EQ(before.total(), before[Stage::handshake] + before[Stage::peer]);
  clock.begin();
  EXPECT_EQ(clock.doing(), Doing::protocol);
  clock.add(Stage::lookup, 5ns);
  const SessionTiming after = clock.timing();
  EXPECT_EQ(after[Stage::handshake].count(), 0);
  EXPECT_EQ(after[Stage::lookup], 5ns);
  EXPECT_EQ(after.total(), after[Stage::protocol]) << "the evidence plane's work is done meanwhile";
}

}  // namespace
}  // namespace gatehouse::test
