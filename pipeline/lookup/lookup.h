// Judges IMA measurements against the references (spec part 2 §8.1-§8.5). Entries are independent of each other; a batch
// may be judged on any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "pipeline/lookup/hit_cache.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::pipeline {

// One list entry, owned by its batch.
struct ImaItem {
  enum class Kind : std::uint8_t { file, buffer, violation, aggregate };
  std::uint64_t index = 0;  // in the list, boot_aggregate is 0
  std::uint32_t pcr = 10;
  Kind kind = Kind::file;
  Digest template_hash;     // in the bank; for a violation what is extended, all ones
  std::string name;         // as reported
  std::string algorithm;    // of the file digest
  Digest file_digest;       // size 0: not in the evidence (strongSwan's wire form)
  bool plain_ng = false;    // template ima-ng: the index by template hash applies
  bool legacy = false;      // template ima
  bool verity = false;      // the digest is fs-verity's, not of the content
  // A contradiction inside the entry: it is failed for this reason, whatever the references say.
  std::string_view contradiction;
};

struct ImaBatch {
  std::vector<ImaItem> items;
  std::size_t bytes = 0;  // of the segment that it came from, given back when judged
};

struct Judged {
  Counters counters;
  std::vector<Finding> findings;  // by entry
};

// What judging needs besides the entries; the same for all batches of a session.
struct References {
  std::shared_ptr<const refdb::View> view;  // null: everything is unknown
  std::shared_ptr<HitCache> cache;
  std::string product;
  HashAlgorithm bank = HashAlgorithm::sha256;
  std::vector<SymlinkPair> symlinks;
};

// An error is the store's.
Result<Judged> judge(const References& references, const ImaBatch& batch);

// Paths under which `path` may be known: itself, and with the longest matching pair replaced in either direction, at
// component boundaries, once (spec part 2 §8.5).
std::vector<std::string> candidate_paths(const std::string& path, const std::vector<SymlinkPair>& symlinks);

}  // namespace gatehouse::pipeline
