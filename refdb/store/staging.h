// What an ingestion has taken in and not yet published: one file beside the generations, a package after the other,
// each written whole before the next is. A killed ingestion leaves it; the next one verifies it and needs to decode
// none of these packages again. Internal to refdb/store; docs/formats/refdb.md has the layout. One thread at a time but
// for read().
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"
#include "base/hash.h"
#include "refdb/store/file_rows.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

struct StagedPackage {
  ProductLayer layer;
  std::string name, version, architecture, source;
  Digest identity, content;  // SHA-256
  Digest stamp;              // as in ReferencePackage; empty: none
  std::string diversions;    // as in Package
  PackageFormat format = PackageFormat::none;
  std::int64_t ingested = 0, first_seen = 0;
  std::uint8_t algorithms = 0;             // as in Package
  std::uint32_t files = 0, uncounted = 0;  // rows, as in Package
  std::uint64_t bytes = 0;                 // of the files and scripts, each with its first content
};

// The package's digest: the SHA-256 of product, layer, name, version and architecture, each ended by a NUL byte, of its
// diversions, if there are any, and of what FileRow::append_logical gives of its files, in the order of their paths.
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

// A file without a name, in a folder that has room for it.
Result<Descriptor> unnamed_file(const std::string& folder);
Result<void> write_at(const Descriptor& fd, std::string_view bytes, std::uint64_t at, const std::string& path);

// So many files are read and published at a time.
inline constexpr std::uint32_t files_a_block = 8192;

// A package's files on their way into the staging, in blocks as it has them: in memory, and beyond 8 MiB in a file.
class StagedRows {
 public:
  explicit StagedRows(std::string folder) : folder_(std::move(folder)) {}
  void reserve(std::size_t bytes) { rows_.reserve(std::min(bytes, most_in_memory)); }
  // False: its path doesn't come after that of the one before.
  Result<bool> append(const FileRow& row);
  void clear();
  // Once all have come.
  std::uint64_t finish();  // bytes
  Result<void> each_part(const std::function<Result<void>(std::string_view)>& use) const;

 private:
  static constexpr std::size_t most_in_memory = std::size_t(8) << 20;
  void end_block();
  const std::string folder_;
  Descriptor fd_;
  std::uint64_t in_file_ = 0;
  std::string rows_;
  std::size_t block_ = 0;    // where it begins
  std::uint32_t files_ = 0;  // in it
  std::string last_before_;  // the last path of the block before
  FileWriter writer_;
};

class Staging {
 public:
  struct Place {
    std::uint64_t offset = 0, size = 0;  // without the size itself
    std::uint32_t files = 0, uncounted = 0;
  };
  // Takes what is there for an ingestion that follows `base`, up to the first package that isn't whole. What is of
  // another format, or was to follow another generation, is removed.
  static Result<Staging> open(const std::string& store, std::uint64_t base);
  static void remove(const std::string& store);

  // What was there, in order; each once.
  std::vector<std::pair<Place, StagedPackage>> take_found() { return std::move(found_); }
  // After a failure every call fails.
  Result<Place> append(const StagedPackage& package, StagedRows& rows);
  // That failure: what there is may not be all that was to be published.
  Result<void> check_whole() const;
  // The package, and where its first block is.
  Result<std::pair<StagedPackage, std::uint64_t>> read(const Place& place) const;
  // Of the block that is there; where the one after it is.
  Result<std::uint64_t> skip_block(const Place& place, std::uint64_t at) const;
  // The same; its rows, as of FileWriter, go to `rows`.
  Result<std::uint64_t> read_block(const Place& place, std::uint64_t at, std::string& rows) const;

 private:
  explicit Staging(std::string path) : path_(std::move(path)) {}
  Result<void> create();
  Result<void> write(std::string_view bytes);
  Result<void> load();
  std::unexpected<Error> broken(std::unexpected<Error> error);
  Result<void> read_at(std::uint64_t at, std::string& out) const;
  bool verified(const Place& place, const StagedPackage& package, std::uint64_t block) const;
  std::unexpected<Error> damaged() const;

  std::string path_;
  std::uint64_t base_ = 0, end_ = 0;
  Descriptor fd_;
  std::optional<Error> broken_;                         // what the first failure was
  std::vector<std::pair<Place, StagedPackage>> found_;  // in order
};

}  // namespace gatehouse::refdb
