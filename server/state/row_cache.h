// Rows that sessions read again and again: a device is read a dozen times from a session's beginning to its result, and
// each is a search through RocksDB's tables. Bounded; rows that aren't there are kept, too.
//
// A reader asks for a row, reads it from the database where the answer is absent, and hands it over. The one writer tells
// what it wrote once the database has it, so a row that was read before isn't kept after. For safe concurrent use.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"

namespace gatehouse::server {

// A row as it was read at one moment; its text is decoded once for all who read it.
class KeptRow {
 public:
  explicit KeptRow(std::optional<std::string> text = std::nullopt) : text_(std::move(text)) {}
  KeptRow(const KeptRow&) = delete;
  KeptRow& operator=(const KeptRow&) = delete;

  // Absent: the database has none.
  const std::optional<std::string>& text() const { return text_; }
  // Of text that is there. `decode`: Result<T>(std::string_view), the same for a row in all calls.
  template <class T, class Decode>
  Result<std::shared_ptr<const T>> decoded(const Decode& decode) const {
    {
      const std::lock_guard guard(mutex_);
      if (decoded_) return std::static_pointer_cast<const T>(decoded_);
    }
    GH_TRY(T value, decode(std::string_view(*text_)));
    const auto made = std::make_shared<const T>(std::move(value));
    const std::lock_guard guard(mutex_);
    decoded_ = made;
    return made;
  }

 private:
  const std::optional<std::string> text_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const void> decoded_;  // guarded by mutex_
};
using RowPtr = std::shared_ptr<const KeptRow>;

class RowCache {
 public:
  // `most`: bytes of keys and values.
  explicit RowCache(std::size_t most) : most_(most / shards / 2) {}

  // Whether rows with such keys are kept at all.
  static bool keeps(std::string_view key);
  // Null: it is to be read from the database, and handed over with `ticket`.
  RowPtr find(std::string_view key, std::uint64_t& ticket);
  // What the database had after `find` gave the ticket; kept unless the row was written meanwhile.
  void keep(std::string_view key, std::uint64_t ticket, const RowPtr& row);
  // The database has this now.
  void written(std::string_view key, std::string_view value);
  // What the database has of it changed; without a key: of all.
  void forget(std::string_view key);
  void forget();

 private:
  struct Entry {
    RowPtr row;                // null: it waits for the row of a reader
    std::uint64_t ticket = 0;  // of that reader
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Rows = std::unordered_map<std::string, Entry, Hash, std::equal_to<>>;
  struct Shard {
    std::mutex mutex;
    Rows recent, earlier;   // when `recent` has its share of bytes, it is what was earlier
    std::size_t bytes = 0;  // of `recent`
    std::uint64_t tickets = 0;
  };
  static constexpr std::size_t shards = 16;

  Shard& of(std::string_view key) { return shards_[Hash()(key) % shards]; }
  // Makes room where there is none.
  void add(Shard& shard, std::string_view key, Entry entry);
  // Takes it out.
  std::optional<Entry> take(Shard& shard, std::string_view key);

  const std::size_t most_;  // of half a shard
  std::array<Shard, shards> shards_;
};

}  // namespace gatehouse::server
