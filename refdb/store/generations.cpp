#include "refdb/store/generations.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <tuple>

#include "refdb/store/open.h"
#include "refdb/store/rows.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;

// A generation while it is read: held, so that nobody prunes it.
struct Opened {
  Hold hold;
  std::unique_ptr<rocksdb::DB> db;
  Totals totals;
};
Result<Opened> open_generation(const std::string& path, std::uint64_t n) {
  const std::string where = generation_path(path, n);
  if (!fs::exists(where)) return fail(Error{Fault::usage, "no such generation", {}, 0, where, {}});
  Opened out;
  GH_TRY(Hold hold, Hold::take(where, LOCK_SH));
  GH_TRY(out.db, open_db(where, false));
  GH_TRY(out.totals, read_totals(*out.db, where, n));
  return Opened{std::move(hold), std::move(out.db), out.totals};
}

// What tells packages apart, and the contents that there are under it (a tree that was taken in twice has two).
using PackageKey = std::tuple<std::string, std::string, std::string, std::string, std::string>;
using Packages = std::map<PackageKey, std::map<std::string, std::uint64_t>>;  // files by digest of the contents

Result<Packages> packages_of(rocksdb::DB& db, const std::string& path) {
  GH_TRY(const auto products, read_products(db, path));
  std::map<std::uint32_t, std::string> names;
  for (const auto& [name, id] : products) names[id] = name;
  Packages out;
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(rocksdb::ReadOptions()));
  for (it->Seek("k"); it->Valid() && it->key().starts_with("k"); it->Next()) {
    Package p = decode_package(text_of(it->value()));
    out[{names[p.product], std::move(p.name), std::move(p.version), std::move(p.architecture), std::move(p.source)}]
        .emplace(std::move(p.digest), p.files);
  }
  if (!it->status().ok()) return store_error("can't read the packages", path, it->status());
  return out;
}

void add_package_changes(const Packages& from, const Packages& to, std::vector<PackageChange>& out) {
  static const std::map<std::string, std::uint64_t> none;
  std::set<PackageKey> keys;
  for (const auto& [key, _] : from) keys.insert(key);
  for (const auto& [key, _] : to) keys.insert(key);
  for (const PackageKey& key : keys) {
    const auto before = from.find(key), after = to.find(key);
    const auto& had = before == from.end() ? none : before->second;
    const auto& has = after == to.end() ? none : after->second;
    std::uint64_t came = 0, went = 0;
    bool any_came = false, any_went = false;
    for (const auto& [digest, files] : has)
      if (!had.contains(digest)) any_came = true, came += files;
    for (const auto& [digest, files] : had)
      if (!has.contains(digest)) any_went = true, went += files;
    if (!any_came && !any_went) continue;
    const Change change = any_came && any_went ? Change::changed : any_came ? Change::added : Change::removed;
    const auto& [product, name, version, architecture, source] = key;
    out.push_back({change, product, name, version, architecture, source, any_came ? came : went});
  }
}

// The files of a product, path by path in order.
class Paths {
 public:
  // `product`: nullopt for a generation that hasn't it.
  Paths(rocksdb::DB& db, std::optional<std::uint32_t> product) {
    if (!product) return;
    prefix_ = "f";
    put(prefix_, *product);
    it_.reset(db.NewIterator(rocksdb::ReadOptions()));
    it_->Seek(prefix_);
    read();
  }
  bool done() const { return index_.empty(); }
  const std::string& index() const { return index_; }
  // Each path under this index, with its contents.
  const std::map<std::string, std::set<std::string>>& files() const { return files_; }
  void next() { read(); }
  rocksdb::Status status() const { return it_ ? it_->status() : rocksdb::Status::OK(); }

 private:
  // All rows of the next index path.
  void read() {
    index_.clear();
    files_.clear();
    for (; it_->Valid() && it_->key().starts_with(prefix_); it_->Next()) {
      std::string_view key = text_of(it_->key()).substr(prefix_.size());
      const std::size_t nul = key.find('\0');
      if (nul == key.npos) continue;
      if (index_.empty()) index_ = key.substr(0, nul);
      if (key.substr(0, nul) != index_) return;
      // Path, size, flags, digests: the size isn't known of every source, and says nothing beside the digests.
      std::string_view value = text_of(it_->value());
      std::string path(take_text(value));
      number<std::uint64_t>(value);
      files_[std::move(path)].emplace(value);
    }
  }

  std::unique_ptr<rocksdb::Iterator> it_;
  std::string prefix_, index_;
  std::map<std::string, std::set<std::string>> files_;
};

class FileDiff {
 public:
  FileDiff(GenerationDiff& out, const std::function<void(const FileChange&)>& on_file) : out_(out), on_file_(on_file) {}

  void walk(const std::string& product, Paths& from, Paths& to) {
    static const std::map<std::string, std::set<std::string>> none;
    while (!from.done() || !to.done()) {
      const bool first = to.done() || (!from.done() && from.index() <= to.index());
      const bool second = from.done() || (!to.done() && to.index() <= from.index());
      compare(product, first ? from.files() : none, second ? to.files() : none);
      if (first) from.next();
      if (second) to.next();
    }
  }

 private:
  using Files = std::map<std::string, std::set<std::string>>;
  void compare(const std::string& product, const Files& from, const Files& to) {
    for (const auto& [path, contents] : from) {
      const auto other = to.find(path);
      if (other == to.end())
        note(Change::removed, product, path);
      else if (other->second != contents)
        note(Change::changed, product, path);
    }
    for (const auto& [path, _] : to)
      if (!from.contains(path)) note(Change::added, product, path);
  }
  void note(Change change, const std::string& product, const std::string& path) {
    ++(change == Change::added ? out_.added : change == Change::removed ? out_.removed : out_.changed);
    if (on_file_) on_file_({change, product, path});
  }

  GenerationDiff& out_;
  const std::function<void(const FileChange&)>& on_file_;
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
      info.products = opened->totals.products;
      info.packages = opened->totals.packages;
      info.files = opened->totals.files;
      info.content_digest = opened->totals.content.hex();
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
  GH_TRY(const Opened a, open_generation(path, from));
  GH_TRY(const Opened b, open_generation(path, to));
  const std::string path_a = generation_path(path, from), path_b = generation_path(path, to);
  GenerationDiff out;
  {
    GH_TRY(const Packages before, packages_of(*a.db, path_a));
    GH_TRY(const Packages after, packages_of(*b.db, path_b));
    add_package_changes(before, after, out.packages);
  }
  // Products are numbered in each generation for itself.
  std::map<std::string, std::pair<std::optional<std::uint32_t>, std::optional<std::uint32_t>>> products;
  GH_TRY(const auto before, read_products(*a.db, path_a));
  GH_TRY(const auto after, read_products(*b.db, path_b));
  for (const auto& [name, id] : before) products[name].first = id;
  for (const auto& [name, id] : after) products[name].second = id;
  FileDiff files(out, on_file);
  for (const auto& [product, ids] : products) {
    Paths had(*a.db, ids.first), has(*b.db, ids.second);
    files.walk(product, had, has);
    if (!had.status().ok()) return store_error("can't read references", path_a, had.status());
    if (!has.status().ok()) return store_error("can't read references", path_b, has.status());
  }
  return out;
}

}  // namespace gatehouse::refdb
