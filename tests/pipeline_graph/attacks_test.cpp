// Evidence that is made to wear the plane out, or to get by on what others showed: lists that differ in a bit, digests that
// nobody has seen, the largest lists that are taken. What is honest is judged beside it as ever.
#include <gtest/gtest.h>

#include <latch>

#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_graph/recording.h"
#include "tests/randomised/attestations.h"
#include "tests/randomised/same_references.h"

namespace gatehouse::testing {
namespace {

using pipeline::Recommendation;

// An endpoint that is allowed: firmware that is approved, files that are known, a quote of both.
class Attacks : public ::testing::Test {
 protected:
  static constexpr HashAlgorithm bank = HashAlgorithm::sha256;

  Attacks() {
    for (int n = 0; n < 300; ++n) {
      refdb::Reference r;
      r.path = path_of(n);
      r.package = "package";
      r.digests = {{bank, content(r.path)}};
      view_->add(std::move(r));
    }
  }
  static std::string path_of(int n) { return "/usr/bin/tool-" + std::to_string(n); }
  static Digest content(const std::string& text) { return digest_of(bank, as_bytes(text)); }

  // `unknown` of its files are nobody's; `who` makes them another endpoint's.
  Attestation endpoint(bool raw, int known, int unknown = 0, const std::string& who = {}) const {
    Recorder recorder(bank, raw ? Recorder::Form::binary : Recorder::Form::wire);
    Attestation out;
    out.raw = raw;
    std::map<std::uint32_t, std::vector<Digest>> firmware;
    for (std::uint32_t pcr = 0; pcr < 8; ++pcr) {
      const std::string separator(4, '\0');
      recorder.add_event(pcr, true, separator, false);
      firmware[pcr].push_back(content(separator));
    }
    recorder.add(Entry::file("boot_aggregate", "sha256", recorder.aggregate()));
    for (int n = 0; n < known; ++n) recorder.add(Entry::file(path_of(n % 300), "sha256", content(path_of(n % 300))));
    for (int n = 0; n < unknown; ++n) {
      const std::string path = "/tmp/" + who + std::to_string(n);
      recorder.add(Entry::file(path, "sha256", content(path)));
    }
    Quoted quoted;
    quoted.nonce = ByteVector(32, std::byte{1});
    quoted.clock = 1000;
    quoted.composite = recorder.composite();
    out.finish.nonce = quoted.nonce;
    out.finish.ak.key = ak_.key;
    out.finish.ak.trusted = true;
    if (raw) out.finish.quote = pipeline::RawQuote{quoted.attest(), ak_.signer.tpmt(quoted.attest())};
    else out.finish.quote = pipeline::FinalQuote{quoted.final_value(ak_), 0};
    out.context.product = "product";
    out.context.bank = bank;
    out.context.serve = true;
    out.context.baselines = {{bank, {firmware.begin(), firmware.end()}}};
    out.context.references = view_;
    recorder.give(out);
    return out;
  }
  Result<pipeline::Outcome> judged(pipeline::Pipeline& graph, const Attestation& a) const {
    return judge(graph, a.context, whole(a), a.finish);
  }
  static std::string text_of(const Result<pipeline::Outcome>& outcome) {
    return outcome ? to_json(outcome->verdict) : outcome.error().text();
  }

  std::shared_ptr<FakeView> view_ = std::make_shared<FakeView>();
  const Ak ak_{Signer::ecc()};
};

// However often the list has been seen before: what differs from it is judged for itself, with a cache as without. Of a
// list as it is the template's name isn't hashed; on the wire neither is a file's name, nor the time of a measurement: what
// differs there alone has no more files that are known.
TEST_F(Attacks, AListThatDiffersInOneBitAnywhereIsAnother) {
  const auto uncached = std::make_shared<SameReferences>(view_, false);
  for (const bool raw : {true, false}) {
    pipeline::Pipeline graph({.threads = 2});
    const Attestation good = endpoint(raw, 4, 1);
    const std::string allowed = text_of(judged(graph, good));
    ASSERT_EQ(judged(graph, good)->verdict.recommendation, Recommendation::allow) << allowed;
    std::size_t refused = 0, same = 0;
    const auto judge_changed = [&](Attestation& changed, std::byte& byte) {
      for (unsigned bit = 0; bit < 8 && !HasFatalFailure(); ++bit) {
        byte ^= std::byte(1U << bit);
        const auto outcome = judged(graph, changed);
        changed.context.references = uncached;
        ASSERT_EQ(text_of(outcome), text_of(judged(graph, changed)));
        changed.context.references = view_;
        if (outcome && outcome->verdict.recommendation == Recommendation::allow) {
          ASSERT_EQ(outcome->verdict.ima.processed, 5U);
          ASSERT_LE(outcome->verdict.ima.ok, 4U);
          ++same;
        } else {
          ++refused;
        }
        byte ^= std::byte(1U << bit);
      }
    };
    Attestation changed = good;
    if (raw) {
      for (std::byte& byte : changed.list) judge_changed(changed, byte);
      EXPECT_LE(same, 6U * 8 * std::string_view("ima-ng").size());
    } else {
      for (std::size_t n = 8; n < changed.attributes.size(); ++n)  // behind the firmware's
        for (std::byte& byte : changed.attributes[n]) judge_changed(changed, byte);
      EXPECT_LT(same, refused / 2);
    }
    EXPECT_GT(refused, 2000U);
    EXPECT_EQ(text_of(judged(graph, good)), allowed);
  }
}

// An endpoint that makes digests up fills the part of the cache that is for such, and no more: what others have is found
// there as before, and the references aren't asked more often than without a cache.
TEST_F(Attacks, UniqueDigestsCrowdNothingOutOfTheCache) {
  pipeline::Pipeline graph({.threads = 2});
  const Attestation honest = endpoint(false, 300);
  const std::string allowed = text_of(judged(graph, honest));
  ASSERT_EQ(graph.totals().store_lookups, 300U);
  constexpr int each = 5'000, attackers = 6;  // together far more than are kept of the unknown
  for (int n = 0; n < attackers; ++n) {
    const pipeline::Totals before = graph.totals();
    const auto outcome = judged(graph, endpoint(true, 0, each, "made-up-" + std::to_string(n) + "-"));
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->verdict.ima.unknown, std::uint64_t(each));
    EXPECT_EQ(graph.totals().store_lookups - before.store_lookups, std::uint64_t(each)) << "once for each";
  }
  const pipeline::Totals before = graph.totals();
  EXPECT_EQ(text_of(judged(graph, honest)), allowed);
  const pipeline::Totals after = graph.totals();
  EXPECT_EQ(after.store_lookups, before.store_lookups);
  EXPECT_EQ(after.cached_hits - before.cached_hits, 300U);
}

// As many entries as are taken, and one more, several such endpoints at once: judged to the last entry or refused, and
// nothing of them is left in flight. Between them an honest one is served.
TEST_F(Attacks, TheLargestListsAreJudgedAndHinderNobody) {
  constexpr std::size_t most = 12'000, large = 4;
  pipeline::Pipeline graph({.threads = 2});
  std::vector<Attestation> attestations;
  for (std::size_t n = 0; n < large; ++n) {
    attestations.push_back(endpoint(n % 2 == 0, int(most) / 2, int(most) / 2 - (n < 2 ? 1 : 0), std::to_string(n) + "-"));
    attestations.back().context.max_ima_items = most;
  }
  std::array<std::string, large> texts;
  std::latch answered(large);
  std::vector<std::unique_ptr<pipeline::Evidence>> evidence;
  std::vector<std::vector<pipeline::Segment>> segments;
  Random random(1);
  std::size_t bytes = 0;
  for (std::size_t n = 0; n < large; ++n) {
    evidence.push_back(graph.open(attestations[n].context, [&, n](Result<pipeline::Outcome> outcome) {
      texts[n] = outcome ? summary_line(outcome->verdict) : std::string(outcome.error().reason);
      answered.count_down();
    }));
    segments.push_back(cut(attestations[n], random));
    for (const pipeline::Segment& s : segments[n]) bytes += s.bytes.size();
  }
  const Attestation honest = endpoint(false, 20);
  for (std::size_t at = 0, left = large; left != 0; ++at) {
    left = 0;
    for (std::size_t n = 0; n < large; ++n)
      if (at < segments[n].size()) {
        evidence[n]->submit(std::move(segments[n][at]));
        ++left;
      }
    EXPECT_LE(graph.bytes_in_flight(), bytes);
    if (at % 8 != 0) continue;
    const auto outcome = judged(graph, honest);
    ASSERT_TRUE(outcome);
    EXPECT_EQ(outcome->verdict.recommendation, Recommendation::allow);
  }
  for (std::size_t n = 0; n < large; ++n) evidence[n]->finish(attestations[n].finish);
  answered.wait();
  for (std::size_t n = 0; n < large; ++n) {
    if (n < 2) EXPECT_NE(texts[n].find("processed 11999 IMA"), std::string::npos) << texts[n];
    else EXPECT_EQ(texts[n], "more list entries than allowed");
  }
  while (graph.bytes_in_flight() != 0) std::this_thread::yield();
}

}  // namespace
}  // namespace gatehouse::testing
