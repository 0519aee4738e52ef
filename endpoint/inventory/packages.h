// What package managers say is installed, read from their own files: dpkg's status file, and rpm's database through its
// library where that is installed. Not read: what was put there without them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::endpoint {

// Source Identification Numbers of this endpoint (RFC 8412 section 3.6).
inline constexpr std::uint8_t source_dpkg = 1, source_rpm = 2;

inline constexpr std::size_t max_packages = 200'000;  // of all sources
inline constexpr std::size_t max_package_text = 512;  // of a name, a version, an architecture
inline constexpr std::size_t max_status_bytes = std::size_t(128) << 20;

struct Package {
  std::uint8_t source = source_dpkg;
  std::string name, version, architecture;  // printable ASCII without blanks; version with epoch and revision
  Digest fingerprint;  // SHA-256 of what the manager records of it: another one for the same name is an alteration
  friend bool operator==(const Package&, const Package&) = default;
};

struct DpkgStatus {
  std::vector<Package> packages;  // as they stand in the file
  std::size_t skipped = 0;        // paragraphs that can't be read
  Error first;                    // what is wrong with the first of them, and where
};

// The status file of dpkg (deb-control(5) paragraphs). A package counts that is in the state "installed" and not to be
// reinstalled, whatever is wanted of it: one on hold is there too. A paragraph that can't be read is left out and
// counted. Fault::limit beyond max_packages.
Result<DpkgStatus> parse_dpkg_status(Bytes file);

// Names of rpm's library, the newest first.
inline constexpr std::string_view rpm_libraries[] = {"librpm.so.10", "librpm.so.9", "librpm.so.8"};

// All packages of rpm's database; none of the libraries is there: absent. The library is loaded once and stays loaded.
Result<std::optional<std::vector<Package>>> read_rpm_packages(const std::vector<std::string>& libraries);

// A name, version or architecture that may be kept.
bool acceptable_package_text(std::string_view text);

}  // namespace gatehouse::endpoint
