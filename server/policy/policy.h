// policy.toml as the server judges by it: groups of devices, and what each group is asked for (docs/policy.md). A
// policy is read whole or not at all, never changes afterwards, and is held by a shared pointer: a session keeps the
// one it began with while a newer one becomes current.
//
//   auto policy = read_policy("policy.toml");
//   if (!policy) for (const Mistake& m : policy.error().list) std::cerr << m.text() << '\n';
//   const Plan plan = work_items(**policy, facts, history);           // work_items.h
//   const Assessment verdict = combine((*policy)->combine, validators, (*policy)->on_error);   // combine.h
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/version.h"
#include "base/x509.h"
#include "pipeline/verdict/evidence_rules.h"
#include "pipeline/verdict/verdict.h"
#include "server/policy/catalogue.h"
#include "server/policy/mistake.h"
#include "server/policy/ports.h"
#include "server/policy/software.h"
#include "server/policy/times.h"

namespace gatehouse::server::policy {

using pipeline::Evaluation;
using pipeline::Recommendation;

// Types of enforcements and work items; numbers and names of spec part 1b §7.2.
enum class Type : std::uint8_t {
  deny = 0,    // RESVD, also written DENY
  pckgs = 1,   // installed packages
  unsrc = 2,   // unknown sources
  fwden = 3,   // forwarding enabled
  pwden = 4,   // default password enabled
  frefm = 5,   // file reference measurement
  fmeas = 6,   // file measurement
  fmeta = 7,   // file metadata
  drefm = 8,   // directory reference measurement
  dmeas = 9,   // directory measurement
  dmeta = 10,  // directory metadata
  tcpop = 11,  // open TCP ports
  tcpbl = 12,  // blocked TCP ports
  udpop = 13,  // open UDP ports
  udpbl = 14,  // blocked UDP ports
  swidt = 15,  // software inventory
  tpmra = 16,  // TPM remote attestation
};
// "TPMRA"; deny is "RESVD".
std::string_view name(Type type);
std::optional<Type> type_named(std::string_view name);

// Whose work an item is.
enum class Validator : std::uint8_t { none, os, attestation, scanner, swima };
Validator validator_of(Type type);
std::string_view name(Validator validator);

// "telnetd *", "openssl = 3.0.11-1", "openssl < 3.0.11-1~deb12u2": installed versions that are not wanted. "auditd",
// "auditd >= 1:3.0.9-1": what has to be installed.
struct PackageRule {
  enum class Match : std::uint8_t { any, equal, less, less_equal, at_least };
  std::string package;
  Match match = Match::any;
  std::string version;  // empty with any
  std::string text() const;
  friend auto operator<=>(const PackageRule&, const PackageRule&) = default;
};
enum class PackageState : std::uint8_t { unlisted, vulnerable, blacklisted };

class PackageRules {
 public:
  struct Order {  // by package first, so that a name finds its rules
    using is_transparent = void;
    bool operator()(const PackageRule& a, const PackageRule& b) const { return a < b; }
    bool operator()(const PackageRule& a, std::string_view package) const { return a.package < package; }
    bool operator()(std::string_view package, const PackageRule& b) const { return package < b.package; }
  };
  using Rules = std::set<PackageRule, Order>;

  void add(PackageState state, PackageRule rule);
  void require(PackageRule rule) { required_.insert(std::move(rule)); }  // any or at_least
  bool empty() const { return blacklisted_.empty() && vulnerable_.empty() && required_.empty(); }
  // By what the endpoint says is installed: blacklisted before vulnerable. A version that a rule can't be compared with
  // counts as meant by it: gibberish is no way around a rule.
  PackageState judge(std::string_view package, std::string_view version, VersionScheme scheme) const;
  // What has to be installed, in an order that doesn't change; and the places in it that this version satisfies. A
  // version that can't be compared satisfies none that asks for a least one.
  const Rules& required() const { return required_; }
  void satisfied(std::string_view package, std::string_view version, VersionScheme scheme,
                 const std::function<void(std::size_t place)>& each) const;
  std::string canonical() const;

 private:
  Rules blacklisted_, vulnerable_, required_;
};

// What is asked, without whom.
struct Argument {
  std::string letters;    // TPMRA of "BIT", SWIDT of "RSCT": in this order, each at most once
  PortSet ports;          // TCPOP to UDPBL
  std::string path;       // FREFM to DMETA: absolute
  PackageRules packages;  // PCKGS
};

// One entry of a group's `ask`, with everything that it inherits filled in.
struct Enforcement {
  Type type = Type::deny;
  Argument argument;
  std::string argument_text;  // canonical: "B I", "22 80-90", "/etc/passwd", "sha256:…" of package rules
  Recommendation on_fail = Recommendation::isolate;
  Recommendation on_noresult = Recommendation::isolate;
  std::chrono::seconds max_age{0};  // 0: always asked
  std::chrono::seconds grace{0};    // for which one that is no longer compliant is let in all the same; never of TPMRA
  pipeline::EvidenceRulesPtr rules;  // TPMRA: null for none
  SoftwareRulesPtr software;         // SWIDT: null for none
};

// "certificate:CN=*, O=Example": an authenticated identity; `*` stands for any characters, the empty text included.
struct IdentityPattern {
  std::string kind;  // "certificate" or "password"
  std::string pattern;
  bool matches(std::string_view identity_type, std::string_view identity) const;
};

// { O = "Example", dns = "*.example.org", issuer = { CN = "Device CA*" } }: patterns of an authenticated certificate, all
// of which have to match; of what it has several times, one does.
struct CertificatePattern {
  using Attributes = std::vector<std::pair<std::string, std::string>>;  // type and pattern, in order
  Attributes attributes, issuer;
  Attributes names;  // "dns", "email" or "uri", and pattern
  bool matches(std::string_view identity_type, std::string_view identity, const CertificateNames& certificate) const;
};

struct Group {
  std::string name;
  std::optional<std::size_t> parent;  // in Policy::groups; no cycles
  // Members. A group without a parent that names none has every device as a member.
  std::vector<std::string> devices, products;
  std::vector<IdentityPattern> identities;
  std::vector<CertificatePattern> certificates;
  bool fallback = false;                      // `default = true`: of devices that are in no other group
  std::vector<std::string> product_fallback;  // the same, of these products; goes before `fallback`
  bool everyone = false;
  TimeSpans during, except;  // when its entries count: in `during`, or always where it is empty, but not in `except`
  bool counts(std::int64_t now) const { return (during.empty() || during.holds(now)) && !except.holds(now); }
  std::vector<Enforcement> ask;
};

enum class Combine : std::uint8_t { standard, any, all };  // "default", "any", "all"
std::string_view name(Combine combine);

inline constexpr std::size_t max_groups = 1024, max_group_depth = 32;
inline constexpr std::size_t max_work_items = 256;  // spec part 1b §10.1: different ones in the whole policy

// What a policy was read from: reading these bytes again makes the same policy, on whatever machine.
struct PolicySource {
  std::string file;
  std::string text;
  std::map<std::string, std::string> files;  // what it names (catalogue, lists, keys), by the path as written
  friend bool operator==(const PolicySource&, const PolicySource&) = default;
};

struct Policy {
  std::string file;                    // empty: built in
  std::shared_ptr<const PolicySource> source;  // null: built in
  std::vector<Group> groups;           // by name
  std::vector<pipeline::EvidenceRulesPtr> rules;  // by name
  std::vector<SoftwareRulesPtr> software;         // by name
  std::vector<Enforcement> ungrouped;  // of a device in no group: TPMRA with firmware log and IMA list
  Combine combine = Combine::standard;
  Recommendation unknown_devices =
      Recommendation::isolate;                      // isolate or block: the best that a device we don't know gets
  Recommendation on_error = Recommendation::block;  // block or isolate: when a validator of ours fails
  std::string remediation_uri;
  Catalogue catalogue;
  Digest digest;                      // SHA-256 of the content: neither comments nor the order of keys change it
  std::vector<std::string> warnings;  // "FILE:LINE: KEY: reason": allowed, but for the operator to know

  // "default" for the built-in policy, else the digest's first 16 hex digits: what a session records.
  std::string version() const;
};
using PolicyPtr = std::shared_ptr<const Policy>;

// Without a file: every device is asked for TPMRA with firmware log and IMA list, and for nothing else.
PolicyPtr built_in_policy();

// Reads a file that the policy names, such as its catalogue; the path is as written.
using ReadFile = std::function<Result<std::string>(const std::string& path)>;
std::expected<PolicyPtr, Mistakes> parse_policy(std::string_view text, const std::string& file, const ReadFile& read);
// At most 1 MiB; paths in it are relative to its folder.
std::expected<PolicyPtr, Mistakes> read_policy(const std::string& path);
// The policy that was read from it; for null the built-in one. The disk isn't looked at.
std::expected<PolicyPtr, Mistakes> read_policy(const PolicySource* source);

// Stricter: allow < none < isolate < block. None means that access isn't granted (spec part 1a §4.4).
Recommendation stricter(Recommendation a, Recommendation b);

}  // namespace gatehouse::server::policy
