#include "server/evidence/answers.h"

#include "server/evidence/fields.h"

namespace gatehouse::evidence {
namespace {

using namespace fields;

constexpr std::uint8_t answers_version = 1;

std::unexpected<Error> not_answered() {
  return fail(Fault::environment, "the bundle has no answer to what its evidence asks of the references", document);
}

void put_digest(Writer& w, const Digest& digest) {
  w.put(digest.size);
  w.put_bytes(digest.view());
}
Result<Digest> get_digest(Reader& r) {
  GH_TRY(const auto size, r.get<std::uint8_t>());
  if (size > max_digest_size) return r.fail("a digest too long");
  GH_TRY(const Bytes bytes, r.take(size));
  return Digest(bytes);
}
void put_reference(Writer& w, const refdb::Reference& ref) {
  for (const std::string* text : {&ref.product, &ref.path, &ref.package, &ref.version, &ref.source, &ref.architecture})
    put_text(w, *text);
  w.put(std::uint8_t(ref.layer));
  w.put(std::uint8_t(ref.format));
  w.put(std::uint8_t(ref.is_mutable ? 1 : 0));
  w.put(std::uint64_t(ref.ingested));
  w.put(std::uint32_t(ref.digests.size()));
  for (const auto& [algorithm, digest] : ref.digests) {
    w.put(std::uint16_t(algorithm));
    put_digest(w, digest);
  }
}
Result<refdb::Reference> get_reference(Reader& r) {
  refdb::Reference ref;
  for (std::string* text : {&ref.product, &ref.path, &ref.package, &ref.version, &ref.source, &ref.architecture}) {
    GH_TRY(*text, get_text(r));
  }
  GH_TRY(ref.layer, get_enum(r, refdb::Layer::site));
  GH_TRY(ref.format, get_enum(r, refdb::PackageFormat::rpm));
  GH_TRY(ref.is_mutable, get_bool(r));
  GH_TRY(ref.ingested, get_time(r));
  GH_TRY(const std::size_t digests, get_count(r, 3));
  for (std::size_t i = 0; i < digests; ++i) {
    GH_TRY(const HashAlgorithm algorithm, get_algorithm(r));
    GH_TRY(const Digest digest, get_digest(r));
    ref.digests.emplace_back(algorithm, digest);
  }
  return ref;
}
constexpr std::size_t least_reference = 6 * 4 + 3 + 8 + 4;

void put_references(Writer& w, const std::vector<refdb::Reference>& references) {
  w.put(std::uint32_t(references.size()));
  for (const refdb::Reference& ref : references) put_reference(w, ref);
}
Result<std::vector<refdb::Reference>> get_references(Reader& r) {
  GH_TRY(const std::size_t count, get_count(r, least_reference));
  std::vector<refdb::Reference> out;
  for (std::size_t i = 0; i < count; ++i) {
    GH_TRY(refdb::Reference ref, get_reference(r));
    out.push_back(std::move(ref));
  }
  return out;
}

}  // namespace

ByteVector encode(const Answers& a) {
  Writer w;
  w.put(answers_version);
  w.put(a.generation);
  w.put(std::uint64_t(a.made));
  w.put(std::uint32_t(a.products.size()));
  for (const auto& [product, known] : a.products) {
    put_text(w, product);
    w.put(std::uint8_t(known ? 1 : 0));
  }
  w.put(std::uint32_t(a.templates.size()));
  for (const auto& [key, hit] : a.templates) {
    put_text(w, std::get<0>(key));
    w.put(std::uint16_t(std::get<1>(key)));
    put_digest(w, std::get<2>(key));
    w.put(std::uint8_t(hit.found ? 1 : 0));
    put_text(w, hit.name);
  }
  w.put(std::uint32_t(a.paths.size()));
  for (const auto& [key, references] : a.paths) {
    put_text(w, key.first);
    put_text(w, key.second);
    put_references(w, references);
  }
  w.put(std::uint32_t(a.packages.size()));
  for (const auto& [key, known] : a.packages) {
    put_text(w, std::get<0>(key));
    put_text(w, std::get<1>(key));
    put_text(w, std::get<2>(key));
    w.put(std::uint8_t(known ? 1 : 0));
  }
  w.put(std::uint32_t(a.digests.size()));
  for (const auto& [key, references] : a.digests) {
    put_text(w, key.first);
    put_digest(w, key.second);
    put_references(w, references);
  }
  return std::move(w).take();
}

Result<Answers> decode_answers(Bytes bytes) {
  Reader r(bytes, document);
  Answers a;
  GH_TRY(const auto layout, r.get<std::uint8_t>());
  if (layout != answers_version) return r.fail("answers of another layout version");
  GH_TRY(a.generation, r.get<std::uint64_t>());
  GH_TRY(a.made, get_time(r));
  const auto once = [&](bool fresh) -> Result<void> {
    if (!fresh) return r.fail("a question twice");
    return {};
  };
  GH_TRY(const std::size_t products, get_count(r, 5));
  for (std::size_t i = 0; i < products; ++i) {
    GH_TRY(std::string product, get_text(r));
    GH_TRY(const bool known, get_bool(r));
    GH_CHECK(once(a.products.emplace(std::move(product), known).second));
  }
  GH_TRY(const std::size_t templates, get_count(r, 4 + 2 + 1 + 1 + 4));
  for (std::size_t i = 0; i < templates; ++i) {
    GH_TRY(std::string product, get_text(r));
    GH_TRY(const HashAlgorithm bank, get_algorithm(r));
    GH_TRY(const Digest key, get_digest(r));
    Answers::Template hit;
    GH_TRY(hit.found, get_bool(r));
    GH_TRY(hit.name, get_text(r));
    GH_CHECK(once(a.templates.emplace(std::tuple(std::move(product), bank, key), std::move(hit)).second));
  }
  GH_TRY(const std::size_t paths, get_count(r, 12));
  for (std::size_t i = 0; i < paths; ++i) {
    GH_TRY(std::string product, get_text(r));
    GH_TRY(std::string path, get_text(r));
    GH_TRY(auto references, get_references(r));
    GH_CHECK(once(a.paths.emplace(std::pair(std::move(product), std::move(path)), std::move(references)).second));
  }
  GH_TRY(const std::size_t packages, get_count(r, 13));
  for (std::size_t i = 0; i < packages; ++i) {
    GH_TRY(std::string product, get_text(r));
    GH_TRY(std::string package, get_text(r));
    GH_TRY(std::string of, get_text(r));
    GH_TRY(const bool known, get_bool(r));
    GH_CHECK(once(a.packages.emplace(std::tuple(std::move(product), std::move(package), std::move(of)), known).second));
  }
  GH_TRY(const std::size_t digests, get_count(r, 9));
  for (std::size_t i = 0; i < digests; ++i) {
    GH_TRY(std::string product, get_text(r));
    GH_TRY(const Digest digest, get_digest(r));
    GH_TRY(auto references, get_references(r));
    GH_CHECK(once(a.digests.emplace(std::pair(std::move(product), digest), std::move(references)).second));
  }
  GH_CHECK(r.finish());
  return a;
}

// --- noting

Answers NotingView::take() const {
  const std::lock_guard lock(mutex_);
  answers_.generation = view_->generation();
  answers_.made = view_->made();
  return std::move(answers_);
}

bool NotingView::has_product(std::string_view product) const {
  const bool known = view_->has_product(product);
  const std::lock_guard lock(mutex_);
  answers_.products[std::string(product)] = known;
  return known;
}

Result<void> NotingView::find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                                        std::span<refdb::TemplateHit> hits) const {
  GH_CHECK(view_->find_templates(product, bank, keys, hits));
  const std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < keys.size(); ++i)
    answers_.templates[{std::string(product), bank, keys[i]}] = {hits[i].found, std::string(hits[i].found ? hits[i].name : std::string_view())};
  return {};
}

Result<std::vector<refdb::Reference>> NotingView::references_of_path(std::string_view product, std::string_view path) const {
  GH_TRY(auto found, view_->references_of_path(product, path));
  const std::lock_guard lock(mutex_);
  answers_.paths[{std::string(product), std::string(path)}] = found;
  return found;
}

Result<bool> NotingView::has_package(std::string_view product, std::string_view package, std::string_view of) const {
  GH_TRY(const bool known, view_->has_package(product, package, of));
  const std::lock_guard lock(mutex_);
  answers_.packages[{std::string(product), std::string(package), std::string(of)}] = known;
  return known;
}

Result<std::vector<refdb::Reference>> NotingView::references_of_digest(std::string_view product, const Digest& digest) const {
  GH_TRY(auto found, view_->references_of_digest(product, digest));
  const std::lock_guard lock(mutex_);
  answers_.digests[{std::string(product), digest}] = found;
  return found;
}

// --- answering

bool AnswersView::has_product(std::string_view product) const {
  const auto at = a_.products.find(std::string(product));
  return at != a_.products.end() && at->second;
}

Result<void> AnswersView::find_templates(std::string_view product, HashAlgorithm bank, std::span<const Digest> keys,
                                         std::span<refdb::TemplateHit> hits) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto at = a_.templates.find({std::string(product), bank, keys[i]});
    if (at == a_.templates.end()) return not_answered();
    hits[i] = {at->second.found, at->second.name};
  }
  return {};
}

Result<std::vector<refdb::Reference>> AnswersView::references_of_path(std::string_view product, std::string_view path) const {
  const auto at = a_.paths.find({std::string(product), std::string(path)});
  if (at == a_.paths.end()) return not_answered();
  return at->second;
}

Result<bool> AnswersView::has_package(std::string_view product, std::string_view package, std::string_view of) const {
  const auto at = a_.packages.find({std::string(product), std::string(package), std::string(of)});
  if (at == a_.packages.end()) return not_answered();
  return at->second;
}

Result<std::vector<refdb::Reference>> AnswersView::references_of_digest(std::string_view product, const Digest& digest) const {
  const auto at = a_.digests.find({std::string(product), digest});
  if (at == a_.digests.end()) return not_answered();
  return at->second;
}

}  // namespace gatehouse::evidence
