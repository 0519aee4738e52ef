// A generation that is read: its totals, packages, files and indexes. Internal to refdb/store. Safe for concurrent use.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "refdb/store/file_rows.h"
#include "refdb/store/filter.h"
#include "refdb/store/index_rows.h"
#include "refdb/store/rows.h"

namespace gatehouse::refdb {

// Files whose numbers differ in their last bits only are one row of contents.
inline constexpr std::uint32_t files_a_page = 32;

class Generation {
 public:
  // Held, so that nobody prunes it. A database that lost the end of its manifest opens as an older one, or as an empty
  // one, where every file is unknown: the totals, named by the generation's number, tell.
  static Result<std::unique_ptr<Generation>> open(const std::string& store, std::uint64_t number);

  const std::string& path() const { return path_; }
  const Totals& totals() const { return totals_; }
  rocksdb::DB& db() const { return *db_; }

  // The numbers that a hash leads to, of files and packages that count, in order. Some may be of others with the same
  // hash: who asks compares.
  Result<std::vector<std::uint32_t>> find(Index index, std::uint64_t hash) const;
  // Hands the file to `use`; what it points to lives as long as the call.
  Result<void> file(std::uint32_t number, const std::function<void(const FileRow&)>& use) const;
  Result<Package> package(std::uint32_t number) const;
  // All that count, by number.
  Result<void> each_package(const std::function<void(std::uint32_t, Package&&)>& use) const;
  // The same without a copy; what a package points to lives as long as the call.
  Result<void> each_package_view(const std::function<void(std::uint32_t, const PackageView&)>& use) const;
  // A package's, by path.
  Result<void> each_file(const Package& package, const std::function<void(const FileRow&)>& use) const;
  // How many different ones the index of digests has.
  Result<std::uint64_t> count_digests() const;
  // Reads all of it: is each block what was written, and are the packages those of the content digest?
  Result<void> verify() const;

  bool file_is_gone(std::uint32_t number) const;
  bool package_is_gone(std::uint32_t number) const;

 private:
  Generation(std::string path, Hold hold, std::unique_ptr<rocksdb::DB> db)
      : path_(std::move(path)), hold_(std::move(hold)), db_(std::move(db)) {}
  // Whether a run's index can have a hash.
  Result<bool> may_have(std::size_t run, Index index, std::uint64_t hash) const;
  std::unexpected<Error> damaged(std::string_view what) const;
  Result<void> read(const std::string& key, std::string_view what, rocksdb::PinnableSlice& out) const;

  const std::string path_;
  const Hold hold_;
  const std::unique_ptr<rocksdb::DB> db_;
  Totals totals_;
  // Of each run; read when it is first asked.
  struct LazyFilter {
    std::once_flag read;
    Result<void> good;
    Filter filter;
  };
  mutable std::deque<std::array<LazyFilter, filtered_count>> filters_;
};

// One run's entries of one index with hashes from `first` to `last`, in order. Those that are gone are among them.
class RunReader {
 public:
  RunReader(const Generation& generation, const Run& run, Index index, std::uint64_t first, std::uint64_t last);
  // The next ones; none: the end. Valid until the next call.
  Result<std::span<const Entry>> next();

 private:
  const Generation& generation_;
  const unsigned bits_;
  const std::uint64_t first_, last_;
  const std::string end_;
  std::unique_ptr<rocksdb::Iterator> it_;
  std::vector<Entry> entries_;
};

}  // namespace gatehouse::refdb
