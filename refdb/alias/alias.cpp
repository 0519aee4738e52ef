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

bool below(std::string_view path, std::string_view folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

namespace {

std::string moved(std::string_view path, std::string_view from, std::string_view to) {
  std::string out(to);
  out += path.substr(from.size());
  return out;
}

}  // namespace

std::optional<std::string> alias_of(std::string_view path) {
  for (const auto& [link, target] : usr_merge) {
    if (below(path, target)) return moved(path, target, link);
    if (below(path, link)) return moved(path, link, target);
  }
  return std::nullopt;
}

std::string merged_path(std::string_view path) {
  for (const auto& [link, target] : usr_merge)
    if (below(path, link)) return moved(path, link, target);
  return std::string(path);
}

std::string kernel_name(std::string_view path) {
  std::string out(path);
  std::ranges::replace(out, ' ', '_');
  return out;
}

std::string index_path(std::string_view path) { return kernel_name(merged_path(path)); }

std::vector<std::string> kernel_names(std::string_view path) {
  std::vector<std::string> out{index_path(path)};
  if (auto other = alias_of(out.front())) out.push_back(*std::move(other));
  return out;
}

}  // namespace gatehouse::refdb
