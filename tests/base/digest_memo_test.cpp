#include "base/digest_memo.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace gatehouse {
namespace {

TEST(DigestMemo, SaysTheDigestWhetherItCameBeforeOrNot) {
  DigestMemo memo;
  for (const std::size_t size : {0, 1, 511, 512, 513, 4096, 65'536, 100'001}) {
    const ByteVector content = random_bytes(size);
    const Digest digest = digest_of(HashAlgorithm::sha256, content);
    EXPECT_EQ(memo.sha256(content), digest) << size;
    EXPECT_EQ(memo.sha256(content), digest) << size;
  }
  EXPECT_EQ(memo.recognised(), 5U) << "short ones aren't worth it";
}

TEST(DigestMemo, OneBitIsAnotherContent) {
  DigestMemo memo;
  ByteVector content(2048, std::byte{7});
  (void)memo.sha256(content);
  for (std::size_t at = 0; at < content.size(); ++at) {
    content[at] ^= std::byte{1};
    EXPECT_EQ(memo.sha256(content), digest_of(HashAlgorithm::sha256, content)) << at;
    content[at] ^= std::byte{1};
  }
  content.push_back(std::byte{0});
  EXPECT_EQ(memo.sha256(content), digest_of(HashAlgorithm::sha256, content));
  EXPECT_EQ(memo.recognised(), 0U);
}

TEST(DigestMemo, ForgetsWhatDidntComeForLong) {
  DigestMemo memo(8);
  const ByteVector first = random_bytes(1000), kept = random_bytes(1000);
  (void)memo.sha256(first);
  (void)memo.sha256(kept);
  for (int i = 0; i < 20; ++i) {
    (void)memo.sha256(random_bytes(1000));
    (void)memo.sha256(kept);
  }
  const std::uint64_t before = memo.recognised();
  EXPECT_EQ(before, 20U);
  EXPECT_EQ(memo.sha256(first), digest_of(HashAlgorithm::sha256, first));
  EXPECT_EQ(memo.recognised(), before);
}

TEST(DigestMemo, ManyThreadsAsk) {
  DigestMemo memo(64);
  std::vector<ByteVector> contents;
  for (int i = 0; i < 16; ++i) contents.push_back(random_bytes(4096));
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        for (const ByteVector& content : contents) EXPECT_EQ(memo.sha256(content), digest_of(HashAlgorithm::sha256, content));
    });
  for (std::thread& one : threads) one.join();
  EXPECT_GT(memo.recognised(), 16U);
}

}  // namespace
}  // namespace gatehouse
