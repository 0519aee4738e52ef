#include "server/judge/software.h"

#include <algorithm>

#include "base/reader.h"

namespace gatehouse::server {
namespace {

using pipeline::Evaluation;
using Kind = policy::SoftwareRule::Kind;

constexpr std::size_t max_broken = 64;  // findings of one table of rules

bool too_old(const policy::SoftwareRules& rules, std::int64_t inventory_time, std::int64_t now) {
  if (rules.inventory_max_age.count() == 0) return false;
  const std::int64_t most = std::chrono::milliseconds(rules.inventory_max_age).count();
  // One of the future comes of a clock that was set back: its age isn't known.
  return inventory_time == 0 || inventory_time > now || now - inventory_time > most;
}

}  // namespace

Result<void> each_software(Bytes list, const std::function<void(std::string_view)>& each) {
  Reader r(list, "docs/formats/evidence.md");
  while (!r.empty()) {
    GH_TRY(const auto size, r.get<std::uint16_t>());
    GH_TRY(const Bytes identifier, r.take(size));
    each(as_text(identifier));
  }
  return {};
}

SoftwareCheck::SoftwareCheck(std::vector<policy::SoftwareRulesPtr> rules, std::string_view product)
    : scheme_(version_scheme(product)) {
  for (policy::SoftwareRulesPtr& one : rules) tallies_.emplace_back().rules = std::move(one);
  restart();
}

void SoftwareCheck::restart() {
  for (Tally& tally : tallies_) {
    const std::size_t rules = tally.rules->list.size();
    tally.met.assign(rules, false);
    tally.older.assign(rules, {});
    tally.forbidden = tally.too_old = 0;
    tally.broken.clear();
  }
}

void SoftwareCheck::judge(std::string_view identifier) {
  const policy::SoftwareName parts = policy::software_name(identifier, scheme_);
  for (Tally& tally : tallies_)
    tally.rules->fitting(identifier, parts, [&](std::size_t place) {
      const policy::SoftwareRule& rule = tally.rules->list[place];
      const bool enough = rule.new_enough(parts.version, scheme_);
      if (rule.kind == Kind::required) {
        if (enough) tally.met[place] = true;
        std::string& older = tally.older[place];
        if (!enough && (older.empty() || identifier < older)) older = identifier;
        return;
      }
      if (rule.kind == Kind::minimum && enough) return;
      ++(rule.kind == Kind::forbidden ? tally.forbidden : tally.too_old);
      tally.broken.emplace(place, identifier);
      if (tally.broken.size() > max_broken) tally.broken.erase(std::prev(tally.broken.end()));
    });
}

// One table of rules after another.
struct SoftwareJudge {
  SoftwareAnswer& out;
  std::size_t rules = 0;
  std::uint64_t missing = 0, forbidden = 0, too_old_ones = 0;
  bool fails = false, unknown = false;
  std::string why{};  // the list comes to nothing

  void add(const policy::SoftwareRules& of, std::string_view identifier, std::string reason) {
    pipeline::Finding f;
    f.component = "software";
    f.status = pipeline::Status::failed;
    f.path = identifier;
    f.reason = "rules " + of.name + ": " + std::move(reason);
    out.findings.push_back(std::move(f));
  }

  void judge(const SoftwareCheck& check, std::size_t table) { judge(check.tallies_[table]); }

  // What a list that comes to nothing is.
  void without(const policy::SoftwareRules& of, bool failing, const std::string& reason) {
    (failing ? fails : unknown) = true;
    why = reason;
    if (!failing) return;
    ++out.findings_total;
    add(of, {}, reason);
  }

  void judge(const SoftwareCheck::Tally& tally) {
    const policy::SoftwareRules& of = *tally.rules;
    forbidden += tally.forbidden;
    too_old_ones += tally.too_old;
    out.findings_total += tally.forbidden + tally.too_old;
    std::size_t told = 0;
    for (std::size_t i = 0; i < of.list.size(); ++i) {
      const policy::SoftwareRule& rule = of.list[i];
      if (rule.kind != Kind::required || tally.met[i]) continue;
      ++missing;
      ++out.findings_total;
      out.missing.push_back(rule.name.empty() ? rule.id : rule.name + (rule.at_least.empty() ? "" : " >= " + rule.at_least));
      if (told++ >= max_broken) continue;
      add(of, tally.older[i],
          (tally.older[i].empty() ? "required software isn't installed: " : "required software is too old: ") + rule.text());
    }
    for (const auto& [place, identifier] : tally.broken) {
      const policy::SoftwareRule& rule = of.list[place];
      const bool forbids = rule.kind == Kind::forbidden;
      (forbids ? out.forbidden : out.too_old).push_back(identifier);
      add(of, identifier, (forbids ? "forbidden software is installed: " : "software is too old: ") + rule.text());
    }
    if (missing + forbidden + too_old_ones != 0) fails = true;
  }
};

SoftwareAnswer judge_software(const Answer& base, const SoftwareFacts& facts,
                              const std::vector<policy::SoftwareRulesPtr>& rules, const SoftwareCheck* check,
                              std::int64_t now) {
  SoftwareAnswer out;
  out.evaluation = base.evaluation;
  out.text = base.text;
  if (rules.empty()) return out;
  SoftwareJudge judge{.out = out};
  const bool listed = facts.list == SoftwareFacts::List::whole && check != nullptr;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const policy::SoftwareRules& one = *rules[i];
    judge.rules += one.list.size();
    if (listed) judge.judge(*check, i);
    if (facts.list == SoftwareFacts::List::none)
      judge.without(one, one.missing_fails, facts.why);
    else if (!listed)
      judge.without(one, one.incomplete_fails, facts.why);
    else if (too_old(one, facts.inventory_time, now))
      judge.without(one, one.incomplete_fails, "the last whole inventory is older than allowed");
  }
  if (judge.fails)
    out.evaluation = Evaluation::minor;
  else if (judge.unknown && out.evaluation == Evaluation::compliant)
    out.evaluation = Evaluation::unknown;
  const std::uint64_t broken = judge.missing + judge.forbidden + judge.too_old_ones;
  if (listed && broken != 0)
    out.text += "; software rules: " + std::to_string(judge.missing) + " missing, " + std::to_string(judge.forbidden) +
                " forbidden, " + std::to_string(judge.too_old_ones) + " too old";
  else if (listed)
    out.text += "; " + std::to_string(judge.rules) + " software rules met";
  if (!judge.why.empty() && judge.why != base.text) out.text += "; " + judge.why;
  for (auto* const list : {&out.forbidden, &out.too_old, &out.missing}) {
    std::sort(list->begin(), list->end());
    list->erase(std::unique(list->begin(), list->end()), list->end());
  }
  return out;
}

bool too_old(const std::vector<policy::SoftwareRulesPtr>& rules, std::int64_t inventory_time, std::int64_t now) {
  return std::any_of(rules.begin(), rules.end(), [&](const auto& one) { return too_old(*one, inventory_time, now); });
}

}  // namespace gatehouse::server
