// Opening the reference store for reading. A store is a directory; a generation in it never changes, so a view stays
// as it is while others ingest, and a new one is noticed by a cheap look at the pointer:
//
//   GH_TRY(auto view, refdb::open_view("refdb"));
//   ...
//   GH_TRY(const auto now, refdb::current_generation("refdb"));
//   if (now != view->generation()) GH_TRY(view, refdb::open_view("refdb"));
//
// Works on a read-only file system and beside a process that ingests. docs/formats/refdb.md says what is on disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "refdb/view/view.h"

namespace gatehouse::refdb {

// The current generation. Environment faults: no store there, no generation in it yet, another format version, damage.
Result<std::shared_ptr<const View>> open_view(const std::string& path);
// A stated generation, current or not.
Result<std::shared_ptr<const View>> open_view(const std::string& path, std::uint64_t generation);

// Number of the current generation, read from the pointer file alone (one open, one read); 0 when the store holds none.
Result<std::uint64_t> current_generation(const std::string& path);

struct Stats {
  std::uint64_t products = 0;
  std::uint64_t packages = 0;   // files of no package (root:, sha256sums:) count as no package
  std::uint64_t files = 0;
  std::uint64_t digests = 0;    // distinct content digests, all algorithms
  std::uint64_t bytes = 0;      // of the whole store on disk, a file shared by generations once
  std::uint64_t generation = 0;
  std::string content_digest;   // SHA-256 in hex over the contents alone
};
Result<Stats> read_stats(const std::string& path);

}  // namespace gatehouse::refdb
