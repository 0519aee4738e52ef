#include "pipeline/graph/judgement.h"

#include <algorithm>

#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::string_view evidence_spec = "spec part 2 2.6";
constexpr std::uint32_t ima_pcr = 10;

}  // namespace

Judgement::Judgement(Context context, std::shared_ptr<HitCache> cache)
    : context_(std::move(context)),
      bank_(context_.bank.value_or(HashAlgorithm::sha256)),
      references_{context_.references, std::move(cache), context_.product, bank_, context_.symlinks},
      parse_hasher_(bank_),
      sha1_hasher_(HashAlgorithm::sha1),
      log_checks_(bank_),
      extend_hasher_(bank_) {}

Result<void> Judgement::add_boot(std::uint32_t pcr, Digest digest, std::size_t offset) {
  if (boot_.size() >= context_.max_boot_items)
    return fail(Fault::limit, "more firmware measurements than allowed", evidence_spec, offset);
  boot_.push_back({pcr, digest});
  return {};
}

Result<void> Judgement::add_item(Batch& batch, ImaItem item, std::size_t offset) {
  if (items_ >= context_.max_ima_items) return fail(Fault::limit, "more list entries than allowed", evidence_spec, offset);
  item.index = items_++;
  if (item.name == ima::boot_aggregate && item.kind != ImaItem::Kind::violation) {
    if (item.index == 0) {
      item.kind = ImaItem::Kind::aggregate;
      aggregate_ = item;
    } else if (aggregate_ && aggregate_->template_hash == item.template_hash) {
      item.kind = ImaItem::Kind::aggregate;  // a kernel started by kexec goes on with the list
    } else {
      aggregate_trouble_ = "entry " + std::to_string(item.index) + " is another boot_aggregate than the first one";
      item.kind = ImaItem::Kind::aggregate;
    }
  }
  batch.items.push_back(std::move(item));
  return {};
}

Result<std::shared_ptr<Batch>> Judgement::parse(const Segment& segment, bool last) {
  auto batch = std::make_shared<Batch>();
  switch (segment.format) {
    case Format::pa_tnc: GH_CHECK(parse_pa_tnc(segment, *batch)); break;
    case Format::eventlog:
      if (!log_) log_.emplace();
      boot_given_ = true;
      log_->feed(segment.bytes);
      if (last) log_->end();
      GH_CHECK(read_eventlog());
      break;
    case Format::ima_binary:
    case Format::ima_ascii:
      if (!list_) list_.emplace(segment.format == Format::ima_ascii ? ima::Cursor::Form::ascii : ima::Cursor::Form::binary);
      ima_given_ = true;
      list_->feed(segment.bytes);
      if (last) list_->end();
      GH_CHECK(read_list(*batch));
      break;
  }
  if (batch->items.empty()) return std::shared_ptr<Batch>();
  return batch;
}

Result<std::shared_ptr<Batch>> Judgement::parse_end() {
  auto batch = std::make_shared<Batch>();
  if (log_) {
    log_->end();
    GH_CHECK(read_eventlog());
  }
  if (list_) {
    list_->end();
    GH_CHECK(read_list(*batch));
  }
  if (batch->items.empty()) return std::shared_ptr<Batch>();
  return batch;
}

// Every Simple Component Evidence attribute of a PA-TNC message; the protocol plane reads the other attributes.
Result<void> Judgement::parse_pa_tnc(const Segment& segment, Batch& batch) {
  Reader r(segment.bytes, evidence_spec, segment.base_offset);
  GH_CHECK(r.skip(patnc::message_header_size));
  const std::uint16_t expected = pts::algorithm_bit(bank_);
  while (!r.empty()) {
    patnc::Attribute attribute;
    if (const auto refusal = patnc::parse_attribute(r, attribute))
      return fail(Fault::malformed, refusal->reason, "RFC 5792 3.3", refusal->offset);
    if (!attribute.is(patnc::vendor_tcg, pts::type::simple_component_evidence)) continue;
    const std::size_t at = attribute.value_offset();
    Reader value(attribute.value, "spec part 2 1.11", at);
    GH_TRY(const pts::SimpleComponentEvidence e, pts::parse_simple_component_evidence(value));
    const auto refuse = [&](std::size_t field, std::string_view why) { return fail(Fault::protocol, why, evidence_spec, at + field); };
    if (e.depth != 0) return refuse(1, "sub-component evidence wasn't asked for");
    if (e.algorithm != expected) return refuse(16, "measurement in another algorithm than the negotiated one");
    if (e.transform != 1) return refuse(18, "PCR transform isn't 'as long as the PCR'");
    if (e.measurement.size() != digest_size(bank_)) return refuse(40, "measurement isn't as long as its algorithm's digest");
    if (e.has_pcr_values && (e.pcr_before.size() != digest_size(bank_))) return refuse(40, "PCR values aren't as long as the PCR");
    if (e.component == pts::component_boot) {
      if (!context_.boot_requested) return refuse(4, "firmware evidence wasn't asked for");
      if (ima_given_) return refuse(4, "firmware evidence after IMA evidence");
      if (e.pcr > 15 || e.pcr == ima_pcr) return refuse(13, "firmware evidence for a PCR that firmware doesn't extend");
      boot_given_ = true;
      if (e.has_pcr_values) boot_claims_.push_back({boot_.size(), e.pcr, Digest(e.pcr_before), Digest(e.pcr_after)});
      GH_CHECK(add_boot(e.pcr, Digest(e.measurement), at));
    } else if (e.component == pts::component_ima) {
      if (!context_.ima_requested) return refuse(4, "IMA evidence wasn't asked for");
      if (e.pcr != ima_pcr) return refuse(13, "IMA evidence for another PCR than 10");
      if (e.validation != pts::Validation::passed || e.policy_uri.empty()) return refuse(0, "IMA evidence without a file name");
      const auto uri = pts::parse_ima_uri(e.policy_uri);
      if (!uri) return refuse(42, uri.error().reason);
      ima_given_ = true;
      if (e.has_pcr_values) batch.claims.push_back({items_, e.pcr, Digest(e.pcr_before), Digest(e.pcr_after)});
      ImaItem item;
      item.pcr = e.pcr;
      item.template_hash = Digest(e.measurement);
      item.name = uri->name;
      item.algorithm = uri->algorithm;
      item.legacy = uri->legacy;
      item.plain_ng = !uri->legacy;
      // What a kernel extends for a violation (spec part 2 §7.5); no template hashes to it.
      if (all_of_value(e.measurement, std::byte{0xFF})) item.kind = ImaItem::Kind::violation;
      GH_CHECK(add_item(batch, std::move(item), at));
      if (items_ == 1 && !aggregate_) return refuse(42, "the first IMA measurement isn't boot_aggregate");
    } else {
      return refuse(4, "evidence of a component that wasn't asked for");
    }
  }
  return {};
}

Result<void> Judgement::read_eventlog() {
  for (;;) {
    GH_TRY(const eventlog::Event* const event, log_->next());
    if (event == nullptr) return {};
    log_checks_.see(*event, log_->format());
    if (!event->extends()) continue;
    const eventlog::EventDigest* const digest = event->digest(bank_);
    GH_CHECK(add_boot(event->pcr, digest != nullptr ? Digest(digest->value) : Digest(), event->offset));
  }
}

Result<void> Judgement::read_list(Batch& batch) {
  for (;;) {
    GH_TRY(const ima::Entry* const entry, list_->next());
    if (entry == nullptr) return {};
    ImaItem item;
    item.pcr = entry->pcr;
    item.name = entry->fields.name;
    item.algorithm = entry->fields.algorithm;
    if (entry->fields.digest.size() <= max_digest_size) item.file_digest = Digest(entry->fields.digest);
    item.plain_ng = entry->template_name == "ima-ng";
    item.legacy = entry->template_name == "ima";
    item.verity = entry->fields.type == "verity";
    if (entry->violation()) {
      item.kind = ImaItem::Kind::violation;
      item.template_hash = Digest::filled(digest_size(bank_), std::byte{0xFF});
      item.file_digest = {};
    } else {
      const Digest recorded(entry->recorded_hash);
      const Digest recomputed = sha1_hasher_(entry->template_data);
      if (recomputed != recorded) item.contradiction = "the recorded template hash contradicts the template data";
      item.template_hash = bank_ == HashAlgorithm::sha1 ? recorded : parse_hasher_(entry->template_data);
      if (!entry->fields.is_file) {
        item.kind = ImaItem::Kind::buffer;
        const auto algorithm = hash_algorithm(item.algorithm);
        if (algorithm && item.contradiction.empty() && digest_of(*algorithm, entry->fields.buffer) != item.file_digest)
          item.contradiction = "the buffer's digest isn't that of its content";
      }
    }
    GH_CHECK(add_item(batch, std::move(item), entry->offset));
  }
}

void Judgement::extend(const Batch& batch) {
  auto claim = batch.claims.begin();
  for (const ImaItem& item : batch.items) {
    auto at = pcrs_.find(item.pcr);
    if (at == pcrs_.end()) at = pcrs_.emplace(item.pcr, initial_pcr(bank_, item.pcr, 0)).first;
    const bool claimed = claim != batch.claims.end() && claim->index == item.index;
    const bool before = !claimed || claim->before == at->second;
    extend_hasher_.extend(at->second, item.template_hash.view());
    if (!claimed) continue;
    if (!before || claim->after != at->second) false_claims_.push_back(item.index);
    ++claim;
  }
}

Result<void> Judgement::look_up(const Batch& batch) {
  GH_TRY(Judged judged, judge(references_, batch));
  const std::lock_guard lock(mutex_);
  counters_.processed += judged.counters.processed;
  counters_.ok += judged.counters.ok;
  counters_.unknown += judged.counters.unknown;
  counters_.differ += judged.counters.differ;
  counters_.failed += judged.counters.failed;
  counters_.violations += judged.counters.violations;
  std::move(judged.findings.begin(), judged.findings.end(), std::back_inserter(findings_));
  return {};
}

namespace {

Baseline baseline_of(HashAlgorithm bank, const std::vector<BootItem>& boot) {
  std::map<std::uint32_t, std::vector<Digest>> by_pcr;
  for (const BootItem& item : boot) by_pcr[item.pcr].push_back(item.digest);
  return {bank, {by_pcr.begin(), by_pcr.end()}};
}

Finding simple(std::string component, Status status, std::string reason) {
  Finding f;
  f.component = std::move(component);
  f.status = status;
  f.reason = std::move(reason);
  return f;
}

}  // namespace

// Exactly, per PCR and in order; several approved baselines may coexist (spec part 2 §8.6).
void Judgement::check_baseline(Verdict& v, bool& refused) const {
  if (!context_.serve) {
    v.boot.unknown = v.boot.processed;
    return;
  }
  const Baseline measured = baseline_of(bank_, boot_);
  const Baseline* nearest = nullptr;
  for (const Baseline& b : context_.baselines) {
    if (b.bank != bank_) continue;
    if (b == measured) {
      v.boot.ok = v.boot.processed;
      return;
    }
    if (nearest == nullptr) nearest = &b;
  }
  refused = true;
  if (nearest == nullptr) {
    v.boot.unknown = v.boot.processed;
    v.findings.push_back(simple("boot", Status::unknown,
                                "no approved firmware baseline for bank " + std::string(name(bank_)) +
                                    (context_.approve_command.empty() ? "" : "; approve the proposed one with: " + context_.approve_command)));
    return;
  }
  std::map<std::uint32_t, std::vector<Digest>> expected(nearest->events.begin(), nearest->events.end());
  std::map<std::uint32_t, std::size_t> seen;
  for (std::size_t i = 0; i < boot_.size(); ++i) {
    const std::vector<Digest>& wanted = expected[boot_[i].pcr];
    const std::size_t n = seen[boot_[i].pcr]++;
    if (n < wanted.size() && wanted[n] == boot_[i].digest) {
      ++v.boot.ok;
      continue;
    }
    ++v.boot.differ;
    Finding f = simple("boot", Status::differ,
                       n < wanted.size() ? "another measurement than the approved baseline's" : "a measurement beyond the approved baseline");
    f.entry = i;
    f.pcr = boot_[i].pcr;
    f.measured_template = std::string(name(bank_)) + ":" + boot_[i].digest.hex();
    if (n < wanted.size()) f.expected.push_back(std::string(name(bank_)) + ":" + wanted[n].hex());
    v.findings.push_back(std::move(f));
  }
  for (const auto& [pcr, wanted] : expected)
    if (seen[pcr] < wanted.size()) {
      Finding f = simple("boot", Status::differ, std::to_string(wanted.size() - seen[pcr]) + " measurements of the approved baseline are missing");
      f.pcr = pcr;
      v.findings.push_back(std::move(f));
    }
}

// Spec part 2 §6.10: over PCR 0-9 or, with older kernels and SHA-1, 0-7.
void Judgement::check_aggregate(Verdict& v, const QuoteResult& quote, bool& refused) const {
  const auto refuse = [&](std::string why) {
    refused = true;
    Finding f = simple("ima", Status::failed, std::move(why));
    f.entry = 0;
    f.path = ima::boot_aggregate;
    v.findings.push_back(std::move(f));
  };
  if (aggregate_trouble_) refuse(*aggregate_trouble_);
  if (!aggregate_) {
    if (ima_given_ && items_ != 0) refuse("the first entry isn't boot_aggregate");
    return;
  }
  const auto algorithm = hash_algorithm(aggregate_->algorithm);
  if (aggregate_->file_digest.size != 0 && all_of_value(aggregate_->file_digest.view(), std::byte{0})) {
    refuse("boot_aggregate is zero: the kernel had no TPM when IMA started");
    return;
  }
  if (!aggregate_->contradiction.empty()) refuse(std::string(aggregate_->contradiction));
  if (!boot_given_) return;
  if (!algorithm || *algorithm != bank_) {
    v.warnings.push_back("boot_aggregate is over another bank than the quoted one and wasn't checked");
    return;
  }
  Hasher hasher(bank_);
  for (const std::uint32_t count : {10U, 8U}) {
    ByteVector values;
    for (std::uint32_t pcr = 0; pcr < count; ++pcr) {
      const auto at = quote.pcrs.find(pcr);
      const Digest value = at != quote.pcrs.end() ? at->second : initial_pcr(bank_, pcr, 0);
      values.insert(values.end(), value.view().begin(), value.view().end());
    }
    const Digest digest = hasher(values);
    if (aggregate_->file_digest.size != 0) {
      if (digest == aggregate_->file_digest) return;
    } else {
      Writer w;
      if (aggregate_->legacy) ima::append_legacy_template_data(w, digest.view(), ima::boot_aggregate);
      else ima::append_ng_template_data(w, aggregate_->algorithm, digest.view(), ima::boot_aggregate);
      if (hasher(w.view()) == aggregate_->template_hash) return;
    }
  }
  refuse("boot_aggregate isn't the digest of the firmware log's PCRs");
}

// Claims of PCR values that aren't ours make their item failed, whatever the references said.
void Judgement::apply_claims(Verdict& v, const QuoteResult& quote, std::uint8_t) const {
  constexpr std::string_view why = "the PCR value that the endpoint claims isn't that of our replay";
  for (const std::uint64_t index : false_claims_) {
    if (index == 0) {
      v.findings.push_back(simple("ima", Status::failed, std::string(why)));
      v.findings.back().entry = 0;
      ++v.ima.failed, ++v.ima.processed;
      continue;
    }
    const auto at = std::find_if(v.findings.begin(), v.findings.end(),
                                 [&](const Finding& f) { return f.component == "ima" && f.entry == index; });
    if (at == v.findings.end()) {
      --v.ima.ok;
      v.findings.push_back(simple("ima", Status::failed, std::string(why)));
      v.findings.back().entry = index;
      v.findings.back().pcr = ima_pcr;
    } else {
      if (at->status == Status::unknown) --v.ima.unknown;
      if (at->status == Status::differ) --v.ima.differ;
      if (at->status == Status::failed) --v.ima.failed;
      at->status = Status::failed;
      at->reason = why;
    }
    ++v.ima.failed;
  }
  if (boot_claims_.empty()) return;
  // Whatever locality the quote confirmed, PCR 0's start follows from its end.
  for (const std::uint8_t locality : {std::uint8_t{0}, std::uint8_t{3}, std::uint8_t{4}}) {
    if (locality != 4) {
      const Pcrs all = replay_boot(bank_, boot_, locality);
      const auto mine = all.find(0), confirmed = quote.pcrs.find(0);
      if (mine != all.end() && confirmed != quote.pcrs.end() && mine->second != confirmed->second) continue;
    }
    Hasher hasher(bank_);
    Pcrs now;
    auto claim = boot_claims_.begin();
    for (std::size_t i = 0; i < boot_.size() && claim != boot_claims_.end(); ++i) {
      auto at = now.find(boot_[i].pcr);
      if (at == now.end()) at = now.emplace(boot_[i].pcr, initial_pcr(bank_, boot_[i].pcr, locality)).first;
      const bool claimed = claim->index == i;
      const bool before = !claimed || claim->before == at->second;
      hasher.extend(at->second, boot_[i].digest.view());
      if (!claimed) continue;
      if (!before || claim->after != at->second) {
        Finding f = simple("boot", Status::failed, std::string(why));
        f.entry = i;
        f.pcr = boot_[i].pcr;
        v.findings.push_back(std::move(f));
        ++v.boot.failed;
        if (v.boot.ok > 0) --v.boot.ok;
        else if (v.boot.unknown > 0) --v.boot.unknown;
        else if (v.boot.differ > 0) --v.boot.differ;
      }
      ++claim;
    }
    return;
  }
}

Outcome Judgement::conclude(const Finish& finish) {
  Outcome out;
  Verdict& v = out.verdict;
  v.session = context_.session;
  v.device = context_.device;
  v.product = context_.product;
  v.claims = context_.claims;
  v.claims.insert(v.claims.end(), finish.claims.begin(), finish.claims.end());
  if (context_.references) v.generation = context_.references->generation();
  v.boot_given = boot_given_;
  v.ima_given = ima_given_;
  v.boot.processed = boot_.size();
  v.ima = counters_;

  const bool raw_log = log_.has_value();
  QuoteResult quote = verify_quote({context_, finish, bank_, boot_, boot_given_, ima_given_, pcrs_,
                                    raw_log ? log_->startup_locality() : std::nullopt, raw_log});
  v.quote = quote.quote;
  v.checks = quote.checks;
  v.findings = std::move(quote.findings);
  v.warnings = std::move(quote.warnings);
  bool refused = quote.refused;
  for (const auto& [pcr, value] : quote.pcrs) v.pcrs[std::string(name(bank_))][pcr] = value.hex();
  if (finish.session_failed) {
    refused = true;
    v.findings.push_back(simple("device", Status::failed, finish.session_failure));
  }
  if (!context_.product_known) {
    refused = true;
    v.findings.push_back(simple("device", Status::failed, "the claimed product differs from the device's record or has no references"));
  }
  if (raw_log) {
    for (const std::string& warning : log_->warnings()) v.warnings.push_back("event log: " + warning);
    std::map<std::string, Status> codes;
    log_checks_.finish(codes, v.findings);
    v.checks.merge(codes);
    for (const char* code : {"L1", "L3", "L4", "L5", "L13", "L14"})
      if (v.checks[code] == Status::failed) refused = true;
  }
  if (boot_given_ && v.checks.contains("Q7")) v.checks["L2"] = v.checks["Q7"];
  if (boot_given_) check_baseline(v, refused);
  if (ima_given_) check_aggregate(v, quote, refused);
  if (context_.serve) {
    if (context_.boot_requested && !boot_given_) {
      refused = true;
      v.findings.push_back(simple("boot", Status::absent, "firmware evidence was asked for and didn't come"));
    }
    if (context_.ima_requested && !ima_given_) {
      refused = true;
      v.findings.push_back(simple("ima", Status::absent, "IMA evidence was asked for and didn't come"));
    }
  }
  std::sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) { return a.entry < b.entry; });
  std::move(findings_.begin(), findings_.end(), std::back_inserter(v.findings));
  findings_.clear();
  apply_claims(v, quote, 0);
  std::stable_sort(v.findings.begin(), v.findings.end(), [](const Finding& a, const Finding& b) {
    const auto rank = [](const Finding& f) { return f.component == "ima" ? 2 : f.component == "boot" ? 1 : 0; };
    if (rank(a) != rank(b)) return rank(a) < rank(b);
    return rank(a) != 0 && a.entry < b.entry;
  });
  v.findings_total = v.findings.size();
  if (v.findings.size() > max_findings) v.findings.resize(max_findings);
  v.summary = summary_line(v);

  const bool bad_files = v.ima.differ != 0 || v.ima.failed != 0 || v.boot.differ != 0 || v.boot.failed != 0;
  const bool complete = v.quote.status == Status::ok && finish.nonce && !quote.unbound && boot_given_ && ima_given_;
  if (finish.session_failed) {
    v.recommendation = Recommendation::isolate;
    v.evaluation = Evaluation::error;
  } else if (v.quote.status == Status::failed) {
    v.recommendation = Recommendation::isolate;
    v.evaluation = Evaluation::major;
  } else if (refused || bad_files) {
    v.recommendation = Recommendation::isolate;
    v.evaluation = Evaluation::minor;
  } else if (!complete) {
    v.recommendation = context_.serve ? Recommendation::isolate : Recommendation::none;
    v.evaluation = Evaluation::unknown;
  } else {
    v.recommendation = Recommendation::allow;
    v.evaluation = Evaluation::compliant;
  }

  // Learned only from a quote that verified in every respect (design §6.4).
  const bool sound = v.quote.status == Status::ok && !quote.refused && finish.nonce && !finish.session_failed && !quote.unbound;
  if (sound) {
    out.quote = quote.last;
    if (boot_given_ && v.boot.failed == 0) out.measured_boot = baseline_of(bank_, boot_);
  }
  return out;
}

}  // namespace gatehouse::pipeline
