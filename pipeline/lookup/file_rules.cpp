#include "pipeline/lookup/file_rules.h"

#include <algorithm>

#include "base/pattern.h"
#include "pipeline/lookup/lookup.h"

namespace gatehouse::pipeline {
namespace {

bool one_of(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return pattern_matches(p, text); });
}

// A kernel that can't tell the path writes a bare name, which may be that of any file.
bool bare(std::string_view path) { return !path.starts_with('/'); }

std::string with_rules(std::string_view reason, std::string_view what, const EvidenceRules& rules) {
  std::string out(reason);
  if (!out.empty()) out += ": ";
  return ((out += what) += " (rules \"") + rules.name + "\")";
}

}  // namespace

FileRuleChecks::FileRuleChecks(std::vector<EvidenceRulesPtr> rules, std::int64_t now_ms)
    : rules_(std::move(rules)), now_(now_ms / 1000) {
  std::erase_if(rules_, [](const EvidenceRulesPtr& r) { return r->files.empty(); });
}

// Each set of rules has one opinion, that of its first rule which fits and says something; the strictest counts.
template <class Says>
FileRuleChecks::Verdict FileRuleChecks::strictest(const Asked& asked, Says says) const {
  Verdict out;
  for (const EvidenceRulesPtr& rules : rules_)
    for (const FileRule& rule : rules->files) {
      const Treatment said = says(rule);
      if (said == Treatment::unsaid) continue;
      const bool for_some = !rule.paths.empty() || !rule.packages.empty();
      if (for_some && said != Treatment::refused && (!asked.proved || bare(asked.path))) continue;
      if (!rule.paths.empty() && !bare(asked.path) && !one_of(rule.paths, asked.path)) continue;
      if (!rule.packages.empty() && (asked.package.empty() || !one_of(rule.packages, asked.package))) continue;
      if (said > out.treatment) out = {said, rules.get()};
      break;
    }
  return out;
}

bool FileRuleChecks::asks_superseded(std::string_view path) const {
  for (const EvidenceRulesPtr& rules : rules_)
    for (const FileRule& rule : rules->files)
      if (rule.superseded != Treatment::unsaid && rule.superseded != Treatment::accepted &&
          (rule.paths.empty() || one_of(rule.paths, path)))
        return true;
  return false;
}

FileRuleChecks::Verdict FileRuleChecks::superseded(std::string_view path, const Age& age) const {
  // The template hash or the content was held against references of this name.
  return strictest({path, age.package, true}, [&](const FileRule& rule) {
    if (rule.superseded != Treatment::refused) return rule.superseded;
    return now_ - age.since >= rule.superseded_after ? Treatment::refused : Treatment::reported;
  });
}

Status FileRuleChecks::violation(std::string_view claimed, Status status) const {
  if (status != Status::unknown) return status;
  const Verdict v = strictest({claimed, {}, false}, [](const FileRule& rule) { return rule.violated; });
  return v.treatment == Treatment::refused ? Status::failed : status;
}

void FileRuleChecks::judge(const ImaItem& item, Status& status, Finding& finding) const {
  if (rules_.empty() || !item.contradiction().empty()) return;
  if (item.kind == ImaItem::Kind::violation) {
    status = violation(item.name, status);
    return;
  }
  if (item.kind != ImaItem::Kind::file || (status != Status::unknown && status != Status::differ)) return;
  const bool differs = status == Status::differ;
  const Verdict v = strictest({item.name, finding.package, !item.on_wire()},
                              [&](const FileRule& rule) { return differs ? rule.differ : rule.unknown; });
  switch (v.treatment) {
    case Treatment::unsaid:
      return;
    case Treatment::accepted:
      status = Status::ok;
      return;
    case Treatment::reported:
      if (!differs) return;
      status = Status::unknown;
      finding.reason = with_rules(finding.reason, "only reported", *v.rules);
      return;
    case Treatment::refused:
      finding.reason = with_rules(finding.reason, differs ? "refused" : "unknown files are refused here", *v.rules);
      if (!differs) status = Status::failed;
      return;
  }
}

}  // namespace gatehouse::pipeline
