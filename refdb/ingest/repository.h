// What a repository's index says of its packages, and which of them an operator wants.
//
//   GH_TRY(const auto selection, Selection::parse("server", {"linux-*", "/usr/*"}, {"section:games"}));
//   if (selection.takes(entry) && …) …
#pragma once

#include <charconv>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "refdb/store/builder.h"

namespace gatehouse::refdb {

// Of what a server or an index says, before anything is asked for: an index of all of Debian has 50 MiB.
inline constexpr std::uint64_t max_index_bytes = std::uint64_t(1) << 30;
inline constexpr std::uint64_t max_packed_index_bytes = std::uint64_t(256) << 20;
inline constexpr std::uint64_t max_repository_package_bytes = std::uint64_t(8) << 30;
inline constexpr std::size_t max_index_packages = 1'000'000;
inline constexpr std::size_t max_release_bytes = std::size_t(32) << 20;

// A number that is all of a text, without a sign.
template <class T>
std::optional<T> decimal(std::string_view text) {
  T out{};
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || text.front() == '-' || read.ec != std::errc{} || read.ptr != text.data() + text.size())
    return std::nullopt;
  return out;
}

struct IndexEntry {
  std::string name, version, architecture;
  std::string section, priority;  // of an RPM package its group, and nothing
  std::string path;               // below the repository: is_safe_path()
  std::uint64_t size = 0;
  HashAlgorithm algorithm = HashAlgorithm::sha256;
  Digest digest;  // of the package file

  // What the store knows the package file by: its SHA-256, or that of a digest in another algorithm.
  Digest identity() const;
};

// An entry that can't be used doesn't make the index unusable: `bad` says why, and the entry has a name at best.
struct IndexItem {
  IndexEntry entry;
  std::optional<Error> bad;
};

// Whether a path from an index stays below the folder that it is taken from: not absolute, no "." or "..", no empty
// part, no control characters, at most 1,024 bytes. Nothing is resolved or repaired.
bool is_safe_path(std::string_view path);

class Selection {
 public:
  Selection() = default;
  // A pattern is a shell's (* ? [a-z]; a star matches a slash, too): "/usr/share/doc/*" for paths in packages,
  // "section:games", "priority:optional", else the name of a package. Of each kind, paths or packages, nothing is left
  // out that an inclusion names, everything that an exclusion names, and where there are inclusions all that none names.
  // Profiles: "server"; empty for none. Fault::usage: another, or an empty pattern.
  static Result<Selection> parse(std::string_view profile, const std::vector<std::string>& include,
                                 const std::vector<std::string>& exclude);

  bool takes(const IndexEntry& entry) const;
  // Whether there is anything to ask of a package; else all are taken.
  bool has_package_rules() const { return !include_.empty() || !exclude_.empty(); }
  bool takes_path(const std::string& path) const;
  // What tells selections of paths apart; empty: all are taken.
  const std::string& path_rules() const { return path_rules_; }
  // What a package is known by of which all is read but the files that aren't taken: whoever reads only part of a
  // package has another one.
  Digest identity(const Digest& of_package) const;
  // Takes the files away that aren't taken; how many.
  std::uint64_t leave_out(std::vector<ReferenceFile>& files) const;

 private:
  enum class Of : std::uint8_t { name, section, priority, path };
  struct Pattern {
    Of of{};
    std::string glob;
    bool matches(const IndexEntry& entry) const;
  };
  static Result<Pattern> pattern(std::string_view text);
  static Result<void> add(const std::vector<std::string>& texts, std::vector<Pattern>& packages,
                          std::vector<Pattern>& paths);

  std::vector<Pattern> include_, exclude_, include_paths_, exclude_paths_;
  std::string path_rules_;
};

// How repositories are taken in; the selection is of all sources.
struct RepositoryOptions {
  std::vector<std::string> suites;                // of apt:; "./" or another path with a slash at its end: a flat one
  std::vector<std::string> components{"main"};    // of apt:
  std::vector<std::string> architectures;         // none: this machine's for apt:, all for rpm-md:
  std::vector<std::string> keyrings;              // files
  bool allow_unsigned = false;                    // what isn't signed, and no keyrings are needed
  bool allow_older = false;                       // than what was taken, or past its Valid-Until
  std::string ca;                                 // PEM file of who vouches for https servers; none: the system's
  std::string cache;                              // of what servers give; none: in the user's cache folder
  bool keep_packages = false;                     // in the cache, once they are in the store
  unsigned downloads = 4;                         // at once
  // Packages that came and aren't taken in yet: beyond that no further one is begun, so that a whole distribution needs
  // little more room on the disk than its references.
  std::uint64_t ahead_bytes = std::uint64_t(1) << 30;
  std::chrono::seconds stall{30};
  std::string profile;                            // with both below: Selection::parse()
  std::vector<std::string> include, exclude;
};

}  // namespace gatehouse::refdb
