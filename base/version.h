// Which of two package versions is newer, as the package managers decide it. Total on any bytes: what an endpoint calls
// a version may be anything.
//
//   compare_versions(VersionScheme::dpkg, "1.0~rc1-1", "1.0-1")   // less
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

namespace gatehouse {

enum class VersionScheme : std::uint8_t { dpkg, rpm };

// How a product's versions are compared: rpm for Fedora, Red Hat, CentOS, SUSE, openSUSE, AlmaLinux, Rocky, Oracle and
// Amazon Linux by the product name's beginning ("Fedora 41 x86_64"), dpkg for all others.
VersionScheme version_scheme(std::string_view product);

// Nothing when either is no version of the scheme: empty, or an epoch that isn't a number. A missing epoch is 0.
// dpkg: [epoch:]upstream[-revision] (Debian policy 5.6.12); `~` sorts before the end, letters before the rest.
// rpm: [epoch:]version[-release]; releases count only where both have one; `~` sorts before the end, `^` after it.
std::optional<std::strong_ordering> compare_versions(VersionScheme scheme, std::string_view a, std::string_view b);

}  // namespace gatehouse
