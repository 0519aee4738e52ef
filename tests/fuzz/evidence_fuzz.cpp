// libraries: gatehouse_graph gatehouse_refdb_alias
// A client's evidence from its bytes to the verdict: the input as a PA-TNC message of measurements, as Simple Evidence
// Final, as a raw quote, as a firmware log and as a list. Whatever it is, the verdict isn't allow, adds up, and reads back.
#include <cstdlib>

#include "pipeline/graph/judgement.h"
#include "tests/pipeline_graph/fake_view.h"

using namespace gatehouse;

namespace {

void require(bool good) {
  if (!good) std::abort();
}

pipeline::Context context(bool serve) {
  static const auto view = [] {
    auto v = std::make_shared<gatehouse::testing::FakeView>();
    refdb::Reference r;
    r.path = "/usr/bin/dash";
    r.digests = {{HashAlgorithm::sha256, digest_of(HashAlgorithm::sha256, as_bytes("dash"))}};
    v->add(std::move(r));
    return v;
  }();
  pipeline::Context c;
  c.references = view;
  c.bank = HashAlgorithm::sha256;
  c.serve = serve;
  return c;
}

pipeline::Finish finish(Bytes bytes, bool raw) {
  static const PublicKey key = PublicKey::from_ecc(
      KeyType::ecc_p256, from_hex("e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09").value(),
      from_hex("4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3").value()).value();
  pipeline::Finish f;
  f.ak.key = key;
  f.ak.trusted = true;
  f.nonce = ByteVector(32, std::byte{1});
  const std::size_t half = bytes.size() / 2;
  if (raw) f.quote = pipeline::RawQuote{to_vector(bytes.first(half)), to_vector(bytes.subspan(half))};
  else f.quote = pipeline::FinalQuote{to_vector(bytes), 0};
  return f;
}

void judge(pipeline::Format format, Bytes bytes, bool serve) {
  pipeline::Judgement judgement(context(serve), nullptr);
  const auto take = [&](const Result<std::shared_ptr<pipeline::Batch>>& batch) {
    if (!batch) return false;
    if (*batch == nullptr) return true;
    judgement.extend(**batch);
    require(judgement.look_up(**batch).has_value());
    return true;
  };
  pipeline::Segment segment{pipeline::Stream::ima, format, to_vector(bytes), 0};
  if (!take(judgement.parse(segment))) return;
  if (!take(judgement.parse_end())) return;
  const pipeline::Verdict v = judgement.conclude(finish(bytes, !serve)).verdict;
  require(v.recommendation != pipeline::Recommendation::allow);
  for (const pipeline::Counters& c : {v.boot, v.ima}) require(c.ok + c.unknown + c.differ + c.failed == c.processed && c.violations <= c.unknown);
  require(v.findings.size() <= pipeline::max_findings && v.findings_total >= v.findings.size());
  const std::string text = to_json(v);
  const auto again = pipeline::verdict_from_json(text);
  require(again.has_value() && to_json(*again) == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  (void)pipeline::bank_of(all);
  judge(pipeline::Format::pa_tnc, all, true);
  judge(pipeline::Format::eventlog, all, false);
  judge(pipeline::Format::ima_binary, all, false);
  judge(pipeline::Format::ima_ascii, all, false);
  return 0;
}
