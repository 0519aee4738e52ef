#include "server/policy/software.h"

#include <algorithm>

#include "base/pattern.h"

namespace gatehouse::server::policy {
namespace {

// Of `uname -m`, and dpkg's where they differ.
constexpr std::string_view machines[] = {"x86_64",  "amd64",   "aarch64", "arm64",   "i686",   "i386",       "armv7l",
                                         "armv6l",  "armhf",   "ppc64le", "ppc64el", "s390x",  "riscv64",    "loongarch64",
                                         "mips64el"};

// "Debian_12-x86_64-dpkg-1.21.23" without "Debian_12-x86_64-".
std::string_view without_platform(std::string_view unique) {
  for (std::size_t at = unique.find('-'); at != unique.npos; at = unique.find('-', at + 1)) {
    const std::string_view rest = unique.substr(at + 1);
    const std::string_view word = rest.substr(0, rest.find('-'));
    if (word.size() == rest.size() || std::find(std::begin(machines), std::end(machines), word) == std::end(machines)) continue;
    return unique.substr(0, at).find('_') == unique.npos ? unique : rest.substr(word.size() + 1);
  }
  return unique;
}

bool digit(char c) { return c >= '0' && c <= '9'; }
bool begins_with_digit(std::string_view text) { return !text.empty() && digit(text.front()); }

// As identifiers write versions, but with `in_place` for `~` and `+`; and an epoch is one again.
std::string as_read(std::string_view version, char in_place) {
  std::string out(version);
  std::size_t epoch = 0;
  while (epoch < out.size() && digit(out[epoch])) ++epoch;
  const bool has_epoch = epoch != 0 && epoch + 1 < out.size() && (out[epoch] == ':' || (out[epoch] == '~' && digit(out[epoch + 1])));
  for (char& c : out)
    if (c == '~' || c == '+' || c == ':') c = in_place;
  if (has_epoch) out[epoch] = ':';
  return out;
}

bool is_literal(std::string_view pattern) { return !pattern.empty() && pattern.find('*') == pattern.npos; }

}  // namespace

SoftwareName software_name(std::string_view identifier, VersionScheme scheme) {
  SoftwareName out;
  std::string_view unique = identifier;
  if (const auto at = identifier.find("__"); at != identifier.npos) {
    out.creator = identifier.substr(0, at);
    unique = identifier.substr(at + 2);
  }
  out.name = unique = without_platform(unique);
  const auto split = [&](std::size_t at) {
    out.name = unique.substr(0, at);
    out.version = unique.substr(at + 1);
  };
  const std::size_t last = unique.rfind('-');
  if (last == unique.npos || last == 0) return out;
  const std::size_t before = unique.rfind('-', last - 1);
  const bool two = before != unique.npos && before != 0 && last + 1 != unique.size() &&
                   (begins_with_digit(unique.substr(before + 1)) || scheme == VersionScheme::rpm);
  if (two) {
    split(before);
  } else if (begins_with_digit(unique.substr(last + 1))) {
    split(last);
  }
  return out;
}

std::optional<std::strong_ordering> compare_software_versions(VersionScheme scheme, std::string_view in_identifier,
                                                              std::string_view in_rule) {
  // `~` sorts before the end of a version and `+` behind it: where both readings agree it doesn't matter which it was.
  const auto low = compare_versions(scheme, as_read(in_identifier, '~'), as_read(in_rule, '~'));
  const auto high = compare_versions(scheme, as_read(in_identifier, '+'), as_read(in_rule, '+'));
  return low && high && *low == *high ? low : std::nullopt;
}

std::string_view name(SoftwareRule::Kind kind) {
  constexpr std::string_view names[] = {"required", "forbidden", "minimum"};
  return names[std::size_t(kind)];
}

std::string SoftwareRule::text() const {
  std::string out;
  const auto add = [&](std::string_view what, const std::string& pattern) {
    if (pattern.empty()) return;
    (out += out.empty() ? "" : ", ") += what;
    out += '"' + pattern + '"';
  };
  add("id ", id);
  add("creator ", creator);
  add("name ", name);
  add("version ", version);
  if (!at_least.empty()) out += ", at least " + at_least;
  return out;
}

bool SoftwareRule::fits(std::string_view identifier, const SoftwareName& parts) const {
  const auto matches = [](const std::string& pattern, std::string_view text) {
    return pattern.empty() || pattern_matches(pattern, text);
  };
  return matches(creator, parts.creator) && matches(name, parts.name) && matches(version, parts.version) &&
         matches(id, identifier);
}

bool SoftwareRule::new_enough(std::string_view its_version, VersionScheme scheme) const {
  if (at_least.empty()) return true;
  const auto order = compare_software_versions(scheme, its_version, at_least);
  return order && *order >= 0;
}

void SoftwareRules::index() {
  by_name_.clear();
  others_.clear();
  for (std::size_t i = 0; i < list.size(); ++i)
    if (is_literal(list[i].name))
      by_name_.emplace(list[i].name, i);
    else
      others_.push_back(i);
}

void SoftwareRules::fitting(std::string_view identifier, const SoftwareName& parts,
                            const std::function<void(std::size_t place)>& each) const {
  const auto [first, last] = by_name_.equal_range(parts.name);
  for (auto at = first; at != last; ++at)
    if (list[at->second].fits(identifier, parts)) each(at->second);
  for (const std::size_t place : others_)
    if (list[place].fits(identifier, parts)) each(place);
}

std::string SoftwareRules::canonical() const {
  std::string out;
  if (inventory_max_age.count() != 0) out += "inventory_max_age " + std::to_string(inventory_max_age.count()) + '\n';
  if (missing_fails) out += "missing fail\n";
  if (incomplete_fails) out += "incomplete fail\n";
  for (const SoftwareRule& rule : list) (out += policy::name(rule.kind)) += ' ' + rule.text() + '\n';
  return out;
}

}  // namespace gatehouse::server::policy
