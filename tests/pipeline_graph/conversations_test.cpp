// Every recorded conversation gives the counts, the sentence and the verdict that its README states.
#include <gtest/gtest.h>

#include <set>

#include "tests/pipeline_graph/fake_view.h"
#include "tests/pipeline_graph/recording.h"

namespace gatehouse::testing {
namespace {

using pipeline::Recommendation;

constexpr std::string_view sentence =
    "processed 1732 IMA file evidence measurements: 1625 ok, 107 unknown, 0 differ, 0 failed; 136 BIOS evidence measurements are ok";

std::shared_ptr<const FakeView> references() {
  static const auto view = [] {
    auto v = std::make_shared<FakeView>();
    v->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
    return v;
  }();
  return view;
}

pipeline::Pipeline& graph() {
  static pipeline::Pipeline p({.threads = 2});
  return p;
}

// First session: the firmware log is proposed as baseline; then approved.
pipeline::Baseline approved(const Recording& r) {
  const auto first = judge(graph(), serve_context(r, references()), r);
  EXPECT_TRUE(first.has_value());
  EXPECT_EQ(first->verdict.recommendation, Recommendation::isolate);
  EXPECT_EQ(first->verdict.boot.unknown, 136U);
  EXPECT_TRUE(first->measured_boot.has_value());
  bool names_command = false;
  for (const auto& f : first->verdict.findings)
    if (f.reason.find("gatehouse device baseline approve device") != std::string::npos) names_command = true;
  EXPECT_TRUE(names_command);
  return first->measured_boot.value_or(pipeline::Baseline{});
}

class Clean : public ::testing::TestWithParam<const char*> {};

TEST_P(Clean, IsAllowedWithTheStatedCounts) {
  const Recording r = read_recording(GetParam());
  pipeline::Context c = serve_context(r, references());
  c.baselines = {approved(r)};
  const auto outcome = judge(graph(), c, r);
  ASSERT_TRUE(outcome.has_value()) << outcome.error().text();
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.recommendation, Recommendation::allow) << to_json(v);
  EXPECT_EQ(v.evaluation, pipeline::Evaluation::compliant);
  EXPECT_EQ(v.summary, sentence);
  for (const char* code : {"Q1", "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8", "Q9", "Q13", "Q14", "L2"}) EXPECT_EQ(status_of(v, code), "ok") << code;
  EXPECT_EQ(v.findings_total, 107U);
  EXPECT_TRUE(outcome->quote.has_value());
  // Registers as the endpoint's TPM holds them.
  const std::string folder = r.bank == HashAlgorithm::sha384 ? "base384" : "base";
  const ByteVector text = file_of(data_folder + "evidence/" + folder + "/expected.json");
  const auto expected = boost::json::parse(as_text(text)).as_object();
  const std::string bank(name(r.bank));
  std::size_t compared = 0;
  for (const auto& [pcr, value] : expected.at("pcrs").as_object().at(bank).as_object()) {
    const auto mine = v.pcrs.at(bank).find(std::uint32_t(std::stoul(std::string(pcr))));
    if (mine == v.pcrs.at(bank).end()) continue;
    EXPECT_EQ(mine->second, std::string(value.as_string())) << pcr;
    ++compared;
  }
  EXPECT_EQ(compared, 12U);  // 0 to 10 and 14
}
INSTANTIATE_TEST_SUITE_P(Recorded, Clean,
                         ::testing::Values("sasl-rsa", "sasl-ecc", "mutual-tls-rsa", "mutual-tls-ecc-aikcert", "mutual-tls12-rsa-modp2048-pcrinfo",
                                           "sasl-rsa-32k", "sasl-ecc-2k", "sasl-rsa-sha384-ecp384", "untrusted-ak-rsa"));

TEST(Conversations, ChangedFileIsNamedAndTheQuoteHolds) {
  const Recording r = read_recording("changed-file-rsa");
  const auto outcome = judge(graph(), serve_context(r, references()), r);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.quote.status, pipeline::Status::ok);
  EXPECT_EQ(v.ima.differ, 1U);
  EXPECT_NE(v.recommendation, Recommendation::allow);
  EXPECT_EQ(v.evaluation, pipeline::Evaluation::minor);
  const auto f = std::find_if(v.findings.begin(), v.findings.end(), [](const auto& x) { return x.status == pipeline::Status::differ; });
  ASSERT_NE(f, v.findings.end());
  EXPECT_EQ(f->entry, 501U);
  EXPECT_EQ(f->path, "/usr/share/perl5/Dpkg/Exit.pm");
  EXPECT_EQ(f->package, "libdpkg-perl");
  EXPECT_EQ(f->expected.size(), 1U);
  EXPECT_TRUE(f->measured_template.starts_with("sha256:"));
}

TEST(Conversations, TamperedListIsRefusedByTheQuote) {
  const Recording r = read_recording("tampered-list-rsa");
  const auto outcome = judge(graph(), serve_context(r, references()), r);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.quote.status, pipeline::Status::failed);
  EXPECT_EQ(status_of(v, "Q7"), "failed");
  EXPECT_EQ(status_of(v, "Q1"), "ok");  // the quote itself is genuine
  EXPECT_NE(v.recommendation, Recommendation::allow);
  EXPECT_FALSE(outcome->measured_boot.has_value());
  EXPECT_FALSE(outcome->quote.has_value());
}

TEST(Conversations, UntrustedKeyIsNeverAllowed) {
  const Recording r = read_recording("untrusted-ak-rsa");
  pipeline::Context c = serve_context(r, references());
  c.baselines = {approved(r)};
  std::vector<pipeline::Segment> segments;
  for (const ByteVector& message : r.messages) segments.push_back({pipeline::Stream::ima, pipeline::Format::pa_tnc, message, 0});
  pipeline::Finish f = r.finish();
  f.ak.trusted = false;
  const auto outcome = judge(graph(), c, std::move(segments), std::move(f));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->verdict.recommendation, Recommendation::isolate);
  EXPECT_EQ(outcome->verdict.evaluation, pipeline::Evaluation::error);
  EXPECT_EQ(status_of(outcome->verdict, "Q9"), "failed");
  EXPECT_FALSE(outcome->measured_boot.has_value());
}

// The index by template hash and the path query are two ways to one verdict (spec part 2 §8.4).
TEST(Conversations, WithoutTheIndexTheVerdictIsTheSame) {
  auto plain = std::make_shared<FakeView>(false);
  plain->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  for (const char* name : {"sasl-rsa", "changed-file-rsa", "tampered-list-rsa", "sasl-rsa-sha384-ecp384"}) {
    const Recording r = read_recording(name);
    const auto a = judge(graph(), serve_context(r, references()), r), b = judge(graph(), serve_context(r, plain), r);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(to_json(a->verdict), to_json(b->verdict));
  }
}

TEST(Conversations, TheCacheAnswersTheSecondSession) {
  auto view = std::make_shared<FakeView>();
  view->add_rows(data_folder + "evidence/base/refs.tsv", "Debian 12 x86_64");
  const Recording r = read_recording("sasl-rsa");
  pipeline::Pipeline p({.threads = 1});
  const auto first = judge(p, serve_context(r, view), r);
  const int index = view->index_calls, path = view->path_calls;
  const auto second = judge(p, serve_context(r, view), r);
  EXPECT_EQ(view->index_calls, index);
  EXPECT_EQ(view->path_calls, path);
  EXPECT_EQ(to_json(first->verdict), to_json(second->verdict));
}

// What can't be had from the store is no verdict, and never a miss.
TEST(Conversations, BrokenStoreEndsTheSession) {
  auto view = std::make_shared<FakeView>();
  view->broken = true;
  const Recording r = read_recording("sasl-rsa");
  const auto outcome = judge(graph(), serve_context(r, view), r);
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().fault, Fault::environment);
}

// Demanded components must come; claims of the endpoint never soften.
TEST(Conversations, MissingComponentIsNotAllow) {
  const Recording r = read_recording("sasl-rsa");
  pipeline::Context c = serve_context(r, references());
  c.baselines = {approved(r)};
  const auto outcome = judge(graph(), c, {}, r.finish());
  ASSERT_TRUE(outcome.has_value());
  EXPECT_NE(outcome->verdict.recommendation, Recommendation::allow);
  EXPECT_FALSE(outcome->verdict.boot_given);
  EXPECT_FALSE(outcome->verdict.ima_given);
}

TEST(Conversations, OtherBaselineNamesTheFirstDifference) {
  const Recording r = read_recording("sasl-rsa");
  pipeline::Context c = serve_context(r, references());
  pipeline::Baseline other = approved(r);
  ASSERT_GT(other.events.size(), 3U);
  other.events[2].second.pop_back();                                            // one missing in the baseline
  other.events[3].second.front() = Digest::filled(32, std::byte{7});            // one different
  other.events.push_back({15, {Digest::filled(32, std::byte{8})}});             // one missing in the log
  c.baselines = {other};
  const auto outcome = judge(graph(), c, r);
  ASSERT_TRUE(outcome.has_value());
  const auto& v = outcome->verdict;
  EXPECT_EQ(v.boot.differ, 2U);
  EXPECT_EQ(v.boot.ok, 134U);
  EXPECT_EQ(v.recommendation, Recommendation::isolate);
  EXPECT_EQ(std::count_if(v.findings.begin(), v.findings.end(), [](const auto& f) { return f.component == "boot" && f.status == pipeline::Status::differ; }), 3);
}

TEST(Conversations, BaselineOfAnotherBankIsNone) {
  const Recording r = read_recording("sasl-rsa");
  pipeline::Context c = serve_context(r, references());
  pipeline::Baseline other = approved(r);
  other.bank = HashAlgorithm::sha384;
  c.baselines = {other};
  const auto outcome = judge(graph(), c, r);
  EXPECT_EQ(outcome->verdict.boot.unknown, 136U);
  EXPECT_EQ(outcome->verdict.recommendation, Recommendation::isolate);
}

TEST(Conversations, UnknownProductIsNotAllow) {
  const Recording r = read_recording("sasl-rsa");
  pipeline::Context c = serve_context(r, references());
  c.baselines = {approved(r)};
  c.product_known = false;
  EXPECT_EQ(judge(graph(), c, r)->verdict.recommendation, Recommendation::isolate);
}

}  // namespace
}  // namespace gatehouse::testing
