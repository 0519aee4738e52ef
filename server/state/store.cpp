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

StoreView::StoreView(Families families, const Rows* rows, RowCache* cache, std::shared_lock<std::shared_mutex> open)
    : families_(families), open_(std::move(open)), rows_(rows), cache_(cache) {}

void StoreView::pin() {
  if (families_.db == nullptr) return;
  cache_ = nullptr;  // it has what is now
  snapshot_ = {families_.db->GetSnapshot(), Release{families_.db}};
  options_.snapshot = snapshot_.get();
}

const std::optional<std::string>* StoreView::changed(std::string_view key) const {
  for (const Rows* const rows : {&fresh_, &late_, rows_})
    if (rows != nullptr && !rows->empty())
      if (const auto found = rows->find(key); found != rows->end()) return &found->second;
  return nullptr;
}

Result<std::optional<std::string>> StoreView::stored(std::string_view key) const {
  std::string value;
  const rocksdb::Status status = families_.db->Get(options_, families_.of(key), slice(key), &value);
  if (status.ok()) return value;
  if (status.IsNotFound()) return std::nullopt;
  return fail_store("state can't be read", status);
}

Result<std::optional<std::string>> StoreView::read(std::string_view key) const {
  if (families_.db == nullptr) return not_open();
  if (const auto* const row = changed(key)) return *row;
  if (cache_ == nullptr || !RowCache::keeps(key)) return stored(key);
  GH_TRY(const RowPtr row, look_up(key));
  return row->text();
}

Result<RowPtr> StoreView::look_up(std::string_view key) const {
  if (families_.db == nullptr) return not_open();
  if (const auto* const row = changed(key)) return std::make_shared<const KeptRow>(*row);
  std::uint64_t ticket = 0;
  const bool kept = cache_ != nullptr && RowCache::keeps(key);
  if (kept)
    if (RowPtr row = cache_->find(key, ticket)) return row;
  GH_TRY(auto value, stored(key));
  const auto row = std::make_shared<const KeptRow>(std::move(value));
  if (kept) cache_->keep(key, ticket, row);
  return row;
}

// Both walk the database and the rows of the batch, which are in the same order, side by side: of a key in both the
// batch's row counts.
Result<void> StoreView::each(std::string_view prefix, std::string_view from, const Visit& visit) const {
  if (families_.db == nullptr) return not_open();
  static const Rows none;
  const Rows& rows = rows_ != nullptr ? *rows_ : none;
  GH_ASSERT(rows.empty() || !prefix.empty());
  const std::string_view first = std::max(from, prefix);
  const std::unique_ptr<rocksdb::Iterator> it(families_.db->NewIterator(options_, families_.of(prefix)));
  auto row = rows.lower_bound(first);
  for (it->Seek(slice(first));;) {
    const bool stored = it->Valid() && it->key().starts_with(slice(prefix));
    const bool changed = row != rows.end() && row->first.starts_with(prefix);
    if (!stored && !changed) break;
    const int order = !stored ? 1 : !changed ? -1 : view_of(it->key()).compare(row->first);
    if (order < 0) {
      if (!visit(view_of(it->key()), view_of(it->value()))) break;
    } else if (row->second && !visit(row->first, *row->second)) {
      break;
    }
    if (order <= 0) it->Next();
    if (order >= 0) ++row;
  }
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

Result<void> StoreView::each_backwards(std::string_view prefix, std::string_view before, const Visit& visit) const {
  if (families_.db == nullptr) return not_open();
  static const Rows none;
  const Rows& rows = rows_ != nullptr ? *rows_ : none;
  GH_ASSERT(rows.empty() || !prefix.empty());
  const std::unique_ptr<rocksdb::Iterator> it(families_.db->NewIterator(options_, families_.of(prefix)));
  it->SeekForPrev(slice(before));
  if (it->Valid() && view_of(it->key()) == before) it->Prev();
  for (auto row = std::make_reverse_iterator(rows.lower_bound(before));;) {
    const bool stored = it->Valid() && it->key().starts_with(slice(prefix));
    const bool changed = row != rows.rend() && row->first.starts_with(prefix);
    if (!stored && !changed) break;
    const int order = !stored ? -1 : !changed ? 1 : view_of(it->key()).compare(row->first);
    if (order > 0) {
      if (!visit(view_of(it->key()), view_of(it->value()))) break;
    } else if (row->second && !visit(row->first, *row->second)) {
      break;
    }
    if (order >= 0) it->Prev();
    if (order <= 0) ++row;
  }
  if (!it->status().ok()) return fail_store("state can't be read", it->status());
  return {};
}

void Batch::set(std::string key, std::optional<std::string> value) {
  bytes_ += key.size() + (value ? value->size() : 0);
  auto at = rows_.lower_bound(key);
  if (at != rows_.end() && at->first == key) {
    undo_.push_back({at, false, std::exchange(at->second, std::move(value))});
  } else {
    at = rows_.emplace_hint(at, std::move(key), std::move(value));
    undo_.push_back({at, true, std::nullopt});
  }
}

bool Batch::puts(std::string_view key) const {
  const auto at = rows_.find(key);
  return at != rows_.end() && at->second;
}

void Batch::keep() {
  undo_.clear();
  for (auto& [key, value] : fresh_) late_.insert_or_assign(key, std::move(value));
  fresh_.clear();
}

void Batch::take_back() {
  for (auto one = undo_.rbegin(); one != undo_.rend(); ++one) {
    if (one->added)
      rows_.erase(one->row);
    else
      one->row->second = std::move(one->before);
  }
  undo_.clear();
  fresh_.clear();
}

void Batch::erase_range(std::string_view begin, std::string_view end) { ranges_.emplace_back(begin, end); }

Result<std::unique_ptr<Store>> Store::open(const std::string& path, bool may_create, const StateOptions& options) {
  std::unique_ptr<Store> store(new Store(options, path));
  GH_CHECK(store->open_database(may_create));
  return store;
}

Result<void> Store::open_database(bool may_create) {
  const rocksdb::Options database = database_options(may_create);
  // Records of sessions and evidence are compressed already, and are most of what is kept: each is written once, and not
  // again whenever the keys around it are sorted.
  rocksdb::ColumnFamilyOptions apart = database;
  apart.enable_blob_files = true;
  apart.min_blob_size = 1024;
  // What goes is mostly the oldest, and with it whole files: only what few files keep alive is written anew.
  apart.enable_blob_garbage_collection = true;
  apart.blob_garbage_collection_age_cutoff = 0.05;
  apart.blob_garbage_collection_force_threshold = 0.5;
  const std::vector<rocksdb::ColumnFamilyDescriptor> wanted = {{rocksdb::kDefaultColumnFamilyName, apart},
                                                               {"software", database},
                                                               {"evidence", apart}};
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
      if (!one.again && one.safety != Safety::none) complete(one.completion, std::move(one.outcome));
    const std::lock_guard guard(mutex_);
    for (auto one = group.rbegin(); one != group.rend(); ++one)
      if (one->again) queue_.push_front(std::move(*one));
  }
}

void Store::write(std::deque<Waiting>& group) {
  if (broken_) {
    if (const Result<void> good = open_anew(); !good) {
      for (Waiting& one : group) {
        one.outcome = good, one.again = false;
        if (one.safety == Safety::none) complete(one.completion, good);
      }
      return;
    }
  }
  Batch batch(families_, &cache_, tallies_);
  Safety safety = Safety::none;  // the greatest of those that are written
  for (Waiting& one : group) {
    const Tallies before = batch.tallies;
    const std::size_t ranges = batch.ranges_.size();
    const std::size_t bytes = batch.bytes_;
    batch.again_ = false;
    try {
      one.outcome = one.change(batch);
    } catch (const std::exception& e) {
      one.outcome = fail(Error{Fault::internal, "state change failed", {}, 0, {}, e.what()});
    }
    if (one.outcome) {
      batch.keep();
      safety = std::max(safety, one.safety);
    } else {
      batch.take_back();
      batch.bytes_ = bytes;
      batch.tallies = before;
      batch.ranges_.resize(ranges);
    }
    one.again = one.outcome && batch.again_;
    if (one.safety == Safety::none) complete(one.completion, std::move(one.outcome));
  }
  if (batch.rows_.empty() && batch.ranges_.empty() && batch.late_.empty()) return;
  for (auto& [key, value] : batch.late_) batch.set(key, std::move(value));
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

Result<void> Store::write_batch(const Batch& batch, Safety safety) {
  if (options_.before_write) GH_CHECK(options_.before_write());
  // In the order of keys: most rows of a write belong beside one another in the table, and are searched a place for from
  // where the last one went.
  constexpr std::size_t around_a_row = 16;
  rocksdb::WriteBatch ordered(batch.bytes() + batch.rows_.size() * around_a_row);
  rocksdb::Status status;
  for (const auto& [key, value] : batch.rows_) {
    rocksdb::ColumnFamilyHandle* const family = families_.of(key);
    status = value ? ordered.Put(family, slice(key), slice(*value)) : ordered.Delete(family, slice(key));
    if (!status.ok()) break;
  }
  for (const auto& [begin, end] : batch.ranges_)
    if (status.ok()) status = ordered.DeleteRange(families_.of(begin), slice(begin), slice(end));
  if (!status.ok()) return fail_store("state can't be written", status);
  rocksdb::WriteOptions how;
  how.sync = safety == Safety::machine;
  status = db_->Write(how, &ordered);
  if (!status.ok()) {
    broken_ = failed_ = true;
    return fail_store("state can't be written", status);
  }
  tell_cache(batch);
  return {};
}

void Store::tell_cache(const Batch& batch) {
  for (const auto& [key, value] : batch.rows_) {
    if (!RowCache::keeps(key)) continue;
    if (value)
      cache_.written(key, *value);
    else
      cache_.forget(key);
  }
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
