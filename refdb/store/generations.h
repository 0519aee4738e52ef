// The generations of a store: which there are, and what one has that another hasn't.
//
//   GH_TRY(const auto generations, list_generations("refdb"));
//   GH_TRY(const auto diff, diff_generations("refdb", 41, 42, [](const FileChange& f) { … }));
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

struct GenerationInfo {
  std::uint64_t number = 0;
  bool current = false;
  std::int64_t made = 0;  // seconds since 1970: when its folder was last changed
  std::uint64_t products = 0, packages = 0, files = 0;
  std::string content_digest;
  std::string damage;  // why it can't be read; empty: it can
};
// Newest first. One that can't be read is listed with its reason.
Result<std::vector<GenerationInfo>> list_generations(const std::string& path);

enum class Change : std::uint8_t { added, removed, changed };
std::string_view name(Change change);

// One source of references: a package, a tree, a list. Changed: other contents under the same product, name, version,
// architecture and source.
struct PackageChange {
  Change change{};
  std::string product;
  Layer layer{};
  std::string name, version, architecture, source;
  std::uint64_t files = 0;  // that the package has; of a removed one, that it had
};
// A path as packages name it. Changed: some content of it came or went.
struct FileChange {
  Change change{};
  std::string product;
  Layer layer{};
  std::string path;
};
struct GenerationDiff {
  std::vector<PackageChange> packages;                // by product, layer, name, version
  std::uint64_t added = 0, removed = 0, changed = 0;  // files
};
// What `to` has that `from` hasn't and the other way round; names count, not when something was taken in. Files go to
// `on_file` in the order of products, layers and paths as they are found: there may be millions.
Result<GenerationDiff> diff_generations(const std::string& path, std::uint64_t from, std::uint64_t to,
                                        const std::function<void(const FileChange&)>& on_file);

}  // namespace gatehouse::refdb
