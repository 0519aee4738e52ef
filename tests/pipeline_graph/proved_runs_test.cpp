// Evidence that comes again: what is taken as it was the last time must be what judging it again would have given, and
// nothing else may ever be taken for it.
#include <gtest/gtest.h>

#include <random>

#include "pipeline/graph/proved_runs.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_graph/recording.h"

namespace gatehouse::testing {
namespace {

constexpr std::size_t memory = std::size_t(64) << 20;

std::shared_ptr<FakeView> references() {
  auto view = std::make_shared<FakeView>();
  view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  return view;
}

std::string text_of(const Result<pipeline::Outcome>& outcome) {
  return outcome ? to_json(outcome->verdict) : "error: " + outcome.error().text();
}

class ProvedRunsOfRecordings : public ::testing::Test {
 protected:
  std::string judged(const Recording& r) { return text_of(judge(graph_, serve_context(r, view_), r)); }
  std::string judged_anew(const Recording& r) { return text_of(judge(plain_, serve_context(r, view_), r)); }
  // List entries that were taken as they were since it was asked last.
  std::uint64_t reused() { return pipeline::Totals(graph_.totals()).reused - std::exchange(seen_, graph_.totals().reused); }

  std::shared_ptr<FakeView> view_ = references();
  pipeline::Pipeline plain_{{.threads = 1}};
  pipeline::Pipeline graph_{{.threads = 2, .proved_bytes = memory}};
  std::uint64_t seen_ = 0;
};

TEST_F(ProvedRunsOfRecordings, TheSameEvidenceGivesTheSameVerdict) {
  for (const char* name : {"sasl-rsa", "sasl-rsa-32k", "sasl-ecc-2k", "sasl-rsa-sha384-ecp384", "mutual-tls12-rsa-modp2048-pcrinfo"}) {
    const Recording r = read_recording(name);
    const std::string first = judged(r);
    EXPECT_EQ(first, judged_anew(r)) << name;
    reused();
    EXPECT_EQ(judged(r), first) << name;
    EXPECT_EQ(reused(), 1732U) << name;
  }
}

// The header of a PA-TNC message has a number that is another one each time.
TEST_F(ProvedRunsOfRecordings, MessagesMayBeNumberedOtherwise) {
  Recording r = read_recording("sasl-rsa");
  const std::string first = judged(r);
  for (ByteVector& message : r.messages) message[7] ^= std::byte{0x55};
  reused();
  EXPECT_EQ(judged(r), first);
  EXPECT_EQ(reused(), 1732U);
}

// What didn't verify is never taken again, and neither is what was only begun.
TEST_F(ProvedRunsOfRecordings, OnlyOfAQuoteThatVerified) {
  const Recording tampered = read_recording("tampered-list-rsa"), good = read_recording("sasl-rsa");
  const std::string first = judged(tampered);
  EXPECT_EQ(first, judged_anew(tampered));
  EXPECT_EQ(judged(tampered), first);
  EXPECT_EQ(reused(), 0U);
  {
    auto vanishing = graph_.open(serve_context(good, view_), [](Result<pipeline::Outcome>) {});
    for (const ByteVector& message : good.messages) vanishing->submit({pipeline::Stream::ima, pipeline::Format::pa_tnc, message, 0});
  }
  Recording stale = good;
  stale.nonce[0] ^= std::byte{1};
  judged(stale);
  judged(good);
  EXPECT_EQ(reused(), 0U);
}

// One bit, anywhere: whatever is before it may be taken, and the verdict is that of the changed evidence.
TEST_F(ProvedRunsOfRecordings, AListThatDiffersInOneBitIsAnother) {
  const Recording good = read_recording("sasl-rsa-32k");
  judged(good);
  std::size_t all = 0;
  for (const ByteVector& message : good.messages) all += message.size();
  std::mt19937_64 random{20261126};
  std::uint64_t taken = 0;
  for (int n = 0; n < 300; ++n) {
    Recording changed = good;
    std::size_t at = random() % all, message = 0;
    while (at >= changed.messages[message].size()) at -= changed.messages[message++].size();
    changed.messages[message][at] ^= std::byte(1U << (random() % 8));
    const std::string wanted = judged_anew(changed), got = judged(changed);
    ASSERT_EQ(got, wanted) << "message " << message << ", byte " << at;
    taken += reused();
    // And what came of it is nobody's: the good one is what it was.
    if (n % 50 == 0) {
      ASSERT_EQ(judged(good), judged_anew(good));
      reused();
    }
  }
  EXPECT_GT(taken, 300U * 200U) << "prefixes of changed lists weren't taken";
}

// Runs that are left out, come twice or in another order aren't behind the same runs.
TEST_F(ProvedRunsOfRecordings, RunsCountOnlyInTheirPlace) {
  const Recording good = read_recording("sasl-rsa-32k");
  judged(good);
  for (std::size_t n = 0; n < good.messages.size(); ++n) {
    Recording without = good, twice = good, swapped = good;
    without.messages.erase(without.messages.begin() + std::ptrdiff_t(n));
    twice.messages.insert(twice.messages.begin() + std::ptrdiff_t(n), good.messages[n]);
    std::swap(swapped.messages[n], swapped.messages[(n + 1) % good.messages.size()]);
    for (const Recording* r : {&without, &twice, &swapped}) ASSERT_EQ(judged(*r), judged_anew(*r)) << "message " << n;
  }
}

// What evidence is judged by is part of what it must have in common.
TEST_F(ProvedRunsOfRecordings, OtherRulesReferencesOrDemandsAreJudgedAnew) {
  const Recording r = read_recording("sasl-rsa");
  judged(r);
  reused();
  auto rules = std::make_shared<pipeline::EvidenceRules>();
  rules->name = "strict";
  rules->ima.require_signature = {"/usr/bin/*"};
  const auto judge_by = [&](auto&& change) {
    pipeline::Context context = serve_context(r, view_), same = serve_context(r, view_);
    change(context);
    change(same);
    EXPECT_EQ(text_of(judge(graph_, std::move(context), r)), text_of(judge(plain_, std::move(same), r)));
    return reused();
  };
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.rules = {rules}; }), 0U);
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.rules = {rules}; }), 1732U);
  const auto aging = std::make_shared<pipeline::EvidenceRules>();
  aging->files.push_back({.superseded = pipeline::Treatment::refused, .superseded_after = 3600});
  for (int n = 0; n < 2; ++n) EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.rules = {aging}; }), 0U) << "what time changes";
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.max_ima_items = 1700; }), 0U);
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.boot_requested = false; }), 0U);
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.symlinks = {{"/bin", "/usr/bin"}}; }), 0U);
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.product = "another"; }), 0U);
  EXPECT_EQ(judge_by([](pipeline::Context&) {}), 1732U);
  const auto newer = references();
  EXPECT_EQ(judge_by([&](pipeline::Context& c) { c.references = newer; }), 0U) << "another generation";
}

// Only the first runs of a list that is too long are kept: the rest is judged again, and comes to the same.
TEST_F(ProvedRunsOfRecordings, ASessionHoldsNoMoreThanItMay) {
  pipeline::Pipeline small({.threads = 1, .proved_bytes = std::size_t(64) * 15'000});
  const Recording r = read_recording("sasl-rsa-32k");
  const std::string wanted = judged_anew(r);
  for (int n = 0; n < 2; ++n) EXPECT_EQ(text_of(judge(small, serve_context(r, view_), r)), wanted);
  EXPECT_GT(small.totals().reused, 127U);
  EXPECT_LT(small.totals().reused, 1732U);
}

pipeline::ProvedRunPtr run_of(std::size_t bytes) {
  auto run = std::make_shared<pipeline::ProvedRun>();
  run->judged.statuses.resize(bytes);
  return run;
}

TEST(ProvedRuns, TakeNoMoreMemoryThanTheyMay) {
  constexpr std::size_t most = 1 << 20;
  pipeline::ProvedRuns runs(most);
  Fingerprint often{};
  runs.insert(often, run_of(1000));
  for (std::uint64_t n = 1; n < 5000; ++n) {
    Fingerprint f{};
    std::memcpy(f.data(), &n, sizeof n);
    runs.insert(f, run_of(4096));
    ASSERT_LE(runs.bytes(), most);
    // What comes again and again stays.
    ASSERT_NE(runs.find(often), nullptr) << n;
    ASSERT_NE(runs.find(f), nullptr) << n;
  }
  const Fingerprint large{std::byte{9}};
  runs.insert(large, run_of(most));
  EXPECT_EQ(runs.find(large), nullptr);
  EXPECT_LE(runs.bytes(), most);
}

}  // namespace
}  // namespace gatehouse::testing
