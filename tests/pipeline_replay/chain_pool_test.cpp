// Chains of many sessions, extended side by side.
#include "pipeline/replay/chain_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "base/sha256_chains.h"
#include "pipeline/replay/replay.h"

namespace gatehouse::pipeline {
namespace {

constexpr HashAlgorithm bank = HashAlgorithm::sha256;
constexpr std::uint32_t pcr = 10;

// A session: digests in pieces, and the PCR after each.
struct Sample {
  std::vector<ByteVector> pieces;
  std::vector<Digest> after;

  Sample(unsigned seed, std::size_t most_pieces, std::size_t most_digests) {
    std::mt19937 random(seed);
    pieces.resize(random() % (most_pieces + 1));
    Hasher hasher(bank);
    Digest value = initial_pcr(bank, pcr, 0);
    for (ByteVector& piece : pieces) {
      piece.resize(random() % (most_digests + 1) * sha256_size);
      for (std::byte& b : piece) b = std::byte(random());
      for (std::size_t at = 0; at < piece.size(); at += sha256_size) {
        // By its definition, not by the kernels.
        const Bytes parts[] = {value.view(), Bytes(piece).subspan(at, sha256_size)};
        value = hasher(parts);
      }
      after.push_back(value);
    }
  }
  Digest last() const { return after.empty() ? initial_pcr(bank, pcr, 0) : after.back(); }
};

struct Running {
  Running(ChainPool& pool, const Sample& s) : sample(s), chain(pool, initial_pcr(bank, pcr, 0)) {}
  bool step() {
    if (told.size() == sample.pieces.size()) return false;
    told.push_back(std::make_shared<Digest>());
    chain.extend(sample.pieces[told.size() - 1], told.back());
    return true;
  }
  void expect_all() {
    EXPECT_EQ(chain.value(), sample.last());
    for (std::size_t i = 0; i < told.size(); ++i) EXPECT_EQ(*told[i], sample.after[i]) << "piece " << i;
  }
  const Sample& sample;
  PooledChain chain;
  std::vector<std::shared_ptr<Digest>> told;
};

TEST(ChainPool, AValueIsTheSameWhoeverElseIsThere) {
  for (const std::size_t count : {1U, 2U, 3U, 8U, 15U, 16U, 17U, 40U}) {
    std::vector<Sample> samples;
    for (std::size_t i = 0; i < count; ++i) samples.emplace_back(unsigned(100 * count + i), 12, 300);
    ChainPool pool;
    std::list<Running> all;
    for (const Sample& sample : samples) all.emplace_back(pool, sample);
    for (bool more = true; more;) {
      more = false;
      for (Running& one : all) more |= one.step();
    }
    for (Running& one : all) one.expect_all();
  }
}

// More at once than others are taken along for.
TEST(ChainPool, APieceMayBeOfAnyLength) {
  const Sample large(1, 9, 5000), beside(7, 40, 100);
  ASSERT_TRUE(std::ranges::any_of(large.pieces, [](const ByteVector& piece) { return piece.size() > 2 * ChainPool::most_waiting; }));
  ChainPool pool;
  Running one(pool, large), other(pool, beside);
  while (other.step()) {}
  while (one.step()) {}
  one.expect_all();
  other.expect_all();
}

TEST(ChainPool, AValueCanBeAskedForAtAnyTime) {
  const Sample sample(1, 40, 100), beside(2, 40, 100);
  ChainPool pool;
  Running one(pool, sample), other(pool, beside);
  EXPECT_EQ(one.chain.value(), initial_pcr(bank, pcr, 0));
  for (std::size_t i = 0; one.step(); ++i) {
    other.step();
    if (i % 3 == 0) {
      EXPECT_EQ(one.chain.value(), sample.after[i]);
    }
  }
  one.expect_all();
}

TEST(ChainPool, AChainThatIsAbandonedLeavesTheOthersAlone) {
  const Sample sample(3, 20, 100), gone(4, 20, 100);
  ChainPool pool;
  Running one(pool, sample);
  {
    Running other(pool, gone);
    while (other.step()) {}
    one.step();
  }
  while (one.step()) {}
  one.expect_all();
}

// Of however many sessions that stop half way, few keep digests.
TEST(ChainPool, FewHaveAnythingWaiting) {
  const Sample sample(5, 20, 100);
  ChainPool pool;
  std::list<Running> all;
  for (int n = 0; n < 100; ++n) {
    all.emplace_back(pool, sample).step();
    EXPECT_LT(pool.waiting(), ChainPool::company);
  }
  for (Running& one : all)
    while (one.step()) EXPECT_LT(pool.waiting(), ChainPool::company);
  for (Running& one : all) one.expect_all();
  EXPECT_EQ(pool.waiting(), 0U);
}

TEST(ChainPool, SessionsOnManyThreads) {
  ChainPool pool;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 8; ++t)
    threads.emplace_back([&pool, t] {
      for (unsigned n = 0; n < 60; ++n) {
        const Sample sample(1000 * t + n, 6, 260);
        Running one(pool, sample);
        while (one.step()) {}
        if (n % 5 != 0) one.expect_all();  // else it is abandoned
      }
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace gatehouse::pipeline
