#include "refdb/explain/explain.h"

#include <algorithm>
#include <set>
#include <span>
#include <tuple>
#include <utility>

#include "base/version.h"
#include "base/writer.h"
#include "refdb/alias/alias.h"
#include "wire/ima/ima.h"

namespace gatehouse::refdb {
namespace {

constexpr std::size_t max_listed = 50;

// Nothing where they can't be compared.
std::optional<std::strong_ordering> compare(PackageFormat format, std::string_view a, std::string_view b) {
  if (format == PackageFormat::none) return std::nullopt;
  return compare_versions(format == PackageFormat::rpm ? VersionScheme::rpm : VersionScheme::dpkg, a, b);
}

bool has_content(const Reference& r, const Digest& digest) {
  return std::ranges::any_of(r.digests, [&](const auto& d) { return d.second == digest; });
}

bool same_path(const Reference& r, std::string_view path) { return index_path(r.path) == index_path(path); }

// Whether `t` is the template hash of the reference under one of its names.
bool has_template(const Reference& r, HashAlgorithm bank, const Digest& t) {
  const Digest* const content = r.digest(bank);
  if (content == nullptr) return false;
  return std::ranges::any_of(kernel_names(r.path), [&](const std::string& kernel_name) {
    Writer w;
    ima::append_ng_template_data(w, gatehouse::name(bank), content->view(), kernel_name);
    return digest_of(bank, w.view()) == t;
  });
}

struct Template {
  HashAlgorithm bank{};
  std::string name;
};
Result<std::optional<Template>> find_template(const View& view, const std::string& product, const Digest& t) {
  for (const HashAlgorithm bank : {HashAlgorithm::sha256, HashAlgorithm::sha384}) {
    if (t.size != digest_size(bank)) continue;
    TemplateHit hit;
    GH_CHECK(view.find_templates(product, bank, {&t, 1}, {&hit, 1}));
    if (hit.found) return Template{bank, std::string(hit.name)};
  }
  return std::nullopt;
}

class Explainer {
 public:
  Explainer(const View& view, const std::string& product, const ExplainQuery& query)
      : view_(view), product_(product), path_(query.path), digest_(query.digest) {}

  Result<Explanation> run() {
    if (!view_.has_product(product_))
      return fail(Error{Fault::usage, "the store has no such product", {}, 0, product_, {}});
    if (digest_) {
      GH_TRY(template_, find_template(view_, product_, *digest_));
      if (template_) out_.template_name = template_->name;
      if (path_.empty()) path_ = out_.template_name;
    }
    std::vector<Reference> of_path, of_digest;
    if (!path_.empty()) {
      GH_TRY(of_path, view_.references_of_path(product_, path_));
    }
    if (digest_ && !template_) {
      GH_TRY(of_digest, view_.references_of_digest(product_, *digest_));
    }
    std::vector<Reference> good;
    for (const Reference& r : path_.empty() ? of_digest : of_path)
      if (is_wanted(r)) good.push_back(r);
    if (!path_.empty())
      for (Reference& r : of_digest)
        if (!same_path(r, path_) && out_.same_content.size() < max_listed) out_.same_content.push_back(std::move(r));
    GH_CHECK(judge(good, of_path));
    if (out_.verdict != ExplainedVerdict::ok) GH_CHECK(look_elsewhere());
    return std::move(out_);
  }

 private:
  bool is_wanted(const Reference& r) const {
    if (!digest_) return false;
    return template_ ? has_template(r, template_->bank, *digest_) : has_content(r, *digest_);
  }

  Result<void> judge(const std::vector<Reference>& good, const std::vector<Reference>& of_path) {
    if (!good.empty()) {
      out_.verdict = ExplainedVerdict::ok;
      GH_CHECK(add(good));
      const bool newest = std::ranges::any_of(out_.references, [](const auto& r) { return !r.superseded_by; });
      out_.reason = newest ? Reason::known : Reason::superseded;
      return {};
    }
    GH_CHECK(add(of_path));
    if (!of_path.empty()) {
      const bool all_mutable = std::ranges::all_of(of_path, &Reference::is_mutable);
      out_.verdict = all_mutable ? ExplainedVerdict::unknown : ExplainedVerdict::differ;
      out_.reason = all_mutable ? Reason::configuration : Reason::changed;
    } else if (!out_.same_content.empty()) {
      out_.reason = Reason::other_path;
    }
    return {};
  }

  // With what is known of their packages, the newest version first.
  Result<void> add(const std::vector<Reference>& references) {
    const auto listed = std::span(references).first(std::min(references.size(), max_listed));
    std::set<std::string, std::less<>> packages;
    for (const Reference& r : listed)
      if (!r.package.empty()) packages.insert(r.package);
    GH_TRY(const View::PackageVersions known, view_.package_versions(product_, packages));
    for (const Reference& r : listed) {
      ExplainedReference& e = out_.references.emplace_back();
      e.reference = r;
      const auto versions = known.find(r.package);
      if (versions == known.end()) continue;
      for (const PackageVersion& v : versions->second) {
        if (v.architecture != r.architecture || v.format != r.format) continue;
        if (v.version == r.version && v.layer == r.layer && v.source == r.source) {
          e.first_seen = v.first_seen;
          e.last_seen = v.last_seen;
        }
        if (compare(r.format, r.version, v.version) != std::strong_ordering::less) continue;
        if (!e.superseded_by || v.first_seen < e.superseded_since) e.superseded_since = v.first_seen;
        if (!e.superseded_by ||
            compare(r.format, e.superseded_by->version, v.version) == std::strong_ordering::less)
          e.superseded_by = v;
      }
    }
    std::ranges::sort(out_.references, [](const ExplainedReference& a, const ExplainedReference& b) {
      const Reference &l = a.reference, &r = b.reference;
      if (l.path != r.path) return l.path < r.path;
      if (l.package != r.package) return l.package < r.package;
      if (const auto order = compare(l.format, l.version, r.version); order && *order != 0) return *order > 0;
      return std::tie(l.version, l.source) < std::tie(r.version, r.source);
    });
    return {};
  }

  Result<void> look_elsewhere() {
    for (const std::string& other : view_.products()) {
      if (other == product_) continue;
      std::vector<Reference> found;
      if (!path_.empty()) {
        GH_TRY(found, view_.references_of_path(other, path_));
      } else {
        GH_TRY(found, view_.references_of_digest(other, *digest_));
      }
      for (Reference& r : found)
        if (out_.other_products.size() < max_listed && (!digest_ || has_content(r, *digest_)))
          out_.other_products.push_back(std::move(r));
    }
    if (!out_.other_products.empty() && out_.reason == Reason::no_reference) out_.reason = Reason::other_product;
    return {};
  }

  const View& view_;
  const std::string& product_;
  std::string path_;
  const std::optional<Digest> digest_;
  std::optional<Template> template_;  // that the digest is the hash of
  Explanation out_;
};

}  // namespace

std::string_view name(ExplainedVerdict verdict) {
  constexpr std::string_view names[] = {"ok", "unknown", "differ"};
  return names[std::size_t(verdict)];
}

std::string_view name(Reason reason) {
  constexpr std::string_view names[] = {"known",      "superseded",    "changed",     "configuration",
                                        "other-path", "other-product", "no-reference"};
  return names[std::size_t(reason)];
}

Result<std::vector<Reference>> references_of_template(const View& view, const std::string& product, const Digest& t) {
  std::vector<Reference> out;
  GH_TRY(const auto found, find_template(view, product, t));
  if (!found) return out;
  GH_TRY(out, view.references_of_path(product, found->name));
  std::erase_if(out, [&](const Reference& r) { return !has_template(r, found->bank, t); });
  return out;
}

Result<Explanation> explain(const View& view, const std::string& product, const ExplainQuery& query) {
  return Explainer(view, product, query).run();
}

}  // namespace gatehouse::refdb
