#include "pipeline/lookup/lookup.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/version.h"
#include "wire/ima/ima.h"

namespace gatehouse::pipeline {

std::string_view TextArena::keep(std::string_view text) {
  constexpr std::size_t chunk = std::size_t(16) << 10;
  if (text.size() > left_) {
    left_ = std::max(chunk, text.size());
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(left_));
    at_ = chunks_.back().get();
  }
  if (!text.empty()) std::memcpy(at_, text.data(), text.size());
  const std::string_view out(at_, text.size());
  at_ += text.size();
  left_ -= text.size();
  return out;
}

namespace {

void keep(PackedFindings& findings, const ImaItem& item, Status status, const Finding& finding) {
  const bool has_template = item.kind != ImaItem::Kind::violation;
  findings.add({.index = item.index,
                .pcr = item.pcr,
                .status = status,
                .path = item.name,
                .reason = finding.reason,
                .package = finding.package,
                .version = finding.version,
                .expected = status == Status::differ ? std::span<const std::string>(finding.expected) : std::span<const std::string>(),
                .measured_template = has_template ? item.template_hash.view() : Bytes(),
                .measured_algorithm = item.file_digest().empty() ? std::string_view() : item.algorithm,
                .measured_file = item.file_digest()});
}

bool prefix_of(std::string_view prefix, std::string_view path) {
  return path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/';
}

// Whether the file's digest is this one, which is in the entry's algorithm.
bool has_content(Hasher& hasher, const ImaItem& item, const Digest& digest) {
  if (const Bytes own = item.file_digest(); !own.empty()) return equal(own, digest.view());
  return template_hash(hasher, item, digest.view()) == item.template_hash;
}

// The path query: what tells ok, differ and unknown apart when the index has no answer.
Result<Status> judge_by_path(const References& references, const ImaItem& item, Hasher& hasher, Finding& finding) {
  if (item.file_digest().empty() && !item.on_wire()) {
    finding.reason = "the entry's template has no file digest";
    return Status::unknown;
  }
  const auto algorithm = hash_algorithm(item.algorithm);
  bool any = false, all_mutable = true, other_algorithm = false;
  const refdb::Reference* named = nullptr;
  std::vector<refdb::Reference> known;
  for (const std::string& path : candidate_paths(std::string(item.name), references.symlinks)) {
    GH_TRY(std::vector<refdb::Reference> found, references.view->references_of_path(references.product, path));
    std::move(found.begin(), found.end(), std::back_inserter(known));
  }
  for (const refdb::Reference& reference : known) {
    const Digest* const digest = algorithm ? reference.digest(*algorithm) : nullptr;
    if (digest == nullptr) {
      other_algorithm = true;
      continue;
    }
    if (has_content(hasher, item, *digest)) return Status::ok;
    any = true;
    if (!reference.is_mutable) all_mutable = false;
    if (named == nullptr || (named->is_mutable && !reference.is_mutable)) named = &reference;
    const std::string expected = std::string(item.algorithm) + ":" + digest->hex();
    if (finding.expected.size() < 16 && std::find(finding.expected.begin(), finding.expected.end(), expected) == finding.expected.end())
      finding.expected.push_back(expected);
  }
  if (!any) {
    finding.reason = other_algorithm ? no_reference_in_algorithm : no_reference;
    return Status::unknown;
  }
  finding.package = named->package;
  finding.version = named->version;
  if (all_mutable) {
    finding.reason = "a configuration file with other content than the package's";
    return Status::unknown;
  }
  finding.reason = "the file's content is none of the references";
  std::sort(finding.expected.begin(), finding.expected.end());
  return Status::differ;
}

}  // namespace

std::vector<std::string> candidate_paths(const std::string& path, const std::vector<SymlinkPair>& symlinks) {
  std::vector<std::string> out{path};
  const auto replace_longest = [&](auto from, auto to) {
    const SymlinkPair* best = nullptr;
    for (const SymlinkPair& pair : symlinks)
      if (prefix_of(from(pair), path) && (best == nullptr || from(pair).size() > from(*best).size())) best = &pair;
    if (best != nullptr) out.push_back(to(*best) + path.substr(from(*best).size()));
  };
  const auto link = [](const SymlinkPair& p) -> const std::string& { return p.from; };
  const auto target = [](const SymlinkPair& p) -> const std::string& { return p.to; };
  replace_longest(target, link);
  replace_longest(link, target);
  return out;
}

Digest template_hash(Hasher& hasher, const ImaItem& item, Bytes file_digest) {
  Writer w;
  if (item.legacy)
    ima::append_legacy_template_data(w, file_digest, item.name);
  else
    ima::append_ng_template_data(w, item.algorithm, file_digest, item.name);
  return hasher(w.view());
}

namespace {

// Template data over a digest of zeros: as long as its algorithm's, or 20 bytes as older kernels wrote; in the SHA-1 bank
// the client sends the zeros that the list records.
bool has_zero_digest(Hasher& hasher, const ImaItem& item) {
  if (!item.on_wire() || item.kind != ImaItem::Kind::file) return false;
  if (all_of_value(item.template_hash.view(), std::byte{0})) return true;
  const auto algorithm = hash_algorithm(item.algorithm);
  const std::size_t size = algorithm ? digest_size(*algorithm) : 20;
  const std::byte zeros[max_digest_size] = {};
  for (const std::size_t n : {size, std::size_t(20)}) {
    if (template_hash(hasher, item, Bytes(zeros).first(n)) == item.template_hash) return true;
    if (size == 20) break;
  }
  return false;
}

// An entry for which it isn't enough that its template hash is known for its name.
struct Open {
  bool is_known() const { return known.data() != nullptr; }
  std::size_t at = 0;                       // in the batch
  std::string_view known;                   // the name for which its template hash is known; data() null: for none
  std::optional<std::string_view> unknown;  // the reason why it is unknown, from the cache
  bool cacheable = false;                   // a miss may go into the cache
};

// T binds path and content: known for the claimed name it is ok, and there is nothing more to say.
bool is_good(const ImaItem& item, std::string_view known, std::string_view bank) {
  return known.data() != nullptr && known == item.name && item.plain_ng && item.algorithm == bank;
}

// What the references say of the age of a file with this content.
struct Superseded {
  std::int64_t since = 0;  // seconds since 1970; 0: no newer version of its package is known
  std::string package, version, newer;
};

// Every reference with the file's content is of a package of which a newer version has this path.
Result<Superseded> superseded_by_references(const References& references, const ImaItem& item, Hasher& hasher) {
  std::vector<refdb::Reference> known;
  for (const std::string& path : candidate_paths(std::string(item.name), references.symlinks)) {
    GH_TRY(std::vector<refdb::Reference> found, references.view->references_of_path(references.product, path));
    std::move(found.begin(), found.end(), std::back_inserter(known));
  }
  const auto algorithm = hash_algorithm(item.algorithm);
  const auto equal_content = [&](const refdb::Reference& r) {
    const Digest* const digest = algorithm ? r.digest(*algorithm) : nullptr;
    if (digest == nullptr) return false;
    return has_content(hasher, item, *digest);
  };
  Superseded out;
  for (const refdb::Reference& mine : known) {
    if (!equal_content(mine)) continue;
    if (mine.package.empty() || mine.format == refdb::PackageFormat::none) return Superseded();
    const VersionScheme scheme = mine.format == refdb::PackageFormat::rpm ? VersionScheme::rpm : VersionScheme::dpkg;
    std::int64_t since = 0;
    const std::string* newer = nullptr;
    for (const refdb::Reference& other : known) {
      if (other.package != mine.package || other.architecture != mine.architecture || other.format != mine.format) continue;
      const auto order = compare_versions(scheme, mine.version, other.version);
      if (!order || *order >= 0) continue;
      if (newer == nullptr || other.ingested < since) since = other.ingested;
      if (newer == nullptr || compare_versions(scheme, *newer, other.version) == std::strong_ordering::less) newer = &other.version;
    }
    if (newer == nullptr) return Superseded();  // this one is the newest
    // Of several packages with it, the one that was superseded last.
    if (out.package.empty() || since > out.since) out = {std::max<std::int64_t>(since, 1), mine.package, mine.version, *newer};
  }
  return out;
}

// Whether rules ask for the age of this file, and it isn't known to be the newest.
bool may_be_too_old(const References& references, const ImaItem& item) {
  if (!references.files.asks_superseded(item.name)) return false;
  const auto since = references.cache ? references.cache->find_superseded(item.template_hash) : std::nullopt;
  return !since || *since != 0;
}

// A file with a reference's content, by the rules for those that are superseded.
Result<void> judge_age(const References& references, const ImaItem& item, Hasher& hasher, Status& status, Finding& finding, Judged& out) {
  GH_TRY(const Superseded old, superseded_by_references(references, item, hasher));
  // Which references the name has depends on the operator's symlinks, which aren't part of the cache's key.
  if (references.cache && references.symlinks.empty() && item.template_hash.size != 0 && item.plain_ng)
    references.cache->insert_superseded(item.template_hash, old.since);
  if (old.since == 0) return {};
  const FileRuleChecks::Verdict v = references.files.superseded(item.name, {old.package, old.since});
  if (v.treatment == Treatment::reported) ++out.superseded;
  if (v.treatment != Treatment::refused) return {};
  status = Status::failed;
  finding.package = old.package;
  finding.version = old.version;
  finding.reason = "superseded: version " + old.newer + " of its package is known (rules \"" + v.rules->name + "\")";
  return {};
}

// Whether the index is asked for the entry's template hash at all.
bool has_key(const ImaItem& item, std::string_view bank) {
  if (item.kind != ImaItem::Kind::file || item.verity || !item.contradiction().empty()) return false;
  // Over the wire the algorithm is no more than a word beside the hash: with another word a known T is asked for, too.
  return item.on_wire() || (item.plain_ng && item.algorithm == bank);
}

// Settles the entries that the cache knows to be ok: nearly all. The others are left.
std::vector<Open> ask_cache(const References& references, const std::vector<ImaItem>& items, Judged& out) {
  const VerdictCache* const cache = references.view == nullptr ? nullptr : references.cache.get();
  const bool by_age = !references.files.empty(), may_refuse = references.rules.may_refuse();
  const std::string_view bank = name(references.bank);
  // As far ahead as a line takes to come: the slot, and then the record that it points to.
  constexpr std::size_t slot_ahead = 24, record_ahead = 12;
  std::array<KnownTemplates::Guess, record_ahead> guesses{};
  std::vector<Open> open;
  for (std::size_t i = 0; cache != nullptr && i < std::min(slot_ahead, items.size()); ++i) cache->prefetch_hit(items[i].template_hash);
  for (std::size_t i = 0; i < items.size() + record_ahead; ++i) {
    if (i >= record_ahead) {
      const std::size_t at = i - record_ahead;
      const ImaItem& item = items[at];
      std::string_view known;
      if (const auto guess = guesses[at % record_ahead]) known = cache->find_hit(item.template_hash, guess);
      if (known.data() != nullptr) ++out.index.cached_hits;
      if (item.kind == ImaItem::Kind::aggregate) {
        out.statuses[at] = Status::absent;
      } else if (!may_refuse && is_good(item, known, bank) && !(by_age && may_be_too_old(references, item))) {
        ++out.counters.ok;
      } else {
        open.push_back({at, known, {}, false});
      }
    }
    if (i >= items.size()) continue;
    guesses[i % record_ahead] = nullptr;
    if (cache == nullptr) continue;
    if (i + slot_ahead < items.size()) cache->prefetch_hit(items[i + slot_ahead].template_hash);
    if (has_key(items[i], bank)) guesses[i % record_ahead] = cache->guess_hit(items[i].template_hash);
  }
  return open;
}

// One question for all that the cache knows nothing of.
Result<void> ask_index(const References& references, const std::vector<ImaItem>& items, std::vector<Open>& open, IndexAnswers& counted) {
  if (references.view == nullptr) return {};
  std::vector<Digest> keys;
  std::vector<Open*> asked;
  for (Open& one : open) {
    const ImaItem& item = items[one.at];
    if (one.is_known() || !has_key(item, name(references.bank))) continue;
    if (references.cache) {
      // A miss depends on the operator's symlinks, which aren't part of the cache's key.
      one.cacheable = references.symlinks.empty();
      if (one.cacheable && (one.unknown = references.cache->find_miss(item.template_hash, item.name, item.algorithm))) {
        ++counted.cached_misses;
        continue;
      }
    }
    keys.push_back(item.template_hash);
    asked.push_back(&one);
  }
  counted.store_lookups = keys.size();
  if (keys.empty()) return {};
  std::vector<refdb::TemplateHit> hits(keys.size());
  GH_CHECK(references.view->find_templates(references.product, references.bank, keys, hits));
  for (std::size_t n = 0; n < asked.size(); ++n) {
    if (!hits[n].found) continue;
    asked[n]->known = hits[n].name;
    if (references.cache) references.cache->insert_hit(keys[n], hits[n].name);
  }
  return {};
}

void count(Counters& counters, Status status) {
  switch (status) {
    case Status::ok: ++counters.ok; break;
    case Status::differ: ++counters.differ; break;
    case Status::failed: ++counters.failed; break;
    case Status::unknown:
    case Status::absent: ++counters.unknown; break;
  }
}

}  // namespace

Result<Judged> judge(const References& references, const ImaBatch& batch) {
  const auto& items = batch.items;
  Judged out;
  if (!items.empty()) out.first = items.front().index;
  out.statuses.assign(items.size(), Status::ok);
  std::vector<Open> left = ask_cache(references, items, out);
  GH_CHECK(ask_index(references, items, left, out.index));
  out.counters.processed = out.counters.ok + left.size();
  Hasher hasher(references.bank);
  Finding finding;  // reason, package, version and what was expected, of one after the other
  for (const Open& open : left) {
    const ImaItem& item = items[open.at];
    const bool same_name = open.is_known() && open.known == item.name;
    const bool good = is_good(item, open.known, name(references.bank));
    const bool too_old = references.view != nullptr && item.kind == ImaItem::Kind::file && may_be_too_old(references, item);
    if (good && !references.rules.may_refuse() && !too_old) {
      ++out.counters.ok;
      continue;
    }
    finding.reason.clear();
    finding.package.clear();
    finding.version.clear();
    finding.expected.clear();
    Status status = Status::unknown;
    if (!item.contradiction().empty()) {
      status = Status::failed;
      finding.reason = item.contradiction();
    } else if (item.kind == ImaItem::Kind::violation) {
      ++out.counters.violations;
      finding.reason = violation_reason;
    } else if (item.kind == ImaItem::Kind::buffer) {
      finding.reason = "a measured buffer without a rule";
    } else if (good) {
      status = Status::ok;
    } else if (references.view == nullptr) {
      finding.reason = "no reference store was given";
    } else if (item.verity) {
      finding.reason = "an fs-verity digest: references are of the content";
    } else if (open.is_known()) {
      // A known T under another name, or as another algorithm's, is a lie (design §6.7); in a raw list it can't happen.
      status = Status::failed;
      finding.reason = same_name ? "the template hash is that of another algorithm" : "the template hash is that of another path";
    } else if (open.unknown) {
      finding.reason = *open.unknown;
    } else {
      GH_TRY(status, judge_by_path(references, item, hasher, finding));
    }
    if (status != Status::ok && !open.unknown && has_zero_digest(hasher, item))
      out.zero_digests.push_back({item.index, references.files.violation(item.name, references.rules.violation())});
    else if (status == Status::unknown && open.cacheable && !open.unknown && !open.is_known() && finding.package.empty())
      references.cache->insert_miss(item.template_hash, item.name, item.algorithm,
                                    finding.reason == no_reference ? no_reference : no_reference_in_algorithm);
    const bool of_references = status == Status::ok;
    references.rules.judge(item, status, finding);
    references.files.judge(item, status, finding);
    if (of_references && status == Status::ok && too_old) GH_CHECK(judge_age(references, item, hasher, status, finding, out));
    count(out.counters, status);
    out.statuses[open.at] = status;
    if (status != Status::ok) keep(out.findings, item, status, finding);
  }
  out.findings.shrink();
  return out;
}

}  // namespace gatehouse::pipeline
