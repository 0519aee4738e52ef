// What State is made of: the lock, the database with its writing thread, and the rules for each change.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "server/state/layout.h"
#include "server/state/lock.h"
#include "server/state/open_file.h"
#include "server/state/open_sessions.h"
#include "server/state/software_layout.h"
#include "server/state/state.h"
#include "server/state/store.h"
#include "server/state/verdicts.h"

namespace gatehouse::server {

// New pending keys in a second, with a burst: a token bucket on the clock of the options.
class PendingRate {
 public:
  PendingRate(double per_second, double burst) : per_second_(per_second), burst_(burst), tokens_(burst) {}
  bool take(std::int64_t now_ms);

 private:
  double per_second_, burst_, tokens_;
  std::int64_t last_ = 0;
};

// What a session has staged.
struct Staging {
  layout::StagingValue value;
  std::size_t installed = 0, events = 0, pieces = 0;  // how many, repetitions counted; pieces are events and tags
  std::size_t installed_bytes = 0, piece_bytes = 0;  // keys and values
};

// A result with software on its way into the store, in as many writes as it takes.
struct Apply {
  SessionResult result;
  bool started = false;  // the device is taken
  bool merged = false;   // the inventory was compared with the installed set
  std::string place;     // up to here
  std::uint64_t change = 0, generation = 0, base = 0;
  std::int64_t before = 0;  // when the device told of its software last
  std::uint64_t installed = 0, added = 0, removed = 0, altered = 0, ended = 0, not_kept = 0;
};

// The approval of a change for a model on its way, in as many writes as it takes.
struct ModelApproval {
  std::string device;
  std::optional<std::uint64_t> number;
  bool replace = false;
  Author author;
  GroupApproval* out = nullptr;
  bool started = false;
  BaselineChange change;
  std::string model, place;  // up to here
};

struct State::Impl {
  Impl(StateOptions given, DirectoryLock taken)
      : options(std::move(given)), lock(std::move(taken)), rate(options.pending_per_second, options.pending_burst) {}

  StateOptions options;
  DirectoryLock lock;
  PendingRate rate;                     // of the writing thread
  std::string oldest[2];                // of the writing thread: where retention goes on, by class
  std::string oldest_evidence;          // of the writing thread: the same of evidence
  std::map<std::string, Staging> staged;  // of the writing thread: by session
  std::size_t staged_bytes = 0;           // of the writing thread: of all sessions
  std::set<std::string> applying;         // of the writing thread: devices whose software is being changed
  std::uint64_t numbers = 0;              // of the writing thread: the last number that was given to anything staged
  OpenSessions open_sessions;             // of this process, as far as they are written
  OpenFile open_file;                     // of the writing thread: their records
  mutable Verdicts verdicts;
  std::unique_ptr<Store> store;         // last: its thread ends before the rest does

  std::int64_t now() const { return options.now(); }
  std::string open_path() const { return options.path + "/open"; }
  Result<void> check_format(bool fresh);
  Result<void> begin_life();
  // What a store of an earlier format lacks, but for its number; may be done again.
  Result<void> take_over();

  // Changes; each runs on the writing thread and leaves nothing behind where it returns an error.
  // Nothing of the batch changes: what is written is on record. Where.
  Result<std::uint64_t> begin(const Batch& batch, const SessionRecord& record);
  Result<void> finish(Batch& batch, const SessionResult& result);
  Result<void> keep_evidence(Batch& batch, const SessionIntent& intent, const PackedEvidence& evidence);
  Result<void> forget_evidence(Batch& batch, std::string_view session);
  // At most so many; true: that many went, and there may be more.
  Result<bool> retire_evidence(Batch& batch, int most);
  // The same of results that are too old.
  Result<bool> retire_aged(Batch& batch, int most);
  Result<void> stage(Batch& batch, const SoftwareChunk& chunk);
  Result<void> drop(Batch& batch, const std::string& session);
  // One step; it asks to be called again until the result is in the batch.
  Result<void> apply(Batch& batch, Apply& work);
  void applied(const Apply& work, bool on_disk);
  // What is kept of the device's software and what is staged of it.
  Result<void> forget_software(Batch& batch, const std::string& device);
  Result<Device> enrol(Batch& batch, const Enrolment& enrolment);
  Result<DeviceKey> trust(Batch& batch, const std::string& device, const std::string& key_id, const Author& author);
  Result<std::size_t> revoke(Batch& batch, const std::string& device, const std::string& key_id, const Author& author);
  Result<Device> change_state(Batch& batch, const std::string& device, DeviceState to, const Author& author);
  Result<Device> alter(Batch& batch, const std::string& device, const std::optional<std::string>& product,
                       const std::optional<std::string>& model, const std::optional<std::vector<std::string>>& identities,
                       const Author& author);
  Result<void> remove(Batch& batch, const std::string& device, const Author& author);
  Result<StoredBaseline> approve(Batch& batch, const std::string& device, std::optional<std::uint64_t> number,
                                 bool replace, const Author& author);
  // One step; it asks to be called again until the model's devices are all seen.
  Result<void> approve_model(Batch& batch, ModelApproval& work);
  Result<Announcement> announce(Batch& batch, const std::string& device, std::optional<std::uint64_t> number,
                                std::int64_t until, const Author& author);
  Result<void> withdraw(Batch& batch, const std::string& model, std::uint64_t number);
  Result<void> open_enrolment(Batch& batch, const EnrolmentOffer& offer, const Author& author);
  Result<void> close_enrolment(Batch& batch, const std::string& id);
  Result<void> activate(Batch& batch, const Activation& activation);
  // Which EK the device has, and the offers that are open for it.
  Result<void> forget_endorsement(Batch& batch, const std::string& device);
  Result<std::vector<Lapsed>> lapse(Batch& batch, std::chrono::milliseconds lease, std::size_t most);
  // The device's history has one more entry; the device itself is put by the caller.
  void note(Batch& batch, layout::DeviceValue& value, const Author& author, std::string what);
  // The same with another state.
  void set_state(Batch& batch, layout::DeviceValue& value, DeviceState to, const Author& author, const std::string& what);

 private:
  struct Row {
    std::string key, value;
  };
  std::uint64_t next_number(Batch& batch);
  void erase_staged(Batch& batch, const layout::StagingValue& value);
  Result<void> begin_apply(Batch& batch, Apply& work);
  Result<void> merge_inventory(Batch& batch, Apply& work);
  Result<void> end_apply(Batch& batch, Apply& work);
  Result<void> note_items(Batch& batch, const SessionResult& result);
  // A store that has no audit log yet gets one, which begins here.
  Result<void> begin_log(Batch& batch);
  // A session that has ended, and where it is found: its record, its places by age and of its device, its entry in the log.
  Result<void> put_ended(Batch& batch, char session_class, const SessionIntent& intent, const std::string& record,
                         const VerdictBase* base = nullptr);
  // In the audit log (server/state/audit.cpp): the session's record as it is kept, at this place; and that it went.
  Result<std::uint64_t> log_result(Batch& batch, const std::string& session, std::string_view record);
  // `place`: what its row by age says; nothing: it is from before format 7.
  Result<void> log_retirement(Batch& batch, const std::string& session, std::string_view place);
  // `device`: what the batch has of the session's device, before and after.
  Result<void> note_pending(Batch& batch, const SessionResult& result, const SeenKey& seen, std::optional<layout::DeviceValue>& device);
  // When the device proved itself, and that it was admitted.
  Result<void> note_attested(Batch& batch, const layout::DeviceValue& device, const SessionResult& result);
  Result<void> learn(Batch& batch, const SessionResult& result, std::optional<layout::DeviceValue>& device);
  Result<void> learn_files(Batch& batch, const SessionResult& result);
  Result<void> propose(Batch& batch, layout::DeviceValue& device, const SessionResult& result);
  Result<void> retire_oldest(Batch& batch, char session_class);
  // With its row by age.
  Result<void> retire_session(Batch& batch, char session_class, const Row& by_age);
};

// Shared by reads and changes.
Result<std::optional<layout::DeviceValue>> read_device(const StoreView& view, std::string_view id);
// The same without a copy; null: there is none.
Result<std::shared_ptr<const layout::DeviceValue>> look_up_device(const StoreView& view, std::string_view id);
Result<std::optional<layout::HeadValue>> read_head(const StoreView& view, std::string_view device);
Result<EvidenceTotals> read_evidence_totals(const StoreView& view);
Result<std::vector<StoredBaseline>> read_baselines(const StoreView& view, std::string_view device);
// The same of a device that was read.
Result<std::vector<StoredBaseline>> baselines_of(const StoreView& view, const layout::DeviceValue& device);
// Calls `visit` with each baseline's number and record, until it returns an error.
Result<void> each_baseline(const StoreView& view, const layout::DeviceValue& device,
                           const std::function<Result<void>(std::uint64_t number, std::string_view record)>& visit);
Result<KeyJudgement> judge(const StoreView& view, std::string_view device, const PublicKey& key);
// The same where the device itself was read; null: there is none.
Result<KeyJudgement> judge(const StoreView& view, std::string_view device, const layout::DeviceValue* itself, const PublicKey& key);
// Of a session that begins.
SessionRecord open_record(SessionIntent intent);
// Makes the session's record as it is kept, in place of its verdict; on the thread that hands the result over.
void pack_record(Verdicts& verdicts, SessionResult& result);
Result<void> put_device(Batch& batch, const layout::DeviceValue& value);
Result<std::optional<Attested>> read_attested(const StoreView& view, std::string_view device);
Result<std::vector<Announcement>> read_announcements(const StoreView& view, std::string_view model);
// What the announcements that are open make of a device's approved baselines, but for what was approved or retired before.
Result<std::vector<pipeline::Baseline>> expected_baselines(const StoreView& view, std::string_view model, std::int64_t now,
                                                           const std::vector<StoredBaseline>& all);
// The number of the last entry of the device's history; 0: it has none.
Result<std::uint64_t> last_change(const StoreView& view, std::string_view device);
// Fault::usage for text that can't be kept; Fault::denied where somebody else was first.
Result<void> check_author(const Author& author, const Device* device);
// What was learned of the device's files.
Result<void> forget_files(Batch& batch, std::string_view device);
// Printable UTF-8, 1 to 256 bytes: it becomes part of keys, logs and commands.
bool acceptable_device_id(std::string_view id);
bool acceptable_session_id(std::string_view id);
// One moment of the store for several reads.
class Moment {
 public:
  explicit Moment(const Store& store) : view(store.view()) { view.pin(); }
  Moment(const Moment&) = delete;
  Moment& operator=(const Moment&) = delete;

  StoreView view;
};

}  // namespace gatehouse::server
