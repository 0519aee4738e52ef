// The fleet's verdict cache, in front of the reference store. For one generation, product and bank the answer for a
// template digest and a name is a constant, so entries never change and are never removed; a full neighbourhood takes
// no more. Hits and misses have tables of their own: hits are bounded by the references, whatever a hostile endpoint
// sends, and the misses that it can make up crowd out no hit. Safe for concurrent use, without locks.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "pipeline/lookup/known_templates.h"

namespace gatehouse::pipeline {

// Insert-only, open addressing; a full neighbourhood takes no more. A slot is written by who claims it and read only when
// it is ready.
template <class Entry>
class InsertOnlyTable {
 public:
  explicit InsertOnlyTable(std::size_t slots) : slots_(slots) {}  // a power of two

  template <class Matches>
  const Entry* find(const Digest& key, Matches&& matches) const {
    for (std::size_t i = 0, at = start(key); i < probes; ++i, at = (at + 1) & (slots_.size() - 1)) {
      const int state = slots_[at].state.load(std::memory_order_acquire);
      if (state == empty) return nullptr;
      if (state == ready && slots_[at].key == key && matches(slots_[at].entry)) return &slots_[at].entry;
    }
    return nullptr;
  }
  template <class Matches>
  void insert(const Digest& key, Entry entry, Matches&& matches) {
    for (std::size_t i = 0, at = start(key); i < probes; ++i, at = (at + 1) & (slots_.size() - 1)) {
      int expected = empty;
      if (slots_[at].state.compare_exchange_strong(expected, busy, std::memory_order_acquire)) {
        slots_[at].key = key;
        slots_[at].entry = std::move(entry);
        slots_[at].state.store(ready, std::memory_order_release);
        return;
      }
      if (expected == ready && slots_[at].key == key && matches(slots_[at].entry)) return;
    }
  }

 private:
  static constexpr int empty = 0, busy = 1, ready = 2;
  static constexpr std::size_t probes = 16;
  struct Slot {
    std::atomic<int> state{empty};
    Digest key;
    Entry entry{};
  };
  std::size_t start(const Digest& key) const {
    std::uint64_t word;
    std::memcpy(&word, key.bytes.data(), sizeof word);
    return std::size_t(word) & (slots_.size() - 1);
  }
  std::vector<Slot> slots_;
};

class VerdictCache {
 public:
  // Powers of two. A hit takes 16 to 64 bytes and what its digest and name are long: 72 MiB at most for these, and a third of
  // it with ordinary names.
  explicit VerdictCache(std::size_t hits = 1 << 18, std::size_t misses = 1 << 15) : hits_(hits), misses_(misses) {}

  // Since when a newer version of its package is known (seconds since 1970; 0: none is). nullopt: nobody has looked.
  std::optional<std::int64_t> find_superseded(const Digest& key) const {
    const Superseded* const table = superseded_.load(std::memory_order_acquire);
    const auto* const found = table == nullptr ? nullptr : table->find(key, [](std::int64_t) { return true; });
    return found ? std::optional(*found) : std::nullopt;
  }
  void insert_superseded(const Digest& key, std::int64_t since) {
    std::call_once(made_superseded_, [this] {
      own_superseded_ = std::make_unique<Superseded>(superseded_slots);
      superseded_.store(own_superseded_.get(), std::memory_order_release);
    });
    own_superseded_->insert(key, since, [](std::int64_t) { return true; });
  }

  // Ahead of find_hit(): the table is larger than a core's cache.
  void prefetch_hit(const Digest& key) const { hits_.prefetch(key); }
  KnownTemplates::Guess guess_hit(const Digest& key) const { return hits_.guess(key); }
  // The name for which the digest is known, data() null: for none; it lives as long as this and the generation's view.
  std::string_view find_hit(const Digest& key) const { return hits_.find(key); }
  std::string_view find_hit(const Digest& key, KnownTemplates::Guess guess) const { return hits_.find(key, guess); }
  void insert_hit(const Digest& key, std::string_view name) { hits_.insert(key, name); }

  // Why this digest under this name is unknown (a literal); the references know neither.
  std::optional<std::string_view> find_miss(const Digest& key, std::string_view name, std::string_view algorithm) const {
    const auto* const found = misses_.find(key, [&](const Miss& m) { return m.name == name && m.algorithm == algorithm; });
    return found ? std::optional(found->reason) : std::nullopt;
  }
  void insert_miss(const Digest& key, std::string_view name, std::string_view algorithm, std::string_view reason) {
    if (name.size() > max_miss_name) return;
    misses_.insert(key, Miss{std::string(name), std::string(algorithm), reason},
                   [&](const Miss& m) { return m.name == name && m.algorithm == algorithm; });
  }

 private:
  static constexpr std::size_t max_miss_name = 512;
  struct Miss {
    std::string name, algorithm;
    std::string_view reason;
  };
  // Only policies with rules for it ask.
  using Superseded = InsertOnlyTable<std::int64_t>;
  static constexpr std::size_t superseded_slots = 1 << 15;
  KnownTemplates hits_;
  InsertOnlyTable<Miss> misses_;
  std::once_flag made_superseded_;
  std::unique_ptr<Superseded> own_superseded_;
  std::atomic<const Superseded*> superseded_{nullptr};
};

}  // namespace gatehouse::pipeline
