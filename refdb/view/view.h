// The read interface of the reference store: one immutable generation. A session pins the view when it starts and is
// judged by it to the end. Implementations are safe for concurrent use. Names point into the generation and live as
// long as the view. RocksDB stays behind refdb/store; pipeline and tests know only this header.
//
// A template digest T = H(template data) binds path and file content (kernel ima_template.c, spec part 2 §8.4), so a
// generation holds an index T -> reference for each file and each alias of its path. T answers "ok" with one lookup;
// only a miss needs references_of_path() to tell "differ" from "unknown".
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace gatehouse::refdb {

// A product's references come in layers, so that an update is a small layer, not a copy, and an answer says whether the
// distributor, somebody else or the operator vouches for a file. All of them count.
enum class Layer : std::uint8_t { release, security, updates, third_party, site };
inline constexpr std::string_view layer_names[] = {"release", "security", "updates", "third-party", "site"};
inline std::string_view name(Layer layer) { return layer_names[std::size_t(layer)]; }
inline std::optional<Layer> layer_of(std::string_view name) {
  for (std::size_t i = 0; i < std::size(layer_names); ++i)
    if (layer_names[i] == name) return Layer(i);
  return std::nullopt;
}
// A product as endpoints name theirs, and one of its layers.
struct ProductLayer {
  std::string product;
  Layer layer = Layer::release;
  friend auto operator<=>(const ProductLayer&, const ProductLayer&) = default;
};

// How versions are compared.
enum class PackageFormat : std::uint8_t { none, deb, rpm };

// A reference file: one content of one path in one package version.
struct Reference {
  std::string product;
  Layer layer = Layer::release;
  std::string path;      // canonical path as the package names it, absolute
  std::string package;   // empty for a file of no package
  std::string version;
  std::string source;    // where it came from: "hello_2.10-3_amd64.deb", "root:/srv/image", ...
  bool is_mutable = false;  // a configuration file: other content is unknown, not differ
  std::vector<std::pair<HashAlgorithm, Digest>> digests;  // of the content, at most one for each algorithm
  std::string architecture;  // of the package
  PackageFormat format = PackageFormat::none;
  std::int64_t ingested = 0;  // seconds since 1970

  const Digest* digest(HashAlgorithm algorithm) const {
    for (const auto& [id, value] : digests)
      if (id == algorithm) return &value;
    return nullptr;
  }
};

// A package in a product, of whatever layer.
struct PackageVersion {
  std::string version, architecture, source;
  Layer layer = Layer::release;
  PackageFormat format = PackageFormat::none;
  std::uint64_t files = 0;
  // Seconds since 1970: the dates of the first and the last state of its repository that had it; for other sources when
  // it was taken in. Last: 0 while the newest state has it.
  std::int64_t first_seen = 0, last_seen = 0;
};

// What a template digest is known for.
struct TemplateHit {
  bool found = false;
  // The name for which T was computed, exactly as the kernel reports it (an alias applied, spaces as '_').
  std::string_view name;
};

class View {
 public:
  virtual ~View() = default;

  virtual std::uint64_t generation() const = 0;
  // Seconds since 1970: when the generation was made; 0: not known.
  virtual std::int64_t made() const { return 0; }
  // Some layer of it has references, or is to have those of another product.
  virtual bool has_product(std::string_view product) const = 0;
  virtual std::vector<std::string> products() const { return {}; }

  // hits[i] answers keys[i]; ima-ng template digests in `bank` over file digests of the same algorithm. A bank
  // without an index answers all misses, and the path query decides: both ways give the same verdicts.
  // An error is the store's (environment) and must never read as a miss.
  virtual Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                                      std::span<TemplateHit> hits) const = 0;

  // All references of a path as a kernel reports it: its aliases by the distribution's rules (UsrMerge) and the
  // kernel's ' ' -> '_' are applied here. Empty: unknown path.
  virtual Result<std::vector<Reference>> references_of_path(std::string_view product, std::string_view path) const = 0;

  // Whether references of exactly this version of a package are known, of whatever architecture.
  virtual Result<bool> has_package(std::string_view product, std::string_view package,
                                   std::string_view version) const = 0;

  // All that is known of packages by their names, of each in no order; those that aren't known are left out. Looks at
  // all packages of the generation, once for all names.
  using PackageVersions = std::map<std::string, std::vector<PackageVersion>, std::less<>>;
  virtual Result<PackageVersions> package_versions(std::string_view product,
                                                   const std::set<std::string, std::less<>>& packages) const {
    (void)product, (void)packages;
    return PackageVersions();
  }

  // The places where a content digest is known, at most 1,000; product empty: all products.
  virtual Result<std::vector<Reference>> references_of_digest(std::string_view product, const Digest& digest) const = 0;
};

}  // namespace gatehouse::refdb
