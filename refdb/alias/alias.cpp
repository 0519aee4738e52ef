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
  for (std::size_t i = 0; i + 1 < path.size(); ++i)
    if (path[i] == '\0' || (path[i] == '/' && (path[i + 1] == '/' || path[i + 1] == '.'))) return false;
  return path.back() != '\0';
}

bool below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

namespace {

void move(std::string_view path, std::string_view from, std::string_view to, std::string& out) {
  out = to;
  out += path.substr(from.size());
}

}  // namespace

bool alias_of(std::string_view path, std::string& out) {
  for (const auto& [link, target] : usr_merge) {
    if (below(path, target)) return move(path, target, link, out), true;
    if (below(path, link)) return move(path, link, target, out), true;
  }
  return false;
}

std::optional<std::string> alias_of(std::string_view path) {
  std::string out;
  if (!alias_of(path, out)) return std::nullopt;
  return out;
}

std::string merged_path(std::string_view path) {
  std::string out(path);
  for (const auto& [link, target] : usr_merge)
    if (below(path, link)) return move(path, link, target, out), out;
  return out;
}

std::string kernel_name(std::string_view path) {
  std::string out(path);
  std::ranges::replace(out, ' ', '_');
  return out;
}

void index_path(std::string_view path, std::string& out) {
  out = path;
  for (const auto& [link, target] : usr_merge) {
    if (!below(path, link)) continue;
    move(path, link, target, out);
    break;
  }
  std::ranges::replace(out, ' ', '_');
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
