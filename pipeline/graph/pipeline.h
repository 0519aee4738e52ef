// The evidence plane: one oneTBB flow graph for all sessions.
//
//   segments ─▶ parse ─┬─▶ lookup (any order, hundreds of entries at once) ─┐
//                      └─▶ extend (in order within a session) ──────────────┴─▶ quote ─▶ verdict ─▶ completion
//
// It knows no socket, no TLS and no PB-TNC: evidence bytes in, a verdict out. `verify` and `serve` run on it.
//
//   Pipeline pipeline({.threads = 2});
//   auto evidence = pipeline.open(std::move(context), [](Result<Verdict> verdict) { ... });  // called once, on any thread
//   evidence->submit({.stream = Stream::ima, .format = Format::ima_binary, .bytes = ...});
//   evidence->finish(std::move(quote));
//
// Every Evidence is gone before its Pipeline.
//
// Guarantees: submit() and finish() wait for nobody and never refuse, small segments are judged in them; the caller asks
// has_room() before it lets the endpoint send, and a segment's bytes count until it has been judged. One session's calls
// come from one thread at a time (its strand). The completion is called exactly once, within finish() too, also when the
// session was cancelled (Fault::denied, "cancelled"). A failure inside completes with an error or a verdict that isn't allow.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/hash.h"
#include "base/public_key.h"
#include "pipeline/verdict/evidence_rules.h"
#include "pipeline/verdict/verdict.h"
#include "refdb/view/view.h"

namespace gatehouse::pipeline {

enum class Stream : std::uint8_t { boot, ima };

enum class Format : std::uint8_t {
  // A complete PA-TNC message of subtype TCG/PTS; its Simple Component Evidence attributes count (both components),
  // its other attributes are skipped: the protocol plane reads those. `stream` is ignored.
  pa_tnc,
  // Consecutive pieces of a raw log or list, cut anywhere.
  eventlog,
  ima_binary,
  ima_ascii,
};

// What an error of a raw log or list names as its source: the caller knows the file.
inline constexpr std::string_view eventlog_source = "firmware event log", list_source = "IMA list";

// A segment whose bytes are somebody else's.
struct SegmentView {
  Stream stream = Stream::ima;
  Format format = Format::pa_tnc;
  Bytes bytes;
  // For Format::pa_tnc: added to offsets in errors (0 for a whole message), so that they count from its start.
  std::size_t base_offset = 0;
};

struct Segment {
  Stream stream = Stream::ima;
  Format format = Format::pa_tnc;
  ByteVector bytes;
  std::size_t base_offset = 0;
  SegmentView view() const { return {stream, format, bytes, base_offset}; }
};

// PCR values before the first measurement (spec part 2 §6.2): the locality seeds PCR 0.
struct Baseline {
  HashAlgorithm bank = HashAlgorithm::sha256;
  // For each PCR in ascending order the digests extended into it, in order.
  std::vector<std::pair<std::uint32_t, std::vector<Digest>>> events;
  friend bool operator==(const Baseline&, const Baseline&) = default;
};

// What was accepted last from this AK (spec part 2 §4.5); absent for a first contact.
struct LastQuote {
  std::uint64_t clock = 0;
  std::uint32_t reset_count = 0, restart_count = 0;
  std::uint64_t firmware_version = 0;
};

struct AttestationKey {
  std::optional<PublicKey> key;
  // Q9: decided by the caller from the device's record (serve) or the given file (verify).
  bool trusted = false;
  std::string untrusted_reason;
  // TPMA_OBJECT where the key came as TPM2B_PUBLIC; judged then (contract C13).
  std::optional<std::uint32_t> object_attributes;
  std::optional<HashAlgorithm> name_algorithm;
  // TPM2B_NAME content of the AK's qualified name, where enrolment recorded it (Q10).
  ByteVector qualified_name;
};

struct SymlinkPair {
  std::string from, to;  // "/bin", "/usr/bin"
};

// What is known of a session before its evidence; pinned by the session's record.
struct Context {
  std::string session, device, product;
  std::shared_ptr<const refdb::View> references;   // null: no reference store
  bool product_known = true;                       // false prevents allow (design §6.6)
  std::optional<HashAlgorithm> bank;               // negotiated (serve); nullopt: the quote's (verify)
  HashAlgorithm minimum_bank = HashAlgorithm::sha256;  // sha1 only where policy permits it
  std::vector<SymlinkPair> symlinks;               // given by the operator (verify --symlink); never the client's
  std::vector<std::string> claims;                 // client's claims to report: symlinks, product, Device ID
  bool boot_requested = true, ima_requested = true;   // demanded: missing is never allow (serve)
  bool serve = false;                              // firmware baseline is needed for allow
  std::vector<Baseline> baselines;                 // approved ones, any may match
  std::string approve_command;                     // named in the finding when there is no approved baseline
  std::optional<LastQuote> last_quote;
  std::vector<EvidenceRulesPtr> rules;  // of the policy, all of them apply
  std::int64_t now = 0;                 // of the session, milliseconds since 1970: for rules with an age
  std::size_t max_boot_items = 4096;
  std::size_t max_ima_items = 1'000'000;
};

// A quote as the TPM made it (verify, raw-log clients).
struct RawQuote {
  ByteVector attest;     // TPMS_ATTEST, with or without the TPM2B size
  ByteVector signature;  // TPMT_SIGNATURE
};
// Simple Evidence Final (spec part 2 §1.12): TPMS_ATTEST is rebuilt from it, our nonce and our own PCR digest (§4.4).
struct FinalQuote {
  ByteVector value;              // attribute value
  std::size_t value_offset = 0;  // of the value in its PA-TNC message, for errors
};

struct Finish {
  AttestationKey ak;
  std::variant<std::monostate, RawQuote, FinalQuote> quote;
  std::optional<ByteVector> nonce;                    // expected extraData, whole
  std::optional<std::uint8_t> claimed_locality;       // of TPM Version Information; a hint (spec part 2 §6.5)
  std::vector<std::string> claims;                    // further claims to report, beside Context::claims
  bool session_failed = false;                        // the protocol ended early: never allow
  std::string session_failure;
};

// How long a session's evidence was worked on, all its segments together. Look-ups run beside each other, and beside the
// endpoint's sending: it isn't time that anybody waited.
struct Effort {
  std::chrono::nanoseconds parse{0}, lookup{0}, extend{0}, quote{0}, conclude{0};
};

// What the caller keeps besides the verdict.
struct Outcome {
  Verdict verdict;
  Effort effort;
  // Set when the quote verified (Q1-Q14): what may be proposed as baseline and kept as last quote.
  std::optional<Baseline> measured_boot;
  std::optional<LastQuote> quote;
};

class Evidence {
 public:
  virtual ~Evidence() = default;  // dropping it cancels
  virtual void submit(Segment segment) = 0;
  // The same. The bytes are the caller's again when it returns: what isn't judged here is copied.
  virtual void submit_lent(const SegmentView& segment) = 0;
  virtual void finish(Finish finish) = 0;   // after the last segment; once
  virtual void cancel() = 0;
  // Bytes submitted and not yet judged; the protocol plane sends "go on" only while this is small.
  virtual std::size_t pending_bytes() const = 0;
  // Blocks until no more than `most` bytes are pending: for a caller that has a thread to wait with and all of the
  // evidence at hand. Never from the pipeline's own threads.
  virtual void wait_until_pending_at_most(std::size_t most) const = 0;
};

// The reason of who was given up (Fault::denied).
inline constexpr std::string_view cancelled = "cancelled";

// The error of malformed evidence carries the offset in its segment (plus base_offset).
using Completion = std::move_only_function<void(Result<Outcome>)>;

struct Limits {
  unsigned threads = 0;  // 0: as many as the machine has
  std::size_t budget_bytes = std::size_t(1) << 30;
  std::size_t session_bytes = std::size_t(64) << 20;
  // Of what came of evidence whose quote verified, for when it comes again (pipeline/graph/proved_runs.h); 0: none is kept.
  std::size_t proved_bytes = 0;
};

// Sums over the sessions that have been completed since the pipeline was made, however they ended.
struct Totals {
  std::uint64_t sessions = 0, segments = 0, bytes = 0;
  // List entries that the verdict cache knew as known and as unknown, and for which the reference store was asked.
  std::uint64_t cached_hits = 0, cached_misses = 0, store_lookups = 0;
  // List entries that came in the same bytes as in evidence whose quote had verified.
  std::uint64_t reused = 0;
  // What such evidence takes now, of memory, to be recognised and taken as it was.
  std::uint64_t proved_bytes = 0;
  // Signatures that the signature cache knew to be good, and that were verified.
  std::uint64_t cached_signatures = 0, verified_signatures = 0;
};

class Pipeline {
 public:
  explicit Pipeline(Limits limits = {});
  ~Pipeline();  // waits for what is in flight
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  std::unique_ptr<Evidence> open(Context context, Completion completion);
  // Whether `bytes` more fit into the budget. The protocol plane asks before it lets an endpoint send, so what is in
  // flight stays within the budget and one batch a session.
  bool has_room(std::size_t bytes) const;
  std::size_t bytes_in_flight() const;
  std::size_t budget_bytes() const;
  Totals totals() const;

 private:
  struct State;
  class Handle;
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::pipeline
