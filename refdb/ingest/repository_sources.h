// The repositories among the sources of an ingestion.
//
//   GH_TRY(const auto repositories, RepositorySources::open(options));
//   …the store is locked…
//   GH_CHECK(repositories->load());
//   repositories->take("apt:http://mirror.example/debian", run);
//   GH_CHECK(repositories->note_unseen(run));
//   …publish…
//   GH_CHECK(repositories->settle());
#pragma once

#include <memory>
#include <string>

#include "refdb/ingest/ingestion.h"

namespace gatehouse::refdb {

class RepositorySources {
 public:
  static bool is_one(std::string_view source);
  // Fault::usage where the options don't fit the sources. The options outlive it.
  static Result<std::unique_ptr<RepositorySources>> open(const IngestOptions& options);
  ~RepositorySources();

  // What the store has taken before; whoever may change that is locked out from before this to after settle().
  Result<void> load();
  // What is wanted of all sources, repositories or not.
  const Selection& selection() const;
  // Whether RPM packages may be in the store that are known by the digest of their whole file.
  bool knows_rpm_files() const;
  // Packages of one repository, on all threads of the arena that it is called in, `jobs` of them.
  void take(const std::string& source, unsigned jobs, Ingestion& run);
  // Once all are taken: which packages that the store has from them are there no more.
  Result<void> note_unseen(Ingestion& run);
  // After what was taken has been published: remembers the repositories' states, and tidies the cache up.
  Result<void> settle();

 private:
  struct State;
  explicit RepositorySources(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::refdb
