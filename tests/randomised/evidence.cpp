#include "tests/randomised/evidence.h"

#include <array>

#include "tests/randomised/attestations.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::testing {
namespace {

constexpr std::uint32_t ev_post_code = 1, ev_ipl = 0xD;

std::vector<HashAlgorithm> banks_of(HashAlgorithm bank) {
  if (bank == HashAlgorithm::sha384) return {HashAlgorithm::sha256, bank};
  return {HashAlgorithm::sha1, HashAlgorithm::sha256};
}

// TCG PC Client Platform Firmware Profile 9.4.5.1.
void append_spec_id(Writer& w, const std::vector<HashAlgorithm>& banks) {
  Writer data;
  data.put_bytes(as_bytes(std::string_view("Spec ID Event03\0", 16)));
  data.put_le(std::uint32_t{0});
  data.put_bytes(as_bytes(std::string_view("\0\2\0\2", 4)));
  data.put_le(std::uint32_t(banks.size()));
  for (const HashAlgorithm bank : banks) {
    data.put_le(std::uint16_t(bank));
    data.put_le(std::uint16_t(digest_size(bank)));
  }
  data.put(std::uint8_t{0});
  w.put_le(std::uint32_t{0});
  w.put_le(eventlog::ev_no_action);
  w.put_zeros(20);
  w.put_le(std::uint32_t(data.view().size()));
  w.put_bytes(data.view());
}

}  // namespace

Recorder::Recorder(HashAlgorithm bank, Form form) : bank_(bank), form_(form), hasher_(bank), sha1_(HashAlgorithm::sha1) {
  for (std::uint32_t pcr = 0; pcr < 24; ++pcr) pcrs_[pcr] = pipeline::initial_pcr(bank, pcr, 0);
  if (form != Form::wire) append_spec_id(log_, banks_of(bank));
}

void Recorder::extend(std::uint32_t pcr, Bytes digest) { hasher_.extend(pcrs_.at(pcr), digest); }

void Recorder::add_event(std::uint32_t pcr, bool separator, const std::string& text, bool lie_of_pcr) {
  const Digest before = pcrs_.at(pcr), digest = digest_of(bank_, as_bytes(text));
  extend(pcr, digest.view());
  if (form_ != Form::wire) {
    log_.put_le(pcr);
    log_.put_le(separator ? eventlog::ev_separator : pcr < 8 ? ev_post_code : ev_ipl);
    const auto banks = banks_of(bank_);
    log_.put_le(std::uint32_t(banks.size()));
    for (const HashAlgorithm bank : banks) {
      log_.put_le(std::uint16_t(bank));
      log_.put_bytes(digest_of(bank, as_bytes(text)).view());
    }
    log_.put_le(std::uint32_t(text.size()));
    log_.put_text(text);
    return;
  }
  pts::SimpleComponentEvidence e;
  e.component = pts::component_boot;
  e.pcr = pcr;
  e.algorithm = pts::algorithm_bit(bank_);
  e.time = "2026-11-24T00:00:00Z";
  e.has_pcr_values = lie_of_pcr || pcr == 4;
  e.pcr_before = before.view();
  e.pcr_after = lie_of_pcr ? before.view() : pcrs_.at(pcr).view();
  e.measurement = digest.view();
  Writer value, w;
  pts::append_simple_component_evidence(value, e);
  patnc::append_attribute(w, 0, patnc::vendor_tcg, pts::type::simple_component_evidence, value.view());
  attributes_.push_back(std::move(w).take());
}

ByteVector Recorder::template_data(const Entry& entry) const {
  Writer w;
  const auto field = [&](Bytes bytes) {
    w.put_le(std::uint32_t(bytes.size()));
    w.put_bytes(bytes);
  };
  switch (entry.form) {
    case Entry::Form::legacy: ima::append_legacy_template_data(w, entry.digest.view(), entry.name); break;
    case Entry::Form::ngv2: {
      Writer digest;
      digest.put_text("verity:" + entry.algorithm + ":");
      digest.put(std::uint8_t{0});
      digest.put_bytes(entry.digest.view());
      field(digest.view());
      field(as_bytes(std::string_view(entry.name.c_str(), entry.name.size() + 1)));
      break;
    }
    default: ima::append_ng_template_data(w, entry.algorithm, entry.digest.view(), entry.name);
  }
  if (entry.form == Entry::Form::sig || entry.form == Entry::Form::buffer) field(entry.data);
  return std::move(w).take();
}

void Recorder::add(const Entry& entry) {
  if (form_ != Form::wire) {
    // A list in ASCII is written in the two templates that most kernels have.
    Entry written = entry;
    if (form_ == Form::ascii && entry.form != Entry::Form::sig) written.form = Entry::Form::ng;
    const ByteVector data = template_data(written);
    const Digest hash = hasher_(data), ones = Digest::filled(digest_size(bank_), std::byte{0xFF});
    // In SHA-1's bank what is recorded is what was extended.
    Digest recorded = sha1_(data);
    if (entry.recorded_wrong && !entry.violation) recorded.bytes[3] ^= std::byte{0x40};
    extend(entry.pcr, entry.violation ? ones.view() : bank_ == HashAlgorithm::sha1 ? recorded.view() : hash.view());
    return add_to_file(written, data);
  }
  Entry written = entry;
  if (entry.form != Entry::Form::legacy) written.form = Entry::Form::ng;
  const Digest before = pcrs_.at(10), hash = hasher_(template_data(written)), ones = Digest::filled(hash.size, std::byte{0xFF});
  extend(10, entry.violation || entry.extends_ones ? ones.view() : hash.view());
  add_to_wire(written, before, entry.violation ? ones : hash);
}

void Recorder::add_to_file(const Entry& entry, Bytes data) {
  Digest recorded = sha1_(data);
  if (entry.recorded_wrong) recorded.bytes[3] ^= std::byte{0x40};
  if (entry.violation) recorded = Digest::filled(20, std::byte{0});
  if (form_ == Form::ascii) {
    list_.put_text(std::to_string(entry.pcr) + " " + recorded.hex() + (entry.form == Entry::Form::sig ? " ima-sig " : " ima-ng ") + entry.algorithm + ":" +
                   entry.digest.hex() + " " + entry.name + (entry.form == Entry::Form::sig ? " " + to_hex(entry.data) : "") + "\n");
    return;
  }
  static constexpr std::array<std::string_view, 5> names = {"ima-ng", "ima-sig", "ima-ngv2", "ima-buf", "ima"};
  const std::string_view name = names[std::size_t(entry.form)];
  list_.put_le(entry.pcr);
  list_.put_bytes(recorded.view());
  list_.put_le(std::uint32_t(name.size()));
  list_.put_text(name);
  if (entry.form == Entry::Form::legacy) {
    list_.put_bytes(entry.digest.view());
    list_.put_le(std::uint32_t(entry.name.size()));
    list_.put_text(entry.name);
    return;
  }
  list_.put_le(std::uint32_t(data.size()));
  list_.put_bytes(data);
}

void Recorder::add_to_wire(const Entry& entry, const Digest& before, const Digest& hash) {
  const std::string uri = entry.form == Entry::Form::legacy
                              ? entry.name
                              : (entry.told_algorithm.empty() ? entry.algorithm : entry.told_algorithm) + ":" +
                                    (entry.told_name.empty() ? entry.name : entry.told_name);
  pts::SimpleComponentEvidence e;
  e.component = pts::component_ima;
  e.pcr = 10;
  e.algorithm = pts::algorithm_bit(bank_);
  e.time = "2026-11-24T00:00:00Z";
  e.validation = pts::Validation::passed;
  e.policy_uri = uri;
  e.has_pcr_values = entry.claims != Entry::Claims::none;
  e.pcr_before = before.view();
  e.pcr_after = entry.claims == Entry::Claims::wrong ? before.view() : pcrs_.at(10).view();
  e.measurement = hash.view();
  Writer value, w;
  pts::append_simple_component_evidence(value, e);
  patnc::append_attribute(w, 0, patnc::vendor_tcg, pts::type::simple_component_evidence, value.view());
  attributes_.push_back(std::move(w).take());
}

Digest Recorder::aggregate() const {
  ByteVector values;
  for (std::uint32_t pcr = 0; pcr < 10; ++pcr) {
    const Bytes value = pcrs_.at(pcr).view();
    values.insert(values.end(), value.begin(), value.end());
  }
  return digest_of(bank_, values);
}

Digest Recorder::composite() const {
  ByteVector values;
  for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
    if ((quoted_pcrs >> pcr & 1) == 0) continue;
    const Bytes value = pcrs_.at(pcr).view();
    values.insert(values.end(), value.begin(), value.end());
  }
  // A quote is hashed with its scheme's algorithm, which is SHA-256 for all keys here.
  return digest_of(HashAlgorithm::sha256, values);
}

void Recorder::give(Attestation& out) {
  out.log = std::move(log_).take();
  out.list = std::move(list_).take();
  out.attributes = std::move(attributes_);
}

namespace {

struct Parts {
  ByteVector name, clock, firmware, selection;
};
Parts parts_of(const Quoted& quoted) {
  Parts out;
  out.name = ByteVector(34, std::byte{7});
  out.name[0] = std::byte{0};
  out.name[1] = std::byte{0x0B};
  Writer clock;
  clock.put(quoted.clock);
  clock.put(std::uint32_t{1});
  clock.put(std::uint32_t{0});
  clock.put(std::uint8_t{1});
  out.clock = std::move(clock).take();
  Writer firmware;
  firmware.put(std::uint64_t{1});
  out.firmware = std::move(firmware).take();
  Writer selection;
  tpm::append_selections(selection, {{std::uint16_t(quoted.bank), 3, quoted_pcrs}});
  out.selection = std::move(selection).take();
  return out;
}

}  // namespace

ByteVector Quoted::attest() const {
  const Parts p = parts_of(*this);
  return tpm::build_quote(p.name, nonce, p.clock, p.firmware, p.selection, composite.view());
}

ByteVector Quoted::final_value(const Ak& ak) const {
  const Parts p = parts_of(*this);
  // On the wire a signature with ECDSA is r and s, one behind the other (spec part 2 §4.2).
  ByteVector signature;
  if (ak.key.type() == KeyType::rsa) {
    signature = ak.signer.sign(attest());
  } else {
    const Signer::Pair pair = ak.signer.sign_ecdsa(attest());
    signature = pair.r;
    signature.insert(signature.end(), pair.s.begin(), pair.s.end());
  }
  pts::SimpleEvidenceFinal v;
  v.has_quote = true;
  v.hash = pts::algorithm_bit(HashAlgorithm::sha256);
  v.pcr_digest = composite.view();
  v.qualified_signer = p.name;
  v.clock_info = p.clock;
  v.firmware_version = p.firmware;
  v.selection = p.selection;
  v.signature = signature;
  Writer w;
  pts::append_simple_evidence_final(w, v);
  return std::move(w).take();
}

}  // namespace gatehouse::testing
