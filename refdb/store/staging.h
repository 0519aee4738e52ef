// What an ingestion has taken in and not yet published: one file beside the generations, a package after the other,
// each written whole before the next is. A killed ingestion leaves it; the next one verifies it and needs to decode
// none of these packages again. Internal to refdb/store; docs/formats/refdb.md has the layout. One thread at a time but
// for read().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/hash.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

struct StagedPackage {
  ProductLayer layer;
  std::string name, version, architecture, source;
  Digest identity, content;  // SHA-256
  Digest stamp;              // as in ReferencePackage; empty: none
  PackageFormat format = PackageFormat::none;
  std::int64_t ingested = 0, first_seen = 0;
  std::uint8_t algorithms = 0;  // as in Package
  std::uint32_t files = 0, uncounted = 0;  // rows, as in Package
  std::uint64_t bytes = 0;                 // of the files and scripts, each with its first content
};

// The package's digest: the SHA-256 of product, layer, name, version and architecture, each ended by a NUL byte, and what
// FileRow::append_logical gives of its files, in the order of their paths.
class ContentHasher {
 public:
  explicit ContentHasher(const StagedPackage& package);
  std::string& text() { return text_; }  // to append a file to
  void flush_if_long() {
    if (text_.size() > std::size_t(1) << 16) flush();
  }
  Digest finish() {
    flush();
    return hasher_.finish();
  }

 private:
  void flush() {
    hasher_.update(as_bytes(text_));
    text_.clear();
  }
  Hasher hasher_{HashAlgorithm::sha256};
  std::string text_;
};

class Staging {
 public:
  struct Place {
    std::uint64_t offset = 0;
    std::uint32_t size = 0, files = 0, uncounted = 0;
  };
  // Takes what is there for an ingestion that follows `base`, up to the first package that isn't whole. What is of
  // another format, or was to follow another generation, is removed.
  static Result<Staging> open(const std::string& store, std::uint64_t base);
  static void remove(const std::string& store);

  // What was there, in order; each once.
  std::vector<std::pair<Place, StagedPackage>> take_found() { return std::move(found_); }
  // Rows as of FileWriter. After a failure every call fails.
  Result<Place> append(const StagedPackage& package, std::string_view rows);
  // That failure: what there is may not be all that was to be published.
  Result<void> check_whole() const;
  // The package; its rows go to `rows`.
  Result<StagedPackage> read(const Place& place, std::string& rows) const;

 private:
  explicit Staging(std::string path) : path_(std::move(path)) {}
  Result<void> create();
  Result<void> write(std::string_view bytes);
  Result<void> load();
  std::unexpected<Error> broken(std::unexpected<Error> error);

  std::string path_;
  std::uint64_t base_ = 0, end_ = 0;
  Descriptor fd_;
  std::optional<Error> broken_;  // what the first failure was
  std::vector<std::pair<Place, StagedPackage>> found_;
};

}  // namespace gatehouse::refdb
