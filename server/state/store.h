// RocksDB with one writing thread: changes are checked and applied in order, many are written and synced at once, and
// then their completions are called (group commit). Nothing outside server/state sees this header.
#pragma once

#include <rocksdb/db.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "server/state/row_cache.h"
#include "server/state/state.h"

namespace gatehouse::server {

// What is counted rather than looked up: bounds depend on it. Part of each write.
struct Tallies {
  std::uint64_t pending_devices = 0;   // not enrolled
  std::uint64_t enrolled_sessions = 0;  // that ended, by the class of their `t` key
  std::uint64_t other_sessions = 0;
  EvidenceTotals evidence;
};

// Keys of software are in a column family of their own: its inventories come and go by the million, and reads of
// devices and sessions pass none of the marks that this leaves. Kept evidence has its own, too: its values lie apart from
// their keys, and aren't written again each time that those are sorted.
struct Families {
  rocksdb::DB* db = nullptr;
  rocksdb::ColumnFamilyHandle* rest = nullptr;
  rocksdb::ColumnFamilyHandle* software = nullptr;
  rocksdb::ColumnFamilyHandle* evidence = nullptr;
  rocksdb::ColumnFamilyHandle* of(std::string_view key) const;
};

// What a write makes of rows, by their keys; absent: the row goes.
using Rows = std::map<std::string, std::optional<std::string>, std::less<>>;

// Called for each key and value until it returns false.
using Visit = std::function<bool(std::string_view key, std::string_view value)>;

// Reads see the store, and what a batch adds to it where there is one. While a view that isn't a batch lives, the
// database isn't opened anew: a view is for a few reads, never across a wait for a write.
class StoreView {
 public:
  // Without a database (it couldn't be opened anew after a failed write) every read is an error.
  StoreView(Families families, const Rows* rows, RowCache* cache, std::shared_lock<std::shared_mutex> open = {});
  StoreView(StoreView&&) = default;
  StoreView& operator=(StoreView&&) = delete;
  // From now on reads see this one moment.
  void pin();
  Result<std::optional<std::string>> read(std::string_view key) const;
  // The same without a copy; never null.
  Result<RowPtr> look_up(std::string_view key) const;
  // Keys from `from` on that begin with `prefix`, in order; or from `from` backwards (`from` itself left out). An empty
  // prefix has the keys that are neither of software nor of evidence; not of a batch.
  Result<void> each(std::string_view prefix, std::string_view from, const Visit& visit) const;
  Result<void> each_backwards(std::string_view prefix, std::string_view before, const Visit& visit) const;

 protected:
  Families families_;
  Rows late_, fresh_;  // of a batch: of changes that are done, of the one under way

 private:
  struct Release {
    rocksdb::DB* db;
    void operator()(const rocksdb::Snapshot* snapshot) const { db->ReleaseSnapshot(snapshot); }
  };
  // What the batch makes of it, null: nothing; else the row is looked for in the database.
  const std::optional<std::string>* changed(std::string_view key) const;
  // What the database has.
  Result<std::optional<std::string>> stored(std::string_view key) const;
  std::shared_lock<std::shared_mutex> open_;
  const Rows* rows_;  // of a batch
  RowCache* cache_;  // null: rows are read from the database
  std::unique_ptr<const rocksdb::Snapshot, Release> snapshot_{nullptr, Release{nullptr}};
  rocksdb::ReadOptions options_;
};

// The changes of one write; its reads see them before they are written.
class Batch : public StoreView {
 public:
  Batch(Families families, RowCache* cache, Tallies counted) : StoreView(families, &rows_, cache), tallies(counted) {}
  void put(std::string&& key, std::string value) { set(std::move(key), std::move(value)); }
  void put(std::string_view key, std::string value) { set(std::string(key), std::move(value)); }
  void erase(std::string&& key) { set(std::move(key), std::nullopt); }
  void erase(std::string_view key) { set(std::string(key), std::nullopt); }
  // Whether this write has a value for the key so far, whatever the database has.
  bool puts(std::string_view key) const;
  // For rows that nearly every change writes: they are written once, at the end of the write. `read` sees them before,
  // `each` doesn't.
  void put_late(std::string_view key, std::string value) { fresh_.insert_or_assign(std::string(key), std::move(value)); }
  void erase_late(std::string_view key) { fresh_.insert_or_assign(std::string(key), std::nullopt); }
  // All keys from `begin` to before `end`, of the same family. Takes effect at the end of the write, whatever is put
  // after it, and reads of this batch still see the keys: only for keys that are never written again.
  void erase_range(std::string_view begin, std::string_view end);
  // The change isn't done: once this write is on disk it is called again, before those that wait; its completion isn't
  // called yet. For work that would be too large for one write.
  void call_again() { again_ = true; }
  // Of keys and values, roughly.
  std::size_t bytes() const { return bytes_; }

  Tallies tallies;

 private:
  friend class Store;
  // What a row was before the change under way.
  struct Undo {
    Rows::iterator row;
    bool added = false;
    std::optional<std::string> before;
  };
  void set(std::string key, std::optional<std::string> value);
  // The change under way is done, or is taken back.
  void keep();
  void take_back();
  Rows rows_;
  std::vector<Undo> undo_;
  std::size_t bytes_ = 0;
  std::vector<std::pair<std::string, std::string>> ranges_;
  bool again_ = false;
};

class Store {
 public:
  // Returning an error undoes what it put.
  using Change = std::move_only_function<Result<void>(Batch&)>;

  // `path` is the directory of the database; `may_create`: where there is none.
  static Result<std::unique_ptr<Store>> open(const std::string& path, bool may_create, const StateOptions& options);
  ~Store();

  // What a change's completion waits for. What the kernel has outlives the process, what the disk has also the machine. `none`:
  // for the write of nothing else either; it leaves the batch as it is.
  enum class Safety : std::uint8_t { none, process, machine };
  // `weight`: bytes that it adds to a write, roughly; large ones don't share one with many.
  void submit(Change change, Completion completion, std::size_t weight = 0, Safety safety = Safety::machine);
  // Waits until it is on disk.
  Result<void> submit_blocking(Change change);
  StoreView view() const;
  std::size_t waiting() const;
  // Of the writing thread: a write has failed, of which all may be in the database nevertheless.
  bool failed() const { return failed_; }
  // A database in `folder`, which must not exist, with all that is on disk now.
  Result<void> copy_to(const std::string& folder) const;
  // Before the first change.
  void start(Tallies tallies);

 private:
  struct Waiting {
    Change change;
    Completion completion;
    std::size_t weight = 0;
    Safety safety = Safety::machine;
    Result<void> outcome{};
    bool again = false;
  };
  Store(const StateOptions& options, std::string path) : options_(options), path_(std::move(path)) {}
  void run();
  void write(std::deque<Waiting>& group);
  Result<void> write_batch(const Batch& batch, Safety safety);
  void tell_cache(const Batch& batch);
  Result<void> open_database(bool may_create);
  void close_database();
  Result<void> open_anew();
  Result<void> look_for_room() const;

  const StateOptions& options_;
  const std::string path_;
  mutable std::shared_mutex open_mutex_;
  // Changed by the writing thread alone, with open_mutex_ held.
  std::unique_ptr<rocksdb::DB> db_;
  Families families_;
  mutable RowCache cache_{std::size_t(32) << 20};
  Tallies tallies_;            // of the writing thread
  bool broken_ = false;        // of the writing thread: a write failed, and the database wasn't opened anew since
  bool failed_ = false;        // of the writing thread: one failed ever
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;  // guarded by mutex_
  bool closing_ = false;       // guarded by mutex_
  std::thread thread_;
};

// An environment fault with what RocksDB said.
std::unexpected<Error> fail_store(std::string_view reason, const rocksdb::Status& status);

}  // namespace gatehouse::server
