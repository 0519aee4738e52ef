// What a generation answers: docs/formats/refdb.md says what is on disk.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <unordered_set>

#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "refdb/store/generation.h"
#include "refdb/store/open.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t max_answers = 1000;

std::optional<Index> template_index(HashAlgorithm bank) {
  if (bank == HashAlgorithm::sha256) return Index::template_sha256;
  if (bank == HashAlgorithm::sha384) return Index::template_sha384;
  return std::nullopt;
}

// Template digests that were found, with the names they were found for: a fleet asks for the same few thousand. All of
// them stay, since names live as long as the view; their number is bounded by the references.
class Found {
 public:
  struct Key {
    std::uint32_t product = 0, size = 0;
    std::array<std::byte, 48> t{};  // the longest that has an index
    Key(std::uint32_t of, const Digest& digest) : product(of), size(digest.size) {
      GH_ASSERT(digest.size >= sizeof(std::size_t) && digest.size <= t.size());
      std::ranges::copy(digest.view(), t.begin());
    }
    friend bool operator==(const Key&, const Key&) = default;
    // Digests are as random as any hash; the last bytes, since the table's parts go by the first.
    std::size_t hash() const {
      std::size_t out = 0;
      std::memcpy(&out, t.data() + size - sizeof out, sizeof out);
      return out + product;
    }
  };
  std::optional<std::string_view> find(const Key& key) {
    Part& part = part_of(key);
    const std::lock_guard lock(part.mutex);
    const auto at = part.names.find(key);
    if (at == part.names.end()) return std::nullopt;
    return at->second;
  }
  std::string_view insert(const Key& key, std::string name) {
    Part& part = part_of(key);
    const std::lock_guard lock(part.mutex);
    return part.names.emplace(key, std::move(name)).first->second;
  }

 private:
  struct Hash {
    std::size_t operator()(const Key& key) const { return key.hash(); }
  };
  struct Part {
    std::mutex mutex;
    std::unordered_map<Key, std::string, Hash> names;
  };
  Part& part_of(const Key& key) { return parts_[std::to_integer<std::size_t>(key.t.front()) % parts_.size()]; }
  std::array<Part, 16> parts_;
};

class GenerationView final : public View {
 public:
  // What a package says of other packages' file of a path.
  struct Diverted {
    std::uint32_t layer = 0;
    std::string package, path;
    friend auto operator<=>(const Diverted&, const Diverted&) = default;
  };
  // By the index path of where the file is instead; that more than a few go there is nobody's need.
  using Diversions = std::map<std::string, std::set<Diverted>, std::less<>>;
  static constexpr std::size_t most_diversions = 16;

  GenerationView(std::uint64_t number, std::unique_ptr<Generation> generation, Diversions diversions)
      : number_(number), generation_(std::move(generation)), diversions_(std::move(diversions)) {
    const Totals& totals = generation_->totals();
    for (const auto& [layer, id] : totals.layers) names_.emplace(id, layer);
    for (const std::string& name : product_names(totals)) {
      Product product;
      product.number = std::uint32_t(products_.size());
      const auto add = [&](const std::string& from, std::optional<Layer> as) {
        for (const auto& [layer, id] : totals.layers)
          if (layer.product == from) product.layers.try_emplace(id, as.value_or(layer.layer));
      };
      add(name, std::nullopt);
      for (const Inclusion& i : totals.inclusions)
        if (i.into.product == name) add(i.from, i.into.layer);
      products_.emplace(name, std::move(product));
    }
  }
  std::uint64_t generation() const override { return number_; }
  std::int64_t made() const override {
    struct stat st {};
    return ::stat(generation_->path().c_str(), &st) == 0 ? st.st_mtime : 0;
  }
  bool has_product(std::string_view product) const override { return products_.contains(product); }
  std::vector<std::string> products() const override {
    std::vector<std::string> out;
    for (const auto& [name, _] : products_) out.push_back(name);
    return out;
  }

  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<TemplateHit> hits) const override {
    const auto at = products_.find(product);
    const auto index = template_index(bank);
    if (at == products_.end() || !index) return {};
    Hasher hasher(bank);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (keys[i].size != digest_size(bank)) continue;
      const Found::Key key(at->second.number, keys[i]);
      if (const auto name = found_.find(key)) {
        hits[i] = {true, *name};
        continue;
      }
      for (const auto& [layer, _] : at->second.layers) {
        GH_TRY(auto name, name_of_template(layer, *index, keys[i], hasher));
        if (!name) continue;
        hits[i] = {true, found_.insert(key, *std::move(name))};
        break;
      }
    }
    return {};
  }

  Result<std::vector<Reference>> references_of_path(std::string_view product, std::string_view path) const override {
    std::vector<Reference> out;
    const auto at = products_.find(product);
    if (at == products_.end() || path.empty() || path.size() > max_path_bytes || path.front() != '/') return out;
    const std::string index = index_path(path);
    Packages packages(*this, &at->second, product);
    GH_CHECK(add_references(
        at->second, index, packages, [](const Reference&) { return true; }, out));
    const auto diverted = diversions_.find(index);
    if (diverted == diversions_.end()) return out;
    for (const Diverted& d : diverted->second)
      if (at->second.layers.contains(d.layer))
        GH_CHECK(add_references(
            at->second, d.path, packages, [&](const Reference& r) { return r.package != d.package; }, out));
    return out;
  }

  // Endpoints ask for hundreds of packages at a time: the first question reads them all, once for the generation.
  Result<bool> has_package(std::string_view product, std::string_view package,
                           std::string_view version) const override {
    const auto at = products_.find(product);
    if (at == products_.end()) return false;
    std::call_once(packages_read_, [&] {
      packages_good_ = generation_->each_package([&](std::uint32_t, Package&& p) {
        if (!p.name.empty()) packages_.insert(package_version(p.layer, p.name, p.version));
      });
    });
    if (!packages_good_) return std::unexpected(packages_good_.error());
    return std::ranges::any_of(at->second.layers, [&](const auto& layer) {
      return packages_.contains(package_version(layer.first, package, version));
    });
  }

  Result<PackageVersions> package_versions(std::string_view product,
                                           const std::set<std::string, std::less<>>& packages) const override {
    PackageVersions out;
    const auto at = products_.find(product);
    if (at == products_.end() || packages.empty()) return out;
    const auto& unseen = generation_->totals().unseen;
    GH_CHECK(generation_->each_package([&](std::uint32_t number, Package&& p) {
      const auto layer = at->second.layers.find(p.layer);
      if (layer == at->second.layers.end() || !packages.contains(p.name)) return;
      const auto gone = std::ranges::lower_bound(unseen, number, {}, &Unseen::package);
      const std::int64_t last = gone != unseen.end() && gone->package == number ? gone->last : 0;
      out[std::move(p.name)].push_back({std::move(p.version), std::move(p.architecture), std::move(p.source),
                                        layer->second, p.format, p.files - p.uncounted, p.first_seen, last});
    }));
    return out;
  }

  Result<std::vector<Reference>> references_of_digest(std::string_view product, const Digest& digest) const override {
    std::vector<Reference> out;
    const std::string_view wanted = as_text(digest.view());
    GH_TRY(const auto numbers, generation_->find(Index::digest, hash_of(0, wanted)));
    const auto in = products_.find(product);
    if (!product.empty() && in == products_.end()) return out;
    Packages packages(*this, product.empty() ? nullptr : &in->second, product);
    std::set<std::pair<std::uint32_t, std::string>> answered;  // packages with index paths
    for (const std::uint32_t number : numbers) {
      if (out.size() == max_answers) break;
      GH_TRY(auto reference, packages.reference(number, [&](const FileRow& row) {
        return std::ranges::any_of(std::span(row.contents).first(row.digests),
                                   [&](const FileRow::Content& c) { return c.digest == wanted; });
      }));
      if (!reference) continue;
      // Equal content under one name: the first answers for all.
      if (answered.emplace(packages.number(), index_path(reference->path)).second) out.push_back(*std::move(reference));
    }
    return out;
  }

 private:
  struct Product {
    std::uint32_t number = 0;               // of ours
    std::map<std::uint32_t, Layer> layers;  // by the generation's number: as which layer
  };

  // Remembers the last one: files that follow each other are often one package's.
  class Packages {
   public:
    // `product`: as which layers of it packages count; nullptr: as those that they were taken in for.
    Packages(const GenerationView& view, const Product* product, std::string_view name)
        : view_(view), product_(product), name_(name) {}
    // The file with what is known of its package; nullopt: it isn't the one that is meant, or doesn't count.
    template <class IsMeant>
    Result<std::optional<Reference>> reference(std::uint32_t file, const IsMeant& is_meant) {
      Reference out;
      std::optional<std::uint32_t> package;
      GH_CHECK(view_.generation_->file(file, [&](const FileRow& row) {
        if (!is_meant(row)) return;
        package = row.package;
        row.copy_to(out);
      }));
      if (!package) return std::nullopt;
      GH_TRY(const bool counts, copy_to(*package, out));
      if (!counts) return std::nullopt;
      return std::optional(std::move(out));
    }
    // Of the last one's package.
    std::uint32_t number() const { return number_; }

   private:
    Result<bool> copy_to(std::uint32_t number, Reference& r) {
      if (number != number_) {
        GH_TRY(last_, view_.generation_->package(number));
        number_ = number;
      }
      r.package = last_.name;
      r.version = last_.version;
      r.architecture = last_.architecture;
      r.source = last_.source;
      r.format = last_.format;
      r.ingested = last_.ingested;
      if (product_ != nullptr) {
        const auto layer = product_->layers.find(last_.layer);
        if (layer == product_->layers.end()) return false;
        r.product = name_;
        r.layer = layer->second;
      } else if (const auto layer = view_.names_.find(last_.layer); layer != view_.names_.end()) {
        r.product = layer->second.product;
        r.layer = layer->second.layer;
      }
      return true;
    }

    const GenerationView& view_;
    const Product* const product_;
    const std::string_view name_;
    std::uint32_t number_ = 0;  // no package's
    Package last_;
  };

  // Those of an index path that `counts` takes.
  template <class Counts>
  Result<void> add_references(const Product& product, const std::string& index, Packages& packages,
                              const Counts& counts, std::vector<Reference>& out) const {
    Hasher hasher(HashAlgorithm::sha256);
    for (const auto& [layer, _] : product.layers) {
      GH_TRY(const auto numbers, generation_->find(Index::path, hash_of_path(layer, index, hasher)));
      for (const std::uint32_t number : numbers) {
        if (out.size() >= max_answers) break;
        GH_TRY(auto reference,
               packages.reference(number, [&](const FileRow& row) { return index_path(row.path) == index; }));
        if (reference && counts(*reference)) out.push_back(*std::move(reference));
      }
    }
    return {};
  }

  // The index keeps a part of T; the file that it leads to has all that T is made of. Its layer is the one that was
  // asked for: T's are equal, so another layer's hash would have been another.
  Result<std::optional<std::string>> name_of_template(std::uint32_t layer, Index index, const Digest& t,
                                                      Hasher& hasher) const {
    GH_TRY(const auto numbers, generation_->find(index, hash_of(layer, as_text(t.view()))));
    std::optional<std::string> out;
    for (const std::uint32_t number : numbers) {
      GH_CHECK(generation_->file(number, [&](const FileRow& row) {
        const std::string_view digest = row.digest(hasher.algorithm());
        if (digest.empty()) return;
        for (std::string& name : kernel_names(row.path)) {
          Writer w;
          ima::append_ng_template_data(w, gatehouse::name(hasher.algorithm()), as_bytes(digest), name);
          if (!out && hasher(w.view()) == t) out = std::move(name);
        }
      }));
      if (out) break;
    }
    return out;
  }
  static std::string package_version(std::uint32_t layer, std::string_view package, std::string_view version) {
    std::string out;
    put(out, layer);
    out += package;
    out += '\0';
    out += version;
    return out;
  }

  const std::uint64_t number_;
  const std::unique_ptr<Generation> generation_;
  const Diversions diversions_;
  std::map<std::string, Product, std::less<>> products_;
  std::map<std::uint32_t, ProductLayer> names_;
  mutable Found found_;
  mutable std::once_flag packages_read_;
  mutable Result<void> packages_good_;                // both since packages_read_
  mutable std::unordered_set<std::string> packages_;  // package_version()
};

}  // namespace

Result<std::shared_ptr<const View>> open_view(const std::string& path, std::uint64_t generation) {
  GH_TRY(auto opened, Generation::open(path, generation));
  GenerationView::Diversions diversions;
  for (const std::uint32_t number : opened->totals().diverting) {
    GH_TRY(const Package package, opened->package(number));
    for (std::string_view rest = package.diversions; !rest.empty();) {
      const std::string_view from = take_text(rest), to = take_text(rest);
      auto& there = diversions[index_path(to)];
      if (there.size() < GenerationView::most_diversions) there.insert({package.layer, package.name, index_path(from)});
    }
  }
  return std::make_shared<const GenerationView>(generation, std::move(opened), std::move(diversions));
}

Result<std::shared_ptr<const View>> open_view(const std::string& path) {
  GH_TRY(const std::uint64_t n, current_generation(path));
  if (n == 0)
    return store_error("the reference store holds no generation yet (gatehouse refdb ingest makes one)", path,
                       std::string());
  return open_view(path, n);
}

Result<Stats> read_stats(const std::string& path) {
  Stats out;
  GH_TRY(out.generation, current_generation(path));
  Totals totals;
  if (out.generation != 0) {
    GH_TRY(const auto generation, Generation::open(path, out.generation));
    totals = generation->totals();
    GH_TRY(out.digests, generation->count_digests());
  }
  out.products = product_names(totals).size();
  out.packages = totals.packages;
  out.files = totals.files;
  out.content_digest = totals.content.hex();
  std::set<std::pair<dev_t, ino_t>> seen;
  std::error_code ec;
  for (const auto& entry : fs::recursive_directory_iterator(path, ec)) {
    struct stat st {};
    if (entry.is_regular_file(ec) && ::stat(entry.path().c_str(), &st) == 0 &&
        seen.emplace(st.st_dev, st.st_ino).second)
      out.bytes += std::uint64_t(st.st_size);
  }
  return out;
}

}  // namespace gatehouse::refdb
