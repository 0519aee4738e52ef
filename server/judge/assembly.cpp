#include "server/judge/assembly.h"

#include <algorithm>

namespace gatehouse::server {
namespace {

policy::Assessment combined(std::span<const ValidatorPart> parts, const policy::Policy& policy) {
  std::vector<policy::ValidatorResult> results;
  results.reserve(parts.size());
  for (const ValidatorPart& part : parts) results.push_back(part.result);
  return policy::combine(policy.combine, results, policy.on_error);
}

pipeline::Finding of_device(std::string why) {
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = std::move(why);
  return f;
}

// "FWDEN: forwarding enabled: let in until 2026-12-03T10:00:00Z"
void warn_of_grace(pipeline::Verdict& verdict, std::span<const policy::WorkItem> asked) {
  for (const policy::WorkItem& item : asked) {
    if (!item.grace_until) continue;
    for (const pipeline::ItemResult& result : verdict.items) {
      if (result.type != policy::name(item.type) || result.argument != item.argument) continue;
      if (result.evaluation != pipeline::Evaluation::minor && result.evaluation != pipeline::Evaluation::major) continue;
      verdict.warnings.push_back(result.type + ": " + result.result + ": let in until " + policy::time_text(*item.grace_until));
    }
  }
}

bool of_log(const pipeline::Finding& f) { return f.component == "boot" || f.component == "ima"; }

}  // namespace

void add_finding(pipeline::Verdict& verdict, std::string why) {
  verdict.findings.insert(verdict.findings.begin(), of_device(std::move(why)));
  ++verdict.findings_total;
}

bool kept_out_as_unknown(const Subject& subject, std::span<const ValidatorPart> parts, const policy::Policy& policy) {
  return !subject.denied && subject.standing == policy::Standing::unknown &&
         combined(parts, policy).recommendation == pipeline::Recommendation::allow;
}

pipeline::Verdict assemble(const Subject& subject, std::span<const ValidatorPart> parts,
                           std::optional<pipeline::Verdict> attested, const policy::Policy& policy) {
  pipeline::Verdict out;
  if (attested) {
    out = *std::move(attested);
  } else {
    out.session = subject.session;
    out.device = subject.device;
    out.product = subject.product;
    out.generation = subject.generation;
  }
  policy::Assessment all = combined(parts, policy);
  for (const ValidatorPart& part : parts) {
    out.items.insert(out.items.end(), part.items.begin(), part.items.end());
    const Contribution& more = part.more;
    out.findings.insert(out.findings.begin(), more.first.begin(), more.first.end());
    out.findings.insert(std::find_if(out.findings.begin(), out.findings.end(), of_log), more.before_logs.begin(),
                        more.before_logs.end());
    out.findings_total += more.findings_total;
    out.warnings.insert(out.warnings.end(), more.warnings.begin(), more.warnings.end());
    out.claims.insert(out.claims.end(), more.claims.begin(), more.claims.end());
  }
  warn_of_grace(out, subject.asked);
  pipeline::cut_findings(out.findings);
  if (!subject.barred.empty()) {
    all.recommendation = subject.barred_to;
    add_finding(out, subject.barred);
  } else if (subject.denied) {
    all.recommendation = pipeline::Recommendation::block;
    add_finding(out, "the policy denies access to the group '" + std::string(subject.denied_by) + "'");
  } else if (subject.standing == policy::Standing::unknown && all.recommendation == pipeline::Recommendation::allow) {
    // What an unknown device can show is no reason to let it in.
    all.recommendation = policy.unknown_devices;
    add_finding(out, "the device isn't enrolled");
  } else if (subject.other_product && all.recommendation == pipeline::Recommendation::allow) {
    // Groups, references and package rules go by the recorded product.
    all.recommendation = pipeline::Recommendation::isolate;
    add_finding(out, "the endpoint claims another product than the one that is recorded");
  }
  out.recommendation = all.recommendation;
  out.evaluation = all.evaluation;
  return out;
}

pipeline::Verdict failed_attestation(const Subject& subject, std::string why) {
  pipeline::Verdict v;
  v.session = subject.session;
  v.device = subject.device;
  v.product = subject.product;
  v.generation = subject.generation;
  v.recommendation = pipeline::Recommendation::isolate;
  v.evaluation = pipeline::Evaluation::error;
  v.findings.push_back(of_device(std::move(why)));
  v.findings_total = v.findings.size();
  return v;
}

std::string attestation_result(const pipeline::Verdict& verdict) {
  std::string text = verdict.summary;
  if (verdict.evaluation == pipeline::Evaluation::error && !verdict.findings.empty())
    text += (text.empty() ? "" : "; ") + verdict.findings.front().reason;
  return text;
}

}  // namespace gatehouse::server
