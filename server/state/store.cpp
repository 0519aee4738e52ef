#include "server/state/store.h"

#include <fcntl.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <future>

#include "server/state/impl.h"

namespace gatehouse::server {
namespace {

// At most so many changes in one write: bounds the memory of a batch and the wait of its first change.
constexpr std::size_t max_group = 1024;
constexpr std::size_t max_group_bytes = std::size_t(8) << 20;
// First letters of the keys of software and of evidence (docs/formats/state.md).
constexpr std::string_view software_letters = "hijcenwWNgu", evidence_letters = "EABRZ";

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
  options.create_missing_column_families = true;  // earlier formats have no families of software and evidence
  options.paranoid_checks = true;
  // Only the end of the log may be torn, by a crash: what was acknowledged is never dropped to get a store open.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.track_and_verify_wals_in_manifest = true;
  options.write_buffer_size = std::size_t(16) << 20;
  // Most reads are of one key, and half of these of one that isn't there: nothing is searched for it.
  options.memtable_whole_key_filtering = true;
  options.memtable_prefix_bloom_size_ratio = 0.05;
  options.max_total_wal_size = std::uint64_t(64) << 20;
  options.max_open_files = 256;
  options.compression = rocksdb::kLZ4Compression;
  options.allow_fallocate = false;  // small stores stay small; a full disk is noticed at the write
  options.info_log = std::make_shared<NoLog>();
  options.listeners = {std::make_shared<NoRecovery>()};
  options.max_bgerror_resume_count = 0;
  options.max_background_jobs = 2;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
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

rocksdb::ColumnFamilyHandle* Families::of(std::string_view key) const {
  const auto among = [&](std::string_view letters) { return !key.empty() && letters.find(key.front()) != std::string_view::npos; };
  return among(software_letters) ? software : among(evidence_letters) ? evidence : rest;
}

namespace {

std::unexpected<Error> not_open() {
  return fail(Error{Fault::environment, "state can't be read", {}, 0, {}, "its database couldn't be opened again after a failed write"});
}

}  // namespace

StoreView::StoreView(Families families, rocksdb::WriteBatchWithIndex* batch, RowCache* cache, std::shared_lock<std::shared_mutex> open)
    : families_(families), open_(std::move(open)), batch_(batch), cache_(cache) {}

void StoreView::pin() {
  if (families_.db == nullptr) return;
  cache_ = nullptr;  // it has what is now
  snapshot_ = {families_.db->GetSnapshot(), Release{families_.db}};
  options_.snapshot = snapshot_.get();
}

Result<std::optional<std::string>> StoreView::read(std::string_view key) const {
  if (families_.db == nullptr) return not_open();
  for (const LateRows* const rows : {&fresh_, &late_})
    if (!rows->empty())
      if (const auto found = rows->find(key); found != rows->end()) return found->second;
  std::uint64_t ticket = 0;
  const bool kept = cache_ != nullptr && RowCache::keeps(key) && !touched_.contains(key);
  if (kept)
    if (auto row = cache_->find(key, ticket)) return *std::move(row);
  std::string value;
  rocksdb::ColumnFamilyHandle* const family = families_.of(key);
  const rocksdb::Status status = batch_ ? batch_->GetFromBatchAndDB(families_.db, options_, family, slice(key), &value)
                                        : families_.db->Get(options_, family, slice(key), &value);
  if (!status.ok() && !status.IsNotFound()) return fail_store("state can't be read", status);
  RowCache::Row row;
  if (status.ok()) row = std::move(value);
  if (kept) cache_->keep(key, ticket, row);
  return row;
}

std::unique_ptr<rocksdb::Iterator> StoreView::iterator(std::string_view prefix) const {
  rocksdb::ColumnFamilyHandle* const family = families_.of(prefix);
  std::unique_ptr<rocksdb::Iterator> base(families_.db->NewIterator(options_, family));
  if (!batch_) return base;
  return std::unique_ptr<rocksdb::Iterator>(batch_->NewIteratorWithBase(family, base.release()));
}

Result<void> StoreView::each(std::string_view prefix, std::string_view from, const Visit& visit) const {
  if (families_.db == nullptr) return not_open();
  const auto it = iterator(prefix);
  for (it->Seek(slice(from < prefix ? prefix : from)); it->Valid() && it->key().starts_with(slice(prefix)); it->Next())
    if (!visit(view_of(it->key()), view_of(it->value()))) break;
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

Result<void> StoreView::each_backwards(std::string_view prefix, std::string_view before, const Visit& visit) const {
  if (families_.db == nullptr) return not_open();
  const auto it = iterator(prefix);
  it->SeekForPrev(slice(before));
  if (it->Valid() && view_of(it->key()) == before) it->Prev();
  for (; it->Valid() && it->key().starts_with(slice(prefix)); it->Prev())
    if (!visit(view_of(it->key()), view_of(it->value()))) break;
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

void Batch::put(std::string_view key, std::string_view value) {
  if (RowCache::keeps(key)) touched_.emplace(key);
  batch_.Put(families_.of(key), slice(key), slice(value));
}
void Batch::erase(std::string_view key) {
  if (RowCache::keeps(key)) touched_.emplace(key);
  batch_.Delete(families_.of(key), slice(key));
}
void Batch::erase_range(std::string_view begin, std::string_view end) { ranges_.emplace_back(begin, end); }

Result<std::unique_ptr<Store>> Store::open(const std::string& path, bool may_create, const StateOptions& options) {
  std::unique_ptr<Store> store(new Store(options, path));
  GH_CHECK(store->open_database(may_create));
  return store;
}

Result<void> Store::open_database(bool may_create) {
  const rocksdb::Options database = database_options(may_create);
  rocksdb::ColumnFamilyOptions evidence = database;
  evidence.enable_blob_files = true;  // compressed already
  evidence.min_blob_size = 1024;
  evidence.enable_blob_garbage_collection = true;
  const std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {{rocksdb::kDefaultColumnFamilyName, database},
                                                               {"software", database},
                                                               {"evidence", evidence}};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(database, path_, wanted, &handles, &db);
  if (!status.ok()) return fail_store("state can't be opened", status);
  db_.reset(db);
  families_ = {db, handles.at(0), handles.at(1), handles.at(2)};
  return {};
}

void Store::close_database() {
  if (!db_) return;
  db_->DestroyColumnFamilyHandle(families_.evidence);
  db_->DestroyColumnFamilyHandle(families_.software);
  db_->DestroyColumnFamilyHandle(families_.rest);
  db_->Close();
  db_.reset();
  families_ = {};
}

StoreView Store::view() const {
  std::shared_lock open(open_mutex_);
  return {families_, nullptr, &cache_, std::move(open)};
}

std::size_t Store::waiting() const {
  const std::lock_guard guard(mutex_);
  return queue_.size();
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
  close_database();
}

void Store::submit(Change change, Completion completion, std::size_t weight, Safety safety) {
  std::string_view refused;
  {
    const std::lock_guard guard(mutex_);
    if (closing_)
      refused = "state is being closed";
    else if (queue_.size() >= options_.max_queue)
      refused = "too many state changes wait for the disk";
    else
      queue_.push_back({std::move(change), std::move(completion), weight, safety});
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

Result<void> Store::copy_to(const std::string& folder) const {
  const std::shared_lock guard(open_mutex_);
  if (!db_) return not_open();
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(folder);
  if (!status.ok()) return fail_store("state can't be copied", status);
  return {};
}

void Store::run() {
  for (;;) {
    std::deque<Waiting> group;
    {
      std::unique_lock guard(mutex_);
      wake_.wait(guard, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      std::size_t bytes = 0;
      while (!queue_.empty() && group.size() < max_group && bytes < max_group_bytes) {
        bytes += queue_.front().weight;
        group.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    write(group);
    for (Waiting& one : group)
      if (!one.again) complete(one.completion, std::move(one.outcome));
    const std::lock_guard guard(mutex_);
    for (auto one = group.rbegin(); one != group.rend(); ++one)
      if (one->again) queue_.push_front(std::move(*one));
  }
}

void Store::write(std::deque<Waiting>& group) {
  if (broken_) {
    if (const Result<void> good = open_anew(); !good) {
      for (Waiting& one : group) one.outcome = good, one.again = false;
      return;
    }
  }
  Batch batch(families_, &cache_, tallies_);
  Safety safety = Safety::process;  // the greatest of those that are written
  for (Waiting& one : group) {
    const Tallies before = batch.tallies;
    const std::size_t ranges = batch.ranges_.size();
    batch.batch_.SetSavePoint();
    batch.fresh_.clear();
    batch.again_ = false;
    try {
      one.outcome = one.change(batch);
    } catch (const std::exception& e) {
      one.outcome = fail(Error{Fault::internal, "state change failed", {}, 0, {}, e.what()});
    }
    if (one.outcome) {
      batch.batch_.PopSavePoint();
      for (auto& [key, value] : batch.fresh_) batch.late_.insert_or_assign(key, std::move(value));
      safety = std::max(safety, one.safety);
    } else {
      batch.batch_.RollbackToSavePoint();
      batch.tallies = before;
      batch.ranges_.resize(ranges);
    }
    one.again = one.outcome && batch.again_;
  }
  if (batch.batch_.GetWriteBatch()->Count() == 0 && batch.ranges_.empty() && batch.late_.empty()) return;
  for (const auto& [key, value] : batch.late_) value ? batch.put(key, *value) : batch.erase(key);
  batch.put(layout::tallies_key, layout::encode(batch.tallies));
  const Result<void> written = write_batch(batch, safety);
  if (written) {
    tallies_ = batch.tallies;
    return;
  }
  for (Waiting& one : group) {
    if (one.outcome) one.outcome = written;
    one.again = false;
  }
}

Result<void> Store::write_batch(Batch& batch, Safety safety) {
  if (options_.before_write) GH_CHECK(options_.before_write());
  // In the order of keys: most rows of a write belong beside one another in the table, and are searched a place for from
  // where the last one went.
  rocksdb::WriteBatch ordered(batch.bytes());
  rocksdb::Status status;
  for (rocksdb::ColumnFamilyHandle* const family : {families_.rest, families_.software, families_.evidence}) {
    const std::unique_ptr<rocksdb::WBWIIterator> it(batch.batch_.NewIterator(family));
    for (it->SeekToFirst(); it->Valid() && status.ok(); it->Next()) {
      const rocksdb::WriteEntry entry = it->Entry();
      status = entry.type == rocksdb::kPutRecord ? ordered.Put(family, entry.key, entry.value) : ordered.Delete(family, entry.key);
    }
  }
  // Below the index, which knows no ranges.
  for (const auto& [begin, end] : batch.ranges_)
    if (status.ok()) status = ordered.DeleteRange(families_.of(begin), slice(begin), slice(end));
  if (!status.ok()) return fail_store("state can't be written", status);
  rocksdb::WriteOptions how;
  how.sync = safety == Safety::machine;
  status = db_->Write(how, &ordered);
  if (!status.ok()) {
    broken_ = true;
    return fail_store("state can't be written", status);
  }
  tell_cache(batch);
  return {};
}

void Store::tell_cache(Batch& batch) {
  const rocksdb::DBOptions none;
  std::string value;
  for (const std::string& key : batch.touched_)
    if (batch.batch_.GetFromBatch(families_.of(key), none, slice(key), &value).ok())
      cache_.written(key, value);
    else
      cache_.forget(key);
  if (!batch.ranges_.empty()) cache_.forget();
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
  close_database();
  GH_CHECK(open_database(false));
  // Of the write that failed all may be there, or nothing.
  cache_.forget();
  const StoreView view(families_, nullptr, nullptr);
  GH_TRY(const auto counted, view.read(layout::tallies_key));
  if (counted) {
    GH_TRY(tallies_, layout::decode_tallies(*counted));
  }
  GH_TRY(tallies_.evidence, read_evidence_totals(view));
  broken_ = false;
  return {};
}

}  // namespace gatehouse::server
