// From counters, chains and the quote to the verdict: the part of Judgement that runs when everything else is done.
#include <algorithm>

#include "pipeline/graph/judgement.h"

namespace gatehouse::pipeline {
namespace {

constexpr std::string_view claim_reason = "the PCR value that the endpoint claims isn't that of our replay";

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

std::string tagged(HashAlgorithm bank, const Digest& digest) { return std::string(name(bank)) + ":" + digest.hex(); }

void count(Counters& counters, Status status, std::int64_t by) {
  const auto add = [&](std::uint64_t& counter) { counter += std::uint64_t(by); };
  switch (status) {
    case Status::ok: add(counters.ok); break;
    case Status::differ: add(counters.differ); break;
    case Status::failed: add(counters.failed); break;
    case Status::unknown: add(counters.unknown); break;
    case Status::absent: break;
  }
}

// Quote and device first, then boot, then ima, the latter two by entry; what is equal stays as it was found. (Not
// std::stable_sort: in libstdc++ 12 it calls a function that C++23 took away, and clang says so.)
void put_in_order(std::vector<Finding>& findings) {
  struct Place {
    int rank;
    std::optional<std::uint64_t> entry;
    std::size_t index;
    auto operator<=>(const Place&) const = default;
  };
  std::vector<Place> places;
  places.reserve(findings.size());
  for (std::size_t i = 0; i < findings.size(); ++i) {
    const Finding& f = findings[i];
    const int rank = f.component == "ima" ? 2 : f.component == "boot" ? 1 : 0;
    places.push_back({rank, rank == 0 ? std::nullopt : f.entry, i});
  }
  if (std::is_sorted(places.begin(), places.end())) return;
  std::sort(places.begin(), places.end());
  std::vector<Finding> out;
  out.reserve(findings.size());
  for (const Place& place : places) out.push_back(std::move(findings[place.index]));
  findings = std::move(out);
}

bool by_entry(const Finding& a, const Finding& b) { return a.entry < b.entry; }

}  // namespace

// The finding of a list entry that isn't ok; null: it is beyond those that are kept. `findings_` is sorted by then.
Finding* Judgement::finding_of(std::uint64_t index) {
  const auto at = std::lower_bound(findings_.begin(), findings_.end(), index,
                                   [](const Finding& f, std::uint64_t i) { return f.entry < i; });
  return at != findings_.end() && at->entry == index ? &*at : nullptr;
}

// The quote against the replay, and against the other replay that a violation on the wire may mean: a client that knows
// nothing of violations sends the template hash over a zero digest where the kernel extended all ones. Both values are
// known in advance and the quote decides, so trying costs no safety (spec part 2 §7.5).
QuoteResult Judgement::check_quote(const Finish& finish) {
  follow_violations();
  const bool raw_log = log_ != nullptr;
  const auto verify = [&](const std::optional<Digest>& list) {
    return verify_quote({context_, finish, bank_, boot_, boot_given_, ima_given_, list, others_,
                         raw_log ? log_->cursor.startup_locality() : std::nullopt, raw_log});
  };
  QuoteResult result = verify(ima_pcr_);
  const auto q7 = result.checks.find("Q7");
  const bool differs = q7 != result.checks.end() && q7->second == Status::failed;
  if (!differs || zero_digests_.empty() || wire_items_ != items_) return result;
  QuoteResult retried = verify(violated_pcr_);
  if (retried.checks["Q7"] != Status::ok) return result;
  take_as_violations();
  retried.warnings.push_back(std::to_string(zero_digests_.size()) +
                             " measurements over a zero digest are violations: the quote fits all ones in their place");
  return retried;
}

void Judgement::take_as_violations() {
  for (const auto& [index, as_violation] : zero_digests_) {
    Status& status = statuses_[std::size_t(index)];
    count(counters_, status, -1);
    status = as_violation;
    count(counters_, status, 1);
    ++counters_.violations;
    Finding* const f = finding_of(index);
    if (f == nullptr) continue;
    f->status = status;
    f->reason = violation_reason;
    f->package.clear();
    f->version.clear();
    f->expected.clear();
    f->measured_template.clear();
  }
}

// Exactly, per PCR and in order; several approved baselines may coexist (spec part 2 §8.6).
void Judgement::check_baseline(Verdict& v, std::uint8_t locality, bool& refused) const {
  std::vector<Status> statuses(boot_.size(), Status::unknown);
  std::optional<Baseline> nearest;
  bool matched = approved_;
  if (context_.serve && !matched) {
    const Baseline measured = baseline_of(bank_, boot_);
    for (const PackedBaseline& packed : baselines_) {
      if (packed.bank() != bank_) continue;
      Baseline b = packed.unpacked();
      if (b == measured) matched = true;
      if (!nearest) nearest = std::move(b);
    }
    refused = refused || !matched;
  }
  if (matched) {
    std::fill(statuses.begin(), statuses.end(), Status::ok);
  } else if (nearest) {
    std::map<std::uint32_t, std::vector<Digest>> expected(nearest->events.begin(), nearest->events.end());
    std::map<std::uint32_t, std::size_t> seen;
    for (std::size_t i = 0; i < boot_.size(); ++i) {
      const std::vector<Digest>& wanted = expected[boot_[i].pcr];
      const std::size_t n = seen[boot_[i].pcr]++;
      const bool named = n < wanted.size();
      statuses[i] = named && wanted[n] == boot_[i].digest ? Status::ok : Status::differ;
      if (statuses[i] == Status::ok) continue;
      Finding f = simple("boot", Status::differ,
                         named ? "another measurement than the approved baseline's" : "a measurement beyond the approved baseline");
      f.entry = i;
      f.pcr = boot_[i].pcr;
      f.measured_template = tagged(bank_, boot_[i].digest);
      if (named) f.expected.push_back(tagged(bank_, wanted[n]));
      v.findings.push_back(std::move(f));
    }
    for (const auto& [pcr, wanted] : expected)
      if (seen[pcr] < wanted.size()) {
        Finding f = simple("boot", Status::differ, std::to_string(wanted.size() - seen[pcr]) + " measurements of the approved baseline are missing");
        f.pcr = pcr;
        v.findings.push_back(std::move(f));
      }
  } else if (context_.serve) {
    v.findings.push_back(simple("boot", Status::unknown,
                                "no approved firmware baseline for bank " + std::string(name(bank_)) +
                                    (context_.approve_command.empty() ? "" : "; approve the proposed one with: " + context_.approve_command)));
  }
  check_boot_claims(v, statuses, locality);
  for (const Status status : statuses) count(v.boot, status, 1);
}

void Judgement::check_boot_claims(Verdict& v, std::vector<Status>& statuses, std::uint8_t locality) const {
  Hasher hasher(bank_);
  Pcrs now;
  auto claim = boot_claims_.begin();
  for (std::size_t i = 0; i < boot_.size() && claim != boot_claims_.end(); ++i) {
    auto& value = now.try_emplace(boot_[i].pcr, initial_pcr(bank_, boot_[i].pcr, locality)).first->second;
    const bool claimed = claim->index == i;
    const bool before = !claimed || claim->before == value;
    hasher.extend(value, boot_[i].digest.view());
    if (!claimed) continue;
    const bool after = claim->after == value;
    ++claim;
    if (before && after) continue;
    statuses[i] = Status::failed;
    const auto at = std::find_if(v.findings.begin(), v.findings.end(),
                                 [&](const Finding& f) { return f.component == "boot" && f.entry == i; });
    Finding& f = at != v.findings.end() ? *at : v.findings.emplace_back(simple("boot", Status::failed, {}));
    f.entry = i;
    f.pcr = boot_[i].pcr;
    f.status = Status::failed;
    f.reason = claim_reason;
  }
}

// Claims of PCR values that aren't ours make their item failed, whatever the references said.
void Judgement::check_ima_claims(Verdict& v, bool& refused) {
  std::vector<Finding> more;
  for (const std::uint64_t index : false_claims_) {
    Status& status = statuses_[std::size_t(index)];
    if (status == Status::absent) {
      refused = true;  // boot_aggregate isn't counted
    } else {
      count(v.ima, status, -1);
      count(v.ima, Status::failed, 1);
    }
    if (status == Status::absent || status == Status::ok) ++findings_total_;
    Finding* f = finding_of(index);
    if (f == nullptr) {  // none so far, or beyond those that were kept
      status = Status::failed;
      if (more.size() == max_findings) continue;
      f = &more.emplace_back(simple("ima", Status::failed, {}));
      f->entry = index;
      f->pcr = ima_pcr;
    }
    f->status = Status::failed;
    f->reason = claim_reason;
    f->expected.clear();
    status = Status::failed;
  }
  if (more.empty()) return;
  std::move(more.begin(), more.end(), std::back_inserter(findings_));
  std::sort(findings_.begin(), findings_.end(), by_entry);
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
    if (items_ != 0)
      refuse("the first entry isn't boot_aggregate");
    else
      v.findings.push_back(simple("ima", Status::absent,
                                  "the list has no entry, not even boot_aggregate: it says nothing of the machine"));
    return;
  }
  if (!aggregate_->contradiction.empty()) refuse(std::string(aggregate_->contradiction));
  Hasher hasher(bank_);
  ImaItem entry;
  entry.name = ima::boot_aggregate;
  entry.algorithm = aggregate_->algorithm;
  entry.legacy = aggregate_->legacy;
  const auto is_over = [&](Bytes digest) {
    if (aggregate_->file_digest.size != 0) return equal(digest, aggregate_->file_digest.view());
    return template_hash(hasher, entry, digest) == aggregate_->template_hash;
  };
  const auto algorithm = hash_algorithm(aggregate_->algorithm);
  const std::byte zeros[max_digest_size] = {};
  if (is_over(Bytes(zeros).first(algorithm ? digest_size(*algorithm) : 20))) {
    refuse("boot_aggregate is zero: the kernel had no TPM when IMA started");
    return;
  }
  if (!boot_given_) return;
  if (!algorithm || *algorithm != bank_) {
    v.warnings.push_back("boot_aggregate is over another bank than the quoted one and wasn't checked");
    return;
  }
  for (const std::uint32_t pcrs : {10U, 8U}) {
    ByteVector values;
    for (std::uint32_t pcr = 0; pcr < pcrs; ++pcr) {
      const auto at = quote.pcrs.find(pcr);
      const Digest value = at != quote.pcrs.end() ? at->second : initial_pcr(bank_, pcr, quote.locality);
      values.insert(values.end(), value.view().begin(), value.view().end());
    }
    if (is_over(hasher(values).view())) return;
  }
  refuse("boot_aggregate isn't the digest of the firmware log's PCRs");
}

// What a rule enforces has to be shown: a log that doesn't come as it is, with its events' data, shows nothing of it.
void Judgement::check_rules(Verdict& v, bool& refused) const {
  const std::vector<const char*> enforced = enforced_codes(context_.rules);
  if (enforced.empty()) return;
  if (log_) {
    refused = refused || std::any_of(enforced.begin(), enforced.end(),
                                     [&](const char* code) { return v.checks[code] == Status::failed; });
    return;
  }
  if (!context_.serve && !boot_given_) return;  // no verdict without it
  refused = true;
  std::string codes;
  for (const char* code : enforced) codes += (codes.empty() ? "" : ", ") + std::string(code);
  v.findings.push_back(simple("boot", Status::absent,
                              codes + ": the policy's rules need the firmware log as it is, and it didn't come"));
}

// What was demanded and didn't come is never allow (design §6.5). In `verify` the parts are optional: without one there
// is no verdict, and the finding says which it was.
void Judgement::check_presence(Verdict& v, const Finish& finish, bool& refused) const {
  if (!context_.serve) {
    if (v.quote.status == Status::absent) return;
    if (!finish.nonce)
      v.findings.push_back(simple("quote", Status::absent, "no nonce was given: the quote may be an old one"));
    if (!boot_given_) v.findings.push_back(simple("boot", Status::absent, "no firmware event log was given"));
    if (!ima_given_) v.findings.push_back(simple("ima", Status::absent, "no IMA list was given"));
    return;
  }
  if (context_.boot_requested && !boot_given_) {
    refused = true;
    v.findings.push_back(simple("boot", Status::absent, "firmware evidence was asked for and didn't come"));
  }
  if (context_.ima_requested && !ima_given_) {
    refused = true;
    v.findings.push_back(simple("ima", Status::absent, "IMA evidence was asked for and didn't come"));
  }
}

Outcome Judgement::conclude(const Finish& finish) {
  using Clock = std::chrono::steady_clock;
  Outcome out;
  const auto begun = Clock::now();
  settle_chain();
  out.effort.extend = Clock::now() - begun;
  const std::lock_guard lock(mutex_);
  Verdict& v = out.verdict;
  v.session = context_.session;
  v.device = context_.device;
  v.product = context_.product;
  v.claims = context_.claims;
  v.claims.insert(v.claims.end(), finish.claims.begin(), finish.claims.end());
  if (context_.references) v.generation = context_.references->generation();
  v.boot_given = boot_given_;
  v.ima_given = ima_given_;
  boot_ = packed_boot_.unpacked();
  v.boot.processed = boot_.size();
  findings_ = spell_findings();

  const auto before = Clock::now();
  QuoteResult quote = check_quote(finish);
  out.effort.quote = Clock::now() - before;
  v.quote = quote.quote;
  v.checks = std::move(quote.checks);
  v.findings = std::move(quote.findings);
  v.warnings = std::move(quote.warnings);
  v.ima = counters_;
  if (superseded_ != 0)
    v.warnings.push_back(std::to_string(superseded_) + " files are of package versions that newer ones supersede");
  bool refused = quote.refused;
  for (const auto& [pcr, value] : quote.pcrs)
    if (value.size != 0) v.pcrs[std::string(name(bank_))][pcr] = value.hex();
  if (finish.session_failed) v.findings.push_back(simple("device", Status::failed, finish.session_failure));
  if (!context_.product_known) {
    refused = true;
    v.findings.push_back(simple("device", Status::failed, "the claimed product differs from the device's record or has no references"));
  }
  std::uint64_t left_out = 0;
  if (log_) {
    for (const std::string& warning : log_->cursor.warnings()) v.warnings.push_back("event log: " + warning);
    left_out = log_->checks.finish(v.checks, v.findings);
    for (const char* code : {"L1", "L3", "L4", "L5", "L13", "L14"})
      if (v.checks[code] == Status::failed) refused = true;
  }
  check_rules(v, refused);
  if (boot_given_) {
    if (const auto q7 = v.checks.find("Q7"); q7 != v.checks.end()) v.checks["L2"] = q7->second;
    check_baseline(v, quote.locality, refused);
  }
  if (ima_given_) {
    check_aggregate(v, quote, refused);
    check_ima_claims(v, refused);
  }
  check_presence(v, finish, refused);

  v.findings_total = v.findings.size() + left_out + findings_total_;
  v.findings.insert(v.findings.end(), std::move_iterator(findings_.begin()), std::move_iterator(findings_.end()));
  findings_.clear();
  put_in_order(v.findings);
  cut_findings(v.findings);
  v.summary = summary_line(v);

  const bool bad_files = v.ima.differ != 0 || v.ima.failed != 0 || v.boot.differ != 0 || v.boot.failed != 0;
  // A list without entries is no evidence of what ran (spec part 2 §7.9: the first is boot_aggregate).
  const bool all_given =
      (boot_given_ || !context_.boot_requested) && ((ima_given_ && items_ != 0) || !context_.ima_requested);
  const bool complete = v.quote.status == Status::ok && finish.nonce && !quote.unbound && all_given;
  const bool broken = v.quote.status == Status::failed || refused || bad_files;
  if (finish.session_failed || quote.untrusted) {  // spec part 2 §8.2
    v.recommendation = Recommendation::isolate;
    v.evaluation = Evaluation::error;
  } else if (broken) {
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
