#include "server/policy/work_items.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/pattern.h"

namespace gatehouse::server::policy {
namespace {

constexpr unsigned unreached = ~0U;
constexpr unsigned everybody = max_group_depth + 1;

bool one_of(const std::vector<std::string>& patterns, std::string_view text) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return pattern_matches(p, text); });
}

bool named_member(const Group& group, const DeviceFacts& device) {
  if (!device.device.empty() &&
      std::find(group.devices.begin(), group.devices.end(), device.device) != group.devices.end())
    return true;
  if (!device.product.empty() && one_of(group.products, device.product)) return true;
  return std::any_of(group.identities.begin(), group.identities.end(),
                     [&](const auto& p) { return p.matches(device.identity_type, device.identity); }) ||
         std::any_of(group.certificates.begin(), group.certificates.end(), [&](const auto& p) {
           return p.matches(device.identity_type, device.identity, device.certificate);
         });
}

// Indices of the groups that name the device, by what is authenticated and, so far, by what it claims; else those of
// the devices that no group names.
std::vector<std::size_t> memberships(const Policy& policy, const DeviceFacts& device) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < policy.groups.size(); ++i)
    if (named_member(policy.groups[i], device)) out.push_back(i);
  if (!out.empty()) return out;
  const auto fallback = [&](auto&& fits) {
    for (std::size_t i = 0; i < policy.groups.size(); ++i)
      if (fits(policy.groups[i])) {
        out.push_back(i);
        return true;
      }
    return false;
  };
  if (device.product.empty() || !fallback([&](const Group& g) { return one_of(g.product_fallback, device.product); }))
    fallback([](const Group& g) { return g.fallback; });
  return out;
}

// Groups that a device of which nothing is authenticated may belong to. An identity is authenticated or isn't, so a
// group by identities alone is none of them.
bool possible(const Group& g) {
  return g.everyone || g.fallback || !g.devices.empty() || !g.products.empty() || !g.product_fallback.empty();
}

// Steps up from the nearest of `starts`, for each group. A group of everybody is farther away than any above these.
// Those that don't count now aren't reached, whatever is above them.
std::vector<unsigned> reach(const Policy& policy, const std::vector<std::size_t>& starts, std::int64_t now) {
  std::vector<unsigned> steps(policy.groups.size(), unreached);
  for (const std::size_t start : starts) {
    unsigned step = 0;
    for (std::optional<std::size_t> at = start; at && steps[*at] > step; at = policy.groups[*at].parent)
      steps[*at] = step++;
  }
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (policy.groups[i].everyone) steps[i] = std::min(steps[i], everybody);
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (!policy.groups[i].counts(now)) steps[i] = unreached;
  return steps;
}

// One conversation a session, whatever it is asked for.
bool single(Type type) { return type == Type::tpmra || type == Type::swidt; }

std::string in_order(std::string_view order, auto&& wanted) {
  std::string out;
  for (const char letter : order)
    if (wanted(letter)) out += letter;
  return out;
}

std::string merged_letters(Type type, std::string_view a, std::string_view b) {
  const auto has = [](std::string_view letters, char c) { return letters.find(c) != letters.npos; };
  if (type == Type::tpmra) return in_order("BIT", [&](char c) { return has(a, c) || has(b, c); });
  const bool subscribe = has(a, 'S') || has(b, 'S');
  return in_order("RSCT", [&](char c) {
    if (c == 'R') return has(a, c) && has(b, c);
    if (c == 'T') return has(a, c) || has(b, c);
    return c == 'S' ? subscribe : !subscribe && (has(a, c) || has(b, c));
  });
}

std::string spaced(std::string_view letters) {
  std::string out;
  for (const char letter : letters) {
    if (!out.empty()) out += ' ';
    out += letter;
  }
  return out;
}

struct Gathered {
  WorkItem item;
  unsigned steps = 0;
};
using Gathering = std::map<std::pair<Type, std::string>, Gathered>;

void gather(Gathering& all, const Enforcement& e, std::string_view group, unsigned steps) {
  const auto key = std::pair(e.type, single(e.type) ? std::string() : e.argument_text);
  const auto [at, first] = all.try_emplace(key);
  Gathered& g = at->second;
  WorkItem& item = g.item;
  if (first) {
    item.type = e.type;
    item.letters = e.argument.letters;
    item.ports = &e.argument.ports;
    item.path = e.argument.path;
    item.packages = &e.argument.packages;
    item.argument = e.argument_text;
    item.max_age = e.max_age;
  } else {
    item.max_age = std::min(item.max_age, e.max_age);
    if (single(e.type)) {
      item.letters = merged_letters(e.type, item.letters, e.argument.letters);
      item.argument = spaced(item.letters);
    }
  }
  const auto add = [](auto& all_rules, const auto& rules) {
    if (rules == nullptr) return;
    const auto place =
        std::find_if(all_rules.begin(), all_rules.end(), [&](const auto& r) { return r->name >= rules->name; });
    if (place == all_rules.end() || *place != rules) all_rules.insert(place, rules);
  };
  add(item.rules, e.rules);
  add(item.software, e.software);
  if (first || steps < g.steps) {
    g.steps = steps;
    item.on_fail = e.on_fail;
    item.on_noresult = e.on_noresult;
    item.grace = e.grace;
    item.group = group;
  } else if (steps == g.steps) {
    item.on_fail = stricter(item.on_fail, e.on_fail);
    item.on_noresult = stricter(item.on_noresult, e.on_noresult);
    item.grace = std::min(item.grace, e.grace);
  }
}

bool same_device(const DeviceFacts& now, const PastResult& then) {
  if (!now.ak.empty() && now.ak == then.ak) return true;
  return !now.identity.empty() && now.identity == then.identity && now.identity_type == then.identity_type;
}

std::int64_t milliseconds(std::chrono::seconds span) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(span).count();
}

// How long what isn't compliant is let in all the same.
std::optional<std::int64_t> grace_end(const WorkItem& item, const DeviceFacts& device, const std::optional<PastResult>& past) {
  if (item.grace.count() == 0) return std::nullopt;
  // A time in the future comes of a clock that was set back.
  const std::int64_t since = std::min(device.now, past && past->failing_since ? *past->failing_since : device.now);
  const std::int64_t until = since + milliseconds(item.grace);
  return device.now < until ? std::optional(until) : std::nullopt;
}

bool may_skip(const WorkItem& item, const DeviceFacts& device, const std::optional<PastResult>& past) {
  if (device.standing != Standing::authenticated || item.max_age.count() == 0) return false;
  // What is let in for a while only is looked at each time.
  if (past && past->failing_since && item.grace.count() != 0) return false;
  if (!past || past->recommendation != Recommendation::allow || !same_device(device, *past)) return false;
  const std::int64_t max_age = milliseconds(item.max_age);
  // A result from the future comes of a clock that was set back: its age isn't known.
  if (past->when > device.now || device.now - past->when >= max_age) return false;
  return item.type != Type::tpmra || (device.last_boot && *device.last_boot < past->when);
}

}  // namespace

std::string WorkItem::key() const {
  std::string out(name(type));
  if (!argument.empty()) out += ' ' + argument;
  for (const pipeline::EvidenceRulesPtr& one : rules) out += (&one == &rules.front() ? " rules " : "+") + one->version;
  for (const SoftwareRulesPtr& one : software) out += (&one == &software.front() ? " rules " : "+") + one->version;
  return out;
}

Plan work_items(const Policy& policy, const DeviceFacts& device, const History& history) {
  Plan plan;
  std::vector<std::size_t> starts = memberships(policy, device);
  std::vector<unsigned> steps = reach(policy, starts, device.now);
  for (std::size_t i = 0; i < policy.groups.size(); ++i) {
    if (steps[i] == unreached) continue;
    for (const Enforcement& e : policy.groups[i].ask)
      if (e.type == Type::deny) {
        plan.denied = true;
        plan.denied_by = policy.groups[i].name;
        return plan;
      }
  }

  const bool unknown = device.standing == Standing::unknown;
  bool no_group = std::all_of(steps.begin(), steps.end(), [](unsigned step) { return step == unreached; });
  if (unknown) {
    no_group = true;  // unless every device is in some group
    for (std::size_t i = 0; i < policy.groups.size(); ++i) {
      if (possible(policy.groups[i])) starts.push_back(i);
      if ((policy.groups[i].everyone || policy.groups[i].fallback) && policy.groups[i].counts(device.now)) no_group = false;
    }
    steps = reach(policy, starts, device.now);
    // It could stand at any distance: of several recommendations the stricter.
    for (unsigned& step : steps) step = step == unreached ? unreached : 0;
  }

  Gathering all;
  for (std::size_t i = 0; i < policy.groups.size(); ++i) {
    if (steps[i] == unreached) continue;
    for (const Enforcement& e : policy.groups[i].ask)
      if (e.type != Type::deny) gather(all, e, policy.groups[i].name, steps[i]);
  }
  const bool proof_missing = [&] {
    const auto at = all.find({Type::tpmra, std::string()});
    return at == all.end() || at->second.item.letters.find_first_of("BI") == std::string::npos;
  }();
  if (no_group || (device.standing == Standing::claimed && proof_missing))
    for (const Enforcement& e : policy.ungrouped) gather(all, e, {}, unknown ? 0 : unreached - 1);

  std::uint32_t id = 0;
  for (auto& [key, gathered] : all) {
    WorkItem& item = gathered.item;
    std::optional<PastResult> past;
    const bool may_be_skipped = device.standing == Standing::authenticated && item.max_age.count() != 0;
    if (history && (may_be_skipped || (!unknown && item.grace.count() != 0))) past = history(item.key());
    if (!unknown) item.grace_until = grace_end(item, device, past);
    if (may_skip(item, device, past)) {
      plan.skipped.push_back(std::move(item));
    } else {
      item.id = ++id;
      plan.items.push_back(std::move(item));
    }
  }
  return plan;
}

std::vector<std::string> groups_of(const Policy& policy, const DeviceFacts& device) {
  const std::vector<unsigned> steps = reach(policy, memberships(policy, device), device.now);
  std::vector<std::size_t> held;
  for (std::size_t i = 0; i < steps.size(); ++i)
    if (steps[i] != unreached) held.push_back(i);
  std::stable_sort(held.begin(), held.end(), [&](std::size_t a, std::size_t b) { return steps[a] < steps[b]; });
  std::vector<std::string> out;
  out.reserve(held.size());
  for (const std::size_t i : held) out.push_back(policy.groups[i].name);
  return out;
}

}  // namespace gatehouse::server::policy
