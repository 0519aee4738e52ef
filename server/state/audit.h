// The audit log: each result's record is a leaf of a Merkle tree that only grows (docs/formats/audit.md). Who holds a
// signed checkpoint of it can have it proved later that no result up to there was changed, removed or put in between,
// whoever has had the database meanwhile, also where it was restored from a backup.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ed25519.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::server {

struct AuditHead {
  std::string log;         // 32 hexadecimal digits, given once; a restored store goes on with it
  std::int64_t since = 0;  // milliseconds since 1970: results before have no entry
  std::uint64_t size = 0;  // entries
  Digest root;             // of all of them
};

// Results in the order in which they came on record.
struct AuditResults {
  struct One {
    std::uint64_t entry = 0;  // from 0
    std::string session;
  };
  std::string log;
  std::uint64_t size = 0;   // entries there are
  std::vector<One> results;  // whose records are there still
  std::uint64_t next = 0;   // the entry behind those that were looked at
};

// What is kept elsewhere: that at this time the log was this.
struct AuditCheckpoint {
  std::string log;
  std::uint64_t size = 0;
  Digest root;
  std::int64_t time = 0;  // milliseconds since 1970
};

std::string checkpoint_text(const AuditHead& head, std::int64_t time, const SigningKey& key);
// One after the other, as they were appended to a file. Malformed, or denied where a signature isn't the key's, with the
// byte at which the checkpoint begins.
Result<std::vector<AuditCheckpoint>> read_checkpoints(std::string_view text, const VerifyingKey& key);

struct AuditProblem {
  std::string what;                    // "changed", "removed", "added", "log", "checkpoint"
  std::optional<std::uint64_t> entry;  // from 0
  std::string session, text;
};
struct AuditRestore {
  std::uint64_t entry = 0;  // that says so
  std::int64_t time = 0;
  std::uint64_t lost = 0;   // entries that a checkpoint vouches for and the backup didn't have
};

struct AuditReport {
  AuditHead head;
  std::uint64_t records = 0;     // that are as they were logged
  std::uint64_t retired = 0;     // entries whose record went by the rules of retention
  std::uint64_t open = 0;        // sessions without a result, which have no entry yet
  std::uint64_t checkpoints = 0;  // that this log agrees with
  std::uint64_t unproved = 0;     // checkpoints within what retention has left only whole blocks of
  std::vector<AuditRestore> restores;
  std::vector<AuditProblem> problems;  // the first 100
  std::uint64_t problems_total = 0;
};

}  // namespace gatehouse::server
