// What is accepted and refused of TPM structures, byte by byte (spec part 2 §4.1, §4.2, §5.3).
#include "base/file.h"
#include "tests/wire_tpm/support.h"

namespace gatehouse::testing {
namespace {

// A quote's parts, each of which may be wrong.
struct Parts {
  ByteVector signer = hex(example_signer), nonce = hex(example_nonce), selection = hex("00000001000b03ff4700"),
             digest = hex(example_digest);
  std::uint8_t safe = 1;
  ByteVector bytes() const {
    Writer clock;
    clock.put_zeros(16);
    clock.put(safe);
    return tpm::build_quote(signer, nonce, clock.view(), ByteVector(8), selection, digest);
  }
};
std::string refused(const Parts& parts) {
  const auto a = tpm::parse_attest(parts.bytes());
  return a ? "" : std::string(a.error().reason);
}
ByteVector selection(std::size_t count, std::size_t size = 3) {
  Writer w;
  w.put(std::uint32_t(count));
  for (std::size_t i = 0; i < count; ++i) {
    w.put(std::uint16_t(0x0100 + i));
    w.put(std::uint8_t(size));
    w.put_zeros(size);
  }
  return std::move(w).take();
}

TEST(Attest, Limits) {
  EXPECT_EQ(refused({}), "");
  for (const auto part : {&Parts::signer, &Parts::nonce, &Parts::digest}) {
    const std::size_t most = part == &Parts::digest ? 64 : 66;
    for (const std::size_t n : {std::size_t{0}, most - 1, most, most + 1}) {
      Parts p;
      p.*part = ByteVector(n);
      EXPECT_EQ(refused(p), n > most ? "sized buffer longer than its type allows" : "") << n;
    }
  }
  for (const std::size_t banks : {0U, 1U, 16U, 17U}) {
    Parts p;
    p.selection = selection(banks);
    EXPECT_EQ(refused(p), banks == 0 || banks == 17 ? "number of PCR banks outside 1 to 16" : "") << banks;
  }
  for (const std::size_t size : {0U, 1U, 4U, 5U}) {
    Parts p;
    p.selection = selection(1, size);
    EXPECT_EQ(refused(p), size == 5 ? "PCR selection longer than 4 bytes" : "") << size;
  }
  for (const unsigned safe : {0U, 1U, 2U, 255U}) {
    Parts p;
    p.safe = std::uint8_t(safe);
    EXPECT_EQ(refused(p), safe > 1 ? "clockInfo.safe is neither 0 nor 1" : "") << safe;
  }
}

TEST(Attest, EveryTruncationAndEveryTrailingByteIsRefused) {
  const ByteVector plain = hex(attest_hex), with_size = hex("0091" + attest_hex);
  for (const ByteVector& bytes : {plain, with_size}) {
    for (std::size_t n = 0; n < bytes.size(); ++n) {
      const auto cut = tpm::parse_attest(Bytes(bytes).first(n));
      ASSERT_FALSE(cut) << n;
      EXPECT_LE(cut.error().offset, n + 2) << n;
    }
    ByteVector longer = bytes;
    longer.push_back({});
    EXPECT_FALSE(tpm::parse_attest(longer));
  }
  // A size that isn't that of the rest.
  EXPECT_FALSE(tpm::parse_attest(hex("0090" + attest_hex)));
  EXPECT_FALSE(tpm::parse_attest(hex("0092" + attest_hex)));
}

TEST(Attest, EveryFlippedBitIsRefusedOrSeen) {
  ByteVector bytes = hex(attest_hex);
  const auto good = tpm::parse_attest(hex(attest_hex));
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= std::byte(1U << bit % 8);
    if (const auto a = tpm::parse_attest(bytes)) {
      EXPECT_EQ(to_vector(a->signed_bytes), bytes) << bit;
      // No bit is without meaning: whoever looks at the parts sees the change.
      Writer again, clock, firmware, selections;
      again.put(a->magic);
      again.put(a->type);
      clock.put(a->clock.clock);
      clock.put(a->clock.reset_count);
      clock.put(a->clock.restart_count);
      clock.put(a->clock.safe);
      firmware.put(a->firmware_version);
      tpm::append_selections(selections, a->selections);
      ByteVector built = tpm::build_quote(a->qualified_signer, a->extra_data, clock.view(), firmware.view(),
                                          selections.view(), a->pcr_digest);
      std::copy(again.view().begin(), again.view().end(), built.begin());
      EXPECT_EQ(built, bytes) << bit;
    } else {
      EXPECT_LE(a.error().offset, bytes.size()) << bit;
    }
    bytes[bit / 8] ^= std::byte(1U << bit % 8);
  }
}

TEST(Selections, RoundTrip) {
  const std::vector<tpm::PcrSelection> all{
      {0x0004, 3, 0x800001}, {0x000B, 4, 0xFF0000FF}, {0x000C, 1, 0x80}, {0x7777, 0, 0}};
  Writer w;
  tpm::append_selections(w, all);
  Reader r(w.view(), "test");
  const auto parsed = tpm::parse_selections(r);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(r.empty());
  EXPECT_EQ(*parsed, all);
}

tpm::Signature rsa(Bytes value, std::uint16_t scheme = tpm::alg_rsassa) {
  tpm::Signature out;
  out.algorithm = scheme;
  out.hash = 0x000B;
  out.rsa = value;
  return out;
}
tpm::Signature ecdsa(Bytes r, Bytes s) {
  tpm::Signature out;
  out.algorithm = tpm::alg_ecdsa;
  out.hash = 0x000B;
  out.r = r;
  out.s = s;
  return out;
}

TEST(Signature, RoundTripsUpToItsLimits) {
  const ByteVector long_rsa(1024, std::byte{7}), too_long_rsa(1025), long_ecc(66, std::byte{9}), too_long_ecc(67),
      one(1);
  for (const tpm::Signature& s : {rsa({}), rsa(one), rsa(long_rsa), rsa(long_rsa, tpm::alg_rsapss), ecdsa({}, {}),
                                  ecdsa(one, long_ecc), ecdsa(long_ecc, one)}) {
    Writer w;
    tpm::append_signature(w, s);
    const auto parsed = tpm::parse_signature(w.view());
    ASSERT_TRUE(parsed) << parsed.error().text();
    EXPECT_EQ(parsed->algorithm, s.algorithm);
    EXPECT_TRUE(equal(parsed->rsa, s.rsa) && equal(parsed->r, s.r) && equal(parsed->s, s.s));
  }
  for (const tpm::Signature& s : {rsa(too_long_rsa), ecdsa(too_long_ecc, one), ecdsa(one, too_long_ecc)}) {
    Writer w;
    tpm::append_signature(w, s);
    EXPECT_EQ(tpm::parse_signature(w.view()).error().reason, "sized buffer longer than its type allows");
  }
  for (const unsigned scheme : {0x0000U, 0x0005U, 0x0010U, 0x0017U, 0x001AU, 0x001BU, 0xFFFFU}) {
    Writer w;
    tpm::append_signature(w, rsa(one, std::uint16_t(scheme)));
    EXPECT_EQ(tpm::parse_signature(w.view()).error().reason, "unsupported signature algorithm") << scheme;
  }
}

TEST(Signature, EveryTruncationIsRefusedAndEveryFlippedBitSeen) {
  Writer w;
  const ByteVector value(256, std::byte{3});
  tpm::append_signature(w, rsa(value));
  for (ByteVector bytes : {hex(signature_hex), to_vector(w.view())}) {
    for (std::size_t n = 0; n < bytes.size(); ++n) EXPECT_FALSE(tpm::parse_signature(Bytes(bytes).first(n))) << n;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= std::byte(1U << bit % 8);
      if (const auto s = tpm::parse_signature(bytes)) {
        Writer again;
        tpm::append_signature(again, *s);
        EXPECT_EQ(to_vector(again.view()), bytes) << bit;
      }
      bytes[bit / 8] ^= std::byte(1U << bit % 8);
    }
    bytes.push_back({});
    EXPECT_FALSE(tpm::parse_signature(bytes));
  }
}

TEST(Public, EveryTruncationIsRefused) {
  for (const std::string type : {"rsa", "ecc"}) {
    const auto bytes = read_file(GATEHOUSE_TEST_DATA "/interop/keys/" + type + "/ak.tpm2b_public", 4096);
    ASSERT_TRUE(bytes);
    for (std::size_t n = 0; n < bytes->size(); ++n) EXPECT_FALSE(tpm::parse_public(Bytes(*bytes).first(n))) << n;
    for (std::size_t n = 2; n < bytes->size(); ++n)
      EXPECT_FALSE(tpm::parse_public(Bytes(*bytes).subspan(2, n - 2))) << n;
    ByteVector longer = *bytes;
    longer.push_back({});
    EXPECT_FALSE(tpm::parse_public(longer));
  }
}

TEST(Public, EveryFlippedBitIsAnotherNameOrRefused) {
  for (const std::string type : {"rsa", "ecc"}) {
    auto file = read_file(GATEHOUSE_TEST_DATA "/interop/keys/" + type + "/ak.tpm2b_public", 4096);
    ASSERT_TRUE(file);
    ByteVector bytes = to_vector(Bytes(*file).subspan(2));
    const ByteVector name = tpm::parse_public(bytes)->name;
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      bytes[bit / 8] ^= std::byte(1U << bit % 8);
      const auto key = tpm::parse_public(bytes);
      EXPECT_TRUE(!key || key->name != name) << bit;
      refused += !key;
      bytes[bit / 8] ^= std::byte(1U << bit % 8);
    }
    // A point with one bit changed isn't on its curve.
    if (type == "ecc") {
      EXPECT_GE(refused, 512U);
    }
  }
}

TEST(Public, OtherKindsOfKeys) {
  const auto reason = [](std::string bytes) {
    const auto key = tpm::parse_public(hex(bytes));
    return key ? "" : std::string(key.error().reason);
  };
  std::string key = public_hex;
  EXPECT_EQ(reason(key), "");
  EXPECT_EQ(reason("0008" + key.substr(4)), "key type is neither RSA nor ECC");
  EXPECT_EQ(reason(key.substr(0, 4) + "9999" + key.substr(8)), "unknown name algorithm");
  const std::size_t curve = std::size_t{2} * 16;
  EXPECT_EQ(key.substr(curve, 4), "0003");
  for (const std::string other : {"0000", "0001", "0002", "0010", "0020"})
    EXPECT_EQ(reason(key.substr(0, curve) + other + key.substr(curve + 4)), "unsupported curve") << other;
  // A point of P-256 isn't one of P-384.
  EXPECT_NE(reason(key.substr(0, curve) + "0004" + key.substr(curve + 4)), "");
  // A storage key: AES-128-CFB, no scheme. Read here, judged by its attributes elsewhere.
  const std::string storage =
      "0023000b"
      "00030072"
      "0000"
      "000600800043"
      "0010"
      "00030010" +
      key.substr(curve + 8);
  EXPECT_EQ(reason(storage), "");
  EXPECT_EQ(tpm::parse_public(hex(storage))->scheme, 0x0010);
  EXPECT_EQ(reason("0023000b"
                   "00030072"
                   "0000"
                   "999900800043"
                   "0010"
                   "00030010" +
                   key.substr(curve + 8)),
            "unknown symmetric algorithm");
}

}  // namespace
}  // namespace gatehouse::testing
