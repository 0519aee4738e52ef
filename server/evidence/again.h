// Judges kept evidence again, by the policy that it was judged by or by another one, through the evidence plane that
// judges sessions. A verdict is a pure function of what is kept, the policy and the references: by the same policy and
// generation it has the same bytes.
//
//   judge_again(kept, policy, references, pipeline, [](Result<Again> again) { ... });  // on a thread of the evidence plane
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/evidence/kept.h"

namespace gatehouse::evidence {

struct Again {
  pipeline::Verdict verdict;
  // What this policy asks for and the endpoint wasn't asked then: the verdict is without it.
  std::vector<std::string> unanswered;
};

// `attested`: what the evidence plane said of the attestation before, where the rules for it are the same
// (same_attestation()); else null. Errors: the references', or memory.
using AgainDone = std::move_only_function<void(Result<Again>)>;
void judge_again(std::shared_ptr<const Kept> kept, policy::PolicyPtr policy,
                 std::shared_ptr<const refdb::View> references, pipeline::Pipeline& pipeline,
                 const pipeline::Verdict* attested, AgainDone done);
// Waits for it. Never from a thread of the evidence plane.
Result<Again> judge_again_blocking(std::shared_ptr<const Kept> kept, policy::PolicyPtr policy,
                                   std::shared_ptr<const refdb::View> references, pipeline::Pipeline& pipeline);

// Whether both policies ask the same attestation of this device by the same rules.
bool same_attestation(const Kept& kept, const policy::Policy& a, const policy::Policy& b);

// The policy that it was judged by.
Result<policy::PolicyPtr> policy_of(const Kept& kept);

// One line for each thing in which two verdicts of a session differ: "recommendation: allow -> isolate",
// "PCKGS …: isolate, processed 2 packages: … (was: allow, …)", "check L10: failed (was: absent)".
std::vector<std::string> differences(const pipeline::Verdict& before, const pipeline::Verdict& after);

// What is recorded of a shadow policy's verdict: one JSON object with "policy", "recommendation", "evaluation",
// "differences" and "unanswered".
std::string shadow_note(const policy::Policy& shadow, const pipeline::Verdict& verdict, const Again& again);

}  // namespace gatehouse::evidence
