#include "pipeline/lookup/lookup.h"

#include <algorithm>

#include "wire/ima/ima.h"

namespace gatehouse::pipeline {
namespace {

Digest template_hash(Hasher& hasher, const ImaItem& item, const Digest& digest) {
  Writer w;
  if (item.legacy)
    ima::append_legacy_template_data(w, digest.view(), item.name);
  else
    ima::append_ng_template_data(w, item.algorithm, digest.view(), item.name);
  return hasher(w.view());
}

Finding finding_for(const ImaItem& item, Status status, std::string_view reason, HashAlgorithm bank) {
  Finding f;
  f.component = "ima";
  f.entry = item.index;
  f.pcr = item.pcr;
  f.path = item.name;
  f.status = status;
  f.reason = reason;
  if (item.kind != ImaItem::Kind::violation)
    f.measured_template = std::string(name(bank)) + ":" + item.template_hash.hex();
  if (item.file_digest.size != 0) f.measured_file = item.algorithm + ":" + item.file_digest.hex();
  return f;
}

bool prefix_of(std::string_view prefix, std::string_view path) {
  return path.size() > prefix.size() && path.starts_with(prefix) && path[prefix.size()] == '/';
}

// The path query: what tells ok, differ and unknown apart when the index has no answer.
Result<Status> judge_by_path(const References& references, const ImaItem& item, Hasher& hasher, Finding& finding) {
  const auto algorithm = hash_algorithm(item.algorithm);
  bool any = false, all_mutable = true, other_algorithm = false;
  const refdb::Reference* named = nullptr;
  std::vector<refdb::Reference> known;
  for (const std::string& path : candidate_paths(item.name, references.symlinks)) {
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
                                                           : template_hash(hasher, item, *digest) == item.template_hash;
    if (equal_content) return Status::ok;
    any = true;
    if (!reference.is_mutable) all_mutable = false;
    if (named == nullptr || (named->is_mutable && !reference.is_mutable)) named = &reference;
    const std::string expected = item.algorithm + ":" + digest->hex();
    if (finding.expected.size() < 16 && std::find(finding.expected.begin(), finding.expected.end(), expected) == finding.expected.end())
      finding.expected.push_back(expected);
  }
  if (!any) {
    finding.reason = other_algorithm ? "no reference of this path in the entry's algorithm" : "no reference of this path";
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

Result<Judged> judge(const References& references, const ImaBatch& batch) {
  Judged out;
  const auto& items = batch.items;
  // One look-up for the whole batch in the index; what the cache knows isn't asked again.
  std::vector<std::string_view> names(items.size());
  std::vector<bool> hit(items.size());
  const bool has_store = references.view != nullptr;
  const std::string_view bank_name = name(references.bank);
  if (has_store) {
    std::vector<Digest> keys;
    std::vector<std::size_t> asked;
    for (std::size_t i = 0; i < items.size(); ++i) {
      const ImaItem& item = items[i];
      if (item.kind != ImaItem::Kind::file || !item.plain_ng || item.verity || !item.contradiction.empty() ||
          item.algorithm != bank_name)
        continue;
      if (references.cache) {
        if (const auto known = references.cache->find(item.template_hash)) {
          hit[i] = true;
          names[i] = *known;
          continue;
        }
      }
      keys.push_back(item.template_hash);
      asked.push_back(i);
    }
    if (!keys.empty()) {
      std::vector<refdb::TemplateHit> hits(keys.size());
      GH_CHECK(references.view->find_templates(references.product, references.bank, keys, hits));
      for (std::size_t n = 0; n < asked.size(); ++n) {
        if (!hits[n].found) continue;
        hit[asked[n]] = true;
        names[asked[n]] = hits[n].name;
        if (references.cache) references.cache->insert(keys[n], hits[n].name);
      }
    }
  }

  Hasher hasher(references.bank);
  for (std::size_t i = 0; i < items.size(); ++i) {
    const ImaItem& item = items[i];
    if (item.kind == ImaItem::Kind::aggregate) continue;
    ++out.counters.processed;
    Finding finding = [&] {
      if (hit[i] && names[i] == item.name) return Finding{};
      return finding_for(item, Status::unknown, {}, references.bank);
    }();
    Status status = Status::unknown;
    if (!item.contradiction.empty()) {
      status = Status::failed;
      finding.reason = item.contradiction;
    } else if (item.kind == ImaItem::Kind::violation) {
      ++out.counters.violations;
      finding.reason = "violation: the file was written while it was measured; its name is the endpoint's claim";
    } else if (item.kind == ImaItem::Kind::buffer) {
      finding.reason = "a measured buffer without a rule";
    } else if (!has_store) {
      finding.reason = "no reference store was given";
    } else if (item.verity) {
      finding.reason = "an fs-verity digest: references are of the content";
    } else if (hit[i]) {
      // T binds the name: a known T under another name is a lie (design §6.7). In a raw list it can't happen.
      status = names[i] == item.name ? Status::ok : Status::failed;
      if (status == Status::failed) finding.reason = "the template hash is that of another path";
    } else {
      GH_TRY(status, judge_by_path(references, item, hasher, finding));
    }
    switch (status) {
      case Status::ok: ++out.counters.ok; break;
      case Status::differ: ++out.counters.differ; break;
      case Status::failed: ++out.counters.failed; break;
      case Status::unknown:
      case Status::absent: ++out.counters.unknown; break;
    }
    if (status == Status::ok) continue;
    finding.status = status;
    if (status != Status::differ) finding.expected.clear();
    out.findings.push_back(std::move(finding));
  }
  return out;
}

}  // namespace gatehouse::pipeline
