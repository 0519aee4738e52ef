#include "refdb/alias/alias.h"

#include <algorithm>

namespace gatehouse::refdb {

Result<std::string> canonical_path(std::string_view path) {
  constexpr std::string_view spec = "spec part 2 8.5";
  if (path.empty()) return fail(Fault::malformed, "empty path", spec);
  if (path.size() > max_path_bytes) return fail(Fault::malformed, "path longer than 4096 bytes", spec);
  if (path.find('\0') != path.npos) return fail(Fault::malformed, "NUL in a path", spec);
  std::string out;
  out.reserve(path.size() + 1);
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (out.empty()) return fail(Fault::malformed, "path climbs above the root", spec);
      out.resize(out.rfind('/'));
      continue;
    }
    out += '/';
    out += part;
  }
  if (out.empty()) out = "/";
  if (out.size() > max_path_bytes) return fail(Fault::malformed, "path longer than 4096 bytes", spec);
  return out;
}

bool is_canonical(std::string_view path) {
  if (path.size() < 2 || path.size() > max_path_bytes || path.front() != '/' || path.back() == '/') return false;
  // A slash or a dot after a slash may be one of "//", "/./" and "/../"; a name that begins with a dot isn't looked at
  // more closely.
  bool after_slash = false, bad = false;
  for (const char c : path) {
    bad |= (after_slash & (c == '/' || c == '.')) | (c == '\0');
    after_slash = c == '/';
  }
  return !bad;
}

bool below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

namespace {

constexpr std::string_view usr = "/usr";
static_assert(std::ranges::all_of(usr_merge, [](const AliasRule& r) {
  return r.target.starts_with(usr) && r.target.substr(usr.size()) == r.link;
}));

// Where the path of a file below a rule's link or target goes on after "/usr": "/bin/x" of both "/usr/bin/x" and
// "/bin/x". Empty: no rule applies.
std::string_view after_usr(std::string_view path) {
  const std::string_view rest = path.starts_with("/usr/") ? path.substr(usr.size()) : path;
  if (rest.size() < 2 || rest.front() != '/' || (rest[1] != 'b' && rest[1] != 's' && rest[1] != 'l')) return {};
  const std::size_t end = rest.find('/', 1);
  if (end == rest.npos) return {};
  for (const AliasRule& rule : usr_merge)
    if (rest.substr(0, end) == rule.link) return rest;
  return {};
}
// A rule's link is its beginning.
bool lacks_usr(std::string_view path) { return !path.empty() && after_usr(path).size() == path.size(); }

}  // namespace

bool alias_of(std::string_view path, std::string& out) {
  const std::string_view rest = after_usr(path);
  if (rest.empty()) return false;
  out.clear();
  if (rest.size() == path.size()) out += usr;
  out += rest;
  return true;
}

std::optional<std::string> alias_of(std::string_view path) {
  std::string out;
  if (!alias_of(path, out)) return std::nullopt;
  return out;
}

std::string merged_path(std::string_view path) {
  std::string out(path);
  if (lacks_usr(path)) out.insert(0, usr);
  return out;
}

namespace {

// Few paths have any.
void replace_spaces(std::string& path) {
  for (std::size_t at = path.find(' '); at != path.npos; at = path.find(' ', at + 1)) path[at] = '_';
}

}  // namespace

std::string kernel_name(std::string_view path) {
  std::string out(path);
  replace_spaces(out);
  return out;
}

void index_path(std::string_view path, std::string& out) {
  out.clear();
  if (lacks_usr(path)) out += usr;
  out += path;
  replace_spaces(out);
}

std::string index_path(std::string_view path) {
  std::string out;
  index_path(path, out);
  return out;
}

std::vector<std::string> kernel_names(std::string_view path) {
  std::vector<std::string> out{index_path(path)};
  if (auto other = alias_of(out.front())) out.push_back(*std::move(other));
  return out;
}

}  // namespace gatehouse::refdb
