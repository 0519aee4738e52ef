// Index entries of an ingestion on their way into sorted rows: parted by the first bits of their hashes, so that a part
// fits into memory whatever is ingested. The first 96 MiB wait there, all others in a file without a name. Internal to
// refdb/store.
#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "refdb/store/index_rows.h"

namespace gatehouse::refdb {

// Blocks of equal size. Safe for concurrent use.
class Spill {
 public:
  static constexpr std::size_t block = 1024;                                                       // entries
  static constexpr std::uint64_t in_memory = (std::uint64_t(96) << 20) / (block * sizeof(Entry));  // blocks
  // The file is in a folder of the ingestion's own.
  explicit Spill(std::string folder) : path_(std::move(folder) + "/entries"), memory_(in_memory) {}
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;
  Result<std::uint64_t> write(std::vector<Entry>& entries);  // a block, which it empties; its place
  Result<void> read(std::uint64_t place, std::vector<Entry>& out) const;

 private:
  const std::string path_;
  std::mutex mutex_;
  Descriptor fd_;
  std::atomic<std::uint64_t> blocks_{0};
  std::vector<std::vector<Entry>> memory_;  // the first blocks
};

// What one thread gathers of one index.
class EntryParts {
 public:
  // 2^bits parts.
  EntryParts(Spill& spill, unsigned bits) : spill_(spill), bits_(bits), parts_(std::size_t(1) << bits) {}
  Result<void> add(const Entry& e) {
    Part& part = parts_[bucket_of(e.hash(), bits_)];
    part.waiting.push_back(e);
    ++count_;
    return part.waiting.size() < Spill::block ? Result<void>() : spill(part);
  }
  std::uint64_t count() const { return count_; }
  // Appends a part's entries, in no order.
  Result<void> gather(std::size_t part, std::vector<Entry>& out) const;

 private:
  struct Part {
    std::vector<Entry> waiting;
    std::vector<std::uint64_t> spilled;
  };
  Result<void> spill(Part& part);

  Spill& spill_;
  const unsigned bits_;
  std::vector<Part> parts_;
  std::uint64_t count_ = 0;
};

// The entries by bucket of 2^bits, each bucket sorted; all have their first `known` bits in common. `ends`: of each
// bucket, as an index into the entries.
std::vector<std::size_t> sort_into_buckets(std::vector<Entry>& entries, unsigned known, unsigned bits);

}  // namespace gatehouse::refdb
