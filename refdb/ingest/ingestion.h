// One run of ingest(): what its parts share. All of it may be used from several threads at once.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "refdb/ingest/decoders.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/repository.h"
#include "refdb/store/builder.h"
#include "refdb/store/package_files.h"

namespace gatehouse::refdb {

// What is to be done about a package.
struct Missing {
  // An ingestion that didn't come to its end took it in, which counts as adding it.
  bool resumed = false;
  std::vector<HashAlgorithm> algorithms;  // to compute; none: it isn't to be read
  bool to_read() const { return !algorithms.empty(); }
};

class Ingestion;

// A package's files as they come, but for those that the selection leaves out.
class SelectedFiles {
 public:
  SelectedFiles(const Ingestion& run, const Selection& selection);
  // Lives as long as this stays where it is.
  FileSink sink();

 private:
  friend class Ingestion;
  const Selection& selection_;
  PackageFiles files_;
  std::uint64_t left_out_ = 0;
};

class Ingestion {
 public:
  Ingestion(const IngestOptions& options, Builder& builder, Decoders& decoders)
      : options_(options), builder_(builder), decoders_(decoders) {}

  const IngestOptions& options() const { return options_; }
  Decoders& decoders() const { return decoders_; }
  Result<Missing> missing(const Digest& identity);
  // True: the store has all of the package file with this stamp.
  Result<bool> known_by_stamp(const Digest& stamp) const;
  // Whether it was new. A package without a product is of the one that the options name.
  Result<bool> add(ReferencePackage package);
  // The same of a package whose files came one by one; those that were left out count as excluded.
  Result<bool> add(ReferencePackage package, SelectedFiles files);
  // See Builder::note_unseen.
  Result<void> note_unseen(std::string_view source, std::int64_t last,
                           const std::function<bool(const Digest& identity)>& is_there);
  void skip();
  void exclude(std::uint64_t packages, std::uint64_t files);
  void failed(const std::string& source, Error error);
  void warn(std::string text);

  // For people who wait: work that is known of, that begins, that is done.
  void expect(std::size_t packages, std::uint64_t bytes);
  void begin(const std::string& what);
  void finish(std::uint64_t bytes);
  void tick();

  // Once all is done.
  IngestReport report();

 private:
  friend class SelectedFiles;
  void claim(ReferencePackage& package);  // for the product and layer of this run
  void count(const Added& added);

  const IngestOptions& options_;
  const ProductLayer layer_{options_.product, options_.layer};
  Builder& builder_;
  Decoders& decoders_;
  std::mutex mutex_;
  IngestReport report_;
  IngestProgress progress_;
};

}  // namespace gatehouse::refdb
