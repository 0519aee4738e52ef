// security.ima as a list carries it (spec part 2 §7.8).
#include "wire/ima/signature.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace gatehouse::testing {
namespace {

// The worked example's, of an EC-P256 key.
const ByteVector example = from_hex(
                               "0302047523dd35004730450220504438a3c670b37901a551faaef690ed47bcbecdddc339b69c07e5e26e763"
                               "a4e022100d5964174c6d4c4b86901dad3"
                               "e099f04d84c4b5c94f654e8ec3a3cc77f452371b")
                               .value();

TEST(ImaSignature, TheWorkedExampleIsReadToItsValues) {
  const auto s = ima::parse_signature(example);
  ASSERT_TRUE(s);
  EXPECT_FALSE(s->verity);
  EXPECT_EQ(s->hash, HashAlgorithm::sha256);
  EXPECT_EQ(s->key_id, 0x7523dd35U);
  EXPECT_EQ(s->value.size(), 71U);
  Writer w;
  ima::append_signature(w, *s);
  EXPECT_EQ(to_hex(w.view()), to_hex(example));
}

TEST(ImaSignature, OtherTypesVersionsAndSizesAreNone) {
  const auto changed = [](std::size_t at, std::uint8_t value) {
    ByteVector bytes = example;
    bytes[at] = std::byte(value);
    return ima::parse_signature(bytes);
  };
  for (std::size_t n = 0; n < example.size(); ++n) EXPECT_FALSE(ima::parse_signature(Bytes(example).first(n))) << n;
  ByteVector longer = example;
  longer.push_back({});
  EXPECT_EQ(ima::parse_signature(longer).error().reason, "signature size contradicts the field's");
  EXPECT_EQ(ima::parse_signature(longer).error().offset, 7U);
  for (const int type : {0, 1, 2, 4, 5, 6, 7}) EXPECT_FALSE(changed(0, std::uint8_t(type))) << type;
  for (const int version : {0, 1, 3}) EXPECT_FALSE(changed(1, std::uint8_t(version))) << version;
  EXPECT_EQ(changed(2, 6)->hash, HashAlgorithm::sha512);
  EXPECT_EQ(changed(2, 1)->hash, std::nullopt);
  ByteVector verity = example;
  verity[0] = std::byte{6};
  verity[1] = std::byte{3};
  EXPECT_TRUE(ima::parse_signature(verity)->verity);
  EXPECT_EQ(to_hex(ima::verity_file_id(HashAlgorithm::sha384, ByteVector(2, std::byte{7}))), "06050707");
}

}  // namespace
}  // namespace gatehouse::testing
