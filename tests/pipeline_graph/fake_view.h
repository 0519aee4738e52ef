// A reference store in memory, with the aliases of the real one: what the pipeline sees of refdb.
#pragma once

#include <atomic>
#include <fstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/view/view.h"
#include "wire/ima/ima.h"

namespace gatehouse::testing {

class FakeView final : public refdb::View {
 public:
  explicit FakeView(bool indexed = true, std::uint64_t generation = 7) : indexed_(indexed), generation_(generation) {}

  void add(refdb::Reference reference) {
    for (const std::string& name : refdb::kernel_names(reference.path))
      for (const auto& [algorithm, digest] : reference.digests) {
        Writer w;
        ima::append_ng_template_data(w, gatehouse::name(algorithm), digest.view(), name);
        by_template_[key_of(digest_of(algorithm, w.view()))] = name;
      }
    by_path_[refdb::index_path(reference.path)].push_back(std::move(reference));
  }
  // path, package, SHA-1, SHA-256, SHA-384, separated by tabs.
  void add_rows(const std::string& file, const std::string& product) {
    std::ifstream in(file);
    std::string line;
    while (std::getline(in, line)) {
      std::vector<std::string> cells;
      for (std::size_t at = 0, tab = 0; tab != std::string::npos; at = tab + 1) {
        tab = line.find('\t', at);
        cells.push_back(line.substr(at, tab == std::string::npos ? tab : tab - at));
      }
      if (cells.size() < 5) continue;
      refdb::Reference r;
      r.product = product;
      r.path = cells[0];
      r.package = cells[1];
      r.version = "1";
      r.digests = {{HashAlgorithm::sha1, Digest(*from_hex(cells[2]))},
                   {HashAlgorithm::sha256, Digest(*from_hex(cells[3]))},
                   {HashAlgorithm::sha384, Digest(*from_hex(cells[4]))}};
      add(std::move(r));
    }
  }

  std::uint64_t generation() const override { return generation_; }
  bool has_product(std::string_view) const override { return true; }
  Result<void> find_templates(std::string_view, HashAlgorithm, std::span<const Digest> keys, std::span<refdb::TemplateHit> hits) const override {
    ++index_calls;
    if (broken) return fail(Fault::environment, "the store can't be read");
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto at = by_template_.find(key_of(keys[i]));
      hits[i] = indexed_ && at != by_template_.end() ? refdb::TemplateHit{true, at->second} : refdb::TemplateHit{};
    }
    return {};
  }
  Result<std::vector<refdb::Reference>> references_of_path(std::string_view, std::string_view path) const override {
    ++path_calls;
    if (broken) return fail(Fault::environment, "the store can't be read");
    const auto at = by_path_.find(refdb::index_path(path));
    return at == by_path_.end() ? std::vector<refdb::Reference>{} : at->second;
  }
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view version) const override {
    for (const auto& [path, references] : by_path_)
      for (const refdb::Reference& r : references)
        if (r.product == product && r.package == package && r.version == version) return true;
    return false;
  }
  Result<std::vector<refdb::Reference>> references_of_digest(std::string_view, const Digest&) const override {
    return std::vector<refdb::Reference>{};
  }

  bool broken = false;
  mutable std::atomic<int> index_calls{0}, path_calls{0};

 private:
  static std::string key_of(const Digest& digest) { return std::string(as_text(digest.view())); }

  bool indexed_;
  std::uint64_t generation_;
  std::unordered_map<std::string, std::string> by_template_;  // T -> name
  std::unordered_map<std::string, std::vector<refdb::Reference>> by_path_;
};

}  // namespace gatehouse::testing
