#include "refdb/ingest/repository.h"

#include <fnmatch.h>

#include <algorithm>
#include <array>

namespace gatehouse::refdb {
namespace {

// What a server's users can't run: documentation, debug symbols, games, and sources as packages bring them. Sections are
// Debian's, with a component in front or without; groups are RPM's.
constexpr std::string_view server_excludes[] = {
    "section:doc",        "section:*/doc",         "section:debug",  "section:*/debug", "section:games",
    "section:*/games",    "section:Documentation", "section:Documentation/*", "section:Amusements/Games*",
    "*-doc",              "*-docs",                "*-dbg",          "*-dbgsym",        "*-debuginfo",
    "*-debugsource",      "*-source",              "linux-source-*",
};

bool matches_glob(const std::string& glob, const std::string& text) {
  return ::fnmatch(glob.c_str(), text.c_str(), 0) == 0;
}

}  // namespace

Digest IndexEntry::identity() const {
  if (algorithm == HashAlgorithm::sha256) return digest;
  const std::string text = std::string(gatehouse::name(algorithm)) + ":" + digest.hex();
  return digest_of(HashAlgorithm::sha256, as_bytes(text));
}

bool is_safe_path(std::string_view path) {
  if (path.empty() || path.size() > 1024) return false;
  if (std::any_of(path.begin(), path.end(), [](char c) { return std::uint8_t(c) < 0x20 || c == 0x7F; })) return false;
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = path.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

bool Selection::Pattern::matches(const IndexEntry& entry) const {
  const std::array<const std::string*, 3> texts{&entry.name, &entry.section, &entry.priority};
  return matches_glob(glob, *texts[std::size_t(of)]);
}

Result<Selection::Pattern> Selection::pattern(std::string_view text) {
  Pattern out;
  constexpr std::pair<std::string_view, Of> prefixes[] = {
      {"section:", Of::section}, {"priority:", Of::priority}, {"package:", Of::name}};
  if (text.starts_with('/')) out.of = Of::path;
  for (const auto& [prefix, of] : prefixes)
    if (text.starts_with(prefix)) {
      out.of = of;
      text.remove_prefix(prefix.size());
      break;
    }
  if (text.empty() || text.find('\0') != text.npos) return fail(Fault::usage, "an empty pattern");
  out.glob = text;
  return out;
}

Result<void> Selection::add(const std::vector<std::string>& texts, std::vector<Pattern>& packages,
                            std::vector<Pattern>& paths) {
  for (const std::string& text : texts) {
    GH_TRY(Pattern one, pattern(text));
    (one.of == Of::path ? paths : packages).push_back(std::move(one));
  }
  return {};
}

Result<Selection> Selection::parse(std::string_view profile, const std::vector<std::string>& include,
                                   const std::vector<std::string>& exclude) {
  Selection out;
  GH_CHECK(add(include, out.include_, out.include_paths_));
  GH_CHECK(add(exclude, out.exclude_, out.exclude_paths_));
  if (profile == "server")
    GH_CHECK(add({std::begin(server_excludes), std::end(server_excludes)}, out.exclude_, out.exclude_paths_));
  else if (!profile.empty())
    return fail(Error{Fault::usage, "no such profile (there is: server)", {}, 0, std::string(profile), {}});
  const auto note = [&out](char sign, const std::vector<Pattern>& patterns) {
    std::vector<std::string_view> globs;
    for (const Pattern& p : patterns) globs.push_back(p.glob);
    std::sort(globs.begin(), globs.end());
    for (const std::string_view glob : globs) out.path_rules_ += sign + std::string(glob) + '\n';
  };
  note('+', out.include_paths_);
  note('-', out.exclude_paths_);
  return out;
}

bool Selection::takes(const IndexEntry& entry) const {
  const auto matches = [&](const Pattern& p) { return p.matches(entry); };
  return (include_.empty() || std::any_of(include_.begin(), include_.end(), matches)) &&
         std::none_of(exclude_.begin(), exclude_.end(), matches);
}

Digest Selection::identity(const Digest& of_package) const {
  if (path_rules_.empty()) return of_package;
  const std::string text = of_package.hex() + "\n" + path_rules_;
  return digest_of(HashAlgorithm::sha256, as_bytes(text));
}

std::uint64_t Selection::leave_out(std::vector<ReferenceFile>& files) const {
  if (path_rules_.empty()) return 0;
  return std::erase_if(files, [&](const ReferenceFile& f) { return !takes_path(f.path); });
}

bool Selection::takes_path(const std::string& path) const {
  const auto matches = [&](const Pattern& p) { return matches_glob(p.glob, path); };
  return (include_paths_.empty() || std::any_of(include_paths_.begin(), include_paths_.end(), matches)) &&
         std::none_of(exclude_paths_.begin(), exclude_paths_.end(), matches);
}

}  // namespace gatehouse::refdb
