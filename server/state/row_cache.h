// Rows that sessions read again and again: a device is read a dozen times from a session's beginning to its result, and
// each is a search through RocksDB's tables. Bounded; rows that aren't there are kept, too.
//
// A reader asks for a row, reads it from the database where the answer is absent, and hands it over. The one writer tells
// what it wrote once the database has it, so a row that was read before isn't kept after. For safe concurrent use.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace gatehouse::server {

class RowCache {
 public:
  using Row = std::optional<std::string>;  // absent: the database has none

  // `most`: bytes of keys and values.
  explicit RowCache(std::size_t most) : most_(most / shards / 2) {}

  // Whether rows with such keys are kept at all.
  static bool keeps(std::string_view key);
  // Absent: it is to be read from the database, and handed over with `ticket`.
  std::optional<Row> find(std::string_view key, std::uint64_t& ticket);
  // What the database had after `find` gave the ticket; kept unless the row was written meanwhile.
  void keep(std::string_view key, std::uint64_t ticket, const Row& row);
  // The database has this now.
  void written(std::string_view key, std::string_view value);
  // What the database has of it changed; without a key: of all.
  void forget(std::string_view key);
  void forget();

 private:
  struct Entry {
    Row row;
    std::uint64_t ticket = 0;  // of the reader whose row it waits for; 0: the row is here
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
