#include "base/key_agreement.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/secret.h"

namespace gatehouse {
namespace {

// Spec part 2 §3 with the key pairs of RFC 5903 §8.1.
TEST(KeyAgreement, MatchesTheWorkedExampleFromBothSides) {
  const auto i = KeyAgreement::from_private(DhGroup::ecp256, from_hex("C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433").value());
  const auto r = KeyAgreement::from_private(DhGroup::ecp256, from_hex("C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53").value());
  ASSERT_TRUE(i && r);
  EXPECT_EQ(to_hex(i->public_value()), "dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c37725811805271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3");
  const auto z = i->derive(r->public_value());
  ASSERT_TRUE(z);
  EXPECT_EQ(to_hex(*z), "d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de");
  EXPECT_EQ(r->derive(i->public_value()).value(), *z);
  const auto ni = from_hex("000102030405060708090a0b0c0d0e0f10111213").value(), nr = from_hex("808182838485868788898a8b8c8d8e8f90919293").value();
  EXPECT_EQ(secret_assessment_value(HashAlgorithm::sha256, ni, nr, *z).hex(), "b355031272b48ff16f3923de20d6eea3d2354af2fdb2d17f2716df4430123da0");
  EXPECT_EQ(secret_assessment_value(HashAlgorithm::sha384, ni, nr, *z).hex(),
            "a1f622330dfb60ab7e96138d23a59e7729acf2be8c8c283c4cbf4cb8a47efde908aabff7b3a49777e9a6ae4e277c28c2");
}

TEST(KeyAgreement, AgreesInEveryGroup) {
  for (const DhGroup group : {DhGroup::ecp256, DhGroup::ecp384, DhGroup::modp2048, DhGroup::modp1536, DhGroup::modp1024}) {
    const auto a = KeyAgreement::generate(group), b = KeyAgreement::generate(group);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->public_value().size(), public_value_size(group));
    EXPECT_EQ(a->derive(b->public_value()).value(), b->derive(a->public_value()).value());
    const auto fixed = KeyAgreement::from_private(group, ByteVector(32, std::byte{7}));
    ASSERT_TRUE(fixed);
    EXPECT_EQ(fixed->derive(a->public_value()).value(), a->derive(fixed->public_value()).value());
  }
}

TEST(KeyAgreement, RefusesValuesOutsideTheGroup) {
  const auto ec = KeyAgreement::generate(DhGroup::ecp256);
  auto off = ec->public_value();
  off.back() ^= std::byte{1};
  EXPECT_FALSE(ec->derive(off));
  EXPECT_FALSE(ec->derive(ByteVector(64)));
  EXPECT_FALSE(ec->derive(Bytes(off).first(63)));
  // A point, and the same with a coordinate that isn't reduced.
  const std::string y = "459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc";
  EXPECT_TRUE(ec->derive(from_hex("0000000000000000000000000000000000000000000000000000000000000005" + y).value()));
  EXPECT_FALSE(ec->derive(from_hex("ffffffff00000001000000000000000000000001000000000000000000000004" + y).value()));
  const auto modp = KeyAgreement::generate(DhGroup::modp2048);
  ByteVector value(256);
  EXPECT_FALSE(modp->derive(value));  // 0
  value.back() = std::byte{1};
  EXPECT_FALSE(modp->derive(value));  // 1
  EXPECT_FALSE(modp->derive(ByteVector(256, std::byte{0xFF})));
  // p - 1
  const auto p = from_hex("FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFE").value();
  EXPECT_FALSE(modp->derive(p));
  for (const DhGroup group : {DhGroup::modp1024, DhGroup::modp1536}) {
    const auto small = KeyAgreement::generate(group);
    ByteVector one(public_value_size(group));
    EXPECT_FALSE(small->derive(one)) << 0;
    one.back() = std::byte{1};
    EXPECT_FALSE(small->derive(one)) << 1;
    EXPECT_FALSE(small->derive(ByteVector(public_value_size(group), std::byte{0xFF})));
    EXPECT_FALSE(small->derive(modp->public_value())) << "another group's";
  }
}

}  // namespace
}  // namespace gatehouse
