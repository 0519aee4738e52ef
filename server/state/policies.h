// The versions of the policy that were ever in force, each numbered once and never changed, and what the safety stop holds
// back (docs/formats/state.md).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace gatehouse::server {

// A policy as it was read: reading these bytes again makes the same policy. Of the built-in one the text is empty.
struct StoredPolicy {
  std::uint64_t number = 0;  // from 1, in the order in which versions first came into force
  std::string version;       // policy::Policy::version(): what session records name
  std::int64_t since = 0;    // milliseconds since 1970: when it first did
  std::string file, text;
  std::map<std::string, std::string> files;  // what it names, by the path as written
  friend bool operator==(const StoredPolicy&, const StoredPolicy&) = default;
};

// A switch that was undone: what was switched to stays out until the operator releases it, or comes with another one.
struct HeldSwitch {
  std::string policy;                       // version; empty: it wasn't switched
  std::optional<std::uint64_t> generation;  // absent: it wasn't switched
  std::string policy_instead;               // version in force in its place
  std::int64_t since = 0;                   // milliseconds since 1970
  std::string why;                          // "12 of 40 devices that were allowed before are refused"
  bool empty() const { return policy.empty() && !generation; }
  friend bool operator==(const HeldSwitch&, const HeldSwitch&) = default;
};

}  // namespace gatehouse::server
