#include "endpoint/tpm/on_demand.h"

#include <gtest/gtest.h>

#include "endpoint/tpm/software.h"

namespace gatehouse::endpoint {
namespace {

TEST(TpmOnDemand, IsOpenOnlyWhileItIsAskedAndKnowsItsKey) {
  std::shared_ptr<const SigningKey> key = *SigningKey::generate(KeyAlgorithm::ecc);
  const std::string first = key->key().pin();
  int opened = 0;
  bool there = true;
  const auto tpm = TpmOnDemand::make([&]() -> Result<std::unique_ptr<Tpm>> {
    if (!there) return fail(Fault::environment, "no TPM");
    ++opened;
    return std::make_unique<SoftwareTpm>(key);
  });
  ASSERT_TRUE(tpm);
  EXPECT_TRUE((*tpm)->held());
  EXPECT_TRUE((*tpm)->banks());
  EXPECT_EQ(opened, 1);
  (*tpm)->release();
  EXPECT_FALSE((*tpm)->held());
  EXPECT_EQ((*tpm)->ak().pin(), first) << "without opening it";
  EXPECT_EQ(opened, 1);
  EXPECT_TRUE((*tpm)->properties());
  EXPECT_TRUE((*tpm)->quote(ByteVector(20), HashAlgorithm::sha256, 1));
  EXPECT_EQ(opened, 2);
  (*tpm)->release();
  there = false;
  EXPECT_EQ((*tpm)->read_pcr(HashAlgorithm::sha256, 0).error().reason, "no TPM");
  there = true;
  key = *SigningKey::generate(KeyAlgorithm::ecc);
  EXPECT_EQ((*tpm)->quote(ByteVector(20), HashAlgorithm::sha256, 1).error().fault, Fault::environment);
  EXPECT_FALSE((*tpm)->held()) << "a quote by another key than was told isn't made";
}

}  // namespace
}  // namespace gatehouse::endpoint
