#include "server/results/ear.h"

#include <boost/json.hpp>

#include <algorithm>
#include <ctime>
#include <optional>

#include "base/hex.h"
#include "pipeline/verdict/verdict.h"
#include "server/results/record.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;
constexpr std::string_view document = "docs/formats/control.md";
using pipeline::Recommendation;
using pipeline::Status;

// AR4SI (draft-ietf-rats-ar4si-09) section 3.2: a claim's value is in the tier of its absolute value.
enum class Tier { none, affirming, warning, contraindicated };
std::string_view name(Tier tier) {
  switch (tier) {
    case Tier::none: return "none";
    case Tier::affirming: return "affirming";
    case Tier::warning: return "warning";
    case Tier::contraindicated: return "contraindicated";
  }
  return "none";
}

// Section 2.3 of it, as far as we say them.
constexpr int crypto_failed = 99, unrecognized = 97, contraindicated = 96, unsafe = 32, unrecognized_executables = 33, approved = 2, approved_boot = 3;

Tier tier_of(int value) { return value == 0 ? Tier::none : value < 32 ? Tier::affirming : value < 96 ? Tier::warning : Tier::contraindicated; }

Tier tier_of(Recommendation recommendation) {
  switch (recommendation) {
    case Recommendation::allow: return Tier::affirming;
    case Recommendation::isolate: return Tier::warning;
    case Recommendation::block: return Tier::contraindicated;
    case Recommendation::none: return Tier::none;
  }
  return Tier::none;
}

struct Vector {
  std::optional<int> instance_identity, configuration, executables, hardware;  // nullopt: no claim
};

Status check(const pipeline::Verdict& v, const std::string& code) {
  const auto found = v.checks.find(code);
  return found == v.checks.end() ? Status::absent : found->second;
}

Vector vector_of(const pipeline::Verdict& v) {
  Vector out;
  if (v.quote.status == Status::failed) {
    // The logs aren't what a good signature covers; who has signed may be known all the same.
    const bool is_signed = check(v, "Q1") == Status::ok;
    out.instance_identity = !is_signed ? crypto_failed : check(v, "Q9") == Status::ok ? approved : unrecognized;
    if (v.boot_given) out.hardware = crypto_failed;
    if (v.ima_given) out.executables = crypto_failed;
  } else if (v.quote.status == Status::ok) {
    out.instance_identity = approved;
    // Firmware and boot loader against the baseline that the operator approved.
    if (v.boot_given) out.hardware = v.boot.failed + v.boot.differ != 0 ? contraindicated : v.boot.unknown != 0 ? unrecognized : approved;
    if (v.ima_given)
      out.executables = v.ima.failed + v.ima.differ != 0 ? contraindicated : v.ima.unknown != 0 ? unrecognized_executables : approved;
    else if (v.boot_given && out.hardware == approved)
      out.executables = approved_boot;
  }
  // What the policy asked besides the measurements: packages, settings, ports, inventories.
  for (const pipeline::ItemResult& item : v.items) {
    if (item.type == "TPMRA") continue;
    const bool good = item.recommendation == Recommendation::allow;
    out.configuration = std::max(out.configuration.value_or(0), good ? approved : unsafe);
  }
  return out;
}

void add(json::object& out, std::string_view claim, std::optional<int> value, Tier& worst) {
  if (!value) return;
  out[claim] = *value;
  worst = std::max(worst, tier_of(*value));
}

std::string text_of(const json::object& object, std::string_view name) {
  const json::value* const value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

// Since 1970, of "2026-11-24T16:31:05.123Z".
Result<std::int64_t> seconds_of(const std::string& time) {
  std::tm utc{};
  const char* const rest = ::strptime(time.c_str(), "%Y-%m-%dT%H:%M:%S", &utc);
  if (rest == nullptr || *rest != '.') return fail(Fault::malformed, "the record has no time", document);
  return std::int64_t(::timegm(&utc));
}

json::object counters(const pipeline::Counters& c) {
  return {{"processed", c.processed}, {"ok", c.ok}, {"unknown", c.unknown}, {"differ", c.differ}, {"failed", c.failed}};
}

}  // namespace

Result<std::string> ear_claims(std::string_view line) {
  boost::system::error_code code;
  json::value value = json::parse(line, code);
  json::object* const all = !code ? value.if_object() : nullptr;
  json::value* const found = all != nullptr ? all->if_contains("record") : nullptr;
  if (found == nullptr || !found->is_object()) return fail(Fault::malformed, "not the line of a result", document);
  const json::object record = std::move(found->get_object());
  all->erase("record");
  const bool judged = text_of(record, "state") == "complete";
  pipeline::Verdict verdict;
  if (judged) {
    GH_TRY(verdict, pipeline::verdict_from_json(json::serialize(*all)));
  }
  json::object vector;
  // The draft's section on ear_status: it is of no more trust than the worst claim of the vector.
  Tier status = tier_of(verdict.recommendation);
  if (judged) {
    const Vector claims = vector_of(verdict);
    Tier worst = Tier::none;
    add(vector, "instance-identity", claims.instance_identity, worst);
    add(vector, "configuration", claims.configuration, worst);
    add(vector, "executables", claims.executables, worst);
    add(vector, "hardware", claims.hardware, worst);
    if (status != Tier::none) status = std::max(status, worst);
  }
  const std::string told = text_of(record, "told");
  json::object by_us{{"session", text_of(*all, "session")},
                     {"state", text_of(record, "state")},
                     {"recommendation", pipeline::name(verdict.recommendation)},
                     {"evaluation", pipeline::name(verdict.evaluation)},
                     {"told", told.empty() ? std::string(pipeline::name(verdict.recommendation)) : told},
                     {"identity", text_or_null(text_of(record, "identity"))},
                     {"ak", text_or_null(text_of(record, "ak"))},
                     {"summary", escaped(verdict.summary)}};
  if (verdict.generation) by_us["generation"] = *verdict.generation;
  if (verdict.boot_given) by_us["boot"] = counters(verdict.boot);
  if (verdict.ima_given) by_us["ima"] = counters(verdict.ima);
  json::object appraisal;
  appraisal["ear_status"] = name(status);
  appraisal["ear_trustworthiness_vector"] = std::move(vector);
  if (const std::string policy = text_of(record, "policy"); !policy.empty()) appraisal["ear_appraisal_policy_ids"] = json::array{policy};
  appraisal["ear_attester_claims"] = {{"device", text_of(*all, "device")}, {"product", text_of(*all, "product")}};
  appraisal["ear_verifier_claims"] = std::move(by_us);
  const std::string when = text_of(record, "finished");
  GH_TRY(const std::int64_t issued, seconds_of(when.empty() ? text_of(record, "started") : when));
  json::object submods;
  submods["endpoint"] = std::move(appraisal);
  json::object claims;
  claims["eat_profile"] = ear_profile;
  claims["iat"] = issued;
  claims["ear_verifier_id"] = {{"developer", "Gatehouse"}, {"build", "gatehouse " GATEHOUSE_VERSION}};
  claims["submods"] = std::move(submods);
  return json::serialize(claims);
}

Result<std::string> ear_token(std::string_view line, const JwsSigner& signer) {
  GH_TRY(const std::string claims, ear_claims(line));
  return signer.sign("eat+jwt", claims);
}

}  // namespace gatehouse::server
