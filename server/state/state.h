// The state store: devices and their attestation keys, firmware baselines, last accepted quotes, sessions and results.
// An embedded store in one directory that one process holds. Operations are named by what they mean; keys and values
// are in docs/formats/state.md.
//
//   GH_TRY(auto state, State::open({.path = "state", .create = true}));
//   const auto device = state->device("deb3…");                       // point read, microseconds
//   const KeyJudgement ak = state->judge_key("deb3…", key);
//   state->begin_session(intent, [](Result<void> written) { … });      // then evidence may be asked for
//   state->commit_result(record, [](Result<void> on_disk) { … });      // then the RESULT batch may go out
//
// Writes are made by one thread of the store: everything that waits is checked in order, written and synced at once,
// then each completion is called, on that thread: post to your strand, don't work in it. (A write that is refused at
// once, because too many wait or the store closes, completes on the caller's thread.) A completion that gets no error
// means that the record survives a crash: an intent one of the process, anything else one of the machine. One that gets
// an error means that it may not: never allow. Writes never block the caller, but for the operations named …_blocking,
// which the operator's commands use. Reads may be made from any thread and see what was committed.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "base/public_key.h"
#include "pipeline/graph/pipeline.h"
#include "server/state/admissions.h"
#include "server/state/announcement.h"
#include "server/state/audit.h"
#include "server/state/backup.h"
#include "server/state/enrolment.h"
#include "server/state/evidence.h"
#include "server/state/life.h"
#include "server/state/policies.h"
#include "server/state/software.h"
#include "server/state/timing.h"

namespace gatehouse::server {

inline constexpr unsigned state_format = 8;
inline constexpr unsigned oldest_state_format = 1;  // that open() takes over

enum class KeyState : std::uint8_t { pending, trusted, revoked };
enum class KeySource : std::uint8_t { operator_command, import, session, activation };
std::string_view name(KeyState state);
std::string_view name(KeySource source);

// An attestation key of a device.
struct DeviceKey {
  KeyState state = KeyState::pending;
  KeySource source = KeySource::operator_command;
  std::string key_id;  // SHA-1 of the SubjectPublicKeyInfo, lower-case hex
  std::string pin;     // SHA-256 of it; empty: only the key id is known and the first good quote pins the key
  ByteVector spki;     // DER; empty with the pin
  std::optional<std::uint32_t> object_attributes;  // TPMA_OBJECT, where it came as TPM2B_PUBLIC
  std::optional<HashAlgorithm> name_algorithm;
  ByteVector qualified_name;   // TPM2B_NAME content, where enrolment recorded it
  std::int64_t since = 0;      // milliseconds since 1970: when it came into this state
  friend bool operator==(const DeviceKey&, const DeviceKey&) = default;
};

struct Device {
  std::string id;
  std::string product;                  // empty: not recorded
  std::vector<std::string> identities;  // authenticated identities it is bound to; empty: any
  std::vector<DeviceKey> keys;
  bool enrolled = false;                // false: seen in a session only, nobody has decided on it
  std::int64_t created = 0;             // milliseconds since 1970
  DeviceState state = DeviceState::pending;
  std::int64_t state_since = 0;         // milliseconds since 1970
  std::string model{};                  // group of devices with the same firmware; empty: of none
  std::uint64_t changes = 0;            // number of the last entry of its history
  friend bool operator==(const Device&, const Device&) = default;
};

enum class KeyStanding : std::uint8_t {
  trusted,       // this device's, trusted by the operator
  pending,       // this device's, awaiting `device trust`
  revoked,       // revoked here or for another device
  unknown,       // not seen before
  other_device,  // enrolled for another device (spec part 2 §5.2)
  barred,        // whatever the key: the device is suspended, revoked or retired
};
std::string_view name(KeyStanding standing);

struct KeyJudgement {
  KeyStanding standing = KeyStanding::unknown;
  std::string reason;          // for the verdict and the log where it isn't trusted; no peer text in it
  bool first_use = false;      // trusted by its key id alone; commit_result pins it when the quote verified
  std::optional<DeviceKey> record;  // what is recorded of it; attributes are judged from here
  std::string owner;           // the device it is enrolled for, where that is another one
};

enum class BaselineState : std::uint8_t { candidate, approved, retired };
std::string_view name(BaselineState state);

struct StoredBaseline {
  std::uint64_t number = 0;  // from 1, per device; never used again
  BaselineState state = BaselineState::candidate;
  std::string session;       // that proposed it; empty: imported
  std::int64_t since = 0;
  pipeline::Baseline baseline;
};

// What is known when a session begins to ask for evidence; part of the result record too.
struct SessionIntent {
  std::string session;    // 1 to 64 of [0-9A-Za-z._-], unique
  std::string device;     // Device ID, empty: none claimed
  std::string product;
  std::string peer;       // "192.0.2.7:49152"
  std::string identity;   // authenticated: subject or user name
  std::string identity_type;  // "certificate", "password", ""
  std::string key_pin;    // of the AK that came, empty: none
  std::string policy;     // version judged with
  std::optional<std::uint64_t> generation;
  std::int64_t started = 0;  // milliseconds since 1970
};

struct SeenKey {
  PublicKey key;
  std::optional<std::uint32_t> object_attributes;
  std::optional<HashAlgorithm> name_algorithm;
};

// What one policy item came to, for max_age (spec part 1b §7.4): kept for enrolled devices only.
struct ItemResult {
  std::string policy;         // its name: 1 to 256 bytes of printable UTF-8
  std::string type;           // "SWIDT"
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  pipeline::Evaluation evaluation = pipeline::Evaluation::unknown;
  std::string text;
};

// A recorded one with the session it is from: who had authenticated as what, and the AK whose quote verified.
struct StoredItemResult {
  ItemResult result;
  std::int64_t time = 0;      // milliseconds since 1970: the end of its session
  std::string session;
  std::string identity, identity_type;
  std::string key_pin;        // empty: no quote of this session verified
  // Not compliant since then (milliseconds since 1970), and in no session after it whose endpoint was authenticated.
  std::optional<std::int64_t> failing_since{};
};

// Digests of one directory's files, by name. What FREFM and DREFM learned of a device is what FMEAS and DMEAS compare with.
struct LearnedFiles {
  HashAlgorithm algorithm = HashAlgorithm::sha256;
  std::string directory;                // absolute
  std::map<std::string, Digest> files;  // at most max_learned_files
  bool whole = false;                   // all that the directory holds: what was learned of it before is gone
};
inline constexpr std::size_t max_learned_files = 10'000;

struct PackedEvidence;
class VerdictBase;

struct SessionResult {
  SessionIntent intent;
  std::int64_t finished = 0;
  std::string verdict;    // one JSON object (pipeline::to_json)
  // An AK that waits for the operator: becomes a pending key of the device, which is created where it is unknown.
  // Bounded in number and rate: beyond, the result is committed all the same and the key is left out.
  std::optional<SeenKey> pending_key;
  // Only when the quote verified (Q1-Q14): the key that made it, and what may be learned from it.
  std::optional<PublicKey> quote_key;
  bool key_certified = false;  // a certificate made it trusted: it needn't be recorded as trusted here
  std::optional<pipeline::LastQuote> quote;
  std::optional<pipeline::Baseline> proposed_baseline;  // a candidate, unless the device has an equal one
  std::vector<ItemResult> items;           // at most 256, of different policies
  std::optional<SoftwareUpdate> software;  // absent: what was staged is dropped
  std::vector<LearnedFiles> learned_files;  // replaces what was learned before; of enrolled devices only
  std::optional<SessionTiming> timing;      // until the result was handed over
  bool enforced = true;                     // false: monitor mode, the endpoint is told allow whatever the verdict
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;  // the verdict's
  std::shared_ptr<const EvidenceRecord> evidence;  // null: none is kept
  std::shared_ptr<const PackedEvidence> packed;    // the store's own, as is:
  std::string record{};                            // the session's record as it is kept; empty: the verdict was too large
  std::shared_ptr<const VerdictBase> base{};       // that its verdict is kept against
};

enum class SessionState : std::uint8_t { open, interrupted, complete };
std::string_view name(SessionState state);

struct SessionRecord {
  SessionState state = SessionState::open;  // interrupted: its process ended before it had a result
  SessionIntent intent;
  std::int64_t finished = 0;
  std::string verdict;  // empty unless complete
  std::optional<SessionTiming> timing{};  // absent: not complete, or recorded before format 3
  bool enforced = true;  // false: monitor mode
};

// A place in a list, newest first; opaque.
using SessionCursor = std::string;
struct SessionPage {
  std::vector<SessionRecord> sessions;
  SessionCursor next;  // empty: that was all
};

// A key beside the first one in an import.
struct EnrolledKey {
  std::optional<SeenKey> key;  // absent: only its key id is known
  std::string key_id;
  KeyState state = KeyState::pending;
};

// What an operator says about a device with `device add` or `import`.
struct Enrolment {
  std::string device;
  std::optional<SeenKey> key;  // absent: with `trust`, the key whose SHA-1 key id is `device`
  std::optional<std::string> product, model;
  std::vector<std::string> identities;
  bool trust = false;
  KeySource source = KeySource::operator_command;
  std::optional<pipeline::Baseline> approved_baseline;
  std::vector<EnrolledKey> keys{};                  // further ones, each with its state
  std::vector<pipeline::Baseline> baselines{};      // further approved ones
  std::optional<DeviceState> state{};               // to take over; absent: follows from the keys
  Author author{};
};

// What came of approving a change for a whole model.
struct GroupApproval {
  struct Left {
    std::string device, why;
  };
  StoredBaseline approved;                   // of the device that was looked at
  std::vector<std::pair<std::string, std::uint64_t>> others;  // and the number of the baseline that was approved
  std::vector<Left> left;                    // of the same model, with a proposed baseline that changes otherwise
  std::uint64_t left_total = 0;              // `left` has at most 1,000
};

struct OverdueDevice {
  Device device;
  std::optional<Attested> last;  // absent: it never attested
  std::int64_t due = 0;          // milliseconds since 1970: when its lease ended, or would have, begun with its trust
};

struct StateOptions {
  std::string path;
  bool create = false;  // make the store where there is none
  // How long to wait for another process that holds the directory: a command at work lets go within moments.
  std::chrono::milliseconds lock_wait{5000};
  std::size_t max_pending_devices = 10'000;  // devices that nobody has decided on
  std::size_t max_pending_keys = 8;          // of one device
  double pending_per_second = 20;            // new pending keys, with a burst of:
  double pending_burst = 500;
  std::size_t max_sessions = 1'000'000;         // results of enrolled devices; the oldest go
  std::size_t max_unknown_sessions = 20'000;    // results of others; the oldest go
  std::chrono::milliseconds max_session_age{0};  // of a result, since its session began; 0: any
  std::uint64_t max_evidence_bytes = std::uint64_t(1) << 30;  // of all kept evidence, compressed; the oldest goes
  std::chrono::milliseconds max_evidence_age{std::chrono::hours(24 * 30)};  // 0: any
  std::size_t max_queue = 65'536;               // writes that wait; beyond, they are refused
  std::size_t max_installed = 1'000'000;        // instances in one inventory
  std::size_t max_software_events = 100'000;    // kept of one device; the oldest changes go with theirs
  std::size_t max_software_ended = 100'000;     // instances that are no longer installed, kept likewise
  std::size_t max_software_changes = 4'096;     // kept of one device
  std::size_t max_staged_bytes = std::size_t(512) << 20;       // of one session: its inventory
  std::size_t max_staged_event_bytes = std::size_t(16) << 20;  // and its events, and its tags
  std::size_t max_staged_total = std::size_t(8) << 30;         // of all sessions
  std::size_t max_tag_versions = 16;            // of one identifier; more aren't stored
  // Seams for tests. `before_write` is asked before each write to the disk: an error is that write's failure.
  std::function<Result<void>()> before_write;
  std::function<std::int64_t()> now;  // milliseconds since 1970
};

using Completion = std::move_only_function<void(Result<void>)>;

class State {
 public:
  // Fault::environment "held by another process" when it is; "state format isn't ours" when the version differs.
  static Result<std::unique_ptr<State>> open(StateOptions options);
  ~State();  // writes what waits
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // --- read
  Result<std::optional<Device>> device(std::string_view id) const;
  // Devices in order of their ids, from the first after `after`.
  Result<std::vector<Device>> devices(std::string_view after, std::size_t most) const;
  // Never trusted when the store can't be read.
  KeyJudgement judge_key(std::string_view device, const PublicKey& key) const;
  Result<std::vector<StoredBaseline>> baselines(std::string_view device) const;
  // The approved ones as the pipeline wants them, and what announced updates make of them.
  Result<std::vector<pipeline::Baseline>> approved_baselines(std::string_view device) const;
  // The banks that these are of.
  Result<std::vector<HashAlgorithm>> approved_banks(std::string_view device) const;
  // Newest first; what the device was before it was removed included.
  Result<std::vector<HistoryEntry>> history(std::string_view device, std::size_t most) const;
  Result<std::optional<Attested>> attested(std::string_view device) const;
  // Trusted devices whose last proved verdict doesn't hold any longer, in order of their ids from the first after `after`;
  // looks at no more than `look` devices, and says in `place` where to go on (empty: that was all).
  Result<std::vector<OverdueDevice>> overdue(std::chrono::milliseconds lease, std::string_view after, std::size_t look,
                                             std::string& place) const;
  // Of one model, or of all where it is empty; those whose time is over included.
  Result<std::vector<Announcement>> announcements(std::string_view model) const;
  // Those that operators opened and nobody used; those whose time is over included.
  Result<std::vector<EnrolmentOffer>> enrolments() const;
  Result<std::optional<EnrolmentOffer>> enrolment(std::string_view id) const;
  // The EK that a device was enrolled with, and which device an EK (by its pin) is bound to; absent: none.
  Result<std::optional<BoundEk>> endorsement(std::string_view device) const;
  Result<std::optional<std::string>> endorsement_owner(std::string_view pin) const;
  // Last accepted quote of this key.
  Result<std::optional<pipeline::LastQuote>> last_quote(const PublicKey& key) const;
  // What was learned of the files of one directory; empty: nothing.
  Result<std::map<std::string, Digest>> learned_files(std::string_view device, HashAlgorithm algorithm,
                                                      std::string_view directory) const;
  Result<std::optional<SessionRecord>> session(std::string_view id) const;
  // Newest first; of one device, or of all where it is empty. A page ends early when it grows large.
  Result<SessionPage> sessions(std::string_view device, std::size_t most, const SessionCursor& from = {}) const;
  // The last result of one policy item.
  Result<std::optional<StoredItemResult>> item_result(std::string_view device, std::string_view policy) const;

  // What a session's verdict was made of; absent: nothing is kept. Each piece is checked against its digest.
  Result<std::optional<EvidenceRecord>> evidence(std::string_view session) const;
  Result<bool> has_evidence(std::string_view session) const;
  Result<EvidenceTotals> evidence_totals() const;
  // What a shadow policy said of it, one JSON object; absent: none judged it, or it isn't done.
  Result<std::optional<std::string>> shadow(std::string_view session) const;

  // Absent: nothing was ever applied.
  Result<std::optional<SoftwareHead>> software_head(std::string_view device) const;
  // When the session began in which it last told a whole inventory, milliseconds since 1970; 0: it isn't known.
  Result<std::int64_t> software_inventory_time(std::string_view device) const;
  // What was installed at `time` (milliseconds since 1970), as it is known now; without one, what is installed. An
  // inventory counts until the next one or an event says otherwise. Pages end early when they grow large, and may be
  // empty with more to follow.
  Result<SoftwarePage> software_at(std::string_view device, std::optional<std::int64_t> time, std::size_t most,
                                   const SoftwareCursor& from = {}) const;
  // Newest change first; its events by EID, its removals by identifier.
  Result<SoftwareHistoryPage> software_history(std::string_view device, std::size_t most,
                                               const SoftwareCursor& from = {}) const;
  // What is installed whose tag isn't stored and wasn't refused by the endpoint.
  Result<SoftwarePage> software_without_tag(std::string_view device, std::size_t most,
                                            const SoftwareCursor& from = {}) const;
  // Whether a tag of this identifier is stored: any, or the one with this content.
  Result<bool> has_software_tag(std::string_view software_id, std::optional<Bytes> content = std::nullopt) const;
  // All versions that were told, oldest first.
  Result<std::vector<StoredTag>> software_tags(std::string_view software_id) const;

  // --- written by sessions; completions come on the store's thread
  void begin_session(SessionIntent intent, Completion completion);
  // Fault::denied when the key that made the quote is no longer trusted or another one was pinned meanwhile: nothing was
  // written; commit again with a verdict that isn't allow and without quote_key.
  void commit_result(SessionResult result, Completion completion);
  // Fault::malformed for text that can't be kept, Fault::limit beyond a bound: nothing of the chunk was staged. After
  // an error the session's answer is incomplete: commit without `software`, or restart. One chunk at a time bounds
  // memory.
  void stage_software(SoftwareChunk chunk, Completion completion);
  // The device has this AK, trusted, and this EK; the offer is used up. Fault::denied with the reason where that isn't so any
  // longer, Fault::limit beyond 64 AKs: nothing was written.
  void activate(Activation activation, Completion completion);
  // When a session ends without a result.
  void drop_software(std::string session);
  // Behind commit_result() of the same session.
  void note_shadow(std::string session, std::string text, Completion completion);
  // Results and evidence that have become too old go; from time to time.
  void retire_old();
  // Devices that were told allow and whose lease has ended, at most `most`; each is told once, across restarts. From
  // time to time, on the caller's thread.
  Result<std::vector<Lapsed>> lapse_blocking(std::chrono::milliseconds lease, std::size_t most);

  // --- the operator's decisions; on disk when they return
  Result<Device> enrol_blocking(Enrolment enrolment);
  // In place of one that is open for the same device. `opened`, `by` and `why` are set here.
  Result<void> open_enrolment_blocking(EnrolmentOffer offer, Author author);
  Result<void> close_enrolment_blocking(std::string_view id);
  // Many with few syncs; one result each, in order.
  std::vector<Result<Device>> import_blocking(std::vector<Enrolment> enrolments);
  // Trusts the pending key: `key_id` (or pin) picks one where several wait, and may name a revoked one of this device.
  // Returns the trusted key.
  Result<DeviceKey> trust_blocking(std::string_view device, std::string_view key_id = {}, Author author = {});
  // Revokes one key, or all and with them the device where `key_id` is empty; returns how many were not revoked before.
  Result<std::size_t> revoke_blocking(std::string_view device, std::string_view key_id = {}, Author author = {});
  // suspended, trusted (of a suspended one) or retired; revoked is revoke_blocking()'s.
  Result<Device> change_state_blocking(std::string_view device, DeviceState to, Author author);
  // What isn't given stays. `identities` replaces them, an empty one lets any identity be the device's.
  Result<Device> alter_blocking(std::string_view device, std::optional<std::string> product, std::optional<std::string> model,
                                std::optional<std::vector<std::string>> identities, Author author);
  // Sessions and history stay. A revoked key is remembered as revoked.
  Result<void> remove_blocking(std::string_view device, Author author = {});
  // Approves the newest candidate, or `number`; with `replace` the approved ones of the same bank are retired.
  Result<StoredBaseline> approve_baseline_blocking(std::string_view device, std::optional<std::uint64_t> number,
                                                   bool replace, Author author = {});
  // The same, and for each device of its model whose newest candidate changes its approved baseline in the same way.
  Result<GroupApproval> approve_model_blocking(std::string_view device, std::optional<std::uint64_t> number, bool replace,
                                               Author author);
  // Announces to the device's model what its newest candidate, or `number`, changes.
  Result<Announcement> announce_blocking(std::string_view device, std::optional<std::uint64_t> number, std::int64_t until,
                                         Author author);
  Result<void> withdraw_blocking(std::string_view model, std::uint64_t number);

  // Numbers a version of the policy when it first comes into force; its number where it did before.
  Result<std::uint64_t> note_policy_blocking(StoredPolicy policy);
  Result<std::vector<StoredPolicy>> policies() const;  // by number
  // What the safety stop holds back; an empty one releases it.
  Result<void> hold_switch_blocking(const HeldSwitch& held);
  Result<std::optional<HeldSwitch>> held_switch() const;

  // --- whom gateways have let in, in the order of the numbers that the caller gave, from the first above `after` on
  Result<std::vector<GatewayAdmission>> admissions(std::uint64_t after, std::size_t most) const;
  // A new one; it may be let in once the completion comes without an error.
  void keep_admission(const GatewayAdmission& admission, Completion completion);
  // What is known of it now, in place of what was; nothing waits for it, and a machine that fails may lose it.
  void note_admission(const GatewayAdmission& admission);
  void drop_admissions(std::vector<std::uint64_t> numbers);

  // The audit log as it is now.
  Result<AuditHead> audit_head() const;
  // Results from the entry `from` on, of at most `most` entries that are there.
  Result<AuditResults> audit_results(std::uint64_t from, std::size_t most) const;
  // All of it, held against the records that it stands for and against checkpoints. Reads as much as there is; an entry
  // that is missing or can't be read is Fault::malformed.
  Result<AuditReport> audit(std::vector<AuditCheckpoint> checkpoints) const;
  // An entry that says that this store was restored from a backup just now.
  Result<void> note_restore_blocking();

  // A copy that is whole at one moment, in a folder that must not exist; sessions go on meanwhile (server/state/backup.h).
  Result<BackupReport> backup(const std::string& folder) const;

  // Other processes learn from the directory's lock file where this process listens.
  Result<void> announce_socket(const std::string& path);
  // Writes that wait for the disk.
  std::size_t writes_waiting() const;
  const std::string& path() const;

 private:
  struct Impl;
  explicit State(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Who holds a state directory: the content of its lock file.
struct Holder {
  std::int64_t process = 0;
  std::string socket;  // empty: it doesn't listen
};
Result<Holder> state_holder(const std::string& path);

// "20261124T163105.123-9f86d081884c7d65": sorts by time.
std::string session_id(std::int64_t started_ms, Bytes eight_random_bytes);

}  // namespace gatehouse::server
