// The graph itself: many sessions at once, cancellation, failures, budgets, and evidence that breaks the rules.
#include <gtest/gtest.h>

#include <latch>
#include <random>
#include <thread>

#include "pipeline/replay/replay.h"
#include "tests/live_bytes.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_graph/recording.h"
#include "tests/pipeline_quote/signer.h"

namespace gatehouse::testing {
namespace {

using pipeline::Format;
using pipeline::Outcome;
using pipeline::Stream;

std::shared_ptr<FakeView> references() {
  auto view = std::make_shared<FakeView>();
  view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  return view;
}

// Sessions of four strands, some cancelled, some dropped, some malformed: each completes once, the good ones with the
// same verdict, and every byte is given back.
TEST(Graph, ManySessionsDoNotDisturbEachOther) {
  const auto view = references();
  const Recording good = read_recording("sasl-rsa-32k"), tampered = read_recording("tampered-list-rsa");
  std::string wanted_good, wanted_tampered;
  {
    pipeline::Pipeline alone({.threads = 1});
    wanted_good = to_json(judge(alone, serve_context(good, view), good)->verdict);
    wanted_tampered = to_json(judge(alone, serve_context(tampered, view), tampered)->verdict);
  }
  constexpr int strands = 4, each = 40;
  std::array<std::atomic<int>, strands * each> completions{};
  std::array<std::string, strands * each> texts;
  std::latch answered(strands * each);
  pipeline::Pipeline graph({.threads = 8});
  const auto strand = [&](int s) {
    std::mt19937 random{std::uint32_t(s)};
    for (int n = 0; n < each; ++n) {
      const int index = s * each + n, kind = index % 5;
      const Recording& r = kind == 1 ? tampered : good;
      auto evidence = graph.open(serve_context(r, view), [&, index](Result<Outcome> outcome) {
        if (completions[std::size_t(index)].fetch_add(1) == 0) {
          texts[std::size_t(index)] = outcome ? to_json(outcome->verdict) : "error: " + std::string(outcome.error().reason);
          answered.count_down();
        }
      });
      const std::size_t stop = std::uniform_int_distribution<std::size_t>(0, r.messages.size())(random);
      for (std::size_t m = 0; m < r.messages.size(); ++m) {
        if (kind == 2 && m == stop) evidence->cancel();
        if (kind == 2 && m >= stop) break;
        if (kind == 3 && m == stop) break;
        if (kind == 4 && m + 1 == r.messages.size()) {
          // An attribute that ends in the middle.
          ByteVector broken = r.messages[m];
          broken.resize(broken.size() / 2);
          evidence->submit({Stream::ima, Format::pa_tnc, std::move(broken), 0});
        } else {
          evidence->submit({Stream::ima, Format::pa_tnc, r.messages[m], 0});
        }
      }
      if (kind == 3) continue;  // dropped: the peer has vanished
      if (kind == 2 && stop == r.messages.size()) evidence->cancel();
      evidence->finish(r.finish());
      if (kind != 0 || n % 2 == 0) continue;
      evidence->cancel();  // after the end: whichever comes first
    }
  };
  std::vector<std::thread> threads;
  for (int s = 0; s < strands; ++s) threads.emplace_back(strand, s);
  for (std::thread& t : threads) t.join();
  answered.wait();
  for (int index = 0; index < strands * each; ++index) {
    const std::string& text = texts[std::size_t(index)];
    EXPECT_EQ(completions[std::size_t(index)], 1);
    switch (index % 5) {
      case 0: EXPECT_TRUE(text == wanted_good || text == "error: cancelled") << text.substr(0, 200); break;
      case 1: EXPECT_EQ(text, wanted_tampered); break;
      case 2:
      case 3: EXPECT_EQ(text, "error: cancelled"); break;
      default: EXPECT_TRUE(text.starts_with("error: ")) << text.substr(0, 200);
    }
  }
  // Bytes are given back as each session leaves; nothing is left in flight once all have.
  while (graph.bytes_in_flight() != 0) std::this_thread::yield();
  SUCCEED();
}

TEST(Graph, BudgetIsAnswered) {
  pipeline::Pipeline graph({.threads = 1, .budget_bytes = 1000});
  EXPECT_TRUE(graph.has_room(1000));
  EXPECT_FALSE(graph.has_room(1001));
  EXPECT_EQ(graph.bytes_in_flight(), 0U);
}

// What a fleet of one distribution costs: the second session's files are known from the first.
TEST(Graph, CountsWhatItTookAndWhoAnswered) {
  pipeline::Pipeline graph({.threads = 2});
  const Recording r = read_recording("sasl-rsa");
  const auto view = references();
  std::size_t bytes = 0;
  for (const ByteVector& message : r.messages) bytes += message.size();
  pipeline::Totals before;
  for (int n = 1; n <= 2; ++n) {
    const auto began = std::chrono::steady_clock::now();
    const auto outcome = judge(graph, serve_context(r, view), r);
    const std::chrono::nanoseconds whole = std::chrono::steady_clock::now() - began;
    ASSERT_TRUE(outcome);
    const pipeline::Effort& effort = outcome->effort;
    for (const std::chrono::nanoseconds part : {effort.parse, effort.lookup, effort.extend, effort.quote, effort.conclude}) EXPECT_GT(part.count(), 0);
    // Small segments are judged where they were parsed: nothing of it ran beside anything else.
    EXPECT_LE(effort.parse + effort.lookup + effort.extend + effort.quote + effort.conclude, whole);
    const pipeline::Totals now = graph.totals();
    EXPECT_EQ(now.sessions, std::uint64_t(n));
    EXPECT_EQ(now.segments, n * r.messages.size());
    EXPECT_EQ(now.bytes, n * bytes);
    const std::uint64_t answered = now.cached_hits + now.cached_misses + now.store_lookups -
                                   (before.cached_hits + before.cached_misses + before.store_lookups);
    EXPECT_EQ(answered, 1732U);
    if (n == 1) {
      EXPECT_EQ(now.store_lookups, 1732U);
    } else {
      EXPECT_EQ(now.cached_hits, 1625U);
      EXPECT_EQ(now.cached_misses, 107U);
    }
    before = now;
  }
  EXPECT_EQ(before.cached_signatures + before.verified_signatures, 0U) << "no rule has keys";
  auto dropped = graph.open(serve_context(r, view), [](Result<Outcome>) {});
  dropped->submit({Stream::ima, Format::pa_tnc, r.messages.front(), 0});
  dropped.reset();
  while (graph.totals().sessions != 3) std::this_thread::yield();
}

// Thousands of endpoints may wait half way at a time: what a session keeps of evidence isn't the evidence. There is the
// firmware's part, a byte for each file, and what is to be said of 107 of them.
TEST(Graph, ASessionThatWaitsTakesLittleMemory) {
  constexpr std::size_t sessions = 64;
  const auto view = references();
  const Recording r = read_recording("sasl-rsa-32k");
  pipeline::Pipeline graph({.threads = 1});
  ASSERT_TRUE(judge(graph, serve_context(r, view), r));  // fills the caches
  std::vector<std::unique_ptr<pipeline::Evidence>> all;
  all.reserve(sessions);
  const std::size_t before = test::live_bytes();
  for (std::size_t n = 0; n < sessions; ++n) {
    all.push_back(graph.open(serve_context(r, view), [](Result<Outcome>) {}));
    for (const ByteVector& message : r.messages) all.back()->submit({Stream::ima, Format::pa_tnc, message, 0});
    all.back()->wait_until_pending_at_most(0);
  }
  const std::size_t each = (test::live_bytes() - before) / sessions;
  EXPECT_LE(each, 28U << 10);
}

TEST(Graph, CompletionThatThrowsEndsNothing) {
  pipeline::Pipeline graph({.threads = 1});
  const Recording r = read_recording("sasl-rsa");
  std::promise<void> called;
  auto evidence = graph.open(serve_context(r, nullptr), [&](Result<Outcome>) {
    called.set_value();
    throw std::runtime_error("the caller's mistake");
  });
  evidence->finish(r.finish());
  called.get_future().wait();
  EXPECT_TRUE(judge(graph, serve_context(r, nullptr), r).has_value());
}

TEST(Graph, EndedSessionIsReported) {
  pipeline::Pipeline graph({.threads = 1});
  const Recording r = read_recording("sasl-rsa");
  pipeline::Finish f;
  f.session_failed = true;
  f.session_failure = "the conversation ended before Simple Evidence Final";
  const auto outcome = judge(graph, serve_context(r, nullptr), {}, std::move(f));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->verdict.recommendation, pipeline::Recommendation::isolate);
  EXPECT_EQ(outcome->verdict.evaluation, pipeline::Evaluation::error);
}

// --- what a client may send, spec part 2 §2.6 ---

// One measurement from the wire; a test changes a part.
struct Item {
  pts::Component component = pts::component_ima;
  std::uint32_t depth = 0, pcr = 10;
  std::uint16_t algorithm = 0x4000;
  std::uint8_t transform = 1;
  pts::Validation validation = pts::Validation::passed;
  std::string uri = "sha256:boot_aggregate";
  ByteVector measurement = ByteVector(32, std::byte{1});
  std::optional<std::pair<ByteVector, ByteVector>> values;

  void append(Writer& w) const {
    pts::SimpleComponentEvidence e;
    e.component = component;
    e.depth = depth;
    e.pcr = pcr;
    e.algorithm = algorithm;
    e.transform = transform;
    e.time = "2026-11-24T00:00:00Z";
    e.validation = validation;
    if (validation == pts::Validation::passed) e.policy_uri = uri;
    if (values) {
      e.has_pcr_values = true;
      e.pcr_before = values->first;
      e.pcr_after = values->second;
    }
    e.measurement = measurement;
    Writer value;
    pts::append_simple_component_evidence(value, e);
    patnc::append_attribute(w, 0, patnc::vendor_tcg, pts::type::simple_component_evidence, value.view());
  }
};
Item boot_item(std::uint32_t pcr, std::string_view text) {
  Item i;
  i.component = pts::component_boot;
  i.pcr = pcr;
  i.validation = pts::Validation::none;
  i.measurement = to_vector(digest_of(HashAlgorithm::sha256, as_bytes(text)).view());
  return i;
}
ByteVector template_of(std::string_view file, Bytes digest) {
  Writer w;
  ima::append_ng_template_data(w, "sha256", digest, file);
  return to_vector(digest_of(HashAlgorithm::sha256, w.view()).view());
}
Item file_item(const std::string& path, Bytes digest) {
  Item i;
  i.uri = "sha256:" + path;
  i.measurement = template_of(path, digest);
  return i;
}

ByteVector message_of(const std::vector<Item>& items) {
  Writer w;
  w.put(std::uint32_t{0x01000000});
  w.put(std::uint32_t{1});
  for (const Item& i : items) i.append(w);
  return std::move(w).take();
}

// Quotes what the kernel extended, whatever the client says.
class Wire : public ::testing::Test {
 protected:
  pipeline::Context context() const {
    pipeline::Context c;
    c.product = "p";
    c.references = view;
    c.bank = HashAlgorithm::sha256;
    c.serve = true;
    return c;
  }
  Result<Outcome> run(const std::vector<Item>& items, pipeline::Context c, std::vector<ByteVector> extended = {}) {
    pipeline::Pcrs pcrs;
    for (std::uint32_t pcr = 0; pcr < 11; ++pcr) pcrs[pcr] = pipeline::initial_pcr(HashAlgorithm::sha256, pcr, 0);
    Hasher hasher(HashAlgorithm::sha256);
    std::size_t n = 0;
    for (const Item& i : items) {
      if (!pcrs.contains(i.pcr) || i.measurement.size() != 32) continue;
      const bool list = i.component == pts::component_ima;
      hasher.extend(pcrs[i.pcr], list && n < extended.size() && !extended[n].empty() ? Bytes(extended[n]) : Bytes(i.measurement));
      if (list) ++n;
    }
    ByteVector composite;
    for (const auto& [pcr, value] : pcrs) composite.insert(composite.end(), value.view().begin(), value.view().end());
    const Digest digest = digest_of(HashAlgorithm::sha256, composite);
    const ByteVector nonce(32, std::byte{5}), clock(17, std::byte{0}), firmware(8, std::byte{0});
    ByteVector name(34, std::byte{1});
    name[0] = std::byte{0}, name[1] = std::byte{0x0B};
    Writer selection;
    tpm::append_selections(selection, {{0x000B, 3, 0x07FF}});
    const ByteVector attest = tpm::build_quote(name, nonce, clock, firmware, selection.view(), digest.view());
    const ByteVector signature = signer().sign(attest);
    pts::SimpleEvidenceFinal v;
    v.has_quote = true;
    v.hash = 0x4000;
    v.pcr_digest = digest.view();
    v.qualified_signer = name;
    v.clock_info = clock;
    v.firmware_version = firmware;
    v.selection = selection.view();
    v.signature = signature;
    Writer w;
    pts::append_simple_evidence_final(w, v);
    pipeline::Finish f;
    f.ak.key = signer().key();
    f.ak.trusted = true;
    f.nonce = nonce;
    f.quote = pipeline::FinalQuote{std::move(w).take(), 0};
    std::vector<pipeline::Segment> segments;
    for (std::size_t at = 0; at < items.size(); at += in_message) {
      const std::vector<Item> some(items.begin() + std::ptrdiff_t(at), items.begin() + std::ptrdiff_t(std::min(items.size(), at + in_message)));
      segments.push_back({Stream::ima, Format::pa_tnc, message_of(some), 0});
    }
    return judge(*by, std::move(c), std::move(segments), std::move(f));
  }
  Result<Outcome> run(const std::vector<Item>& items) { return run(items, context()); }
  static const Signer& signer() {
    static const Signer key = Signer::rsa();
    return key;
  }
  // boot_aggregate over what boot_items() extend, first.
  std::vector<Item> start() const {
    std::vector<Item> items;
    pipeline::Pcrs pcrs;
    Hasher hasher(HashAlgorithm::sha256);
    ByteVector values;
    for (std::uint32_t pcr = 0; pcr < 10; ++pcr) {
      items.push_back(boot_item(pcr, "event " + std::to_string(pcr)));
      Digest value = pipeline::initial_pcr(HashAlgorithm::sha256, pcr, 0);
      hasher.extend(value, items.back().measurement);
      values.insert(values.end(), value.view().begin(), value.view().end());
    }
    items.push_back(file_item("boot_aggregate", digest_of(HashAlgorithm::sha256, values).view()));
    return items;
  }
  std::string reason(const std::vector<Item>& items) {
    const auto outcome = run(items);
    return outcome ? "accepted" : std::string(outcome.error().reason);
  }

  static Digest content(std::string_view text) { return digest_of(HashAlgorithm::sha256, as_bytes(text)); }
  void know(const std::string& path, std::string_view text, bool is_mutable = false) {
    refdb::Reference r;
    r.path = path;
    r.package = "pkg";
    r.version = "1.0";
    r.is_mutable = is_mutable;
    r.digests = {{HashAlgorithm::sha256, content(text)}};
    view->add(std::move(r));
  }
  std::shared_ptr<FakeView> view = std::make_shared<FakeView>();
  pipeline::Pipeline graph{pipeline::Limits{.threads = 2}};
  pipeline::Pipeline* by = &graph;
  std::size_t in_message = 1'000'000;  // items
};

TEST_F(Wire, RulesOfAcceptance) {
  const auto changed = [&](auto&& change) {
    auto items = start();
    items.push_back(file_item("/usr/bin/x", content("x").view()));
    change(items);
    return reason(items);
  };
  EXPECT_EQ(changed([](auto&) {}), "accepted");
  EXPECT_EQ(changed([](auto& i) { i.back().algorithm = 0x2000; }), "measurement in another algorithm than the negotiated one");
  EXPECT_EQ(changed([](auto& i) { i.back().algorithm = 0xC000; }), "measurement in another algorithm than the negotiated one");
  EXPECT_EQ(changed([](auto& i) { i.back().transform = 2; }), "PCR transform isn't 'as long as the PCR'");
  EXPECT_EQ(changed([](auto& i) { i.back().depth = 1; }), "sub-component evidence wasn't asked for");
  EXPECT_EQ(changed([](auto& i) { i.back().measurement.resize(20); }), "measurement isn't as long as its algorithm's digest");
  EXPECT_EQ(changed([](auto& i) { i.back().pcr = 11; }), "IMA evidence for another PCR than 10");
  EXPECT_EQ(changed([](auto& i) { i.back().validation = pts::Validation::none; }), "IMA evidence without a file name");
  EXPECT_EQ(changed([](auto& i) { i.back().component.name = 2; }), "evidence of a component that wasn't asked for");
  EXPECT_EQ(changed([](auto& i) { i.push_back(boot_item(1, "late")); }), "firmware evidence after IMA evidence");
  for (const std::uint32_t pcr : {10U, 16U, 17U, 23U, 24U, 0xFFFFFFU})
    EXPECT_EQ(changed([&](auto& i) { i.front().pcr = pcr; }), "firmware evidence for a PCR that firmware doesn't extend") << pcr;
  EXPECT_EQ(changed([](auto& i) { i.erase(i.begin() + 10); }), "the first IMA measurement isn't boot_aggregate");
  pipeline::Context no_boot = context();
  no_boot.boot_requested = false;
  EXPECT_EQ(run(start(), no_boot).error().reason, "firmware evidence wasn't asked for");
  pipeline::Context no_ima = context();
  no_ima.ima_requested = false;
  EXPECT_EQ(run(start(), no_ima).error().reason, "IMA evidence wasn't asked for");
  pipeline::Context few = context();
  few.max_boot_items = 9;
  EXPECT_EQ(run(start(), few).error().fault, Fault::limit);
  few = context();
  few.max_ima_items = 1;
  auto two = start();
  two.push_back(file_item("/x", content("x").view()));
  EXPECT_EQ(run(two, few).error().fault, Fault::limit);
}

TEST_F(Wire, OkUnknownDifferFailed) {
  know("/bin/known", "a");
  know("/usr/bin/other", "b");
  know("/etc/conf", "c", true);
  know("/opt/My App/x", "d");
  auto items = start();
  items.push_back(file_item("/usr/bin/known", content("a").view()));      // 1 ok: UsrMerge
  items.push_back(file_item("/bin/known", content("a").view()));          // 2 ok
  items.push_back(file_item("/usr/bin/known", content("z").view()));      // 3 differ
  items.push_back(file_item("/usr/bin/nobody", content("a").view()));     // 4 unknown
  items.push_back(file_item("/etc/conf", content("edited").view()));      // 5 unknown: a configuration file
  items.push_back(file_item("/opt/My_App/x", content("d").view()));       // 6 ok: blanks are underscores
  Item lie = file_item("/usr/bin/other", content("b").view());
  lie.uri = "sha256:/tmp/innocent";                                        // 7 failed: the hash is of another path
  items.push_back(lie);
  items.push_back(file_item("known", content("a").view()));               // 8 unknown: a bare name
  items.push_back(file_item("/usr/bin/../bin/known", content("a").view()));  // 9 unknown: looked up literally
  Item other_algorithm = file_item("/usr/bin/known", content("a").view());
  other_algorithm.uri = "sha1:/usr/bin/known";                            // 10 unknown: no SHA-1 reference
  other_algorithm.measurement[0] ^= std::byte{1};
  items.push_back(other_algorithm);
  const auto outcome = run(items);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().text();
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.quote.status, pipeline::Status::ok);
  EXPECT_EQ(v.ima.processed, 10U);
  EXPECT_EQ(v.ima.ok, 3U);
  EXPECT_EQ(v.ima.differ, 1U);
  EXPECT_EQ(v.ima.unknown, 5U);
  EXPECT_EQ(v.ima.failed, 1U);
  std::string statuses;
  for (const auto& f : v.findings)
    if (f.component == "ima") statuses += std::to_string(*f.entry) + std::string(name(f.status)) + " ";
  EXPECT_EQ(statuses, "3differ 4unknown 5unknown 7failed 8unknown 9unknown 10unknown ");
}

TEST_F(Wire, PcrValuesOfTheClientAreComparedAndNotUsed) {
  know("/usr/bin/a", "a");
  auto items = start();
  items.push_back(file_item("/usr/bin/a", content("a").view()));
  // True values first: accepted.
  Hasher hasher(HashAlgorithm::sha256);
  std::map<std::uint32_t, Digest> now;
  const auto claim = [&](std::vector<Item>& all) {
    now.clear();
    for (Item& i : all) {
      Digest& value = now.try_emplace(i.pcr, pipeline::initial_pcr(HashAlgorithm::sha256, i.pcr, 0)).first->second;
      const ByteVector before = to_vector(value.view());
      hasher.extend(value, i.measurement);
      i.values = {before, to_vector(value.view())};
    }
  };
  claim(items);
  auto outcome = run(items);
  EXPECT_EQ(outcome->verdict.ima.ok, 1U);
  EXPECT_EQ(outcome->verdict.boot.failed, 0U);
  EXPECT_EQ(outcome->verdict.quote.status, pipeline::Status::ok);
  // A good-looking measurement with the true PCR as "after" (spec part 2 §10 S1): the quote refuses it, the item fails.
  auto lying = items;
  know("/usr/bin/evil", "good");
  lying.back() = file_item("/usr/bin/evil", content("good").view());
  lying.back().values = {items.back().values->first, items.back().values->second};
  std::vector<ByteVector> kernel(2);
  kernel[1] = items.back().measurement;
  outcome = run(lying, context(), kernel);
  EXPECT_EQ(outcome->verdict.quote.status, pipeline::Status::failed);
  EXPECT_EQ(outcome->verdict.ima.failed, 1U);
  EXPECT_EQ(outcome->verdict.ima.ok, 0U);
  EXPECT_EQ(outcome->verdict.findings_total, outcome->verdict.findings.size());
  // False claims about boot_aggregate and a firmware event.
  auto wrong = items;
  wrong[10].values->second[0] ^= std::byte{1};
  wrong[3].values->first[0] ^= std::byte{1};
  outcome = run(wrong);
  EXPECT_EQ(outcome->verdict.boot.failed, 1U);
  EXPECT_EQ(outcome->verdict.ima.processed, 1U);
  EXPECT_EQ(outcome->verdict.ima.ok, 1U);
  EXPECT_EQ(outcome->verdict.recommendation, pipeline::Recommendation::isolate);
  const auto ima_finding = std::find_if(outcome->verdict.findings.begin(), outcome->verdict.findings.end(), [](const auto& f) { return f.component == "ima"; });
  ASSERT_NE(ima_finding, outcome->verdict.findings.end());
  EXPECT_EQ(ima_finding->entry, 0U);
}

TEST_F(Wire, AggregateMustBeThatOfTheFirmwareLog) {
  auto items = start();
  const auto outcome = run(items);
  const auto clean = [](const Result<Outcome>& o) {
    return std::none_of(o->verdict.findings.begin(), o->verdict.findings.end(), [](const auto& f) { return f.component == "ima"; });
  };
  EXPECT_TRUE(clean(outcome)) << to_json(outcome->verdict);
  items[10] = file_item("boot_aggregate", content("another machine").view());
  auto other = run(items);
  EXPECT_EQ(other->verdict.quote.status, pipeline::Status::ok);
  EXPECT_FALSE(clean(other));
  EXPECT_EQ(other->verdict.recommendation, pipeline::Recommendation::isolate);
  const ByteVector zeros(32, std::byte{0});
  items[10] = file_item("boot_aggregate", zeros);
  other = run(items);
  EXPECT_EQ(other->verdict.findings.back().reason, "boot_aggregate is zero: the kernel had no TPM when IMA started");
  // kexec: the same one again is fine, another isn't.
  items = start();
  items.push_back(items.back());
  EXPECT_TRUE(clean(run(items)));
  items.back() = file_item("boot_aggregate", content("another").view());
  EXPECT_FALSE(clean(run(items)));
}

TEST_F(Wire, ViolationSentAsHashOverAZeroDigest) {
  know("/var/log/journal", "x");
  const ByteVector zeros(32, std::byte{0}), short_zeros(20, std::byte{0}), ones(32, std::byte{0xFF});
  auto items = start();
  items.push_back(file_item("/var/log/journal", zeros));
  items.push_back(file_item("/usr/bin/b", content("b").view()));
  items.push_back(file_item("/var/log/wtmp", short_zeros));
  const std::vector<ByteVector> kernel{{}, ones, {}, ones};
  auto outcome = run(items, context(), kernel);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.quote.status, pipeline::Status::ok) << to_json(v);
  EXPECT_EQ(v.ima.violations, 2U);
  EXPECT_EQ(v.ima.unknown, 3U);
  EXPECT_EQ(v.ima.differ, 0U);
  EXPECT_EQ(v.ima.processed, 3U);
  EXPECT_EQ(v.findings_total, v.findings.size());
  // The kernel recorded them as files, in truth: no violation, and a known path with other content differs.
  outcome = run(items);
  EXPECT_EQ(outcome->verdict.quote.status, pipeline::Status::ok);
  EXPECT_EQ(outcome->verdict.ima.violations, 0U);
  EXPECT_EQ(outcome->verdict.ima.differ, 1U);
  // Only one of them was a violation: no replay fits.
  const std::vector<ByteVector> one{{}, ones, {}, {}};
  outcome = run(items, context(), one);
  EXPECT_EQ(outcome->verdict.quote.status, pipeline::Status::failed);
  EXPECT_EQ(outcome->verdict.ima.violations, 0U);
}

// The replay in which they are violations goes on beside the other one, however the list comes: small messages are looked
// up first, of large ones both goes on at once, and evidence that came before isn't extended at all.
TEST_F(Wire, ViolationsAreFoundHoweverTheListIsCut) {
  const ByteVector zeros(32, std::byte{0}), ones(32, std::byte{0xFF});
  auto items = start();
  std::vector<ByteVector> kernel(1);
  for (std::size_t n = 0; n < 3'000; ++n) {
    const bool violation = n == 700 || n % 911 == 910;
    items.push_back(file_item("/srv/" + std::to_string(n), violation ? zeros : to_vector(content("x").view())));
    kernel.push_back(violation ? ones : ByteVector());
  }
  std::vector<ByteVector> other = kernel;  // one of them was none
  other[701].clear();
  const std::string good = to_json(run(items, context(), kernel)->verdict), bad = to_json(run(items, context(), other)->verdict);
  EXPECT_NE(good.find(" measurements over a zero digest are violations"), std::string::npos);
  EXPECT_EQ(bad.find(" measurements over a zero digest are violations"), std::string::npos);
  pipeline::Pipeline proving{pipeline::Limits{.threads = 2, .proved_bytes = std::size_t(64) << 20}};
  for (pipeline::Pipeline* const one : {&graph, &proving, &proving})
    for (const std::size_t cut : {1UL, 50UL, 701UL, 1'500UL, 2'900UL, 1'000'000UL}) {
      by = one;
      in_message = cut;
      EXPECT_EQ(to_json(run(items, context(), kernel)->verdict), good) << cut;
      EXPECT_EQ(to_json(run(items, context(), other)->verdict), bad) << cut;
    }
  EXPECT_GT(proving.totals().reused, 6'000U);
}

// More findings than a verdict shows, with claims on every item: linear, and the lowest entries are kept.
// Names as long as a path may be, of bytes that are written as four: the verdict object still is one that can be
// recorded, with the lowest entries in it and all of them counted.
TEST_F(Wire, FindingsOfLongNamesAreBoundedToo) {
  auto items = start();
  for (int n = 0; n < 1500; ++n)
    items.push_back(file_item("/" + std::to_string(n) + std::string(4'000, '\x01'), content("x").view()));
  const auto outcome = run(items);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.ima.unknown, 1500U);
  EXPECT_EQ(v.findings_total, 1501U);  // and the missing baseline
  ASSERT_GT(v.findings.size(), 100U);
  EXPECT_LT(v.findings.size(), 1000U);
  for (std::size_t n = 1; n < v.findings.size(); ++n) EXPECT_EQ(v.findings[n].entry, n);
  EXPECT_LT(pipeline::to_json(v).size(), std::size_t(12) << 20);
}

TEST_F(Wire, FindingsAreBoundedAndCounted) {
  auto items = start();
  for (int n = 0; n < 12'000; ++n) {
    Item i = file_item("/unknown/" + std::to_string(n), content("x").view());
    if (n % 2 == 0) i.values = {ByteVector(32, std::byte{1}), ByteVector(32, std::byte{2})};
    items.push_back(std::move(i));
  }
  const auto outcome = run(items);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.ima.failed, 6000U);
  EXPECT_EQ(v.ima.unknown, 6000U);
  EXPECT_EQ(v.findings_total, 12'001U);  // and the missing baseline
  ASSERT_EQ(v.findings.size(), pipeline::max_findings);
  EXPECT_EQ(v.findings[1].entry, 1U);
  EXPECT_EQ(v.findings[1].status, pipeline::Status::failed);
  EXPECT_EQ(v.findings[2].status, pipeline::Status::unknown);
  // All that failed, and of the unknown as many as there is room for.
  const auto failed = std::count_if(v.findings.begin(), v.findings.end(), [](const auto& f) { return f.status == pipeline::Status::failed; });
  EXPECT_EQ(failed, 6000);
  EXPECT_EQ(v.findings.back().entry, 11'999U);
}

// An endpoint that lists many unknown files, with long names too, doesn't hide the one that was changed.
TEST_F(Wire, AChangedFileIsNamedBehindAnyNumberOfUnknownOnes) {
  know("/usr/bin/changed", "a");
  for (const std::size_t length : {std::size_t(10), std::size_t(3'000)}) {
    auto items = start();
    const std::size_t unknown = length > 100 ? 8'000 : 11'000;
    for (std::size_t n = 0; n < unknown; ++n) items.push_back(file_item("/" + std::to_string(n) + std::string(length, 'x'), content("x").view()));
    items.push_back(file_item("/usr/bin/changed", content("z").view()));
    const auto outcome = run(items);
    ASSERT_TRUE(outcome.has_value());
    const auto& v = outcome->verdict;
    EXPECT_EQ(v.ima.differ, 1U);
    EXPECT_EQ(v.findings_total, unknown + 2);  // and the missing baseline
    EXPECT_LE(v.findings.size(), pipeline::max_findings);
    EXPECT_EQ(v.findings.back().entry, unknown + 1);
    EXPECT_EQ(v.findings.back().path, "/usr/bin/changed");
    EXPECT_EQ(v.findings.back().package, "pkg");
  }
}

}  // namespace
}  // namespace gatehouse::testing
