// PCR extension for many sessions side by side. A chain alone is bound by the latency of its rounds; several fill a core's
// SHA unit, or its vector lanes (base/sha256_chains.h). So digests wait with their chain, and whoever needs a value, has too
// much waiting or is the sixteenth with any, takes along what waits with chains of other sessions: those get on for little
// more, nobody waits for company that may not come, and however many sessions there are, few have anything waiting.
//
//   ChainPool pool;
//   PooledChain chain(pool, initial_pcr(HashAlgorithm::sha256, 10, 0));
//   chain.extend(digests);
//   chain.value();                      // after all of them
//
// The value is the same whoever else is there.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <span>

#include "base/bytes.h"
#include "base/hash.h"

namespace gatehouse::pipeline {

class PooledChain;

// Safe for concurrent use; outlives its chains.
class ChainPool {
 public:
  // As many as the widest kernel advances: so many have digests waiting at most, but for a moment.
  static constexpr std::size_t company = 16;
  // Of one chain, in bytes: what a session holds beside the piece that it adds, and what it may make another one wait.
  static constexpr std::size_t most_waiting = std::size_t(512) * 32;
  // Chains that have digests waiting.
  std::size_t waiting();

 private:
  friend class PooledChain;
  using Chains = std::list<PooledChain*>;
  std::mutex mutex_;
  std::condition_variable returned_;  // a chain that was taken
  Chains listed_;                     // guarded by mutex_; those that have something waiting
};

// One PCR of one session in the SHA-256 bank. Used by one thread at a time, and taken along by any.
class PooledChain {
 public:
  PooledChain(ChainPool& pool, const Digest& initial);
  // What waits is dropped.
  ~PooledChain();
  PooledChain(const PooledChain&) = delete;
  PooledChain& operator=(const PooledChain&) = delete;

  // n × 32 bytes, in order. `value_after`: gets the PCR after these, by the next value() at the latest; may be null.
  void extend(ByteVector digests, std::shared_ptr<Digest> value_after = nullptr);
  // After all that was given.
  Digest value();

 private:
  // Digests that came together.
  struct Piece {
    ByteVector digests;
    std::size_t done = 0;  // bytes of them that are extended
    std::shared_ptr<Digest> value_after;
  };
  // Lists, so that to take and to give back allocates nothing.
  using Pieces = std::list<Piece>;
  struct Lane {
    PooledChain* chain;
    Pieces pieces;
  };
  void settle(std::unique_lock<std::mutex>& lock);
  Lane take();
  void give_back(Pieces& left);
  static void extend_first(std::span<Lane> lanes);

  ChainPool& pool_;
  ChainPool::Chains self_;  // this one, while it isn't in the pool's list
  const ChainPool::Chains::iterator place_;
  // Guarded by the pool's mutex, but that a taken chain's value is of who took it.
  Digest value_;
  Pieces waiting_;
  std::size_t waiting_bytes_ = 0;
  bool listed_ = false, taken_ = false;
};

}  // namespace gatehouse::pipeline
