#include "base/known_keys.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <thread>
#include <vector>

#include "base/der.h"

namespace gatehouse {
namespace {

ByteVector spki_of(EVP_PKEY* key) {
  const Owned<EVP_PKEY, EVP_PKEY_free> owned(key);
  return encoded<EVP_PKEY>(key, &i2d_PUBKEY);
}
ByteVector ec_key() { return spki_of(EVP_EC_gen("P-256")); }

TEST(KnownKeys, AreThoseThatCameBefore) {
  KnownKeys keys;
  const ByteVector rsa = spki_of(EVP_RSA_gen(2048)), ec = ec_key();
  for (const ByteVector& der : {rsa, ec, rsa, ec}) {
    const auto key = keys.from_spki(der);
    const auto built = PublicKey::from_spki(der);
    ASSERT_TRUE(key && built);
    EXPECT_EQ(key->spki(), der);
    EXPECT_EQ(key->pin(), built->pin());
    EXPECT_EQ(key->type(), built->type());
  }
  EXPECT_EQ(keys.recognised(), 2U);
}

TEST(KnownKeys, OneBitIsAnotherKey) {
  KnownKeys keys;
  ByteVector der = spki_of(EVP_RSA_gen(2048));
  const auto key = keys.from_spki(der);
  ASSERT_TRUE(key);
  for (std::size_t bit = 0; bit < 8 * der.size(); bit += 7) {
    der[bit / 8] ^= std::byte(1U << bit % 8);
    const auto changed = keys.from_spki(der);
    const auto built = PublicKey::from_spki(der);
    ASSERT_EQ(changed.has_value(), built.has_value()) << bit;
    if (changed) {
      EXPECT_EQ(changed->pin(), built->pin()) << bit;
    } else {
      EXPECT_EQ(changed.error().reason, built.error().reason) << bit;
    }
    der[bit / 8] ^= std::byte(1U << bit % 8);
  }
  EXPECT_EQ(keys.recognised(), 0U);
}

TEST(KnownKeys, WhatIsNoKeyIsNotKept) {
  KnownKeys keys;
  ByteVector longer = ec_key();
  longer.push_back(std::byte{0});
  for (const ByteVector& der : {ByteVector(), ByteVector(100, std::byte{0x30}), longer})
    for (int n = 0; n < 2; ++n) EXPECT_FALSE(keys.from_spki(der));
  EXPECT_EQ(keys.recognised(), 0U);
}

TEST(KnownKeys, ForgetThoseThatDidntComeForLong) {
  KnownKeys keys(8);
  const ByteVector first = ec_key(), kept = ec_key();
  ASSERT_TRUE(keys.from_spki(first) && keys.from_spki(kept));
  for (int n = 0; n < 20; ++n) ASSERT_TRUE(keys.from_spki(ec_key()) && keys.from_spki(kept));
  EXPECT_EQ(keys.recognised(), 20U);
  ASSERT_TRUE(keys.from_spki(first));
  EXPECT_EQ(keys.recognised(), 20U);
}

TEST(KnownKeys, FromManyThreads) {
  KnownKeys keys(8);
  std::vector<ByteVector> ders;
  for (int n = 0; n < 12; ++n) ders.push_back(ec_key());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t n = 0; n < 200; ++n) {
        const ByteVector& der = ders[(n * (t + 1)) % ders.size()];
        const auto key = keys.from_spki(der);
        EXPECT_TRUE(key && key->spki() == der);
      }
    });
  for (std::thread& one : threads) one.join();
}

}  // namespace
}  // namespace gatehouse
