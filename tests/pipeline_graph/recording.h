// A recorded conversation (tests/data/interop) as the Attestation IMV sees it, and evidence through the pipeline.
#pragma once

#include <boost/json.hpp>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/hex.h"
#include "pipeline/graph/pipeline.h"
#include "wire/patnc/patnc.h"
#include "wire/patnc/segmentation.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::testing {

inline const std::string data_folder = GATEHOUSE_TEST_DATA "/interop/";
inline ByteVector file_of(const std::string& path) { return read_file(path, std::size_t(1) << 30).value(); }

struct Recording {
  std::vector<ByteVector> messages;  // PA-TNC messages of subtype TCG/PTS, segmented attributes put together
  ByteVector final_value;            // Simple Evidence Final
  std::optional<PublicKey> key;
  std::optional<std::uint8_t> locality;
  ByteVector nonce;
  HashAlgorithm bank = HashAlgorithm::sha256;

  pipeline::Finish finish() const {
    pipeline::Finish f;
    f.ak.key = key;
    f.ak.trusted = true;
    f.quote = pipeline::FinalQuote{final_value, 0};
    f.nonce = nonce;
    f.claimed_locality = locality;
    return f;
  }
};

inline Recording read_recording(const std::string& name) {
  Recording out;
  const std::string folder = data_folder + name + "/";
  const ByteVector facts_text = file_of(folder + "facts.json");
  const auto facts = boost::json::parse(as_text(facts_text)).as_object();
  out.nonce = from_hex(std::string_view(facts.at("secret_assessment_value").as_string())).value();
  if (facts.at("measurement_algorithm").as_string() == "HASH_SHA2_384") out.bank = HashAlgorithm::sha384;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder + "batches"))
    if (entry.path().filename().string().find("-c2s-") != std::string::npos) files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  patnc::Reassembler reassembler;
  const auto note = [&](const patnc::Attribute& a) {
    Reader value(a.value, "test");
    if (a.is(pts::vendor_tcg, pts::type::simple_evidence_final)) out.final_value = to_vector(a.value);
    if (a.is(pts::vendor_tcg, pts::type::tpm_version)) out.locality = pts::parse_tpm_version(value).value().locality;
    if (a.is(pts::vendor_tcg, pts::type::aik)) {
      const auto aik = pts::parse_aik(value).value();
      out.key = (aik.naked ? PublicKey::from_spki(aik.der) : PublicKey::from_certificate(aik.der)).value();
    }
  };
  const auto each = [&](Bytes message, auto&& see) {
    Reader r(message, "test");
    (void)r.skip(patnc::message_header_size);
    while (!r.empty()) {
      patnc::Attribute a;
      if (patnc::parse_attribute(r, a)) throw std::runtime_error("attribute");
      see(a);
    }
  };
  for (const std::string& file : files) {
    const ByteVector bytes = file_of(file);
    const auto batch = pbtnc::parse_batch(bytes, true);
    if (!batch) throw std::runtime_error(file);
    for (const pbtnc::Message& message : batch->messages) {
      if (message.vendor != pbtnc::vendor_ietf || message.type != pbtnc::type::pa) continue;
      const auto pa = pbtnc::pa_message(message);
      if (pa.vendor != pts::vendor_tcg || pa.subtype != pts::subtype_pts) continue;
      out.messages.push_back(to_vector(pa.body));
      each(pa.body, [&](const patnc::Attribute& a) {
        note(a);
        if (!a.is(patnc::vendor_tcg, patnc::type::segment_envelope)) return;
        Reader value(a.value, "test");
        auto step = reassembler.add(patnc::parse_envelope(value).value(), a.value_offset());
        if (!step.attribute) return;
        ByteVector whole = to_vector(pa.body.first(patnc::message_header_size));
        whole.insert(whole.end(), step.attribute->begin(), step.attribute->end());
        each(whole, note);
        out.messages.push_back(std::move(whole));
      });
    }
  }
  return out;
}

inline pipeline::Context serve_context(const Recording& recording, std::shared_ptr<const refdb::View> view) {
  pipeline::Context c;
  c.session = "test";
  c.device = "device";
  c.product = "Debian 12 x86_64";
  c.references = std::move(view);
  c.bank = recording.bank;
  c.serve = true;
  c.approve_command = "gatehouse device baseline approve device";
  return c;
}

// The whole evidence through one pipeline; `cut` gives the segments.
inline Result<pipeline::Outcome> judge(pipeline::Pipeline& graph, pipeline::Context context, std::vector<pipeline::Segment> segments,
                                       pipeline::Finish finish) {
  std::promise<Result<pipeline::Outcome>> promise;
  auto future = promise.get_future();
  auto evidence = graph.open(std::move(context), [&](Result<pipeline::Outcome> outcome) { promise.set_value(std::move(outcome)); });
  for (pipeline::Segment& segment : segments) evidence->submit(std::move(segment));
  evidence->finish(std::move(finish));
  return future.get();
}
inline Result<pipeline::Outcome> judge(pipeline::Pipeline& graph, pipeline::Context context, const Recording& recording) {
  std::vector<pipeline::Segment> segments;
  for (const ByteVector& message : recording.messages)
    segments.push_back({pipeline::Stream::ima, pipeline::Format::pa_tnc, message, 0});
  return judge(graph, std::move(context), std::move(segments), recording.finish());
}

inline std::string status_of(const pipeline::Verdict& v, const std::string& code) {
  const auto at = v.checks.find(code);
  return std::string(name(at == v.checks.end() ? pipeline::Status::absent : at->second));
}

}  // namespace gatehouse::testing
