// Every kernel that this CPU has against OpenSSL, for chains of any number and length.
#include "base/sha256_chains.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/hash.h"

namespace gatehouse {
namespace {

struct Chains {
  std::vector<ByteVector> values, digests, expected;
  std::vector<Sha256Chain> all;

  Chains(const std::vector<std::size_t>& lengths, std::mt19937& random) {
    const auto bytes = [&](std::size_t n) {
      ByteVector out(n);
      for (std::byte& b : out) b = std::byte(random());
      return out;
    };
    for (const std::size_t length : lengths) {
      values.push_back(bytes(sha256_size));
      digests.push_back(bytes(length * sha256_size));
      ByteVector value = values.back();
      for (std::size_t n = 0; n < length; ++n) {
        ByteVector both = value;
        const Bytes digest = Bytes(digests.back()).subspan(n * sha256_size, sha256_size);
        both.insert(both.end(), digest.begin(), digest.end());
        value = to_vector(digest_of(HashAlgorithm::sha256, both).view());
      }
      expected.push_back(std::move(value));
    }
    for (std::size_t c = 0; c < lengths.size(); ++c) all.push_back({values[c].data(), digests[c]});
  }
};

TEST(Sha256Chains, EveryKernelGivesTheSameBytes) {
  std::mt19937 random(1);
  ASSERT_GE(sha256_kernels().size(), 1U);
  for (const Sha256Kernel& kernel : sha256_kernels())
    for (std::size_t count = 1; count <= kernel.width; ++count)
      for (const std::size_t length : {1U, 2U, 3U, 37U}) {
        Chains chains(std::vector<std::size_t>(count, length + 5), random);
        kernel.advance(chains.all.data(), count, length);
        for (const Sha256Chain& one : chains.all) ASSERT_EQ(one.digests.size(), 5 * sha256_size) << kernel.name;
        kernel.advance(chains.all.data(), count, 5);
        ASSERT_EQ(chains.values, chains.expected) << kernel.name << ", " << count << " chains of " << length;
      }
}

TEST(Sha256Chains, AnyNumberOfAnyLength) {
  std::mt19937 random(2);
  for (int n = 0; n < 300; ++n) {
    std::vector<std::size_t> lengths(std::uniform_int_distribution<std::size_t>(0, 50)(random));
    const std::size_t most = std::size_t(1) << std::uniform_int_distribution<int>(0, 6)(random);
    for (std::size_t& length : lengths) length = std::uniform_int_distribution<std::size_t>(0, most)(random);
    Chains chains(lengths, random);
    extend_chains(chains.all);
    ASSERT_EQ(chains.values, chains.expected) << "case " << n << ", " << lengths.size() << " chains up to " << most;
  }
}

TEST(Sha256Chains, WidestKernelOnlyForAsManyChainsAsItNeeds) {
  for (std::size_t chains = 1; chains < 40; ++chains) {
    const Sha256Kernel& kernel = sha256_kernel_for(chains);
    EXPECT_GE(kernel.width, sha256_kernel_for(chains - (chains > 1 ? 1 : 0)).width) << chains;
    EXPECT_TRUE(std::any_of(sha256_kernels().begin(), sha256_kernels().end(), [&](const Sha256Kernel& k) { return k.name == kernel.name; }));
  }
  EXPECT_EQ(sha256_kernel_for(1).width, 1U);
}

}  // namespace
}  // namespace gatehouse
