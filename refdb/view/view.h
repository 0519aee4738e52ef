// The read interface of the reference store: one immutable generation. A session pins the view when it starts and is
// judged by it to the end. Implementations are safe for concurrent use. Names point into the generation and live as
// long as the view. RocksDB stays behind refdb/store; pipeline and tests know only this header.
//
// A template digest T = H(template data) binds path and file content (kernel ima_template.c, spec part 2 §8.4), so a
// generation holds an index T -> reference for each file and each alias of its path. T answers "ok" with one lookup;
// only a miss needs references_of_path() to tell "differ" from "unknown".
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace gatehouse::refdb {

// A reference file: one content of one path in one package version.
struct Reference {
  std::string product;
  std::string path;      // canonical path as the package names it, absolute
  std::string package;   // empty for a file of no package
  std::string version;
  std::string source;    // where it came from: "hello_2.10-3_amd64.deb", "root:/srv/image", ...
  bool is_mutable = false;  // a configuration file: other content is unknown, not differ
  std::vector<std::pair<HashAlgorithm, Digest>> digests;  // of the content, at most one for each algorithm
  std::string architecture;  // of the package
  std::int64_t ingested = 0;  // seconds since 1970

  const Digest* digest(HashAlgorithm algorithm) const {
    for (const auto& [id, value] : digests)
      if (id == algorithm) return &value;
    return nullptr;
  }
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

  // Every place where a content digest is known; product empty: all products.
  virtual Result<std::vector<Reference>> references_of_digest(std::string_view product, const Digest& digest) const = 0;
};

}  // namespace gatehouse::refdb
