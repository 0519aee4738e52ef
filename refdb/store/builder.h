// Makes the next generation of a store beside the current one and switches to it at once.
//
//   GH_TRY(auto builder, refdb::Builder::open("refdb"));     // creates the store, takes its lock
//   GH_CHECK(builder.add({.product = "Debian 12 x86_64", .name = "dash", .version = "0.5.12-2", .files = {...}}));
//   GH_TRY(const auto published, builder.publish());         // readers see all of it from here on
//
// Until publish() returns, and when it fails or the process dies, readers see the store as it was. What was added
// before that is staged: the next Builder of the store finds it, and resume() takes what of it is asked for again,
// without its being decoded again; what isn't asked for is dropped. Memory is bounded whatever is added, but for some
// 100 bytes a package. add(), known() and resume() may be called from any thread; open() and publish() once each. Only
// one Builder holds a store at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

class Generation;
class StagedRows;
struct StagedPackage;
struct Imported;
struct ImportOptions;

struct FileContent {
  std::uint64_t size = 0;
  std::vector<std::pair<HashAlgorithm, Digest>> digests;
};

struct ReferenceFile {
  std::string path;  // as the package names it; made canonical on adding (refdb/alias)
  std::uint64_t size = 0;
  bool is_mutable = false;  // a configuration file
  std::vector<std::pair<HashAlgorithm, Digest>> digests;
  // A reference like any, and none of the package's files: what the package manager keeps of the package itself,
  // another name of one of its files.
  bool is_extra = false;
  // Other contents that the file may be measured with: an unpacked kernel module, what a list has of a path besides.
  // They are references as the first is, and no files of their own.
  std::vector<FileContent> further{};
};

// Other packages' file of this path is installed under another one.
struct Diversion {
  std::string path, to;  // canonical
  friend bool operator==(const Diversion&, const Diversion&) = default;
};

// One source of references: a package, an installed tree, a list.
struct ReferencePackage {
  std::string product;
  Layer layer = Layer::release;
  std::string name, version, architecture;  // empty: files of no package
  PackageFormat format = PackageFormat::none;
  std::string source;  // where it came from, for people: file name, "root:/srv/image"
  // What makes a second ingestion of the same source recognisable: the SHA-256 of the package file.
  // Absent: taken from the contents (paths and digests).
  std::optional<Digest> identity;
  std::int64_t ingested = 0;    // seconds since 1970; 0: now
  std::int64_t first_seen = 0;  // the date of the repository's state that has it; 0: when it is taken in
  std::vector<ReferenceFile> files;
  std::vector<Diversion> diversions;
  // What tells without a look into it that a source is the one that was taken in: a SHA-256 of what changes whenever
  // the source does. Absent: nothing does.
  std::optional<Digest> stamp;
  // What its reader has to say of it, for people. Isn't stored.
  std::vector<std::string> warnings;
};

// A layer of a product that also has all references of another product, whatever they will be.
struct Inclusion {
  ProductLayer into;
  std::string from;
  friend auto operator<=>(const Inclusion&, const Inclusion&) = default;
};

struct Published {
  std::uint64_t generation = 0;
  bool changed = false;  // false: nothing new was added and the generation is the old one
  std::string content_digest;
};

struct Added {
  std::uint64_t files = 0, bytes = 0;  // files: those that count
  bool is_package = false;             // it has a name
};

class PackageFiles;

class Builder {
 public:
  static Result<Builder> open(const std::string& path);
  Builder(Builder&&) noexcept;
  Builder& operator=(Builder&&) noexcept;
  ~Builder();  // without publish(): what was added stays staged

  // What an ingestion that didn't come to its end has taken in of this source, with at least these algorithms: counts
  // as added from here on. nullopt: nothing, or it was asked for already.
  Result<std::optional<Added>> resume(const ProductLayer& layer, const Digest& identity,
                                      const std::vector<HashAlgorithm>& algorithms);
  // True when this source is in the store, or was added, with at least these algorithms.
  // `missing`, when given, receives the algorithms that a new ingestion has to compute (the known ones included).
  Result<bool> known(const ProductLayer& layer, const Digest& identity, std::vector<HashAlgorithm>& algorithms) const;
  // True when a source with this stamp is in the store with at least these algorithms.
  Result<bool> known_by_stamp(const ProductLayer& layer, const Digest& stamp,
                              const std::vector<HashAlgorithm>& algorithms) const;
  // What was stored; nullopt: it was known already and nothing was added. A path that comes twice counts once, the last
  // content holds. Two paths that a kernel reports alike ("/opt/a b" and "/opt/a_b") are both kept.
  Result<std::optional<Added>> add(ReferencePackage package);
  // The same of a package whose files came one by one and needn't be in memory at once (refdb/store/package_files.h);
  // it has no others. Whole or not at all, as any.
  PackageFiles files() const;
  Result<std::optional<Added>> add(ReferencePackage package, PackageFiles files);
  // Of the packages that the store has of `layer` from the source that begins with `source`: those that `is_there`
  // doesn't name were last seen at `last` (seconds since 1970), if they weren't gone before; the others are there
  // again.
  Result<void> note_unseen(const ProductLayer& layer, std::string_view source, std::int64_t last,
                           const std::function<bool(const Digest& identity)>& is_there);
  // From this generation on; false: that was so. Fault::usage: a product in itself, or one without a name.
  Result<bool> include(const Inclusion& inclusion);
  bool exclude(const Inclusion& inclusion);
  Result<Published> publish();

 private:
  struct State;
  explicit Builder(std::unique_ptr<State> state);
  Result<std::optional<Added>> stage(const ReferencePackage& package, StagedPackage& staged, StagedRows& rows);
  // On the contents of `generation`; absent: of the current one.
  static Result<Builder> open_on(const std::string& path, std::optional<std::uint64_t> generation);
  friend Result<Published> roll_back(const std::string& path, std::uint64_t generation);
  // The contents of a generation that came from elsewhere, and the record of where from (docs/formats/export.md).
  Result<Published> publish_from(std::unique_ptr<Generation> contents, std::string record);
  friend Result<Imported> import_generation(const ImportOptions& options);
  std::unique_ptr<State> state_;
};

// Makes a new generation whose contents are those of an earlier one, and switches to it at once, as an ingestion does;
// the ones in between stay. Fault::usage: there is no such generation, or it is the current one.
Result<Published> roll_back(const std::string& path, std::uint64_t generation);

// Removes generations that are neither current nor among the `keep` newest others nor held by a reader; returns how
// many went. Nobody else removes one: a recorded session may need it to be judged again.
Result<std::size_t> prune_generations(const std::string& path, std::size_t keep);

}  // namespace gatehouse::refdb
