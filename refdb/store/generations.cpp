#include "refdb/store/generations.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "base/file.h"
#include "refdb/alias/alias.h"
#include "refdb/store/builder.h"
#include "refdb/store/generation.h"
#include "refdb/store/open.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

Result<std::unique_ptr<Generation>> open_generation(const std::string& path, std::uint64_t n) {
  const std::string where = generation_path(path, n);
  if (!fs::exists(where)) return fail(Error{Fault::usage, "no such generation", {}, 0, where, {}});
  return Generation::open(path, n);
}

// What tells packages apart, and the contents that there are under it (a tree that was taken in twice has two).
using PackageKey = std::tuple<ProductLayer, std::string, std::string, std::string, std::string>;
using Contents = std::map<std::string, std::uint64_t>;  // files by digest of the contents

// A generation's side of a comparison.
struct Side {
  std::unique_ptr<Generation> generation;
  std::map<PackageKey, Contents> packages;
  std::map<ProductLayer, std::uint32_t> layers;

  Result<void> read_packages() {
    std::map<std::uint32_t, ProductLayer> names;
    for (const auto& [layer, id] : generation->totals().layers) {
      names[id] = layer;
      layers[layer] = id;
    }
    return generation->each_package([&](std::uint32_t, Package&& p) {
      packages[{names[p.layer], std::move(p.name), std::move(p.version), std::move(p.architecture),
                std::move(p.source)}]
          .emplace(std::move(p.digest), p.files - p.uncounted);
    });
  }
  // Digests of the contents of all packages: product, name, version and architecture are in them.
  std::set<std::string> contents() const {
    std::set<std::string> out;
    for (const auto& [_, contents] : packages)
      for (const auto& [digest, files] : contents) out.insert(digest);
    return out;
  }
};

void add_package_changes(const Side& from, const Side& to, std::vector<PackageChange>& out) {
  static const Contents none;
  std::set<PackageKey> keys;
  for (const auto& [key, _] : from.packages) keys.insert(key);
  for (const auto& [key, _] : to.packages) keys.insert(key);
  for (const PackageKey& key : keys) {
    const auto before = from.packages.find(key), after = to.packages.find(key);
    const auto& had = before == from.packages.end() ? none : before->second;
    const auto& has = after == to.packages.end() ? none : after->second;
    std::uint64_t came = 0, went = 0;
    bool any_came = false, any_went = false;
    for (const auto& [digest, files] : has)
      if (!had.contains(digest)) any_came = true, came += files;
    for (const auto& [digest, files] : had)
      if (!has.contains(digest)) any_went = true, went += files;
    if (!any_came && !any_went) continue;
    const Change change = any_came && any_went ? Change::changed : any_came ? Change::added : Change::removed;
    const auto& [layer, name, version, architecture, source] = key;
    out.push_back({change, layer.product, layer.layer, name, version, architecture, source, any_came ? came : went});
  }
}

// The files of a layer whose contents differ. Only packages that one side alone has can make a difference; their
// files are read as often as it takes to have them in order with bounded memory.
class FileDiff {
 public:
  FileDiff(const Side& from, const Side& to, GenerationDiff& out, const std::function<void(const FileChange&)>& on_file)
      : from_(from), to_(to), out_(out), on_file_(on_file), had_(from.contents()), has_(to.contents()) {}

  Result<void> walk(const ProductLayer& layer) {
    const auto before = from_.layers.find(layer), after = to_.layers.find(layer);
    shared_ = false;
    GH_TRY(const auto removed, only(from_, before == from_.layers.end() ? 0 : before->second, has_));
    GH_TRY(const auto added, only(to_, after == to_.layers.end() ? 0 : after->second, had_));
    std::string last;
    for (bool all = false; !all;) {
      std::vector<File> files;
      std::string end;  // no path from here on is complete; empty: all are
      GH_CHECK(collect(*from_.generation, removed, false, last, files, end));
      GH_CHECK(collect(*to_.generation, added, true, last, files, end));
      all = end.empty();
      if (!all) std::erase_if(files, [&](const File& f) { return f.path >= end; });
      std::ranges::sort(files, {}, &File::path);
      for (std::size_t i = 0; i < files.size();) {
        std::size_t next = i;
        std::set<std::string> old_contents, new_contents;
        for (; next < files.size() && files[next].path == files[i].path; ++next)
          (files[next].is_new ? new_contents : old_contents).insert(std::move(files[next].content));
        GH_CHECK(compare(layer, before == from_.layers.end() ? 0 : before->second, files[i].path, old_contents,
                         new_contents));
        i = next;
      }
      if (!files.empty()) last = files.back().path;
    }
    return {};
  }

 private:
  struct File {
    std::string path, content;
    bool is_new = false;
  };
  static constexpr std::size_t most_files = 500'000;

  // Packages of a layer whose contents the other side hasn't.
  Result<std::vector<Package>> only(const Side& side, std::uint32_t layer, const std::set<std::string>& other) {
    std::vector<Package> out;
    if (layer == 0) return out;
    GH_CHECK(side.generation->each_package([&](std::uint32_t, Package&& p) {
      if (p.layer != layer) return;
      if (other.contains(p.digest))
        shared_ = true;
      else
        out.push_back(std::move(p));
    }));
    return out;
  }

  // Files after `last` and before `end`; when they become too many, those with the greatest paths go, and `end` says
  // from which path on.
  static Result<void> collect(const Generation& generation, const std::vector<Package>& packages, bool is_new,
                              const std::string& last, std::vector<File>& files, std::string& end) {
    for (const Package& package : packages)
      GH_CHECK(generation.each_file(package, [&](const FileRow& row) {
        if (row.path <= last || (!end.empty() && row.path >= end)) return;
        File file{std::string(row.path), {}, is_new};
        row.append_content(file.content);
        files.push_back(std::move(file));
        if (files.size() < 2 * most_files) return;
        const auto middle = files.begin() + most_files;
        std::ranges::nth_element(files, middle, {}, &File::path);
        end = middle->path;
        std::erase_if(files, [&](const File& f) { return f.path >= end; });
      }));
    return {};
  }

  Result<void> compare(const ProductLayer& layer, std::uint32_t layer_before, const std::string& path,
                       std::set<std::string>& old_contents, std::set<std::string>& new_contents) {
    if (shared_) {
      // What packages that both have say of the path is the same on both sides.
      const Generation& g = *from_.generation;
      GH_TRY(const auto numbers, g.find(Index::path, hash_of_path(layer_before, index_path(path), sha256_)));
      for (const std::uint32_t number : numbers) {
        std::string content;
        std::uint32_t id = 0;
        GH_CHECK(g.file(number, [&](const FileRow& row) {
          if (row.path != path) return;
          id = row.package;
          row.append_content(content);
        }));
        if (id == 0) continue;
        GH_TRY(const Package package, g.package(id));
        if (package.layer != layer_before || !has_.contains(package.digest)) continue;
        old_contents.insert(content);
        new_contents.insert(content);
      }
    }
    if (old_contents == new_contents) return {};
    const Change change = old_contents.empty()   ? Change::added
                          : new_contents.empty() ? Change::removed
                                                 : Change::changed;
    ++(change == Change::added ? out_.added : change == Change::removed ? out_.removed : out_.changed);
    if (on_file_) on_file_({change, layer.product, layer.layer, path});
    return {};
  }

  const Side &from_, &to_;
  GenerationDiff& out_;
  const std::function<void(const FileChange&)>& on_file_;
  const std::set<std::string> had_, has_;
  bool shared_ = false;  // some package of the layer is on both sides
  Hasher sha256_{HashAlgorithm::sha256};
};

}  // namespace

std::string_view name(Change change) {
  switch (change) {
    case Change::added:
      return "added";
    case Change::removed:
      return "removed";
    case Change::changed:
      return "changed";
  }
  std::unreachable();
}

Result<std::vector<GenerationInfo>> list_generations(const std::string& path) {
  GH_TRY(const std::uint64_t current, current_generation(path));
  std::vector<std::uint64_t> numbers;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path + "/generations", ec)) {
    // One after the current never was it: a killed ingestion's.
    const auto n = generation_number(entry.path().filename().string());
    if (n && *n <= current) numbers.push_back(*n);
  }
  if (ec) return store_error("can't list the generations", path, ec.message());
  std::sort(numbers.rbegin(), numbers.rend());
  std::vector<GenerationInfo> out;
  for (const std::uint64_t n : numbers) {
    GenerationInfo info;
    info.number = n;
    info.current = n == current;
    struct stat st {};
    if (::stat(generation_path(path, n).c_str(), &st) == 0) info.made = st.st_mtime;
    const auto opened = open_generation(path, n);
    if (opened) {
      const Totals& totals = (*opened)->totals();
      info.products = product_names(totals).size();
      info.packages = totals.packages;
      info.files = totals.files;
      info.content_digest = totals.content.hex();
    } else {
      info.damage = opened.error().text();
    }
    out.push_back(std::move(info));
  }
  return out;
}

Result<GenerationDiff> diff_generations(const std::string& path, std::uint64_t from, std::uint64_t to,
                                        const std::function<void(const FileChange&)>& on_file) {
  GH_CHECK(check_format(path));
  Side before, after;
  GH_TRY(before.generation, open_generation(path, from));
  GH_TRY(after.generation, open_generation(path, to));
  GH_CHECK(before.read_packages());
  GH_CHECK(after.read_packages());
  GenerationDiff out;
  add_package_changes(before, after, out.packages);
  // Layers are numbered in each generation for itself.
  std::set<ProductLayer> layers;
  for (const Side* const side : {&before, &after})
    for (const auto& [layer, _] : side->layers) layers.insert(layer);
  FileDiff files(before, after, out, on_file);
  for (const ProductLayer& layer : layers) GH_CHECK(files.walk(layer));
  return out;
}

Result<std::uint64_t> current_generation(const std::string& path) {
  GH_CHECK(check_format(path));
  const auto bytes = read_file(path + "/CURRENT", 64);
  if (!bytes) {
    if (fs::exists(path + "/CURRENT")) return std::unexpected(bytes.error());
    // Before the first switch there is at most the generation that it would switch to.
    std::error_code ec;
    for (const auto& entry : fs::directory_iterator(path + "/generations", ec))
      if (generation_number(entry.path().filename().string()).value_or(0) > 1)
        return store_error("the generation pointer is gone", path + "/CURRENT", std::string());
    return std::uint64_t{0};
  }
  // Written at once, so anything else than a number and its line's end is damage; a part of a number would name another
  // generation.
  const std::string_view text = as_text(*bytes);
  const auto n = generation_number(text.substr(0, text.size() - std::min<std::size_t>(text.size(), 1)));
  if (!n || text.back() != '\n')
    return store_error("the generation pointer is damaged", path + "/CURRENT", std::string());
  return *n;
}

Result<std::size_t> prune_generations(const std::string& path, std::size_t keep) {
  GH_TRY(const std::uint64_t current, current_generation(path));
  std::vector<std::uint64_t> old;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(path + "/generations", ec)) {
    const std::string name = entry.path().filename().string();
    if (const auto number = generation_number(name); number && *number < current) old.push_back(*number);
  }
  std::sort(old.rbegin(), old.rend());
  std::size_t removed = 0;
  for (std::size_t i = keep; i < old.size(); ++i) {
    const std::string where = generation_path(path, old[i]);
    const auto hold = Hold::take(where, LOCK_EX);
    if (!hold && fs::exists(where + "/CURRENT")) continue;
    if (fs::remove_all(where, ec); ec) return store_error("can't remove the generation", where, ec.message());
    ++removed;
  }
  return removed;
}

}  // namespace gatehouse::refdb
