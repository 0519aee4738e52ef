// What State is made of: the lock, the database with its writing thread, and the rules for each change.
#pragma once

#include <memory>
#include <string>

#include "server/state/layout.h"
#include "server/state/lock.h"
#include "server/state/state.h"
#include "server/state/store.h"

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

struct State::Impl {
  Impl(StateOptions given, DirectoryLock taken)
      : options(std::move(given)), lock(std::move(taken)), rate(options.pending_per_second, options.pending_burst) {}

  StateOptions options;
  DirectoryLock lock;
  PendingRate rate;                     // of the writing thread
  std::string oldest[2];                // of the writing thread: where retention goes on, by class
  std::unique_ptr<Store> store;         // last: its thread ends before the rest does

  std::int64_t now() const { return options.now(); }
  Result<void> check_format(bool fresh);
  Result<void> begin_life();

  // Changes; each runs on the writing thread and leaves nothing behind where it returns an error.
  Result<void> begin(Batch& batch, const SessionIntent& intent);
  Result<void> finish(Batch& batch, const SessionResult& result);
  Result<Device> enrol(Batch& batch, const Enrolment& enrolment);
  Result<DeviceKey> trust(Batch& batch, const std::string& device, const std::string& key_id);
  Result<std::size_t> revoke(Batch& batch, const std::string& device, const std::string& key_id);
  Result<void> remove(Batch& batch, const std::string& device);
  Result<StoredBaseline> approve(Batch& batch, const std::string& device, std::optional<std::uint64_t> number,
                                 bool replace);

 private:
  Result<void> note_pending(Batch& batch, const std::string& device, const std::string& product, const SeenKey& seen);
  Result<void> learn(Batch& batch, const SessionResult& result);
  Result<void> propose(Batch& batch, layout::DeviceValue& device, const SessionResult& result);
  Result<void> retire_oldest(Batch& batch, char session_class);
};

// Shared by reads and changes.
Result<std::optional<layout::DeviceValue>> read_device(const StoreView& view, std::string_view id);
Result<std::vector<StoredBaseline>> read_baselines(const StoreView& view, std::string_view device);
Result<KeyJudgement> judge(const StoreView& view, std::string_view device, const PublicKey& key);
void put_device(Batch& batch, const layout::DeviceValue& value);
// Printable UTF-8, 1 to 256 bytes: it becomes part of keys, logs and commands.
bool acceptable_device_id(std::string_view id);

}  // namespace gatehouse::server
