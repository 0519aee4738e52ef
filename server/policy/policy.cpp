#include "server/policy/policy.h"

#include <algorithm>

#include "base/pattern.h"
#include "server/policy/distinguished_name.h"

namespace gatehouse::server::policy {
namespace {

struct Row {
  Type type;
  std::string_view name;
  Validator validator;
};
// In order of the numbers.
constexpr Row rows[] = {
    {Type::deny, "RESVD", Validator::none},         {Type::pckgs, "PCKGS", Validator::os},
    {Type::unsrc, "UNSRC", Validator::os},          {Type::fwden, "FWDEN", Validator::os},
    {Type::pwden, "PWDEN", Validator::os},          {Type::frefm, "FREFM", Validator::attestation},
    {Type::fmeas, "FMEAS", Validator::attestation}, {Type::fmeta, "FMETA", Validator::attestation},
    {Type::drefm, "DREFM", Validator::attestation}, {Type::dmeas, "DMEAS", Validator::attestation},
    {Type::dmeta, "DMETA", Validator::attestation}, {Type::tcpop, "TCPOP", Validator::scanner},
    {Type::tcpbl, "TCPBL", Validator::scanner},     {Type::udpop, "UDPOP", Validator::scanner},
    {Type::udpbl, "UDPBL", Validator::scanner},     {Type::swidt, "SWIDT", Validator::swima},
    {Type::tpmra, "TPMRA", Validator::attestation},
};

bool means(const PackageRule& rule, std::string_view version, VersionScheme scheme) {
  if (rule.match == PackageRule::Match::any) return true;
  if (rule.match == PackageRule::Match::equal) return rule.version == version;
  const auto order = compare_versions(scheme, version, rule.version);
  return !order || *order < 0 || (*order == 0 && rule.match == PackageRule::Match::less_equal);
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c - 'A' + 'a');
  return out;
}

bool lists(const PackageRules::Rules& rules, std::string_view package, std::string_view version, VersionScheme scheme) {
  const auto [first, last] = rules.equal_range(package);
  return std::any_of(first, last, [&](const PackageRule& rule) { return means(rule, version, scheme); });
}

}  // namespace

std::string_view name(Type type) { return rows[std::size_t(type)].name; }
Validator validator_of(Type type) { return rows[std::size_t(type)].validator; }

std::optional<Type> type_named(std::string_view text) {
  if (text == "DENY") return Type::deny;
  for (const Row& row : rows)
    if (row.name == text) return row.type;
  return std::nullopt;
}

std::string_view name(Validator validator) {
  constexpr std::string_view names[] = {"none", "os", "attestation", "scanner", "swima"};
  return names[std::size_t(validator)];
}

std::string_view name(Combine combine) {
  constexpr std::string_view names[] = {"default", "any", "all"};
  return names[std::size_t(combine)];
}

Recommendation stricter(Recommendation a, Recommendation b) {
  constexpr int order[] = {0, 3, 2, 1};  // allow < none < isolate < block
  return order[std::size_t(a)] < order[std::size_t(b)] ? b : a;
}

std::string PackageRule::text() const {
  switch (match) {
    case Match::any:
      return package + " *";
    case Match::equal:
      return package + " = " + version;
    case Match::less:
      return package + " < " + version;
    case Match::at_least:
      return package + " >= " + version;
    case Match::less_equal:
      break;
  }
  return package + " <= " + version;
}

void PackageRules::add(PackageState state, PackageRule rule) {
  (state == PackageState::blacklisted ? blacklisted_ : vulnerable_).insert(std::move(rule));
}

PackageState PackageRules::judge(std::string_view package, std::string_view version, VersionScheme scheme) const {
  if (lists(blacklisted_, package, version, scheme)) return PackageState::blacklisted;
  return lists(vulnerable_, package, version, scheme) ? PackageState::vulnerable : PackageState::unlisted;
}

void PackageRules::satisfied(std::string_view package, std::string_view version, VersionScheme scheme,
                             const std::function<void(std::size_t place)>& each) const {
  const auto [first, last] = required_.equal_range(package);
  if (first == last) return;
  std::size_t place = std::size_t(std::distance(required_.begin(), first));
  for (auto rule = first; rule != last; ++rule, ++place) {
    const auto order = rule->match == PackageRule::Match::any ? std::strong_ordering::equal
                                                              : compare_versions(scheme, version, rule->version);
    if (order && *order >= 0) each(place);
  }
}

std::string PackageRules::canonical() const {
  std::string out;
  for (const PackageRule& rule : blacklisted_) out += "blacklisted " + rule.text() + '\n';
  for (const PackageRule& rule : vulnerable_) out += "vulnerable " + rule.text() + '\n';
  for (const PackageRule& rule : required_) out += "required " + rule.text() + '\n';
  return out;
}

bool IdentityPattern::matches(std::string_view identity_type, std::string_view identity) const {
  return !identity.empty() && kind == identity_type && pattern_matches(pattern, identity);
}

bool CertificatePattern::matches(std::string_view identity_type, std::string_view identity,
                                 const CertificateNames& certificate) const {
  if (identity_type != "certificate" || identity.empty()) return false;
  const auto has = [](std::string_view name, const Attributes& wanted) {
    return std::all_of(wanted.begin(), wanted.end(), [&](const auto& one) {
      return any_attribute(name, one.first, [&](std::string_view value) { return pattern_matches(one.second, value); });
    });
  };
  const auto named = [&](const auto& one) {
    const std::string kind = one.first + ':';
    // DNS names, and what stands behind the @ of a mail address, are compared without regard to case (RFC 5280 section 7);
    // before the @ hardly anybody means case, and a group that is missed is the worse mistake.
    const bool any_case = one.first != "uri";
    return std::any_of(certificate.alternative_names.begin(), certificate.alternative_names.end(), [&](const std::string& name) {
      if (!name.starts_with(kind)) return false;
      const std::string_view value = std::string_view(name).substr(kind.size());
      return any_case ? pattern_matches(lower_case(one.second), lower_case(value)) : pattern_matches(one.second, value);
    });
  };
  return has(identity, attributes) && (issuer.empty() || has(certificate.issuer, issuer)) &&
         std::all_of(names.begin(), names.end(), named);
}

std::string Policy::version() const { return file.empty() ? "default" : digest.hex().substr(0, 16); }

}  // namespace gatehouse::server::policy
