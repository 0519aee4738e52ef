#include "server/state/store.h"

#include <fcntl.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <filesystem>
#include <future>

namespace gatehouse::server {
namespace {

// At most so many changes in one write: bounds the memory of a batch and the wait of its first change.
constexpr std::size_t max_group = 1024;

// RocksDB's own log would be a file on the same disk: where that is full, its writer ends the process (7.8.3 as Debian
// builds it, with assertions). What it has to say comes with each status.
class NoLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, std::va_list) override {}
};

// After a write that failed RocksDB's recovery, automatic or asked for, goes on with the same file writer, which is
// good for nothing then, and ends the process. We open the database anew.
class NoRecovery final : public rocksdb::EventListener {
 public:
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason, rocksdb::Status, bool* automatic) override { *automatic = false; }
};

rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view view_of(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

rocksdb::Options database_options(bool may_create) {
  rocksdb::Options options;
  options.create_if_missing = may_create;
  options.paranoid_checks = true;
  // Only the end of the log may be torn, by a crash: what was acknowledged is never dropped to get a store open.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.track_and_verify_wals_in_manifest = true;
  options.write_buffer_size = std::size_t(16) << 20;
  options.max_total_wal_size = std::uint64_t(64) << 20;
  options.max_open_files = 256;
  options.compression = rocksdb::kLZ4Compression;
  options.bottommost_compression = rocksdb::kZSTD;
  options.allow_fallocate = false;  // small stores stay small; a full disk is noticed at the write
  options.info_log = std::make_shared<NoLog>();
  options.listeners = {std::make_shared<NoRecovery>()};
  options.max_bgerror_resume_count = 0;
  options.max_background_jobs = 2;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.block_cache = rocksdb::NewLRUCache(std::size_t(32) << 20);
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// A completion is the caller's; what it throws must not end the thread that everybody's records depend on.
void complete(Completion& completion, Result<void> outcome) noexcept {
  try {
    completion(std::move(outcome));
  } catch (...) {
  }
}

}  // namespace

std::unexpected<Error> fail_store(std::string_view reason, const rocksdb::Status& status) {
  return fail(Error{Fault::environment, reason, {}, 0, {}, status.ToString()});
}

namespace {

std::unexpected<Error> not_open() {
  return fail(Error{Fault::environment, "state can't be read", {}, 0, {}, "its database couldn't be opened again after a failed write"});
}

}  // namespace

StoreView::StoreView(rocksdb::DB* db, rocksdb::WriteBatchWithIndex* batch, std::shared_lock<std::shared_mutex> open)
    : open_(std::move(open)), db_(db), batch_(batch) {}

void StoreView::pin() {
  if (db_ == nullptr) return;
  snapshot_ = {db_->GetSnapshot(), Release{db_}};
  options_.snapshot = snapshot_.get();
}

Result<std::optional<std::string>> StoreView::read(std::string_view key) const {
  if (db_ == nullptr) return not_open();
  std::string value;
  const rocksdb::Status status =
      batch_ ? batch_->GetFromBatchAndDB(db_, options_, slice(key), &value)
             : db_->Get(options_, db_->DefaultColumnFamily(), slice(key), &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return fail_store("state can't be read", status);
  return value;
}

std::unique_ptr<rocksdb::Iterator> StoreView::iterator() const {
  std::unique_ptr<rocksdb::Iterator> base(db_->NewIterator(options_));
  if (!batch_) return base;
  return std::unique_ptr<rocksdb::Iterator>(batch_->NewIteratorWithBase(base.release()));
}

Result<void> StoreView::each(std::string_view prefix, std::string_view from, const Visit& visit) const {
  if (db_ == nullptr) return not_open();
  const auto it = iterator();
  for (it->Seek(slice(from < prefix ? prefix : from)); it->Valid() && it->key().starts_with(slice(prefix)); it->Next())
    if (!visit(view_of(it->key()), view_of(it->value()))) break;
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

Result<void> StoreView::each_backwards(std::string_view prefix, std::string_view before, const Visit& visit) const {
  if (db_ == nullptr) return not_open();
  const auto it = iterator();
  it->SeekForPrev(slice(before));
  if (it->Valid() && view_of(it->key()) == before) it->Prev();
  for (; it->Valid() && it->key().starts_with(slice(prefix)); it->Prev())
    if (!visit(view_of(it->key()), view_of(it->value()))) break;
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

void Batch::put(std::string_view key, std::string_view value) { batch_.Put(slice(key), slice(value)); }
void Batch::erase(std::string_view key) { batch_.Delete(slice(key)); }

Result<std::unique_ptr<Store>> Store::open(const std::string& path, bool may_create, const StateOptions& options) {
  std::unique_ptr<Store> store(new Store(options, path));
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(database_options(may_create), path, &db);
  if (!status.ok()) return fail_store("state can't be opened", status);
  store->db_.reset(db);
  return store;
}

StoreView Store::view() const {
  std::shared_lock open(open_mutex_);
  rocksdb::DB* const db = db_.get();
  return {db, nullptr, std::move(open)};
}

void Store::start(Tallies tallies) {
  tallies_ = tallies;
  thread_ = std::thread([this] { run(); });
}

Store::~Store() {
  {
    const std::lock_guard guard(mutex_);
    closing_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (db_) db_->Close();
}

void Store::submit(Change change, Completion completion) {
  std::string_view refused;
  {
    const std::lock_guard guard(mutex_);
    if (closing_)
      refused = "state is being closed";
    else if (queue_.size() >= options_.max_queue)
      refused = "too many state changes wait for the disk";
    else
      queue_.push_back({std::move(change), std::move(completion)});
  }
  if (refused.empty())
    wake_.notify_one();
  else
    complete(completion, fail(Fault::environment, refused));
}

Result<void> Store::submit_blocking(Change change) {
  GH_ASSERT(std::this_thread::get_id() != thread_.get_id());
  std::promise<Result<void>> done;
  submit(std::move(change), [&done](Result<void> outcome) { done.set_value(std::move(outcome)); });
  return done.get_future().get();
}

void Store::run() {
  for (;;) {
    std::deque<Waiting> group;
    {
      std::unique_lock guard(mutex_);
      wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      while (!queue_.empty() && group.size() < max_group) {
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    write(group);
    for (Waiting& one : group) complete(one.completion, std::move(one.outcome));
  }
}

void Store::write(std::deque<Waiting>& group) {
  if (broken_) {
    if (const Result<void> good = open_anew(); !good) {
      for (Waiting& one : group) one.outcome = good;
      return;
    }
  }
  Batch batch(db_.get(), tallies_);
  for (Waiting& one : group) {
    const Tallies before = batch.tallies;
    batch.batch_.SetSavePoint();
    try {
      one.outcome = one.change(batch);
    } catch (const std::exception& e) {
      one.outcome = fail(Error{Fault::internal, "state change failed", {}, 0, {}, e.what()});
    }
    if (one.outcome) {
      batch.batch_.PopSavePoint();
    } else {
      batch.batch_.RollbackToSavePoint();
      batch.tallies = before;
    }
  }
  if (batch.batch_.GetWriteBatch()->Count() == 0) return;
  const Result<void> written = write_batch(batch);
  if (written) {
    tallies_ = batch.tallies;
    return;
  }
  for (Waiting& one : group)
    if (one.outcome) one.outcome = written;
}

Result<void> Store::write_batch(Batch& batch) {
  if (options_.before_write) GH_CHECK(options_.before_write());
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status status = db_->Write(synced, batch.batch_.GetWriteBatch());
  if (status.ok()) return {};
  broken_ = true;
  return fail_store("state can't be written", status);
}

// Whether opening the database, which writes what its log holds into a table, may be expected to succeed.
Result<void> Store::look_for_room() const {
  std::uintmax_t needed = std::uintmax_t(1) << 20;
  std::error_code code;
  for (std::filesystem::directory_iterator it(path_, code), end; !code && it != end; it.increment(code)) {
    std::error_code gone;
    const std::uintmax_t size = it->path().extension() == ".log" ? it->file_size(gone) : 0;
    if (!gone) needed += size;
  }
  struct statvfs disk{};
  if (::statvfs(path_.c_str(), &disk) != 0) return fail_errno("state can't be written", path_);
  if (std::uintmax_t(disk.f_bavail) * disk.f_frsize < needed)
    return fail(Error{Fault::environment, "state can't be written", {}, 0, path_, "no room on its disk"});
  const std::string probe = path_ + ".probe";
  const int fd = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const std::array<char, 4096> block{};
  const bool good = fd >= 0 && ::write(fd, block.data(), block.size()) == ssize_t(block.size()) && ::fsync(fd) == 0;
  const Result<void> outcome = good ? Result<void>() : fail_errno("state can't be written", probe);
  if (fd >= 0) ::close(fd);
  ::unlink(probe.c_str());
  return outcome;
}

// What was acknowledged is read back from the log; what came in after the write that failed was refused. The old one
// serves readers until there is room for the new one.
Result<void> Store::open_anew() {
  if (db_) GH_CHECK(look_for_room());
  const std::lock_guard closed(open_mutex_);
  if (db_) (void)db_->Close();
  db_.reset();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(database_options(false), path_, &db);
  if (!status.ok()) return fail_store("state can't be opened again", status);
  db_.reset(db);
  broken_ = false;
  return {};
}

}  // namespace gatehouse::server
