#include "pipeline/replay/chain_pool.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/sha256_chains.h"

namespace gatehouse::pipeline {

std::size_t ChainPool::waiting() {
  const std::lock_guard lock(mutex_);
  return listed_.size();
}

PooledChain::PooledChain(ChainPool& pool, const Digest& initial) : pool_(pool), self_{this}, place_(self_.begin()), value_(initial) {
  GH_ASSERT(initial.size == sha256_size);
}

PooledChain::~PooledChain() {
  std::unique_lock lock(pool_.mutex_);
  pool_.returned_.wait(lock, [this] { return !taken_; });
  if (listed_) pool_.listed_.erase(place_);
}

void PooledChain::extend(ByteVector digests, std::shared_ptr<Digest> value_after) {
  GH_ASSERT(digests.size() % sha256_size == 0);
  Pieces piece;
  piece.push_back({std::move(digests), 0, std::move(value_after)});
  std::unique_lock lock(pool_.mutex_);
  waiting_bytes_ += piece.front().digests.size();
  waiting_.splice(waiting_.end(), piece);
  if (!taken_ && !listed_) {
    pool_.listed_.splice(pool_.listed_.end(), self_);
    listed_ = true;
  }
  if (waiting_bytes_ > ChainPool::most_waiting || (listed_ && pool_.listed_.size() >= ChainPool::company)) settle(lock);
}

Digest PooledChain::value() {
  std::unique_lock lock(pool_.mutex_);
  settle(lock);
  return value_;
}

void PooledChain::settle(std::unique_lock<std::mutex>& lock) {
  for (;;) {
    pool_.returned_.wait(lock, [this] { return !taken_; });
    if (waiting_.empty()) return;
    std::array<Lane, ChainPool::company> lanes;
    std::size_t count = 0;
    lanes[count++] = take();
    while (count < ChainPool::company && !pool_.listed_.empty()) lanes[count++] = pool_.listed_.front()->take();
    lock.unlock();
    extend_first(std::span(lanes).first(count));
    lock.lock();
    for (std::size_t i = 0; i < count; ++i) lanes[i].chain->give_back(lanes[i].pieces);
    pool_.returned_.notify_all();
  }
}

// What waits, for who extends it; with the lock.
PooledChain::Lane PooledChain::take() {
  if (listed_) self_.splice(self_.end(), pool_.listed_, place_);
  listed_ = false;
  taken_ = true;
  Lane out{this, {}};
  out.pieces.swap(waiting_);
  waiting_bytes_ = 0;
  return out;
}

// What is left of it goes before what came meanwhile; with the lock.
void PooledChain::give_back(Pieces& left) {
  taken_ = false;
  for (const Piece& piece : left) waiting_bytes_ += piece.digests.size() - piece.done;
  waiting_.splice(waiting_.begin(), left);
  if (waiting_.empty()) return;
  pool_.listed_.splice(pool_.listed_.end(), self_);
  listed_ = true;
}

// To the end of the first lane's, or so far that the others, whose sessions may ask for them, aren't kept for long; and of the
// others' as far as that takes them.
void PooledChain::extend_first(std::span<Lane> lanes) {
  const auto left = [](const Lane& lane) { return lane.pieces.front().digests.size() - lane.pieces.front().done; };
  const auto drop_done = [&](Lane& lane) {
    while (!lane.pieces.empty() && left(lane) == 0) {
      if (const auto& after = lane.pieces.front().value_after) *after = lane.chain->value_;
      lane.pieces.pop_front();
    }
  };
  std::array<Lane*, ChainPool::company> going;
  std::size_t count = 0;
  for (Lane& lane : lanes) {
    drop_done(lane);
    if (!lane.pieces.empty()) going[count++] = &lane;
  }
  std::size_t room = ChainPool::most_waiting;
  while (room != 0 && count != 0 && going[0] == &lanes.front()) {
    const Sha256Kernel& kernel = sha256_kernel_for(count);
    const std::size_t width = std::min(kernel.width, count);
    // Who has the most to go keeps the first one company longest.
    if (width < count)
      std::partial_sort(going.begin() + 1, going.begin() + std::ptrdiff_t(width), going.begin() + std::ptrdiff_t(count),
                        [&](const Lane* a, const Lane* b) { return left(*a) > left(*b); });
    std::size_t bytes = std::min(room, left(*going[0]));
    for (std::size_t i = 1; i < width; ++i) bytes = std::min(bytes, left(*going[i]));
    std::array<Sha256Chain, ChainPool::company> chains;
    for (std::size_t i = 0; i < width; ++i) {
      const Piece& piece = going[i]->pieces.front();
      chains[i] = {going[i]->chain->value_.bytes.data(), Bytes(piece.digests).subspan(piece.done)};
    }
    kernel.advance(chains.data(), width, bytes / sha256_size);
    room -= bytes;
    for (std::size_t i = 0; i < width; ++i) {
      going[i]->pieces.front().done += bytes;
      drop_done(*going[i]);
    }
    const auto end = std::remove_if(going.begin(), going.begin() + std::ptrdiff_t(count), [](const Lane* lane) { return lane->pieces.empty(); });
    count = std::size_t(end - going.begin());
  }
}

}  // namespace gatehouse::pipeline
