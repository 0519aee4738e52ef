// One run of ingest(): what its parts share. All of it may be used from several threads at once.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "refdb/ingest/ingest.h"
#include "refdb/store/builder.h"

namespace gatehouse::refdb {

class Ingestion {
 public:
  Ingestion(const IngestOptions& options, Builder& builder) : options_(options), builder_(builder) {}

  const IngestOptions& options() const { return options_; }
  // What the store hasn't of this package; nullopt: nothing.
  Result<std::optional<std::vector<HashAlgorithm>>> wanted(const Digest& identity) const;
  // Whether it was new.
  Result<bool> add(ReferencePackage package);
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
  const IngestOptions& options_;
  Builder& builder_;
  std::mutex mutex_;
  IngestReport report_;
  IngestProgress progress_;
};

}  // namespace gatehouse::refdb
