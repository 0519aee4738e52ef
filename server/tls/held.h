// What the safety stop holds back (HeldSwitch), put together and taken apart: a policy and a reference generation may be held
// at the same time, each for its own reason.
#pragma once

#include <string>
#include <string_view>

#include "server/state/policies.h"

namespace gatehouse::server {

namespace held_words {
inline constexpr std::string_view of_policy = "policy: ", of_generation = "; references: ";
// Of a reason of both, the one's.
inline std::string part(const std::string& why, bool generation) {
  const std::size_t cut = why.starts_with(of_policy) ? why.rfind(of_generation) : std::string::npos;
  if (cut == std::string::npos) return why;
  return generation ? why.substr(cut + of_generation.size()) : why.substr(of_policy.size(), cut - of_policy.size());
}
}  // namespace held_words

inline HeldSwitch without_policy(const HeldSwitch& held) {
  HeldSwitch rest = held;
  rest.policy = rest.policy_instead = {};
  rest.why = rest.generation ? held_words::part(held.why, true) : std::string();
  return rest;
}

inline HeldSwitch without_generation(const HeldSwitch& held) {
  HeldSwitch rest = held;
  rest.generation.reset();
  rest.why = rest.policy.empty() ? std::string() : held_words::part(held.why, false);
  return rest;
}

// Where both hold the same, the later one counts.
inline HeldSwitch both_held(const HeldSwitch& before, const HeldSwitch& later) {
  HeldSwitch rest = later.policy.empty() ? before : without_policy(before);
  if (later.generation) rest = without_generation(rest);
  if (rest.empty()) return later;
  HeldSwitch both = later;
  const HeldSwitch& of_policy = later.policy.empty() ? rest : later;
  const HeldSwitch& of_generation = later.policy.empty() ? later : rest;
  both.policy = of_policy.policy;
  both.policy_instead = of_policy.policy_instead;
  both.generation = of_generation.generation;
  both.why = std::string(held_words::of_policy) + of_policy.why + std::string(held_words::of_generation) + of_generation.why;
  return both;
}

}  // namespace gatehouse::server
