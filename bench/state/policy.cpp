#include "bench/state/policy.h"

#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "pipeline/verdict/verdict.h"
#include "server/judge/assembly.h"
#include "server/policy/work_items.h"

namespace gatehouse::bench {
namespace {

namespace json = boost::json;
namespace policy = server::policy;

[[noreturn]] void give_up(const char* why) {
  std::fprintf(stderr, "gatehouse-state-bench: %s\n", why);
  std::exit(4);
}

double thread_us() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}

// Departments below two groups of everybody, by certificate and product; each asks for something of its own.
policy::PolicyPtr site_policy() {
  std::string text =
      "[groups.all]\nask = [\"TPMRA\", \"FWDEN\"]\n"
      "[groups.office]\nparent = \"all\"\ndefault = true\nmax_age = \"12h\"\nask = [\"PWDEN\"]\n";
  for (int i = 0; i < 98; ++i) {
    const std::string n = std::to_string(i);
    text += "[groups.department" + n + "]\nparent = \"office\"\nproducts = [\"Debian " + n + " *\"]\nidentities = [\"certificate:CN=*.d" + n +
            ".example.org,O=Example\"]\nask = [{ type = \"TCPOP\", argument = \"22 " + std::to_string(1000 + i) + "\", max_age = \"30m\" }]\n";
  }
  auto parsed = policy::parse_policy(text, "policy.toml", [](const std::string&) { return fail(Fault::environment, "no file"); });
  if (!parsed) give_up("the site's policy can't be read");
  return *std::move(parsed);
}

// As server/session and the IMVs make it, with what the items came to in the pattern's session.
class Judgement {
 public:
  Judgement(const server::SessionResult& pattern, const policy::Policy& rules) : pattern_(pattern), rules_(rules) {
    auto verdict = pipeline::verdict_from_json(pattern.verdict);
    if (!verdict) give_up("the verdict can't be read");
    attested_ = *std::move(verdict);
    facts_.standing = policy::Standing::authenticated;
    facts_.device = pattern.intent.device;
    facts_.product = "Debian 12 x86_64";
    facts_.identity = "CN=host17.d12.example.org,O=Example";
    facts_.identity_type = "certificate";
    facts_.now = pattern.intent.started;
    past_.when = facts_.now - 24 * 3'600'000;
    past_.recommendation = pipeline::Recommendation::allow;
    past_.identity = facts_.identity;
    past_.identity_type = facts_.identity_type;
  }

  // CPU time of so many, in microseconds; the verdicts of the evidence plane are made before.
  double run(std::size_t count) {
    std::vector<pipeline::Verdict> attested(count, attested_);
    std::vector<pipeline::Verdict> judged;
    judged.reserve(count);
    const double before = thread_us();
    for (pipeline::Verdict& one : attested) judged.push_back(judge(std::move(one)));
    return thread_us() - before;
  }

 private:
  pipeline::Verdict judge(pipeline::Verdict attested) const {
    const std::string language = rules_.catalogue.choose(languages_);
    const policy::Plan plan = policy::work_items(rules_, facts_, [&](const std::string&) { return std::optional(past_); });
    server::Subject subject;
    subject.session = pattern_.intent.session;
    subject.device = facts_.device;
    subject.product = facts_.product;
    subject.standing = facts_.standing;
    subject.asked = plan.items;
    std::vector<server::ValidatorPart> parts;
    for (const policy::Validator validator : {policy::Validator::os, policy::Validator::scanner, policy::Validator::swima, policy::Validator::attestation}) {
      server::ValidatorPart part;
      part.result.idle = true;
      for (const policy::WorkItem& item : plan.items) {
        if (policy::validator_of(item.type) != validator) continue;
        constexpr auto good = pipeline::Evaluation::compliant;
        const policy::Assessment said{policy::recommendation_of(item, good), good};
        part.result.idle = false;
        part.result.assessment = policy::update(part.result.assessment, said);
        part.items.push_back({std::string(policy::name(item.type)), item.argument, said.recommendation, said.evaluation, "good"});
        if (item.key().empty()) give_up("a work item has no key");
      }
      parts.push_back(std::move(part));
    }
    pipeline::Verdict out = server::assemble(subject, parts, std::move(attested), rules_);
    if (server::kept_out_as_unknown(subject, parts, rules_)) give_up("the device is unknown");
    if (rules_.catalogue.text(policy::text::denied, language).empty()) give_up("a text is missing");
    return out;
  }

  const server::SessionResult& pattern_;
  const policy::Policy& rules_;
  pipeline::Verdict attested_;
  policy::DeviceFacts facts_;
  policy::PastResult past_;
  const std::vector<std::string> languages_{"de-CH", "en"};
};

json::array rounds_of(Judgement& judgement, std::uint64_t sessions, int rounds) {
  constexpr std::size_t at_once = 16;  // their verdicts are in memory, as a server's are
  json::array out;
  for (int round = 0; round <= rounds; ++round) {
    double spent = 0;
    std::uint64_t done = 0;
    for (; done < sessions; done += at_once) spent += judgement.run(at_once);
    if (round != 0) out.emplace_back(spent / double(done));
  }
  return out;
}

}  // namespace

json::object measure_policy(const server::SessionResult& pattern, std::uint64_t sessions, int rounds) {
  const policy::PolicyPtr site = site_policy();
  Judgement usual(pattern, *policy::built_in_policy()), large(pattern, *site);
  return {{"cpu_us", rounds_of(usual, sessions, rounds)}, {"site_cpu_us", rounds_of(large, sessions, rounds)}, {"site_groups", site->groups.size()}};
}

}  // namespace gatehouse::bench
