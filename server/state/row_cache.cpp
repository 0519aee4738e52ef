#include "server/state/row_cache.h"

namespace gatehouse::server {
namespace {

// Of devices, their keys, baselines, last quotes and results, of what they told of their software, and of what verdicts are
// kept against (docs/formats/state.md): those that sessions read by their whole key.
constexpr std::string_view kept_letters = "dSxXbaqJfQhuz";
constexpr std::size_t largest = 32'768;
constexpr std::size_t overhead = 256;  // of an entry, roughly
// Names are the peers' to choose, and so are the places of their rows: more in one place aren't kept.
constexpr std::size_t most_in_a_place = 16;

// Those that are decoded, devices, take some times their text.
std::size_t size_of(std::string_view key, std::size_t text) { return key.size() + overhead + text * (key.front() == 'd' ? 4 : 1); }
std::size_t size_of(std::string_view key, const RowPtr& row) { return size_of(key, row && row->text() ? row->text()->size() : 0); }

}  // namespace

bool RowCache::keeps(std::string_view key) { return !key.empty() && kept_letters.find(key.front()) != std::string_view::npos; }

void RowCache::add(Shard& shard, std::string_view key, Entry entry) {
  const std::size_t size = size_of(key, entry.row);
  if (shard.bytes + size > most_) {
    shard.earlier = std::move(shard.recent);
    shard.recent = {};
    shard.bytes = 0;
  }
  std::string name(key);
  Rows& rows = shard.recent;
  if (rows.bucket_count() != 0 && rows.bucket_size(rows.bucket(name)) >= most_in_a_place) return;
  rows.insert_or_assign(std::move(name), std::move(entry));
  shard.bytes += size;
}

std::optional<RowCache::Entry> RowCache::take(Shard& shard, std::string_view key) {
  for (Rows* const rows : {&shard.recent, &shard.earlier}) {
    const auto at = rows->find(key);
    if (at == rows->end()) continue;
    if (rows == &shard.recent) shard.bytes -= size_of(key, at->second.row);
    Entry entry = std::move(at->second);
    rows->erase(at);
    return entry;
  }
  return std::nullopt;
}

RowPtr RowCache::find(std::string_view key, std::uint64_t& ticket) {
  Shard& shard = of(key);
  const std::lock_guard guard(shard.mutex);
  auto at = shard.recent.find(key);
  if (at == shard.recent.end()) {
    std::optional<Entry> entry = take(shard, key);
    if (!entry) entry = Entry{nullptr, ++shard.tickets};
    ticket = entry->ticket;
    RowPtr row = entry->row;
    add(shard, key, *std::move(entry));
    return row;
  }
  // With another reader's ticket: until it is handed over both read the same row, or it is written meanwhile.
  ticket = at->second.ticket;
  return at->second.row;
}

void RowCache::keep(std::string_view key, std::uint64_t ticket, const RowPtr& row) {
  Shard& shard = of(key);
  const std::lock_guard guard(shard.mutex);
  std::optional<Entry> entry = take(shard, key);
  if (!entry) return;
  if (!entry->row && entry->ticket == ticket && (!row->text() || row->text()->size() <= largest)) entry = Entry{row, 0};
  add(shard, key, *std::move(entry));
}

void RowCache::written(std::string_view key, std::string_view value) {
  Shard& shard = of(key);
  const std::lock_guard guard(shard.mutex);
  if (const auto at = shard.recent.find(key); at != shard.recent.end() && at->second.row && value.size() <= largest) {
    const std::size_t others = shard.bytes - size_of(key, at->second.row);
    if (others + size_of(key, value.size()) <= most_) {
      at->second.row = std::make_shared<const KeptRow>(std::string(value));
      shard.bytes = others + size_of(key, at->second.row);
      return;
    }
  }
  const std::optional<Entry> entry = take(shard, key);
  // Who waits for its row may have the old one.
  if (entry && entry->row && value.size() <= largest) add(shard, key, {std::make_shared<const KeptRow>(std::string(value)), 0});
}

void RowCache::forget(std::string_view key) {
  Shard& shard = of(key);
  const std::lock_guard guard(shard.mutex);
  (void)take(shard, key);
}

void RowCache::forget() {
  for (Shard& shard : shards_) {
    const std::lock_guard guard(shard.mutex);
    shard.recent = {};
    shard.earlier = {};
    shard.bytes = 0;
  }
}

}  // namespace gatehouse::server
