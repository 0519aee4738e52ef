#include "base/hash.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/hmac_sha256.h"

namespace gatehouse {
namespace {

TEST(Hash, MatchesFips180Vectors) {
  EXPECT_EQ(digest_of(HashAlgorithm::sha1, as_bytes("abc")).hex(), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest_of(HashAlgorithm::sha256, as_bytes("abc")).hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest_of(HashAlgorithm::sha384, {}).hex(),
            "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b");
}

// Spec part 2 §6.2: one separator on zero.
TEST(Hash, ExtendsASeparator) {
  for (const auto& [algorithm, expected] :
       {std::pair{HashAlgorithm::sha1, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"},
        std::pair{HashAlgorithm::sha256, "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"}}) {
    Hasher hasher(algorithm);
    Digest pcr = Digest::filled(digest_size(algorithm), std::byte{0});
    hasher.extend(pcr, hasher(from_hex("00000000").value()).view());
    EXPECT_EQ(pcr.hex(), expected);
  }
}

// As the TPM does it, however often, and whatever else the hasher is used for between.
TEST(Hash, ExtensionIsTheDigestOfBoth) {
  for (const HashAlgorithm algorithm : {HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384}) {
    Hasher hasher(algorithm), other(algorithm);
    Digest pcr = Digest::filled(digest_size(algorithm), std::byte{0xff}), expected = pcr;
    for (int i = 0; i < 100; ++i) {
      const Digest one = other(as_bytes(std::to_string(i)));
      // Firmware of a bank that a log has nothing for extends less.
      const Bytes extended = i % 7 == 0 ? one.view().first(std::size_t(i) % one.size) : one.view();
      const Bytes both[] = {expected.view(), extended};
      expected = other(both);
      hasher.extend(pcr, extended);
      ASSERT_EQ(pcr, expected) << i;
      ASSERT_EQ(hasher(extended), other(extended));
    }
  }
}

TEST(Hash, PiecesEqualTheWhole) {
  Hasher hasher(HashAlgorithm::sha512);
  const Bytes pieces[] = {as_bytes("ab"), as_bytes(""), as_bytes("c")};
  EXPECT_EQ(hasher(pieces), hasher(as_bytes("abc")));
}

TEST(Hash, NamesAndIdentifiersAgree) {
  for (const std::string_view text : {"sha1", "sha256", "sha384", "sha512", "sm3_256", "sha3_256", "sha3_384", "sha3_512"}) {
    const auto algorithm = hash_algorithm(text);
    ASSERT_TRUE(algorithm) << text;
    EXPECT_EQ(name(*algorithm), text);
    EXPECT_EQ(hash_algorithm(std::uint16_t(*algorithm)), algorithm);
    EXPECT_EQ(digest_of(*algorithm, {}).size, digest_size(*algorithm));
  }
  EXPECT_FALSE(hash_algorithm("SHA256"));
  EXPECT_FALSE(hash_algorithm(std::uint16_t{0x7777}));
}

TEST(Hash, ConstantTimeComparisonComparesLengthAndContent) {
  EXPECT_TRUE(equal_constant_time(as_bytes("abc"), as_bytes("abc")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("abd")));
  EXPECT_FALSE(equal_constant_time(as_bytes("abc"), as_bytes("ab")));
}

// RFC 4231 test case 2.
TEST(Hash, HmacMatchesRfc4231) {
  EXPECT_EQ(hmac(HashAlgorithm::sha256, as_bytes("Jefe"), as_bytes("what do ya want for nothing?")).hex(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

}  // namespace
// RFC 4231 sections 4.2, 4.3, 4.7; and what the general one makes of keys and messages around a block's size.
TEST(HmacSha256, AsInTheRfcAndAsHmac) {
  const ByteVector b(20, std::byte{0x0b}), aa(131, std::byte{0xaa});
  EXPECT_EQ(to_hex(HmacSha256(b)({as_bytes("Hi There")})), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(to_hex(HmacSha256(as_bytes("Jefe"))({as_bytes("what do ya want "), as_bytes("for nothing?")})),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(to_hex(HmacSha256(aa)({as_bytes("Test Using Larger Than Block-Size Key - Hash Key First")})),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  for (const std::size_t size : {1, 2, 55, 56, 63, 64, 65, 119, 120, 128, 1000})
    for (const std::size_t key : {1, 63, 64, 65, 200}) {
      const ByteVector k(key, std::byte{7}), m(size, std::byte{9});
      const HmacSha256 keyed(k);
      EXPECT_EQ(to_hex(keyed({m})), hmac(HashAlgorithm::sha256, k, m).hex()) << key << ", " << size;
      EXPECT_EQ(to_hex(keyed({Bytes(m).first(size / 2), Bytes(m).subspan(size / 2)})), to_hex(keyed({m})));
    }
}

}  // namespace gatehouse
