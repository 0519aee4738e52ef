#include "pipeline/graph/judgement.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <type_traits>

#include "base/sha256_chains.h"
#include "wire/patnc/patnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::string_view evidence_spec = "spec part 2 2.6";
constexpr std::uint64_t max_wire_items = 65'536;  // so many are extended twice at most
constexpr std::size_t max_signature =
    2'048;  // of RSA with 8,192 bits: 1,033 bytes; a longer field is none, however it is cut
constexpr std::string_view twice = "both a raw log and Simple Component Evidence of one component";
// Whoever comes with a longer list than a day before judges half a run again at most; a run costs a fingerprint and a look.
constexpr std::size_t attributes_in_run = 128;
// Of a message: a longer one's look-ups are spread over the processors.
constexpr std::size_t max_bytes_in_runs = 131'072;
// Of the findings in a verdict object: names are an endpoint's, up to 4,096 bytes each.
constexpr std::size_t max_findings_bytes = std::size_t(8) << 20;

Context without_baselines(Context context) {
  context.baselines = {};
  return context;
}

}  // namespace

Judgement::Judgement(Context context, std::shared_ptr<VerdictCache> cache, std::shared_ptr<SignatureCache> signatures,
                     Proved proved, ChainPool* chains)
    : baselines_(context.baselines.begin(), context.baselines.end()),
      context_(without_baselines(std::move(context))),
      bank_(context_.bank.value_or(HashAlgorithm::sha256)),
      references_{context_.references, std::move(cache),
                  context_.product,    bank_,
                  context_.symlinks,   ImaRuleChecks(context_.rules, std::move(signatures)),
                  FileRuleChecks(context_.rules, context_.now)},
      extend_hasher_(bank_),
      chains_(bank_ == HashAlgorithm::sha256 ? chains : nullptr),
      proved_(std::move(proved)) {
  std::memcpy(chain_.data(), &proved_.group, sizeof proved_.group);
}

// Where it comes over the wire it all comes before the list. What was approved is the same bytes then, nearly always, and
// needn't be kept besides.
void Judgement::firmware_is_complete() {
  if (!boot_on_wire_) return;
  packed_boot_.shrink();
  const auto is_it = [&](const PackedBaseline& b) { return b.bank() == bank_ && b.is_of(packed_boot_); };
  approved_ = context_.serve && std::any_of(baselines_.begin(), baselines_.end(), is_it);
  if (approved_) baselines_ = {};
}

Result<void> Judgement::add_boot(std::uint32_t pcr, Digest digest, std::size_t offset) {
  if (packed_boot_.size() >= context_.max_boot_items)
    return fail(Fault::limit, "more firmware measurements than allowed", evidence_spec, offset);
  packed_boot_.add({pcr, digest});
  return {};
}

Result<void> Judgement::add_item(ImaItem& item, std::size_t offset) {
  if (items_ >= context_.max_ima_items) return fail(Fault::limit, "more list entries than allowed", evidence_spec, offset);
  item.index = items_++;
  if (item.index == 0) firmware_is_complete();
  if (item.name == ima::boot_aggregate && item.kind == ImaItem::Kind::file) {
    item.kind = ImaItem::Kind::aggregate;
    // A kernel started by kexec goes on with the list, from the same firmware (spec part 2 §7.9).
    const bool same = aggregate_ && aggregate_->template_hash == item.template_hash && item.contradiction().empty();
    if (item.index == 0) {
      aggregate_ = {item.template_hash, Digest(item.file_digest()), std::string(item.algorithm), item.legacy, item.contradiction()};
    } else if (!same && !aggregate_trouble_) {
      aggregate_trouble_ = "entry " + std::to_string(item.index) + " is another boot_aggregate than the first one";
    }
  }
  return {};
}

Result<std::shared_ptr<Batch>> Judgement::parse(Segment& segment) {
  auto batch = parse(segment.view());
  if (batch && *batch != nullptr && segment.format == Format::pa_tnc) (*batch)->evidence = std::move(segment.bytes);
  return batch;
}

Result<std::shared_ptr<Batch>> Judgement::parse(const SegmentView& segment) {
  auto batch = std::make_shared<Batch>();
  in_runs_ = false;
  switch (segment.format) {
    case Format::pa_tnc: {
      Reader r(segment.bytes, evidence_spec, segment.base_offset);
      GH_CHECK(r.skip(patnc::message_header_size));
      GH_CHECK(parse_evidence(r, *batch));
      break;
    }
    case Format::eventlog:
      if (boot_on_wire_) return fail(Error{Fault::protocol, twice, evidence_spec, 0, std::string(eventlog_source), {}});
      if (!log_) log_ = std::make_unique<RawLog>(bank_, context_.rules);
      boot_given_ = true;
      log_->cursor.feed(segment.bytes);
      GH_CHECK(read_eventlog());
      break;
    case Format::ima_binary:
    case Format::ima_ascii:
      if (ima_on_wire_) return fail(Error{Fault::protocol, twice, evidence_spec, 0, std::string(list_source), {}});
      if (!list_)
        list_ = std::make_unique<RawList>(segment.format == Format::ima_ascii ? ima::Cursor::Form::ascii : ima::Cursor::Form::binary, bank_);
      ima_given_ = true;
      list_->cursor.feed(segment.bytes);
      GH_CHECK(read_list(*batch));
      break;
  }
  if (batch->items.empty()) return std::shared_ptr<Batch>();
  return batch;
}

Result<std::shared_ptr<Batch>> Judgement::parse_end() {
  auto batch = std::make_shared<Batch>();
  if (log_) {
    log_->cursor.end();
    GH_CHECK(read_eventlog());
  }
  if (list_) {
    list_->cursor.end();
    GH_CHECK(read_list(*batch));
  }
  if (batch->items.empty()) return std::shared_ptr<Batch>();
  return batch;
}

// Every Simple Component Evidence attribute of a PA-TNC message; the protocol plane reads the other attributes.
Result<void> Judgement::parse_evidence(Reader& r, Batch& batch) {
  constexpr std::size_t usual_attribute = 112;  // with an ordinary name
  const std::uint16_t expected = pts::algorithm_bit(bank_);
  // So far ahead that its lines are there when they are read: a long list isn't in a core's cache.
  constexpr std::size_t bytes_ahead = 1024;
  Bytes last;  // the one before, if it was a file's
  while (!r.empty()) {
    if (const Bytes rest = r.rest(); rest.size() > bytes_ahead + 128) {
      __builtin_prefetch(rest.data() + bytes_ahead);
      __builtin_prefetch(rest.data() + bytes_ahead + 64);
      __builtin_prefetch(rest.data() + bytes_ahead + 128);
    }
    patnc::Attribute attribute;
    if (const auto refusal = patnc::parse_attribute(r, attribute))
      return fail(Fault::malformed, refusal->reason, "RFC 5792 3.3", refusal->offset);
    if (!attribute.is(patnc::vendor_tcg, pts::type::simple_component_evidence)) continue;
    const std::size_t at = attribute.value_offset();
    const auto refuse = [&](std::size_t field, std::string_view why) { return fail(Fault::protocol, why, evidence_spec, at + field); };
    const auto refuse_size = [&] { return refuse(40, "measurement isn't as long as its algorithm's digest"); };
    // Thousands differ in name and digest alone: what was found of the one before holds for them.
    if (const auto alike = pts::parse_alike_evidence(attribute.value, last)) {
      if (alike->measurement.size() != digest_size(bank_)) return refuse_size();
      GH_CHECK(add_file(batch, alike->policy_uri, alike->measurement, at));
      continue;
    }
    last = {};
    Reader value(attribute.value, "spec part 2 1.11", at);
    GH_TRY(const pts::SimpleComponentEvidence e, pts::parse_simple_component_evidence(value));
    if (e.depth != 0) return refuse(1, "sub-component evidence wasn't asked for");
    if (e.algorithm != expected) return refuse(16, "measurement in another algorithm than the negotiated one");
    if (e.transform != 1) return refuse(18, "PCR transform isn't 'as long as the PCR'");
    if (e.measurement.size() != digest_size(bank_)) return refuse_size();
    if (e.has_pcr_values && (e.pcr_before.size() != digest_size(bank_))) return refuse(40, "PCR values aren't as long as the PCR");
    if (e.component == pts::component_boot) {
      if (!context_.boot_requested) return refuse(4, "firmware evidence wasn't asked for");
      if (log_) return refuse(4, twice);
      if (ima_on_wire_) return refuse(4, "firmware evidence after IMA evidence");
      if (e.pcr > 15 || e.pcr == ima_pcr) return refuse(13, "firmware evidence for a PCR that firmware doesn't extend");
      boot_given_ = boot_on_wire_ = true;
      if (e.has_pcr_values) boot_claims_.push_back({packed_boot_.size(), e.pcr, Digest(e.pcr_before), Digest(e.pcr_after)});
      GH_CHECK(add_boot(e.pcr, Digest(e.measurement), at));
    } else if (e.component == pts::component_ima) {
      if (!context_.ima_requested) return refuse(4, "IMA evidence wasn't asked for");
      if (list_) return refuse(4, twice);
      if (e.pcr != ima_pcr) return refuse(13, "IMA evidence for another PCR than 10");
      if (e.validation != pts::Validation::passed || e.policy_uri.empty()) return refuse(0, "IMA evidence without a file name");
      ima_given_ = ima_on_wire_ = true;
      if (e.has_pcr_values) batch.claims.push_back({items_, e.pcr, Digest(e.pcr_before), Digest(e.pcr_after)});
      if (batch.items.empty()) batch.items.reserve(r.remaining() / usual_attribute + 1);
      GH_CHECK(add_file(batch, e.policy_uri, e.measurement, at));
      last = attribute.value;
    } else {
      return refuse(4, "evidence of a component that wasn't asked for");
    }
  }
  return {};
}

// IMA evidence from the wire; `at`: of its attribute's value.
Result<void> Judgement::add_file(Batch& batch, std::string_view uri, Bytes measurement, std::size_t at) {
  const auto named = pts::parse_ima_uri(uri);
  if (!named) return fail(Fault::protocol, named.error().reason, evidence_spec, at + pts::evidence_head + 2);
  ImaItem& item = batch.items.emplace_back();
  item.pcr = ima_pcr;
  item.template_hash = Digest(measurement);
  item.name = named->name;
  item.algorithm = named->algorithm;
  item.legacy = named->legacy;
  item.plain_ng = !named->legacy;
  // What a kernel extends for a violation (spec part 2 §7.5); no template hashes to it.
  if (all_of_value(measurement, std::byte{0xFF})) item.kind = ImaItem::Kind::violation;
  GH_CHECK(add_item(item, at));
  if (items_ == 1 && !aggregate_)
    return fail(Fault::protocol, "the first IMA measurement isn't boot_aggregate", evidence_spec, at + pts::evidence_head + 2);
  return {};
}

Result<void> Judgement::read_eventlog() {
  for (;;) {
    auto read = log_->cursor.next();
    if (!read) return fail(std::move(read).error().from(eventlog_source));
    const eventlog::Event* const event = *read;
    if (event == nullptr) return {};
    log_->checks.see(*event, log_->cursor.format());
    if (!event->extends()) continue;
    const eventlog::EventDigest* const digest = event->digest(bank_);
    if (auto added = add_boot(event->pcr, digest != nullptr ? Digest(digest->value) : Digest(), event->offset); !added)
      return fail(std::move(added).error().from(eventlog_source));
  }
}

Result<void> Judgement::read_list(Batch& batch) {
  for (;;) {
    auto read = list_->cursor.next();
    if (!read) return fail(std::move(read).error().from(list_source));
    const ima::Entry* const entry = *read;
    if (entry == nullptr) return {};
    ImaItem& item = batch.items.emplace_back();
    item.pcr = entry->pcr;
    item.name = batch.text.keep(entry->fields.name);
    item.algorithm = batch.text.keep(entry->fields.algorithm);
    ListFields& fields = batch.fields.emplace_back();
    item.fields = &fields;
    if (entry->fields.digest.size() <= max_digest_size) fields.file_digest = Digest(entry->fields.digest);
    item.plain_ng = entry->template_name == "ima-ng";
    item.legacy = entry->template_name == "ima";
    item.verity = entry->fields.type == "verity";
    if (references_.rules.wants_signatures() && !entry->fields.signature.empty()) {
      fields.signature_beyond = signed_entries_ == ImaRuleChecks::max_signed_entries;
      if (!fields.signature_beyond) {
        ++signed_entries_;
        fields.signature =
            to_vector(entry->fields.signature.first(std::min(entry->fields.signature.size(), max_signature)));
      }
    }
    if (entry->violation()) {
      item.kind = ImaItem::Kind::violation;
      item.template_hash = Digest::filled(digest_size(bank_), std::byte{0xFF});
      fields.file_digest = {};
    } else {
      const Digest recorded(entry->recorded_hash);
      const Digest recomputed = list_->sha1_hasher(entry->template_data);
      if (recomputed != recorded) fields.contradiction = "the recorded template hash contradicts the template data";
      item.template_hash = bank_ == HashAlgorithm::sha1 ? recorded : list_->hasher(entry->template_data);
      if (!entry->fields.is_file) {
        item.kind = ImaItem::Kind::buffer;
        const auto algorithm = hash_algorithm(item.algorithm);
        if (algorithm && fields.contradiction.empty() && digest_of(*algorithm, entry->fields.buffer) != fields.file_digest)
          fields.contradiction = "the buffer's digest isn't that of its content";
      }
    }
    if (auto added = add_item(item, entry->offset); !added)
      return fail(std::move(added).error().from(list_source));
  }
}

void Judgement::extend_list(const Batch& batch, std::shared_ptr<Digest> value_after) {
  extended_ += batch.items.size();
  const std::size_t size = digest_size(bank_);
  ByteVector digests(batch.items.size() * size);  // those of PCR 10
  std::byte* end = digests.data();
  for (const ImaItem& item : batch.items) {
    if (item.pcr != ima_pcr) {
      others_[item.pcr].push_back(item.template_hash);
      continue;
    }
    GH_ASSERT(item.template_hash.size == size);
    if (size == sha256_size) std::memcpy(end, item.template_hash.bytes.data(), sha256_size);  // of a known length: no call
    else std::memcpy(end, item.template_hash.bytes.data(), size);
    end += size;
  }
  digests.resize(std::size_t(end - digests.data()));
  // Where the client claims values between entries, each has to be known.
  if (chains_ != nullptr && batch.claims.empty() && (ima_chain_ || !digests.empty())) {
    if (!ima_chain_) ima_chain_.emplace(*chains_, ima_pcr_ ? *ima_pcr_ : initial_pcr(bank_, ima_pcr, 0));
    return ima_chain_->extend(std::move(digests), std::move(value_after));
  }
  settle_chain();
  if (!ima_pcr_ && !digests.empty()) ima_pcr_ = initial_pcr(bank_, ima_pcr, 0);
  auto claim = batch.claims.begin();
  Bytes left = digests;
  for (const ImaItem& item : batch.items) {
    if (item.pcr != ima_pcr) continue;
    const bool claimed = claim != batch.claims.end() && claim->index == item.index;
    const bool before = !claimed || claim->before == *ima_pcr_;
    extend_hasher_.extend(*ima_pcr_, left.first(size));
    left = left.subspan(size);
    if (!claimed) continue;
    if (!before || claim->after != *ima_pcr_) false_claims_.push_back(item.index);
    ++claim;
  }
  if (value_after) *value_after = ima_pcr_.value_or(Digest());
}

// PCR 10 is known then.
void Judgement::settle_chain() {
  if (!ima_chain_) return;
  ima_pcr_ = ima_chain_->value();
  ima_chain_.reset();
}

std::uint64_t Judgement::followed(const Batch& batch) const {
  // A list comes over the wire or as it is, never both.
  if (batch.items.empty() || !batch.items.front().on_wire()) return 0;
  return std::min<std::uint64_t>(batch.items.size(), max_wire_items - wire_items_);
}

void Judgement::extend(const Batch& batch) {
  keep_digests(batch);
  extend_list(batch, nullptr);
}

void Judgement::extend_looked_up(const Batch& batch, std::shared_ptr<Digest> value_after) {
  {
    const std::lock_guard lock(mutex_);
    const bool all_looked_up = looked_up_ == extended_ + batch.items.size();
    if (all_looked_up && zero_digests_.empty() && unsettled_.digests.empty()) {  // nearly always
      wire_items_ += followed(batch);
    } else {
      keep_digests(batch);
      if (all_looked_up) follow_violations();
    }
  }
  extend_list(batch, std::move(value_after));
}

// Before it is extended.
void Judgement::keep_digests(const Batch& batch) {
  const std::size_t some = std::size_t(followed(batch));
  if (some == 0) return;
  if (unsettled_.digests.empty()) {
    if (!violated_pcr_) settle_chain();
    unsettled_ = {wire_items_, ima_pcr_ ? *ima_pcr_ : initial_pcr(bank_, ima_pcr, 0), {}};
  }
  for (std::size_t n = 0; n < some; ++n) {
    const Bytes digest = batch.items[n].template_hash.view();
    unsettled_.digests.insert(unsettled_.digests.end(), digest.begin(), digest.end());
  }
  wire_items_ += some;
}

// The other replay of what was kept, now that all of it is looked up.
void Judgement::follow_violations() {
  const Unsettled list = std::exchange(unsettled_, {});
  const std::size_t size = digest_size(bank_), count = list.digests.size() / size;
  const auto at_index = [](const Judged::ZeroDigest& z, std::uint64_t index) { return z.index < index; };
  auto violation = std::lower_bound(zero_digests_.begin(), zero_digests_.end(), list.first, at_index);
  const bool any = violation != zero_digests_.end() && violation->index < list.first + count;
  if (count == 0 || (!any && !violated_pcr_)) return;
  const Digest ones = Digest::filled(size, std::byte{0xFF});
  if (!violated_pcr_) violated_pcr_ = list.before;
  for (std::size_t n = 0; n < count; ++n) {
    const bool is_violation = violation != zero_digests_.end() && violation->index == list.first + n;
    if (is_violation) ++violation;
    extend_hasher_.extend(*violated_pcr_, is_violation ? ones.view() : Bytes(list.digests).subspan(n * size, size));
  }
}

Result<void> Judgement::look_up(const Batch& batch) {
  if (batch.items.empty()) return {};
  GH_TRY(Judged judged, judge(references_, batch));
  auto findings = judged.findings.empty() ? nullptr : std::make_shared<PackedFindings>(std::move(judged.findings));
  add(judged, std::move(findings));
  return {};
}

void Judgement::add(const Judged& judged, std::shared_ptr<const PackedFindings> findings) {
  const std::lock_guard lock(mutex_);
  counters_.processed += judged.counters.processed;
  counters_.ok += judged.counters.ok;
  counters_.unknown += judged.counters.unknown;
  counters_.differ += judged.counters.differ;
  counters_.failed += judged.counters.failed;
  counters_.violations += judged.counters.violations;
  superseded_ += judged.superseded;
  index_answers_.cached_hits += judged.index.cached_hits;
  index_answers_.cached_misses += judged.index.cached_misses;
  index_answers_.store_lookups += judged.index.store_lookups;
  index_answers_.reused += judged.index.reused;
  const std::size_t first = judged.first, end = first + judged.statuses.size();
  if (statuses_.size() < end) statuses_.resize(end, Status::absent);
  std::copy(judged.statuses.begin(), judged.statuses.end(), statuses_.begin() + std::ptrdiff_t(first));
  looked_up_ += judged.statuses.size();
  if (!judged.zero_digests.empty())
    zero_digests_.insert(std::lower_bound(zero_digests_.begin(), zero_digests_.end(), judged.zero_digests.front()),
                         judged.zero_digests.begin(), judged.zero_digests.end());
  if (findings == nullptr || findings->empty()) return;
  findings_total_ += findings->size();
  kept_count_ += findings->size();
  kept_cost_ += findings->cost();
  kept_.push_back(std::move(findings));
  // So many are shown at most; a list of a million unknown files needn't keep them all.
  if (kept_count_ > 4 * max_findings || kept_cost_ > 2 * max_findings_bytes) keep_worst();
}

bool Judgement::takes_runs(const SegmentView& segment) const {
  return proved_.runs != nullptr && in_runs_ && segment.format == Format::pa_tnc && segment.bytes.size() <= max_bytes_in_runs;
}

Result<void> Judgement::take_runs(const SegmentView& segment, Effort& effort) {
  Reader r(segment.bytes, evidence_spec, segment.base_offset);
  // Not the header: it numbers the message.
  GH_CHECK(r.skip(patnc::message_header_size));
  while (!r.empty()) {
    const std::size_t at = r.offset();
    const Bytes from = r.rest();
    std::size_t size = 0;
    for (std::size_t n = 0; n < attributes_in_run && !r.empty(); ++n) {
      Reader ahead = r;
      patnc::Attribute attribute;
      const auto refusal = patnc::parse_attribute(ahead, attribute);
      if (refusal || !attribute.is(patnc::vendor_tcg, pts::type::simple_component_evidence)) {
        if (n != 0) break;
        if (refusal) return fail(Fault::malformed, refusal->reason, "RFC 5792 3.3", refusal->offset);
        r = ahead;
        break;
      }
      r = ahead;
      size = r.offset() - at;
    }
    if (size == 0) continue;
    const Bytes run = from.first(size);
    chain_ = proved_.runs->fingerprint(chain_, run);
    if (known_) {
      if (const ProvedRunPtr came = proved_.runs->find(chain_)) {
        take(came);
        continue;
      }
      known_ = false;
    }
    GH_CHECK(judge_run(run, at, chain_, effort));
  }
  return {};
}

Result<void> Judgement::judge_run(Bytes run, std::size_t base_offset, const Fingerprint& fingerprint, Effort& effort) {
  using Clock = std::chrono::steady_clock;
  const bool kept = new_runs_bytes_ <= proved_.runs->most_of_session();
  auto out = std::make_shared<ProvedRun>();
  const PackedBoot::Mark boot = packed_boot_.end();
  const std::size_t claims = boot_claims_.size(), false_claims = false_claims_.size();
  const std::uint64_t items = items_, wire_items = wire_items_;
  const bool had_aggregate = aggregate_.has_value(), had_trouble = aggregate_trouble_.has_value();

  const auto begun = Clock::now();
  Batch batch;
  Reader r(run, evidence_spec, base_offset);
  GH_CHECK(parse_evidence(r, batch));
  const auto parsed = Clock::now();
  if (!batch.items.empty()) {
    GH_TRY(out->judged, judge(references_, batch));
    add(out->judged, {out, &out->judged.findings});
  }
  const auto looked_up = Clock::now();
  // Untouched so far, and by this one: it stays so.
  const bool touched = ima_pcr_ || ima_chain_ || std::any_of(batch.items.begin(), batch.items.end(), [](const ImaItem& i) { return i.pcr == ima_pcr; });
  if (touched) out->ima_pcr.emplace();
  extend_looked_up(batch, touched ? std::shared_ptr<Digest>(out, &*out->ima_pcr) : nullptr);
  effort.parse += parsed - begun;
  effort.lookup += looked_up - parsed;
  effort.extend += Clock::now() - looked_up;

  if (!kept) return {};
  const auto added = [](const auto& all, std::size_t before) {
    return std::remove_cvref_t<decltype(all)>(all.begin() + std::ptrdiff_t(before), all.end());
  };
  out->boot = packed_boot_.behind(boot);
  out->boot_claims = added(boot_claims_, claims);
  out->items = items_ - items;
  out->has_boot = out->boot.size() != 0;
  out->has_list = items_ != items;
  if (!had_aggregate) out->aggregate = aggregate_;
  if (!had_trouble) out->aggregate_trouble = aggregate_trouble_;
  out->violated_pcr = violated_pcr_;
  out->false_claims = added(false_claims_, false_claims);
  out->wire_items = wire_items_ - wire_items;
  // The next session's answers come from here.
  out->judged.index = {.cached_hits = 0, .cached_misses = 0, .store_lookups = 0, .reused = out->judged.counters.processed};
  new_runs_bytes_ += out->bytes();
  if (new_runs_bytes_ <= proved_.runs->most_of_session()) new_runs_.emplace_back(fingerprint, std::move(out));
  return {};
}

// What judge_run() did, when it comes again behind the same runs.
void Judgement::take(const ProvedRunPtr& run) {
  packed_boot_.add(run->boot);
  boot_claims_.insert(boot_claims_.end(), run->boot_claims.begin(), run->boot_claims.end());
  if (run->has_boot) boot_given_ = boot_on_wire_ = true;
  if (run->has_list) ima_given_ = ima_on_wire_ = true;
  items_ += run->items;
  if (run->has_list && items_ == run->items) firmware_is_complete();
  if (run->aggregate) aggregate_ = run->aggregate;
  if (run->aggregate_trouble) aggregate_trouble_ = run->aggregate_trouble;
  ima_pcr_ = run->ima_pcr;
  violated_pcr_ = run->violated_pcr;
  extended_ += run->items;
  false_claims_.insert(false_claims_.end(), run->false_claims.begin(), run->false_claims.end());
  wire_items_ += run->wire_items;
  if (run->items != 0) add(run->judged, {run, &run->judged.findings});
}

void Judgement::keep_runs() {
  for (auto& [fingerprint, run] : new_runs_) proved_.runs->insert(fingerprint, std::move(run));
  new_runs_.clear();
}

IndexAnswers Judgement::index_answers() {
  const std::lock_guard lock(mutex_);
  return index_answers_;
}

// What differs or failed, and then the lowest entries that are only unknown. Whatever was dropped before had so many
// findings in front of it that it would be dropped now: the order in which batches are looked up makes no difference.
void Judgement::keep_worst() {
  using Packed = PackedFindings::Packed;
  if (kept_count_ <= max_findings && kept_cost_ <= max_findings_bytes) return;
  std::vector<Packed> all;
  all.reserve(kept_count_);
  for (const auto& some : kept_) {
    const std::vector<Packed> of_these = some->all();
    all.insert(all.end(), of_these.begin(), of_these.end());
  }
  const auto place = [](const Packed& f) { return std::pair(f.only_unknown(), f.index()); };
  std::sort(all.begin(), all.end(), [&](const Packed& a, const Packed& b) { return place(a) < place(b); });
  std::size_t left = 0, cost = 0;
  while (left < all.size() && left < max_findings && cost + all[left].cost() <= max_findings_bytes) cost += all[left++].cost();
  all.resize(left);
  std::sort(all.begin(), all.end(), [](const Packed& a, const Packed& b) { return a.index() < b.index(); });
  auto out = std::make_shared<PackedFindings>();
  for (const Packed& f : all) out->add(f);
  out->shrink();
  kept_count_ = left;
  kept_cost_ = cost;
  kept_ = {std::move(out)};
}

// In the order of their entries.
std::vector<Finding> Judgement::spell_findings() {
  keep_worst();
  std::vector<Finding> out;
  out.reserve(kept_count_);
  for (const auto& some : kept_) some->spell(bank_, out);
  kept_ = {};
  const auto by_entry = [](const Finding& a, const Finding& b) { return a.entry < b.entry; };
  if (!std::is_sorted(out.begin(), out.end(), by_entry)) std::sort(out.begin(), out.end(), by_entry);
  return out;
}

}  // namespace gatehouse::pipeline
