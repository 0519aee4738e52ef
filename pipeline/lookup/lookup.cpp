#include "pipeline/lookup/lookup.h"

#include <algorithm>
#include <cstring>

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

Finding finding_for(const ImaItem& item, Status status, std::string_view reason, HashAlgorithm bank) {
  Finding f;
  f.component = "ima";
  f.entry = item.index;
  f.pcr = item.pcr;
  f.path = item.name;
  f.status = status;
  f.reason = reason;
  if (item.kind != ImaItem::Kind::violation && item.template_hash.size != 0)
    f.measured_template = std::string(name(bank)) + ":" + item.template_hash.hex();
  if (item.file_digest.size != 0) f.measured_file = std::string(item.algorithm) + ":" + item.file_digest.hex();
  return f;
}

constexpr std::string_view no_reference = "no reference of this path";
constexpr std::string_view no_reference_in_algorithm = "no reference of this path in the entry's algorithm";

bool prefix_of(std::string_view prefix, std::string_view path) {
  return path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/';
}

// The path query: what tells ok, differ and unknown apart when the index has no answer.
Result<Status> judge_by_path(const References& references, const ImaItem& item, Hasher& hasher, Finding& finding) {
  if (item.file_digest.size == 0 && !item.on_wire) {
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
    const bool equal_content = item.file_digest.size != 0 ? item.file_digest == *digest
                                                           : template_hash(hasher, item, digest->view()) == item.template_hash;
    if (equal_content) return Status::ok;
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
  if (!item.on_wire || item.kind != ImaItem::Kind::file) return false;
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

// What the index and the cache say of the batch's entries: one question for all of them.
struct Answers {
  std::vector<std::optional<std::string_view>> known;    // items[i]: the name for which its template hash is known
  std::vector<std::optional<std::string_view>> unknown;  // items[i]: the reason why it is unknown, from the cache
  std::vector<bool> cacheable;                           // items[i]: a miss may go into the cache
  IndexAnswers counted{};
};

Result<Answers> ask_index(const References& references, const std::vector<ImaItem>& items) {
  Answers out;
  out.known.resize(items.size());
  out.unknown.resize(items.size());
  out.cacheable.resize(items.size());
  if (references.view == nullptr) return out;
  const std::string_view bank_name = name(references.bank);
  std::vector<Digest> keys;
  std::vector<std::size_t> asked;
  // As far ahead as a line takes to come.
  constexpr std::size_t ahead = 12;
  for (std::size_t i = 0; references.cache && i < std::min(ahead, items.size()); ++i)
    references.cache->prefetch_hit(items[i].template_hash);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const ImaItem& item = items[i];
    if (references.cache && i + ahead < items.size()) references.cache->prefetch_hit(items[i + ahead].template_hash);
    if (item.kind != ImaItem::Kind::file || item.verity || !item.contradiction.empty()) continue;
    // Over the wire the algorithm is no more than a word beside the hash: with another word a known T is asked for, too.
    if (!item.on_wire && (!item.plain_ng || item.algorithm != bank_name)) continue;
    if (references.cache) {
      if ((out.known[i] = references.cache->find_hit(item.template_hash))) {
        __builtin_prefetch(out.known[i]->data());  // it is compared once all have been asked for
        ++out.counted.cached_hits;
        continue;
      }
      // A miss depends on the operator's symlinks, which aren't part of the cache's key.
      out.cacheable[i] = references.symlinks.empty();
      if (out.cacheable[i] && (out.unknown[i] = references.cache->find_miss(item.template_hash, item.name, item.algorithm))) {
        ++out.counted.cached_misses;
        continue;
      }
    }
    keys.push_back(item.template_hash);
    asked.push_back(i);
  }
  out.counted.store_lookups = keys.size();
  if (keys.empty()) return out;
  std::vector<refdb::TemplateHit> hits(keys.size());
  GH_CHECK(references.view->find_templates(references.product, references.bank, keys, hits));
  for (std::size_t n = 0; n < asked.size(); ++n) {
    if (!hits[n].found) continue;
    out.known[asked[n]] = hits[n].name;
    if (references.cache) references.cache->insert_hit(keys[n], hits[n].name);
  }
  return out;
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
  GH_TRY(const Answers answers, ask_index(references, items));
  Judged out;
  out.index = answers.counted;
  out.statuses.reserve(items.size());
  Hasher hasher(references.bank);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const ImaItem& item = items[i];
    if (item.kind == ImaItem::Kind::aggregate) {
      out.statuses.push_back(Status::absent);
      continue;
    }
    ++out.counters.processed;
    // T binds path and content: known for the claimed name it is ok, and there is nothing more to say.
    const bool same_name = answers.known[i] && *answers.known[i] == item.name;
    const bool good = same_name && item.plain_ng && item.algorithm == name(references.bank);
    if (good && !references.rules.may_refuse()) {
      out.statuses.push_back(Status::ok);
      ++out.counters.ok;
      continue;
    }
    Finding finding = finding_for(item, Status::unknown, {}, references.bank);
    Status status = Status::unknown;
    if (!item.contradiction.empty()) {
      status = Status::failed;
      finding.reason = item.contradiction;
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
    } else if (answers.known[i]) {
      // A known T under another name, or as another algorithm's, is a lie (design §6.7); in a raw list it can't happen.
      status = Status::failed;
      finding.reason = same_name ? "the template hash is that of another algorithm" : "the template hash is that of another path";
    } else if (answers.unknown[i]) {
      finding.reason = *answers.unknown[i];
    } else {
      GH_TRY(status, judge_by_path(references, item, hasher, finding));
    }
    if (status != Status::ok && !answers.unknown[i] && has_zero_digest(hasher, item))
      out.zero_digests.push_back(item.index);
    else if (status == Status::unknown && answers.cacheable[i] && !answers.unknown[i] && !answers.known[i] && finding.package.empty())
      references.cache->insert_miss(item.template_hash, item.name, item.algorithm,
                                    finding.reason == no_reference ? no_reference : no_reference_in_algorithm);
    references.rules.judge(item, status, finding);
    count(out.counters, status);
    out.statuses.push_back(status);
    if (status == Status::ok) continue;
    finding.status = status;
    if (status != Status::differ) finding.expected.clear();
    out.findings.push_back(std::move(finding));
  }
  return out;
}

}  // namespace gatehouse::pipeline
