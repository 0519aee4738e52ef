// [software.NAME] of a policy: rules for the software inventory of SWIDT (docs/policy.md). They judge what software
// identifiers say: who made the tag, what the software is called, and which version it has.
//
//   const SoftwareName name = software_name("strongswan.org__Debian_12-x86_64-libaudit-common-1~3.0.9-1", scheme);
//   for (const std::size_t at : rules.fitting(identifier, name)) … rules.list[at] …
//
// Immutable once they belong to a policy; may then be read from any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/version.h"

namespace gatehouse::server::policy {

inline constexpr std::size_t max_software_tables = 256;
inline constexpr std::size_t max_software_rules = 1024;    // of one table
inline constexpr std::size_t max_software_patterns = 64;   // of these, such as name no software without a `*`
inline constexpr std::size_t max_software_pattern = 256;   // bytes

// The parts of a software identifier; they borrow from it. `creator` is the regid in front of the first "__" (RFC 8412
// section 4.4.1), empty where there is none. Behind it, without the platform that package managers' tags begin with
// ("Debian_12-x86_64-"), stand name and version. An rpm's version has one hyphen. A dpkg's has one where what stands
// behind the last but one begins with a digit, else none. Where no version begins with a digit there is none.
struct SoftwareName {
  std::string_view creator, name, version;
};
SoftwareName software_name(std::string_view identifier, VersionScheme scheme);

// How two versions compare of which one is written as identifiers write it, with `~` for `:` and `+` (spec part 1b §5.1).
// Nothing where it can't be compared, or where it depends on which of them a `~` stands for.
std::optional<std::strong_ordering> compare_software_versions(VersionScheme scheme, std::string_view in_identifier,
                                                              std::string_view in_rule);

struct SoftwareRule {
  enum class Kind : std::uint8_t { required, forbidden, minimum };
  Kind kind = Kind::required;
  // Patterns; empty: any. At least one of id and name isn't.
  std::string id, creator, name, version;
  std::string at_least;  // required and minimum; empty: any version
  // "name \"auditd\", at least 1:3.0.9-1": as findings name it.
  std::string text() const;
  bool fits(std::string_view identifier, const SoftwareName& parts) const;
  // Whether it is new enough; a version that can't be compared isn't.
  bool new_enough(std::string_view its_version, VersionScheme scheme) const;
  friend auto operator<=>(const SoftwareRule&, const SoftwareRule&) = default;
};
std::string_view name(SoftwareRule::Kind kind);  // "required", "forbidden", "minimum"

struct SoftwareRules {
  std::string name;
  std::string version;  // the first 16 digits of the SHA-256 of its content
  std::vector<SoftwareRule> list;
  std::chrono::seconds inventory_max_age{0};  // of the last whole inventory; 0: any
  // What an inventory that didn't come, or that isn't whole or new enough, is: not compliant, or no result.
  bool missing_fails = false, incomplete_fails = false;

  // When the list stands.
  void index();
  // Calls `each` with the place of every rule that fits.
  void fitting(std::string_view identifier, const SoftwareName& parts,
               const std::function<void(std::size_t place)>& each) const;
  std::string canonical() const;  // everything they say, in one order, without the name

 private:
  std::multimap<std::string, std::size_t, std::less<>> by_name_;  // of rules whose name is no pattern
  std::vector<std::size_t> others_;
};
using SoftwareRulesPtr = std::shared_ptr<const SoftwareRules>;

}  // namespace gatehouse::server::policy
