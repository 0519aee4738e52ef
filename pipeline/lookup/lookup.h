// Judges IMA measurements against the references (spec part 2 §8.1-§8.5). Entries are independent of each other; a batch
// may be judged on any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "pipeline/lookup/file_rules.h"
#include "pipeline/lookup/ima_rules.h"
#include "pipeline/lookup/verdict_cache.h"
#include "pipeline/verdict/packed_findings.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::pipeline {

// Texts that are kept together.
class TextArena {
 public:
  // Lives as long as the arena, wherever that is moved.
  std::string_view keep(std::string_view text);

 private:
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
};

// What a list as it is has of an entry, and the wire hasn't.
struct ListFields {
  Digest file_digest;             // size 0: its template has none
  ByteVector signature;           // field `sig`, where rules look at signatures
  bool signature_beyond = false;  // it has one, behind so many others that it isn't verified
  // A contradiction inside the entry: it is failed for this reason, whatever the references say.
  std::string_view contradiction;
};

// One list entry; what it refers to is its batch's. Thousands are written and read for a session: two cache lines each.
struct ImaItem {
  enum class Kind : std::uint8_t { file, buffer, violation, aggregate };
  std::uint64_t index = 0;             // in the list, boot_aggregate is 0
  const ListFields* fields = nullptr;  // null: only template hash and name came, over the wire (spec part 2 §2.4)
  std::string_view name;               // as reported
  std::string_view algorithm;          // of the file digest
  std::uint32_t pcr = 10;
  Kind kind = Kind::file;
  bool plain_ng = false;  // template ima-ng: the index by template hash applies
  bool legacy = false;    // template ima
  bool verity = false;    // the digest is fs-verity's, not of the content
  Digest template_hash;   // in the bank; for a violation what is extended, all ones

  bool on_wire() const { return fields == nullptr; }
  Bytes file_digest() const { return fields != nullptr ? fields->file_digest.view() : Bytes(); }  // empty: not in the evidence
  std::string_view contradiction() const { return fields != nullptr ? fields->contradiction : std::string_view(); }
};
static_assert(sizeof(ImaItem) <= 128);

struct ImaBatch {
  std::vector<ImaItem> items;
  // What their texts are in.
  ByteVector evidence{};
  TextArena text{};
  std::deque<ListFields> fields{};
};

// How the entries were answered (pipeline.h, Totals).
struct IndexAnswers {
  std::uint64_t cached_hits = 0, cached_misses = 0, store_lookups = 0;
  std::uint64_t reused = 0;  // with the run that they came in (pipeline/graph/proved_runs.h)
};

struct Judged {
  Counters counters;
  IndexAnswers index;
  PackedFindings findings;        // by entry
  std::uint64_t first = 0;        // entry of the next member's first
  std::vector<Status> statuses;   // of items[i]; absent: a boot_aggregate, which isn't counted
  // Entries from the wire that are the template hash over a zero digest: a violation, recorded by a kernel that extended
  // all ones for it (spec part 2 §7.5). Whether it did, only the quote can tell.
  struct ZeroDigest {
    std::uint64_t index = 0;
    Status as_violation = Status::unknown;
    auto operator<=>(const ZeroDigest&) const = default;
  };
  std::vector<ZeroDigest> zero_digests;
  // Of the ok ones: how many a newer version of their package supersedes, where rules ask for it and refuse none.
  std::uint64_t superseded = 0;
};

// What judging needs besides the entries; the same for all batches of a session.
struct References {
  std::shared_ptr<const refdb::View> view;  // null: everything is unknown
  std::shared_ptr<VerdictCache> cache;
  std::string product;
  HashAlgorithm bank = HashAlgorithm::sha256;
  std::vector<SymlinkPair> symlinks;
  ImaRuleChecks rules;
  FileRuleChecks files{};
};

// An error is the store's.
Result<Judged> judge(const References& references, const ImaBatch& batch);

// What a violation counts as.
inline constexpr std::string_view violation_reason =
    "violation: the file was written while it was measured; its name is the endpoint's claim";

// The template hash of an entry of templates "ima-ng" and "ima" over this file digest.
Digest template_hash(Hasher& hasher, const ImaItem& item, Bytes file_digest);

// Paths under which `path` may be known: itself, and with the longest matching pair replaced in either direction, at
// component boundaries, once (spec part 2 §8.5).
std::vector<std::string> candidate_paths(const std::string& path, const std::vector<SymlinkPair>& symlinks);

}  // namespace gatehouse::pipeline
