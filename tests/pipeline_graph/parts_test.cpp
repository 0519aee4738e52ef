// `verify` with parts left out: what is missing is said, and never leads to allow.
#include <gtest/gtest.h>

#include <algorithm>

#include "pipeline/replay/replay.h"
#include "tests/pipeline_graph/recording.h"
#include "tests/pipeline_quote/signer.h"

namespace gatehouse::testing {
namespace {

const std::string corpus = GATEHOUSE_SHARED "/corpus/evidence/common/";
constexpr std::uint32_t selected = 0x47FF;  // PCRs 0-10 and 14

struct Parts {
  std::optional<ByteVector> log, list;
  bool nonce = true;
};

class Missing : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(corpus + "eventlog.bin")) GTEST_SKIP() << "no corpus";
    log_ = file_of(corpus + "eventlog.bin");
    list_ = file_of(corpus + "ima.bin");
  }
  // A quote of a TPM that was extended with all of `quoted`, judged with what is given.
  pipeline::Verdict judge(const Parts& quoted, const Parts& given) {
    pipeline::Pcrs values;
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr) values[pcr] = pipeline::initial_pcr(HashAlgorithm::sha256, pcr, 0);
    const auto take = [&](const auto& banks) {
      for (const auto& [bank, pcrs] : banks)
        if (bank == HashAlgorithm::sha256)
          for (const auto& [pcr, value] : pcrs) values[pcr] = value;
    };
    if (quoted.log) take(pipeline::replay_eventlog(*quoted.log).value().pcrs);
    if (quoted.list) take(pipeline::replay_ima(*quoted.list).value().pcrs);
    ByteVector composite;
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr)
      if ((selected >> pcr & 1) != 0)
        composite.insert(composite.end(), values[pcr].view().begin(), values[pcr].view().end());
    const ByteVector name = from_hex("000b" + std::string(64, '7')).value(),
                     nonce = from_hex("0102030405060708").value();
    Writer w;
    w.put(tpm::generated_value);
    w.put(tpm::st_attest_quote);
    w.put(std::uint16_t(name.size()));
    w.put_bytes(name);
    w.put(std::uint16_t(nonce.size()));
    w.put_bytes(nonce);
    w.put_zeros(16);
    w.put(std::uint8_t{1});
    w.put_zeros(8);
    tpm::append_selections(w, {{std::uint16_t(HashAlgorithm::sha256), 3, selected}});
    const Digest digest = digest_of(HashAlgorithm::sha256, composite);
    w.put(std::uint16_t(digest.size));
    w.put_bytes(digest.view());
    const ByteVector attest = std::move(w).take();

    pipeline::Finish finish;
    finish.ak.key = key_.key();
    finish.ak.trusted = true;
    finish.quote = pipeline::RawQuote{attest, key_.tpmt(attest)};
    if (given.nonce) finish.nonce = nonce;
    pipeline::Pipeline graph({.threads = 2});
    std::promise<Result<pipeline::Outcome>> promise;
    auto future = promise.get_future();
    const auto evidence =
        graph.open({}, [&](Result<pipeline::Outcome> outcome) { promise.set_value(std::move(outcome)); });
    const auto submit = [&](pipeline::Stream stream, pipeline::Format format, const ByteVector& bytes) {
      evidence->submit({stream, format, bytes, 0});
      evidence->wait_until_pending_at_most(0);
      EXPECT_EQ(evidence->pending_bytes(), 0U);
    };
    if (given.log) submit(pipeline::Stream::boot, pipeline::Format::eventlog, *given.log);
    if (given.list) submit(pipeline::Stream::ima, pipeline::Format::ima_binary, *given.list);
    evidence->finish(std::move(finish));
    auto outcome = future.get();
    EXPECT_TRUE(outcome);
    return outcome->verdict;
  }
  static bool says(const pipeline::Verdict& v, std::string_view component, std::string_view text) {
    return std::any_of(v.findings.begin(), v.findings.end(), [&](const pipeline::Finding& f) {
      return f.component == component && f.status == pipeline::Status::absent &&
             f.reason.find(text) != std::string::npos;
    });
  }
  const Signer key_ = Signer::ecc();
  ByteVector log_, list_;
};

TEST_F(Missing, NothingMissingIsAllow) {
  const auto v = judge({log_, list_}, {log_, list_});
  EXPECT_EQ(v.recommendation, pipeline::Recommendation::allow) << to_json(v);
}

// IMA switched off: an empty list fits a PCR 10 that nobody extended, and says nothing of what ran.
TEST_F(Missing, AnEmptyListIsNoEvidence) {
  const auto v = judge({log_, ByteVector()}, {log_, ByteVector()});
  EXPECT_EQ(v.quote.status, pipeline::Status::ok);
  EXPECT_EQ(v.recommendation, pipeline::Recommendation::none) << to_json(v);
  EXPECT_TRUE(says(v, "ima", "no entry"));
}

TEST_F(Missing, ThePcrsThatNothingExplainsAreNamed) {
  auto v = judge({log_, list_}, {log_, std::nullopt});
  EXPECT_EQ(v.recommendation, pipeline::Recommendation::none);
  EXPECT_EQ(v.quote.status, pipeline::Status::ok);
  EXPECT_TRUE(says(v, "quote", "Q7: the quote selects PCR 10,")) << to_json(v);
  EXPECT_TRUE(says(v, "ima", "no IMA list was given"));
  v = judge({log_, list_}, {std::nullopt, list_});
  EXPECT_EQ(v.recommendation, pipeline::Recommendation::none);
  EXPECT_TRUE(says(v, "quote", "PCR 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14,")) << to_json(v);
  EXPECT_TRUE(says(v, "boot", "no firmware event log was given"));
}

TEST_F(Missing, WithoutANonceTheQuoteMayBeOld) {
  const auto v = judge({log_, list_}, {log_, list_, false});
  EXPECT_EQ(v.recommendation, pipeline::Recommendation::none);
  EXPECT_TRUE(says(v, "quote", "no nonce was given")) << to_json(v);
}

}  // namespace
}  // namespace gatehouse::testing
