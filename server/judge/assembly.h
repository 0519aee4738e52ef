// From what each validator came to, to the verdict object: a pure function, so that evidence which is judged again gives
// the same bytes.
//
//   pipeline::Verdict verdict = assemble(subject, parts, attested, policy);
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/verdict/verdict.h"
#include "server/policy/combine.h"

namespace gatehouse::server {

// What a validator adds to the verdict object besides its items.
struct Contribution {
  std::vector<pipeline::Finding> first;        // before all other findings
  std::vector<pipeline::Finding> before_logs;  // behind those of the quote and the device
  std::uint64_t findings_total = 0;            // of both, those that weren't kept included
  std::vector<std::string> warnings, claims;
};

// One validator's part, in the order of server/session/imvs.cpp.
struct ValidatorPart {
  policy::ValidatorResult result;
  std::vector<pipeline::ItemResult> items;
  Contribution more;
};

// Whom the verdict is of, and what is held against it whatever was measured.
struct Subject {
  std::string session, device, product;
  std::optional<std::uint64_t> generation;
  policy::Standing standing = policy::Standing::unknown;
  bool other_product = false;  // it claims another one than its record has
  bool denied = false;
  std::string_view denied_by;  // group
  // The device's own state keeps it out, whatever was measured: why, and what it gets. Empty: it doesn't.
  std::string barred{};
  pipeline::Recommendation barred_to = pipeline::Recommendation::isolate;
  std::span<const policy::WorkItem> asked{};  // of the plan: what is let in for a while only is named in the warnings
};

// `attested`: of the evidence plane, or the one that stands for it; nullopt: no attestation was asked for.
pipeline::Verdict assemble(const Subject& subject, std::span<const ValidatorPart> parts,
                           std::optional<pipeline::Verdict> attested, const policy::Policy& policy);
// All that keeps the endpoint out is that it isn't enrolled.
bool kept_out_as_unknown(const Subject& subject, std::span<const ValidatorPart> parts, const policy::Policy& policy);

// In front of the others.
void add_finding(pipeline::Verdict& verdict, std::string why);

// In the place of a verdict where the evidence plane gave none: never allow.
pipeline::Verdict failed_attestation(const Subject& subject, std::string why);
// The result of TPMRA, as operators' scripts read it.
std::string attestation_result(const pipeline::Verdict& verdict);

}  // namespace gatehouse::server
