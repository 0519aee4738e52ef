// What came of evidence, for when it comes again: a list only grows between reboots, so a device that attests again sends
// what it sent before, and then what is new. Evidence is cut into runs of measurements. The fingerprint of a run covers all
// the session's runs before it, and what they were judged by; so whoever comes with the same fingerprint has the same bytes
// behind it, and what came of the run is taken as it is: entries, counters, findings, and the PCR after it.
//
// Kept are runs of sessions whose quote verified, and nothing of a verdict: that is made anew of what the runs came to, of
// the quote, the nonce and the device's record. Bounded by bytes; what didn't come for long goes first. Safe for concurrent
// use, with one lock a run.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fingerprint.h"
#include "pipeline/graph/packed.h"
#include "pipeline/lookup/lookup.h"
#include "pipeline/quote/quote.h"

namespace gatehouse::pipeline {

// PCR values that the client claims to have held around an item: compared with ours, never used (spec part 2 §2.5).
struct PcrClaim {
  std::uint64_t index = 0;
  std::uint32_t pcr = 0;
  Digest before, after;
};

// A list's first entry, boot_aggregate.
struct Aggregate {
  Digest template_hash;
  Digest file_digest;  // size 0: not in the evidence
  std::string algorithm;
  bool legacy = false;
  std::string_view contradiction;  // of the entry in itself; a literal
};

// Consecutive Simple Component Evidence attributes of one message, and what they added to their session's judgement.
struct ProvedRun {
  PackedBoot boot;
  std::vector<PcrClaim> boot_claims;
  std::uint64_t items = 0;  // of the list
  bool has_boot = false, has_list = false;
  std::optional<Aggregate> aggregate;
  std::optional<std::string> aggregate_trouble;
  std::optional<Digest> ima_pcr, violated_pcr;  // after the run
  std::vector<std::uint64_t> false_claims;
  std::uint64_t wire_items = 0;
  Judged judged;

  // Of memory, roughly.
  std::size_t bytes() const;
};
using ProvedRunPtr = std::shared_ptr<const ProvedRun>;

class ProvedRuns {
 public:
  explicit ProvedRuns(std::size_t most_bytes) : most_(most_bytes) {}
  // Of a run behind the one whose fingerprint is `before`.
  Fingerprint fingerprint(const Fingerprint& before, Bytes run) const { return fingerprint_(before, run); }
  ProvedRunPtr find(const Fingerprint& fingerprint);
  void insert(const Fingerprint& fingerprint, ProvedRunPtr run);
  std::size_t bytes() const;
  // What a session may hold of runs that wait for its quote: they are nobody's yet, and may never be.
  std::size_t most_of_session() const { return most_ / 64; }

 private:
  using Known = std::unordered_map<Fingerprint, ProvedRunPtr, FingerprintHash>;
  void add(const Fingerprint& fingerprint, ProvedRunPtr run);  // with mutex_ held

  const std::size_t most_;
  const Fingerprinter fingerprint_;
  mutable std::mutex mutex_;
  Known recent_, earlier_;                            // guarded by mutex_: a full `recent_` is what was earlier
  std::size_t recent_bytes_ = 0, earlier_bytes_ = 0;  // guarded by mutex_
};

}  // namespace gatehouse::pipeline
