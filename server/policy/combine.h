// From results of work items to the access decision (spec part 2 §9.3, part 1a §4.9): pure functions.
#pragma once

#include <span>

#include "server/policy/policy.h"
#include "server/policy/work_items.h"

namespace gatehouse::server::policy {

struct Assessment {
  Recommendation recommendation = Recommendation::none;
  Evaluation evaluation = Evaluation::unknown;
  friend bool operator==(const Assessment&, const Assessment&) = default;
};

// What a finished item means: compliant allows, minor and major are its on_fail, or allow within its grace period, error
// and unknown its on_noresult.
Recommendation recommendation_of(const WorkItem& item, Evaluation evaluation);

// One validator's recommendation after one more item: none takes the new value, allow < isolate < block take the worse.
Recommendation update(Recommendation old, Recommendation item);
// Unknown takes the new value, compliant < minor < major < error take the worse, and unknown replaces nothing.
Evaluation update(Evaluation old, Evaluation item);
Assessment update(Assessment old, Assessment item);

// One validator's part in the decision.
struct ValidatorResult {
  Assessment assessment;
  bool idle = false;      // it had no work item: its allow says nothing
  bool required = false;  // policy demands its evidence
  bool evidence = true;   // it got some
  bool failed = false;    // a failure of ours
};

// What all validators together say. `default`: the strictest recommendation and the worst evaluation, none and unknown
// neutral. `any`: the most permissive and the best, of the validators that had work (of all where none had). `all`:
// what all agree on, else none and unknown. A validator that failed counts as `on_error` and error; a required one
// without evidence as block and unknown, which then isn't neutral: with `default` the evaluation is unknown or worse
// than compliant. Without validators: none and unknown.
Assessment combine(Combine policy, std::span<const ValidatorResult> validators, Recommendation on_error);

}  // namespace gatehouse::server::policy
