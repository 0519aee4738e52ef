// RocksDB with one writing thread: changes are checked and applied in order, many are written and synced at once, and
// then their completions are called (group commit). Nothing outside server/state sees this header.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/utilities/write_batch_with_index.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/error.h"
#include "server/state/state.h"

namespace gatehouse::server {

// What is counted rather than looked up: bounds depend on it.
struct Tallies {
  std::uint64_t pending_devices = 0;   // not enrolled
  std::uint64_t enrolled_sessions = 0;  // that ended, by the class of their `t` key
  std::uint64_t other_sessions = 0;
};

// Called for each key and value until it returns false.
using Visit = std::function<bool(std::string_view key, std::string_view value)>;

// Reads see the store, and what a batch adds to it where there is one.
class StoreView {
 public:
  StoreView(rocksdb::DB& db, rocksdb::WriteBatchWithIndex* batch, const rocksdb::Snapshot* snapshot = nullptr);
  Result<std::optional<std::string>> read(std::string_view key) const;
  // Keys from `from` on that begin with `prefix`, in order; or from `from` backwards (`from` itself left out).
  Result<void> each(std::string_view prefix, std::string_view from, const Visit& visit) const;
  Result<void> each_backwards(std::string_view prefix, std::string_view before, const Visit& visit) const;

 private:
  std::unique_ptr<rocksdb::Iterator> iterator() const;
  rocksdb::DB& db_;
  rocksdb::WriteBatchWithIndex* batch_;
  rocksdb::ReadOptions options_;
};

// The changes of one write; its reads see them before they are written.
class Batch : public StoreView {
 public:
  Batch(rocksdb::DB& db, Tallies counted) : StoreView(db, &batch_), tallies(counted) {}
  void put(std::string_view key, std::string_view value);
  void erase(std::string_view key);

  Tallies tallies;

 private:
  friend class Store;
  rocksdb::WriteBatchWithIndex batch_{rocksdb::BytewiseComparator(), 0, true};
};

class Store {
 public:
  // Returning an error undoes what it put.
  using Change = std::move_only_function<Result<void>(Batch&)>;

  // `path` is the directory of the database; `may_create`: where there is none.
  static Result<std::unique_ptr<Store>> open(const std::string& path, bool may_create, const StateOptions& options);
  ~Store();

  void submit(Change change, Completion completion);
  // Waits until it is on disk.
  Result<void> submit_blocking(Change change);
  StoreView view() const { return {*db_, nullptr}; }
  rocksdb::DB& db() const { return *db_; }
  // Before the first change.
  void start(Tallies tallies);

 private:
  struct Waiting {
    Change change;
    Completion completion;
    Result<void> outcome{};
  };
  explicit Store(const StateOptions& options) : options_(options) {}
  void run();
  void write(std::deque<Waiting>& group);
  Result<void> write_batch(Batch& batch);

  const StateOptions& options_;
  std::unique_ptr<rocksdb::DB> db_;
  Tallies tallies_;            // of the writing thread
  bool resume_ = false;        // of the writing thread: the last write failed
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Waiting> queue_;  // guarded by mutex_
  bool closing_ = false;       // guarded by mutex_
  std::thread thread_;
};

// An environment fault with what RocksDB said.
std::unexpected<Error> fail_store(std::string_view reason, const rocksdb::Status& status);

}  // namespace gatehouse::server
