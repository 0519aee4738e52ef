// What an endpoint says is installed (RFC 8412) against the policy's rules for it: pure functions, for a session while the
// list comes and for one that is judged again.
//
//   SoftwareCheck check(item.software, product);
//   for each instance: check.judge(identifier);
//   const SoftwareAnswer answer = judge_software(base, facts, &check, now);
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "pipeline/verdict/verdict.h"
#include "server/judge/answers.h"
#include "server/policy/software.h"

namespace gatehouse::server {

// What is known of the list, besides what is in it.
struct SoftwareFacts {
  enum class List : std::uint8_t {
    none,        // nothing came, or nothing that can be used
    incomplete,  // what came doesn't say what is installed
    whole,       // an inventory, or the stored one and every event since
  };
  List list = List::none;
  std::string why;                  // where it isn't whole
  std::int64_t inventory_time = 0;  // when the last whole inventory was told, milliseconds since 1970; 0: not known
  friend bool operator==(const SoftwareFacts&, const SoftwareFacts&) = default;
};

// Identifiers with their lengths (2 bytes) in front, as evidence keeps them.
Result<void> each_software(Bytes list, const std::function<void(std::string_view)>& each);

// The order in which instances come makes no difference.
class SoftwareCheck {
 public:
  // The rules have to outlive it.
  SoftwareCheck(std::vector<policy::SoftwareRulesPtr> rules, std::string_view product);

  // What was judged before is void.
  void restart();
  void judge(std::string_view identifier);

 private:
  friend struct SoftwareJudge;
  struct Tally {
    policy::SoftwareRulesPtr rules;
    std::vector<bool> met;                    // by place, of required ones
    std::vector<std::string> older;           // by place, of required ones: the first identifier that is too old
    std::uint64_t forbidden = 0, too_old = 0;  // instances
    std::set<std::pair<std::size_t, std::string>> broken;  // the first of them: place, identifier
  };
  std::vector<Tally> tallies_;
  VersionScheme scheme_;
};

struct SoftwareAnswer : Answer {
  std::vector<pipeline::Finding> findings;  // the first ones
  std::uint64_t findings_total = 0;
  std::vector<std::string> forbidden, too_old, missing;  // for people: identifiers, and what rules say
};

// `base`: what came of SWIDT, without rules. `check`: null where there is no list. A list that comes to nothing is what
// the rules say of it; software that breaks a rule does so however old the inventory is.
SoftwareAnswer judge_software(const Answer& base, const SoftwareFacts& facts,
                              const std::vector<policy::SoftwareRulesPtr>& rules, const SoftwareCheck* check,
                              std::int64_t now);

// Whether the last whole inventory is older than one of the rules wants it to be.
bool too_old(const std::vector<policy::SoftwareRulesPtr>& rules, std::int64_t inventory_time, std::int64_t now);

}  // namespace gatehouse::server
