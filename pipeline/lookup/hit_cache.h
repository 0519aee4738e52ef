// The fleet's verdict cache: template digests that the reference index answered. For one generation, product and bank a
// template digest's answer is a constant, so entries never change and are never removed; a full table takes no more.
// Only hits are kept: their number is bounded by the references, whatever a hostile endpoint sends.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace gatehouse::pipeline {

class HitCache {
 public:
  explicit HitCache(std::size_t slots = 1 << 16) : slots_(slots) {}  // a power of two

  // The name for which the digest is known; it lives as long as the generation's view.
  std::optional<std::string_view> find(const Digest& key) const {
    for (std::size_t i = 0, at = start(key); i < probes; ++i, at = (at + 1) & (slots_.size() - 1)) {
      const int state = slots_[at].state.load(std::memory_order_acquire);
      if (state == empty) return std::nullopt;
      if (state == ready && slots_[at].key == key) return slots_[at].name;
    }
    return std::nullopt;
  }
  void insert(const Digest& key, std::string_view name) {
    for (std::size_t i = 0, at = start(key); i < probes; ++i, at = (at + 1) & (slots_.size() - 1)) {
      int expected = empty;
      if (slots_[at].state.compare_exchange_strong(expected, busy, std::memory_order_acquire)) {
        slots_[at].key = key;
        slots_[at].name = name;
        slots_[at].state.store(ready, std::memory_order_release);
        return;
      }
      if (expected == ready && slots_[at].key == key) return;
    }
  }

 private:
  static constexpr int empty = 0, busy = 1, ready = 2;
  static constexpr std::size_t probes = 16;
  struct Slot {
    std::atomic<int> state{empty};
    Digest key;
    std::string_view name;
  };
  // A digest is as good as random, and only digests of references are ever inserted.
  std::size_t start(const Digest& key) const {
    std::uint64_t word;
    std::memcpy(&word, key.bytes.data(), sizeof word);
    return std::size_t(word) & (slots_.size() - 1);
  }
  std::vector<Slot> slots_;
};

}  // namespace gatehouse::pipeline
