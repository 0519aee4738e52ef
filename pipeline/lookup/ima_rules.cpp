#include "pipeline/lookup/ima_rules.h"

#include <algorithm>

#include "base/pattern.h"
#include "pipeline/lookup/lookup.h"
#include "wire/ima/signature.h"

namespace gatehouse::pipeline {
namespace {

bool one_of(const std::vector<std::string>& patterns, std::string_view path) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return pattern_matches(p, path); });
}

// A kernel that can't tell the path writes a bare name, which may be that of any file.
bool required(const ImaRules& rules, std::string_view path) {
  if (rules.require_signature.empty()) return false;
  return !path.starts_with('/') || one_of(rules.require_signature, path);
}

bool holds(const DigestSet& set, const Digest& digest) { return std::binary_search(set.begin(), set.end(), digest); }

bool verifies(const PublicKey& key, const ima::Signature& signature, Bytes digest) {
  const SignatureScheme scheme = key.type() == KeyType::rsa ? SignatureScheme::rsassa : SignatureScheme::ecdsa;
  if (signature.verity)
    return key.verify(scheme, *signature.hash, ima::verity_file_id(*signature.hash, digest), signature.value);
  return key.verify_digest(scheme, *signature.hash, digest, signature.value);
}

}  // namespace

ImaRuleChecks::ImaRuleChecks(std::vector<EvidenceRulesPtr> rules, std::shared_ptr<SignatureCache> cache)
    : rules_(std::move(rules)), cache_(std::move(cache)) {
  wants_signatures_ = std::any_of(rules_.begin(), rules_.end(), [](const EvidenceRulesPtr& r) {
    return !r->ima.signature_keys.empty() || !r->ima.require_signature.empty();
  });
  may_refuse_ = std::any_of(rules_.begin(), rules_.end(),
                            [](const EvidenceRulesPtr& r) { return !r->ima.require_signature.empty(); });
}

Status ImaRuleChecks::violation() const {
  const bool refused =
      std::any_of(rules_.begin(), rules_.end(), [](const EvidenceRulesPtr& r) { return r->ima.refuse_violations; });
  return refused ? Status::failed : Status::unknown;
}

std::string_view ImaRuleChecks::why_unsigned(const ImaItem& item) const {
  const ListFields* const fields = item.fields;
  if (fields == nullptr) return "it has none";
  if (fields->signature_beyond) return "beyond the signed entries of a list that are verified";
  if (fields->signature.empty()) return "it has none";
  const auto signature = ima::parse_signature(fields->signature);
  if (!signature) return "its signature can't be read";
  const auto algorithm = hash_algorithm(item.algorithm);
  if (!signature->hash || !algorithm) return "its signature is over an algorithm that isn't known";
  if (signature->verity != item.verity || *signature->hash != *algorithm ||
      fields->file_digest.size != digest_size(*algorithm))
    return "its signature isn't over the entry's digest";
  if (*algorithm == HashAlgorithm::sha1) return "its signature is over SHA-1";
  bool known = false, in_scope = false;
  for (const EvidenceRulesPtr& rules : rules_)
    for (const SignatureKey& key : rules->ima.signature_keys) {
      if (key.id != signature->key_id) continue;
      known = true;
      if (!key.paths.empty() && !one_of(key.paths, item.name)) continue;
      in_scope = true;
      Hasher hasher(HashAlgorithm::sha256);
      const Bytes parts[] = {as_bytes(key.key.pin()), fields->file_digest.view(), fields->signature};
      const Digest place = hasher(parts);
      if (cache_ && cache_->knows(place)) return {};
      if (!verifies(key.key, *signature, fields->file_digest.view())) continue;
      if (cache_) cache_->insert(place);
      return {};
    }
  if (!known) return "its signature is by a key that isn't among the rules' keys";
  return in_scope ? "its signature doesn't verify" : "its signature is by a key that doesn't count for this path";
}

void ImaRuleChecks::judge(const ImaItem& item, Status& status, Finding& finding) const {
  if (rules_.empty() || !item.contradiction().empty()) return;
  const auto refuse = [&](const EvidenceRules& rules, std::string why) {
    status = Status::failed;
    finding.reason = std::move(why) + " (rules \"" + rules.name + "\")";
  };
  if (item.kind == ImaItem::Kind::violation) {
    status = violation();
    return;
  }
  if (item.kind == ImaItem::Kind::buffer) {
    if (!hash_algorithm(item.algorithm)) return;  // its digest wasn't compared with its content
    for (const EvidenceRulesPtr& rules : rules_) {
      const auto named = rules->ima.buffers.find(item.name);
      if (named == rules->ima.buffers.end() || !holds(named->second, Digest(item.file_digest()))) continue;
      status = Status::ok;
      return;
    }
    for (const EvidenceRulesPtr& rules : rules_)
      if (rules->ima.refuse_other_buffers) return refuse(*rules, "a measured buffer that isn't listed");
    return;
  }
  const auto demands = std::find_if(rules_.begin(), rules_.end(),
                                    [&](const EvidenceRulesPtr& r) { return required(r->ima, item.name); });
  if (demands == rules_.end() && (status != Status::unknown || !wants_signatures_)) return;
  const std::string_view why = why_unsigned(item);
  if (demands != rules_.end() && !why.empty())
    return refuse(**demands, "a file that has to be signed: " + std::string(why));
  if (why.empty() && status == Status::unknown) status = Status::ok;
}

}  // namespace gatehouse::pipeline
