// One session's evidence between its first byte and its verdict. parse() and parse_end() run in submission order,
// extend() in that order too but beside them, look_up() in any order and on any thread; conclude() runs when all are done.
// Where all that was parsed before is extended, a batch may be looked up and then extended by extend_looked_up(): nothing of
// it has to be kept then.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "pipeline/graph/packed.h"
#include "pipeline/graph/pipeline.h"
#include "pipeline/graph/proved_runs.h"
#include "pipeline/lookup/lookup.h"
#include "pipeline/quote/quote.h"
#include "pipeline/replay/chain_pool.h"
#include "pipeline/verdict/log_checks.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::pipeline {

inline constexpr std::uint32_t ima_pcr = 10;

struct Batch : ImaBatch {
  std::vector<PcrClaim> claims;
  std::size_t segment_bytes = 0;
  // Look-up and extension; who is last gives the segment's bytes back. Entries are several times their evidence, so
  // what waits for either counts as pending.
  mutable std::atomic<unsigned> stages{2};
};

// Where evidence that came before is found. Sessions of one group judge the same evidence alike.
struct Proved {
  std::shared_ptr<ProvedRuns> runs;  // null: none is looked for
  std::uint64_t group = 0;
};

class Judgement {
 public:
  // `signatures` may be null: then each signature is verified; `chains`, too: then this one's are extended by themselves.
  Judgement(Context context, std::shared_ptr<VerdictCache> cache, std::shared_ptr<SignatureCache> signatures = nullptr,
            Proved proved = {}, ChainPool* chains = nullptr);

  // The list entries that the segment completed; null: none. Boot events stay inside.
  // They are in the segment's bytes.
  Result<std::shared_ptr<Batch>> parse(const SegmentView& segment);
  // The batch takes those, where entries are in them.
  Result<std::shared_ptr<Batch>> parse(Segment& segment);
  Result<std::shared_ptr<Batch>> parse_end();
  void extend(const Batch& batch);
  // `value_after`: gets PCR 10 after the batch, by conclude() at the latest; may be null.
  void extend_looked_up(const Batch& batch, std::shared_ptr<Digest> value_after = nullptr);
  Result<void> look_up(const Batch& batch);
  // Whether take_runs() is for this segment: in place of parse(), extend() and look_up(), where all that those were given is
  // done. Once it wasn't, it isn't any more.
  bool takes_runs(const SegmentView& segment) const;
  Result<void> take_runs(const SegmentView& segment, Effort& effort);
  // After conclude() of a session whose quote verified: its runs may be found by others.
  void keep_runs();
  // Of effort, its outcome has the quote's, and of extension what was left of it.
  Outcome conclude(const Finish& finish);
  // Of all look-ups so far.
  IndexAnswers index_answers();

 private:
  // judgement.cpp
  // Attributes up to the end of the reader, which a run or a message is.
  Result<void> parse_evidence(Reader& r, Batch& batch);
  Result<void> add_file(Batch& batch, std::string_view uri, Bytes measurement, std::size_t at);
  Result<void> judge_run(Bytes run, std::size_t base_offset, const Fingerprint& fingerprint, Effort& effort);
  void take(const ProvedRunPtr& run);
  // `findings`: the judged ones', which may be kept elsewhere, too.
  void add(const Judged& judged, std::shared_ptr<const PackedFindings> findings);
  Result<void> read_eventlog();
  Result<void> read_list(Batch& batch);
  void firmware_is_complete();
  Result<void> add_boot(std::uint32_t pcr, Digest digest, std::size_t offset);
  // `item` is the last of its batch.
  Result<void> add_item(ImaItem& item, std::size_t offset);

  void extend_list(const Batch& batch, std::shared_ptr<Digest> value_after);
  void settle_chain();
  std::uint64_t followed(const Batch& batch) const;
  void keep_digests(const Batch& batch);
  void follow_violations();  // with mutex_ held
  void keep_worst();
  std::vector<Finding> spell_findings();

  // conclusion.cpp
  QuoteResult check_quote(const Finish& finish);
  void take_as_violations();
  void check_baseline(Verdict& v, std::uint8_t locality, bool& refused) const;
  void check_boot_claims(Verdict& v, std::vector<Status>& statuses, std::uint8_t locality) const;
  void check_aggregate(Verdict& v, const QuoteResult& quote, bool& refused) const;
  void check_ima_claims(Verdict& v, bool& refused);
  void check_rules(Verdict& v, bool& refused) const;
  void check_presence(Verdict& v, const Finish& finish, bool& refused) const;
  Finding* finding_of(std::uint64_t index);

  std::vector<PackedBaseline> baselines_;  // in the place of the context's
  const Context context_;
  const HashAlgorithm bank_;
  References references_;

  // A log or a list as it is: most evidence comes over the wire, and has neither.
  struct RawLog {
    RawLog(HashAlgorithm bank, const std::vector<EvidenceRulesPtr>& rules) : checks(bank, rules) {}
    eventlog::Cursor cursor;
    LogChecks checks;
  };
  struct RawList {
    RawList(ima::Cursor::Form form, HashAlgorithm bank) : cursor(form), hasher(bank), sha1_hasher(HashAlgorithm::sha1) {}
    ima::Cursor cursor;
    Hasher hasher, sha1_hasher;
  };

  // The parse lane's.
  std::unique_ptr<RawLog> log_;
  std::unique_ptr<RawList> list_;
  PackedBoot packed_boot_;
  bool approved_ = false;       // it is that of a baseline; those aren't kept any more
  std::vector<BootItem> boot_;  // the same, in conclude()
  std::vector<PcrClaim> boot_claims_;
  bool boot_given_ = false, ima_given_ = false;
  bool boot_on_wire_ = false, ima_on_wire_ = false;  // as Simple Component Evidence
  std::uint64_t items_ = 0, signed_entries_ = 0;
  std::optional<Aggregate> aggregate_;
  std::optional<std::string> aggregate_trouble_;

  // The extend lane's.
  Hasher extend_hasher_;
  ChainPool* const chains_;
  std::optional<PooledChain> ima_chain_;     // PCR 10, where digests may be waiting
  std::optional<Digest> ima_pcr_;            // PCR 10, where that isn't; nullopt: untouched
  OtherPcrs others_;
  std::vector<std::uint64_t> false_claims_;  // ascending
  std::uint64_t extended_ = 0;               // list entries
  std::uint64_t wire_items_ = 0;             // of those from the wire the first ones, that `violated_pcr_` covers
  // PCR 10 if what is over a zero digest are violations (check_quote()); nullopt: so far nothing is.
  std::optional<Digest> violated_pcr_;
  // What was extended and isn't looked up yet, so nobody knows whether it has any: digests, one behind the other.
  struct Unsettled {
    std::uint64_t first = 0;       // its index in the list
    std::optional<Digest> before;  // PCR 10 in front of it
    ByteVector digests;
  };
  Unsettled unsettled_;

  // Of runs: all are the parse lane's.
  const Proved proved_;
  Fingerprint chain_{};     // of the runs so far
  bool known_ = true;       // all of them had come before
  bool in_runs_ = true;     // nothing came in another way
  std::vector<std::pair<Fingerprint, ProvedRunPtr>> new_runs_;  // up to where there were too many
  std::size_t new_runs_bytes_ = 0;                              // with the one that was too many

  // Of all look-ups.
  std::mutex mutex_;
  Counters counters_;                       // guarded by mutex_
  IndexAnswers index_answers_;              // guarded by mutex_
  std::vector<std::shared_ptr<const PackedFindings>> kept_;  // guarded by mutex_; of batches that have any
  std::size_t kept_count_ = 0, kept_cost_ = 0;  // guarded by mutex_; findings, and their bytes in the verdict object
  std::vector<Finding> findings_;           // those that were kept, in conclude()
  std::uint64_t findings_total_ = 0;        // guarded by mutex_
  std::vector<Status> statuses_;            // guarded by mutex_; by entry
  std::uint64_t looked_up_ = 0;             // guarded by mutex_; list entries
  std::vector<Judged::ZeroDigest> zero_digests_;  // guarded by mutex_; ascending
  std::uint64_t superseded_ = 0;                  // guarded by mutex_
};

}  // namespace gatehouse::pipeline
