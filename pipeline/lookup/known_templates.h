// Template digests and the names for which they are known: what a fleet asks for thousands of times with each attestation.
//
//   known.prefetch(key);                              // some entries ahead
//   const auto guess = known.guess(key);              // some fewer ahead: brings the record
//   const auto name = known.find(key, guess);
//
// A record has all of the digest, so that one which differs in a bit anywhere is another, and the name behind it: whoever
// finds the one has the other in the next line of the processor's cache. Records lie in the order in which they came, which
// is that of some image's list; so they are read in that order again, and pages and lines come one after the other. What is
// at random is a table of eight bytes for each slot, as small as a core's cache to begin with, and twice as large whenever
// it is half full; who still reads a smaller one finds there what was in it, so that one is kept. Readers take no lock.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace gatehouse::pipeline {

class KnownTemplates {
  struct Record;

 public:
  using Guess = const Record*;

  // The most that it takes in; a power of two.
  explicit KnownTemplates(std::size_t most) : most_(most), chunks_(most * longest_record / (chunk_bytes - longest_record) + 1) {
    grow(std::min(most, std::size_t(4096)));
  }

  // Brings what guess() will look at first.
  void prefetch(const Digest& key) const {
    const Table& table = *current_.load(std::memory_order_acquire);
    __builtin_prefetch(&table.slots[start(key) & table.mask]);
  }
  // Where find() will look, nearly always; null: it is there for nobody. The names that are found have a null data() where
  // there is none: an optional of a view is copied in halves and read whole, which a processor waits for.
  Guess guess(const Digest& key) const {
    const Table& table = *current_.load(std::memory_order_acquire);
    for (std::size_t at = start(key) & table.mask;; at = (at + 1) & table.mask) {
      const std::uint64_t slot = table.slots[at].load(std::memory_order_acquire);
      if (slot == 0) return nullptr;
      if (tag_of(slot) != tag(key)) continue;
      const Record* const record = at_place(place_of(slot));
      __builtin_prefetch(record);
      __builtin_prefetch(reinterpret_cast<const std::byte*>(record) + 64);
      __builtin_prefetch(reinterpret_cast<const std::byte*>(record) + 96);
      return record;
    }
  }
  std::string_view find(const Digest& key, Guess guess) const {
    if (guess == nullptr) return {};
    if (guess->holds(key)) return guess->name();
    return find(key);  // another digest with the same beginning
  }
  std::string_view find(const Digest& key) const {
    const Table& table = *current_.load(std::memory_order_acquire);
    for (std::size_t at = start(key) & table.mask;; at = (at + 1) & table.mask) {
      const std::uint64_t slot = table.slots[at].load(std::memory_order_acquire);
      if (slot == 0) return {};
      if (tag_of(slot) != tag(key)) continue;
      if (const Record* const record = at_place(place_of(slot)); record->holds(key)) return record->name();
    }
  }
  // A name that is too long to be kept here has to live as long as this. A digest that is longer than any that the
  // references are indexed by isn't kept.
  void insert(const Digest& key, std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (key.size > longest_digest || count_ == most_ || find(key).data() != nullptr) return;
    if (count_ == tables_.back()->capacity()) grow(2 * count_);
    tables_.back()->put(start(key), std::uint64_t(tag(key)) << 32 | keep(key, name));
    ++count_;
  }

 private:
  static constexpr std::size_t longest_digest = 48;  // SHA-384
  static constexpr std::size_t longest_name = 192;   // of those behind the digest
  static constexpr std::size_t unit = 16;            // of a record's place

  // Behind it the digest, and then the name, or where it is.
  struct alignas(unit) Record {
    std::uint32_t name_size;
    std::uint8_t digest_size;

    const std::byte* digest() const { return reinterpret_cast<const std::byte*>(this) + head; }
    bool holds(const Digest& key) const {
      if (digest_size != key.size) return false;
      if (digest_size == 32) return equal_words<32>(digest(), key.bytes.data());  // nearly all are SHA-256
      return std::memcmp(digest(), key.bytes.data(), digest_size) == 0;
    }
    std::string_view name() const {
      const auto* text = reinterpret_cast<const char*>(digest() + digest_size);
      if (name_size > longest_name) std::memcpy(&text, digest() + digest_size, sizeof text);
      return {text, name_size};
    }
  };
  static constexpr std::size_t head = 5;
  static constexpr std::size_t longest_record = (head + longest_digest + longest_name + unit - 1) / unit * unit;
  static constexpr std::size_t chunk_bytes = std::size_t(256) << 10;
  static constexpr std::size_t chunk_units = chunk_bytes / unit;
  struct alignas(64) Chunk {
    std::byte bytes[chunk_bytes];
  };
  struct Table {
    explicit Table(std::size_t capacity) : mask(2 * capacity - 1), slots(2 * capacity) {}
    std::size_t capacity() const { return slots.size() / 2; }
    void put(std::size_t from, std::uint64_t slot) {
      std::size_t at = from & mask;
      while (slots[at].load(std::memory_order_relaxed) != 0) at = (at + 1) & mask;
      slots[at].store(slot, std::memory_order_release);
    }
    std::size_t mask;
    std::vector<std::atomic<std::uint64_t>> slots;  // 0: nothing is here; else a digest's tag, and its record's place
  };

  // Digests are as random as any hash: two parts of one say nothing of each other.
  static std::size_t start(const Digest& key) {
    std::size_t out;
    std::memcpy(&out, key.bytes.data(), sizeof out);
    return out;
  }
  static std::uint32_t tag(const Digest& key) {
    std::uint32_t out;
    std::memcpy(&out, key.bytes.data() + sizeof(std::size_t), sizeof out);
    return out;
  }
  static std::uint32_t tag_of(std::uint64_t slot) { return std::uint32_t(slot >> 32); }
  static std::uint32_t place_of(std::uint64_t slot) { return std::uint32_t(slot) - 1; }
  const Record* at_place(std::uint32_t place) const {
    return reinterpret_cast<const Record*>(chunks_[place / chunk_units]->bytes + place % chunk_units * unit);
  }
  // Its place, and one.
  std::uint32_t keep(const Digest& key, std::string_view name) {
    const char* const text = name.data();
    const std::size_t tail = name.size() > longest_name ? sizeof text : name.size();
    const std::size_t units = (head + key.size + tail + unit - 1) / unit;
    if (next_ % chunk_units + units > chunk_units) next_ = (next_ / chunk_units + 1) * chunk_units;
    std::unique_ptr<Chunk>& chunk = chunks_[next_ / chunk_units];
    if (!chunk) chunk = std::make_unique_for_overwrite<Chunk>();
    std::byte* const to = chunk->bytes + next_ % chunk_units * unit;
    const std::uint32_t place = std::uint32_t(next_);
    next_ += units;
    Record record{std::uint32_t(name.size()), key.size};
    std::memcpy(to, &record, head);
    std::memcpy(to + head, key.bytes.data(), key.size);
    if (name.size() > longest_name) std::memcpy(to + head + key.size, &text, sizeof text);
    else if (!name.empty()) std::memcpy(to + head + key.size, text, name.size());
    return place + 1;
  }
  void grow(std::size_t capacity) {
    auto table = std::make_unique<Table>(capacity);
    if (!tables_.empty())
      for (const auto& one : tables_.back()->slots)
        if (const std::uint64_t slot = one.load(std::memory_order_relaxed); slot != 0) {
          std::size_t from;
          std::memcpy(&from, at_place(place_of(slot))->digest(), sizeof from);
          table->put(from, slot);
        }
    tables_.push_back(std::move(table));
    current_.store(tables_.back().get(), std::memory_order_release);
  }

  const std::size_t most_;
  std::atomic<const Table*> current_{nullptr};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Table>> tables_;  // guarded by mutex_
  std::size_t count_ = 0;                       // guarded by mutex_
  std::size_t next_ = 0;                        // guarded by mutex_; of the place for the next record
  std::vector<std::unique_ptr<Chunk>> chunks_;  // each is there before a slot says so, and stays
};

}  // namespace gatehouse::pipeline
