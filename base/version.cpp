#include "base/version.h"

#include <algorithm>

namespace gatehouse {
namespace {

// The C locale's classes: versions are compared the same everywhere.
constexpr bool digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

std::string_view take_digits(std::string_view& rest) {
  std::size_t n = 0;
  while (n < rest.size() && digit(rest[n])) ++n;
  const std::string_view out = rest.substr(0, n);
  rest.remove_prefix(n);
  return out;
}

// As numbers of any length.
std::strong_ordering compare_numbers(std::string_view a, std::string_view b) {
  a.remove_prefix(std::min(a.find_first_not_of('0'), a.size()));
  b.remove_prefix(std::min(b.find_first_not_of('0'), b.size()));
  if (a.size() != b.size()) return a.size() <=> b.size();
  return a.compare(b) <=> 0;
}

// The place of the first character of `rest` in a run of what isn't a number: "~" < end or a digit < letters < others.
int place(std::string_view rest) {
  if (rest.empty() || digit(rest.front())) return 0;
  if (rest.front() == '~') return -1;
  const int value = static_cast<unsigned char>(rest.front());
  return letter(rest.front()) ? value : value + 256;
}

// Debian policy 5.6.12: runs of other characters and numbers by turns.
std::strong_ordering compare_dpkg_part(std::string_view a, std::string_view b) {
  while (!a.empty() || !b.empty()) {
    for (;;) {
      const int x = place(a), y = place(b);
      if (x != y) return x <=> y;
      if (x == 0) break;  // both are at a number or at their end
      a.remove_prefix(1);
      b.remove_prefix(1);
    }
    const std::string_view left = take_digits(a), right = take_digits(b);
    if (const auto order = compare_numbers(left, right); order != 0) return order;
  }
  return std::strong_ordering::equal;
}

std::string_view take_rpm_segment(std::string_view& rest, bool numeric) {
  std::size_t n = 0;
  while (n < rest.size() && (numeric ? digit(rest[n]) : letter(rest[n]))) ++n;
  const std::string_view out = rest.substr(0, n);
  rest.remove_prefix(n);
  return out;
}

// Segments of digits or of letters; what stands between only separates, but for ~ and ^.
std::strong_ordering compare_rpm_part(std::string_view a, std::string_view b) {
  const auto skip = [](std::string_view& rest) {
    while (!rest.empty() && !digit(rest.front()) && !letter(rest.front()) && rest.front() != '~' && rest.front() != '^')
      rest.remove_prefix(1);
  };
  const auto at = [](std::string_view rest, char c) { return !rest.empty() && rest.front() == c; };
  for (;;) {
    skip(a);
    skip(b);
    if (at(a, '~') || at(b, '~')) {
      if (!at(a, '~')) return std::strong_ordering::greater;
      if (!at(b, '~')) return std::strong_ordering::less;
      a.remove_prefix(1);
      b.remove_prefix(1);
      continue;
    }
    if (at(a, '^') || at(b, '^')) {
      if (a.empty()) return std::strong_ordering::less;  // the base version is older than what was made after it,
      if (b.empty()) return std::strong_ordering::greater;
      if (!at(a, '^')) return std::strong_ordering::greater;  // which is older than the next version
      if (!at(b, '^')) return std::strong_ordering::less;
      a.remove_prefix(1);
      b.remove_prefix(1);
      continue;
    }
    if (a.empty() || b.empty()) break;
    const bool numeric = digit(a.front());
    if (numeric != digit(b.front())) return numeric ? std::strong_ordering::greater : std::strong_ordering::less;
    const std::string_view left = take_rpm_segment(a, numeric), right = take_rpm_segment(b, numeric);
    const auto order = numeric ? compare_numbers(left, right) : left.compare(right) <=> 0;
    if (order != 0) return order;
  }
  return !a.empty() <=> !b.empty();
}

struct Parts {
  std::string_view epoch, version;
  std::optional<std::string_view> release;
};

std::optional<Parts> parts(std::string_view text) {
  Parts out;
  if (const auto colon = text.find(':'); colon != text.npos) {
    out.epoch = text.substr(0, colon);
    if (out.epoch.empty() || !std::all_of(out.epoch.begin(), out.epoch.end(), digit)) return std::nullopt;
    text.remove_prefix(colon + 1);
  }
  if (const auto hyphen = text.rfind('-'); hyphen != text.npos) {
    out.release = text.substr(hyphen + 1);
    text = text.substr(0, hyphen);
  }
  out.version = text;
  if (out.version.empty()) return std::nullopt;
  return out;
}

}  // namespace

VersionScheme version_scheme(std::string_view product) {
  constexpr std::string_view rpm_products[] = {"Fedora",   "Red Hat",  "RedHat",    "Rhel",      "RHEL",  "CentOS",
                                               "Centos",   "SUSE",     "Suse",      "Sles",      "SLES",  "openSUSE",
                                               "Opensuse", "OpenSUSE", "AlmaLinux", "Almalinux", "Rocky", "Oracle",
                                               "Ol ",      "Amazon",   "Amzn"};
  for (const std::string_view name : rpm_products)
    if (product.starts_with(name)) return VersionScheme::rpm;
  return VersionScheme::dpkg;
}

std::optional<std::strong_ordering> compare_versions(VersionScheme scheme, std::string_view a, std::string_view b) {
  const auto left = parts(a), right = parts(b);
  if (!left || !right) return std::nullopt;
  if (const auto order = compare_numbers(left->epoch, right->epoch); order != 0) return order;
  if (scheme == VersionScheme::dpkg) {
    if (const auto order = compare_dpkg_part(left->version, right->version); order != 0) return order;
    return compare_dpkg_part(left->release.value_or(""), right->release.value_or(""));
  }
  if (const auto order = compare_rpm_part(left->version, right->version); order != 0) return order;
  if (!left->release || !right->release) return std::strong_ordering::equal;
  return compare_rpm_part(*left->release, *right->release);
}

}  // namespace gatehouse
