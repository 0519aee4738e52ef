#include "server/policy/combine.h"

#include <algorithm>
#include <vector>

namespace gatehouse::server::policy {
namespace {

// Order of the enumerators is the wire's; these are the orders of the rules.
int strictness(Recommendation r) {
  constexpr int order[] = {0, 2, 1, -1};  // allow < isolate < block; none is neutral
  return order[std::size_t(r)];
}
int badness(Evaluation e) { return e == Evaluation::unknown ? -1 : int(e); }

}  // namespace

Recommendation recommendation_of(const WorkItem& item, Evaluation evaluation) {
  switch (evaluation) {
    case Evaluation::compliant:
      return Recommendation::allow;
    case Evaluation::minor:
    case Evaluation::major:
      return item.grace_until ? Recommendation::allow : item.on_fail;
    case Evaluation::error:
    case Evaluation::unknown:
      break;
  }
  return item.on_noresult;
}

Recommendation update(Recommendation old, Recommendation item) {
  return strictness(item) > strictness(old) ? item : old;
}
Evaluation update(Evaluation old, Evaluation item) { return badness(item) > badness(old) ? item : old; }
Assessment update(Assessment old, Assessment item) {
  return {update(old.recommendation, item.recommendation), update(old.evaluation, item.evaluation)};
}

Assessment combine(Combine policy, std::span<const ValidatorResult> validators, Recommendation on_error) {
  // A failure of ours and missing evidence are never neutral, whatever the validator says of itself.
  const auto counted = [&](const ValidatorResult& v) -> Assessment {
    if (v.failed) return {on_error, Evaluation::error};
    if (v.required && !v.evidence) return {Recommendation::block, Evaluation::unknown};
    return v.assessment;
  };
  const auto missing = [](const ValidatorResult& v) { return !v.failed && v.required && !v.evidence; };
  const auto silent = [](const ValidatorResult& v) { return v.idle && !v.failed && !v.required; };
  if (validators.empty()) return {};

  if (policy == Combine::all) {
    Assessment out = counted(validators.front());
    for (const ValidatorResult& v : validators) {
      const Assessment a = counted(v);
      if (a.recommendation != out.recommendation) out.recommendation = Recommendation::none;
      if (a.evaluation != out.evaluation) out.evaluation = Evaluation::unknown;
    }
    return out;
  }
  Assessment out;
  if (policy == Combine::any) {
    // An allow for want of work would open the network to everybody.
    const bool all_silent = std::all_of(validators.begin(), validators.end(), silent);
    for (const ValidatorResult& v : validators) {
      if (silent(v) && !all_silent) continue;
      const Assessment a = counted(v);
      const bool first_r = strictness(out.recommendation) < 0, first_e = badness(out.evaluation) < 0;
      if (strictness(a.recommendation) >= 0 &&
          (first_r || strictness(a.recommendation) < strictness(out.recommendation)))
        out.recommendation = a.recommendation;
      if (badness(a.evaluation) >= 0 && (first_e || badness(a.evaluation) < badness(out.evaluation)))
        out.evaluation = a.evaluation;
    }
    return out;
  }
  for (const ValidatorResult& v : validators) out = update(out, counted(v));
  if (out.evaluation == Evaluation::compliant && std::any_of(validators.begin(), validators.end(), missing))
    out.evaluation = Evaluation::unknown;
  return out;
}

}  // namespace gatehouse::server::policy
