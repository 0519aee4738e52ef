// The same references as another object, as after a reload: no cache outlives the one that it was filled from. And, where
// it says that it knows no product, nothing is cached at all.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "refdb/view/view.h"

namespace gatehouse::testing {

class SameReferences final : public refdb::View {
 public:
  SameReferences(std::shared_ptr<const refdb::View> of, bool cached) : of_(std::move(of)), cached_(cached) {}
  std::uint64_t generation() const override { return of_->generation(); }
  bool has_product(std::string_view product) const override { return cached_ && of_->has_product(product); }
  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<refdb::TemplateHit> hits) const override {
    return of_->find_templates(product, bank, keys, hits);
  }
  Result<std::vector<refdb::Reference>> references_of_path(std::string_view product,
                                                           std::string_view path) const override {
    return of_->references_of_path(product, path);
  }
  Result<bool> has_package(std::string_view product, std::string_view package,
                           std::string_view version) const override {
    return of_->has_package(product, package, version);
  }
  Result<std::vector<refdb::Reference>> references_of_digest(std::string_view product,
                                                             const Digest& digest) const override {
    return of_->references_of_digest(product, digest);
  }

 private:
  std::shared_ptr<const refdb::View> of_;
  bool cached_;
};

}  // namespace gatehouse::testing
