// The part of a reference generation that one verdict depends on: what was asked, and what the generation answered. With
// it evidence can be judged where the generation isn't.
//
//   auto noting = std::make_shared<NotingView>(references);        // judge by this once
//   const Answers answers = noting->take();
//   auto view = std::make_shared<AnswersView>(std::move(answers)); // and anywhere by this: the same verdict
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "refdb/view/view.h"

namespace gatehouse::evidence {

struct Answers {
  std::uint64_t generation = 0;
  std::int64_t made = 0;  // seconds since 1970
  std::map<std::string, bool> products;
  struct Template {
    bool found = false;
    std::string name;
  };
  std::map<std::tuple<std::string, HashAlgorithm, Digest>, Template> templates;
  std::map<std::pair<std::string, std::string>, std::vector<refdb::Reference>> paths;      // product, path
  std::map<std::tuple<std::string, std::string, std::string>, bool> packages;              // product, name, version
  std::map<std::pair<std::string, Digest>, std::vector<refdb::Reference>> digests;         // product, content
};

ByteVector encode(const Answers& answers);
Result<Answers> decode_answers(Bytes bytes);

// Asks another view and notes what it says. Safe for concurrent use.
class NotingView final : public refdb::View {
 public:
  explicit NotingView(std::shared_ptr<const refdb::View> view) : view_(std::move(view)) {}
  // When nobody asks any more.
  Answers take() const;

  std::uint64_t generation() const override { return view_->generation(); }
  std::int64_t made() const override { return view_->made(); }
  bool has_product(std::string_view product) const override;
  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<refdb::TemplateHit> hits) const override;
  Result<std::vector<refdb::Reference>> references_of_path(std::string_view product, std::string_view path) const override;
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view version) const override;
  Result<std::vector<refdb::Reference>> references_of_digest(std::string_view product, const Digest& digest) const override;

 private:
  const std::shared_ptr<const refdb::View> view_;
  mutable std::mutex mutex_;
  mutable Answers answers_;  // guarded by mutex_
};

// Knows nothing else: another question is an error (malformed), never a miss.
class AnswersView final : public refdb::View {
 public:
  explicit AnswersView(Answers answers) : a_(std::move(answers)) {}

  std::uint64_t generation() const override { return a_.generation; }
  std::int64_t made() const override { return a_.made; }
  bool has_product(std::string_view product) const override;
  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<refdb::TemplateHit> hits) const override;
  Result<std::vector<refdb::Reference>> references_of_path(std::string_view product, std::string_view path) const override;
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view version) const override;
  Result<std::vector<refdb::Reference>> references_of_digest(std::string_view product, const Digest& digest) const override;

 private:
  const Answers a_;
};

// Another store in the place of the generation that a verdict names: its answers count, the number stays.
class StandIn final : public refdb::View {
 public:
  StandIn(std::shared_ptr<const refdb::View> view, std::uint64_t generation)
      : view_(std::move(view)), generation_(generation) {}

  std::uint64_t generation() const override { return generation_; }
  std::int64_t made() const override { return view_->made(); }
  bool has_product(std::string_view product) const override { return view_->has_product(product); }
  Result<void> find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                              std::span<refdb::TemplateHit> hits) const override {
    return view_->find_templates(product, bank, keys, hits);
  }
  Result<std::vector<refdb::Reference>> references_of_path(std::string_view product, std::string_view path) const override {
    return view_->references_of_path(product, path);
  }
  Result<bool> has_package(std::string_view product, std::string_view package, std::string_view version) const override {
    return view_->has_package(product, package, version);
  }
  Result<std::vector<refdb::Reference>> references_of_digest(std::string_view product, const Digest& digest) const override {
    return view_->references_of_digest(product, digest);
  }

 private:
  const std::shared_ptr<const refdb::View> view_;
  const std::uint64_t generation_;
};

}  // namespace gatehouse::evidence
