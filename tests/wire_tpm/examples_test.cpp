// The worked examples of spec part 2 §11.2, §11.4 and §11.5, byte for byte: the quote, the attributes that carry it,
// the key that signed it.
#include "tests/wire_tpm/support.h"
#include "wire/pts/pts.h"

namespace gatehouse::testing {
namespace {

template <class Parse>
auto parsed(Parse parse, Bytes bytes) {
  Reader r(bytes, "test");
  return parse(r);
}
template <class Append, class Value>
std::string written(Append append, const Value& value) {
  Writer w;
  append(w, value);
  return to_hex(w.view());
}

TEST(TpmExamples, TheQuote) {
  const ByteVector bytes = hex(attest_hex);
  ASSERT_EQ(bytes.size(), 145U);
  const auto a = tpm::parse_attest(bytes);
  ASSERT_TRUE(a) << a.error().text();
  EXPECT_EQ(a->magic, tpm::generated_value);
  EXPECT_EQ(a->type, tpm::st_attest_quote);
  EXPECT_EQ(to_hex(a->qualified_signer), example_signer);
  EXPECT_EQ(to_hex(a->extra_data), example_nonce);
  EXPECT_EQ(a->clock.clock, 0x47063U);
  EXPECT_EQ(a->clock.reset_count, 2U);
  EXPECT_EQ(a->clock.restart_count, 0U);
  EXPECT_EQ(a->clock.safe, 1U);
  EXPECT_EQ(a->firmware_version, 0x2019102300163636U);
  EXPECT_EQ(a->selections, (std::vector<tpm::PcrSelection>{{0x000B, 3, 0x47FF}}));
  EXPECT_EQ(to_hex(a->pcr_digest), example_digest);
  EXPECT_EQ(to_vector(a->signed_bytes), bytes);

  const ByteVector with_size = hex("0091" + attest_hex);  // TPM2B_ATTEST
  const auto b = tpm::parse_attest(with_size);
  ASSERT_TRUE(b) << b.error().text();
  EXPECT_EQ(to_vector(b->signed_bytes), bytes);
}

TEST(TpmExamples, ItsCompositeIsThatOfThePcrs) {
  Hasher sha256(HashAlgorithm::sha256);
  ByteVector values, aggregate;
  for (const int pcr : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14}) {
    Digest value = Digest::filled(32, std::byte{0});
    sha256.extend(value, sha256(as_bytes("pcr" + std::to_string(pcr))).view());
    if (pcr == 0) {
      EXPECT_EQ(value.hex(), "c2b73611c7fcb8c0581e0096a2694bf89bf5c5b9d226335325661541e17d370b");
    }
    if (pcr == 14) {
      EXPECT_EQ(value.hex(), "77b6d8947c4eeb05a8d02fef9642cd279303ab643a8ac6db3056aeec7a4051eb");
    }
    values.insert(values.end(), value.view().begin(), value.view().end());
    if (pcr < 10) aggregate.insert(aggregate.end(), value.view().begin(), value.view().end());
  }
  EXPECT_EQ(sha256(values).hex(), example_digest);
  EXPECT_EQ(sha256(aggregate).hex(), "54fc8ea625e9c63fc993e0ff2e2d4b06ac6cabf9143a1edf32e68bb6e7ddf31f");
}

TEST(TpmExamples, ItsSignatureByItsKey) {
  const ByteVector bytes = hex(signature_hex);
  ASSERT_EQ(bytes.size(), 72U);
  const auto s = tpm::parse_signature(bytes);
  ASSERT_TRUE(s) << s.error().text();
  EXPECT_EQ(s->algorithm, tpm::alg_ecdsa);
  EXPECT_EQ(s->hash, 0x000B);
  EXPECT_EQ(to_hex(s->r), example_r);
  EXPECT_EQ(to_hex(s->s), example_s);
  EXPECT_EQ(written(tpm::append_signature, *s), signature_hex);

  const auto key = tpm::parse_public(hex("0058" + public_hex));
  ASSERT_TRUE(key) << key.error().text();
  EXPECT_TRUE(key->key.verify(SignatureScheme::ecdsa, HashAlgorithm::sha256, hex(attest_hex), ecdsa_der(s->r, s->s)));
}

TEST(TpmExamples, TheKey) {
  for (const std::string& bytes : {"0058" + public_hex, public_hex}) {
    const auto key = tpm::parse_public(hex(bytes));
    ASSERT_TRUE(key) << key.error().text();
    EXPECT_EQ(key->name_algorithm, 0x000B);
    EXPECT_EQ(key->attributes, tpm::fixed_tpm | tpm::fixed_parent | tpm::sensitive_data_origin | tpm::user_with_auth |
                                   tpm::restricted | tpm::sign);
    EXPECT_EQ(key->scheme, 0x0018);
    EXPECT_EQ(to_hex(key->name), "000b134302847cb48d0f1a54b2cfce96a78edf6813dcc009264f21a2f761b921187e");
    EXPECT_EQ(to_hex(key->key.spki()), "3059301306072a8648ce3d020106082a8648ce3d03010703420004" +
                                           std::string(example_x) + std::string(example_y));
    EXPECT_EQ(key->key.key_id(), "6e7f1a9e0d4d024ea41da69c95ca5da3d829634f");
  }
}

TEST(TpmExamples, TheQuoteRebuiltFromItsAttribute) {
  const std::string value =
      "10004000"
      "00000020" +
      std::string(example_digest) + "0022" + std::string(example_signer) +
      "0011"
      "0000000000047063000000020000000001"
      "0008"
      "2019102300163636"
      "000a"
      "00000001000b03ff4700"
      "00000040" +
      std::string(example_r) + std::string(example_s);
  const ByteVector bytes = hex(value);
  ASSERT_EQ(bytes.size(), 185U);
  const auto f = parsed(pts::parse_simple_evidence_final, bytes);
  ASSERT_TRUE(f) << f.error().text();
  EXPECT_TRUE(f->has_quote);
  EXPECT_EQ(f->hash, 0x4000);
  EXPECT_EQ(written(pts::append_simple_evidence_final, *f), value);
  EXPECT_EQ(to_hex(tpm::build_quote(f->qualified_signer, hex(example_nonce), f->clock_info, f->firmware_version,
                                    f->selection, f->pcr_digest)),
            attest_hex);
}

TEST(PtsExamples, ComponentRequests) {
  const std::string value =
      "1000000000902a2100000003"
      "1000000000902a2200000003";
  const ByteVector bytes = hex(value);
  const auto requests = parsed(pts::parse_component_requests, bytes);
  ASSERT_TRUE(requests) << requests.error().text();
  ASSERT_EQ(requests->size(), 2U);
  EXPECT_EQ((*requests)[0].flags, pts::request_pcr);
  EXPECT_EQ((*requests)[0].component, pts::component_boot);
  EXPECT_EQ((*requests)[1].component, pts::component_ima);
  EXPECT_EQ(written(pts::append_component_requests, *requests), value);
}

TEST(PtsExamples, TpmVersion) {
  const std::string value = "020000030000008a000007e253544d20";
  const ByteVector bytes = hex(value);
  const auto version = parsed(pts::parse_tpm_version, bytes);
  ASSERT_TRUE(version) << version.error().text();
  EXPECT_EQ(version->locality, 3U);
  EXPECT_EQ(version->revision, 138U);
  EXPECT_EQ(version->year, 2018U);
  EXPECT_EQ(version->vendor, 0x53544D20U);  // "STM "
  EXPECT_EQ(written(pts::append_tpm_version, *version), value);
}

TEST(PtsExamples, Symlinks) {
  const std::string value =
      "00000002"
      "0004"
      "2f6c6962"
      "0008"
      "2f7573722f6c6962"
      "0004"
      "2f62696e"
      "0008"
      "2f7573722f62696e";
  const ByteVector bytes = hex(value);
  const auto links = parsed(pts::parse_symlinks, bytes);
  ASSERT_TRUE(links) << links.error().text();
  ASSERT_EQ(links->size(), 2U);
  EXPECT_EQ((*links)[0].link, "/lib");
  EXPECT_EQ((*links)[0].target, "/usr/lib");
  EXPECT_EQ((*links)[1].link, "/bin");
  EXPECT_EQ((*links)[1].target, "/usr/bin");
  EXPECT_EQ(written(pts::append_symlinks, *links), value);
}

TEST(PtsExamples, EvidenceOfFirmwareAndOfAFile) {
  const std::string time = "323032362d31312d32335431383a30313a32315a";
  const std::string boot =
      "0000000000902a2100000003"
      "80000000"
      "40000100" +
      time + "953ea0ab883f0319dd1e5905323e4d9ce553ce407316c5e448f47a450c7b8ce4";
  const std::string file =
      "6000000000902a2200000003"
      "8000000a"
      "40000100" +
      time +
      "001b7368613235363a2f7573722f62696e2f68656c6c6f5f776f726c64"
      "b227dca3ac0d9d7d8a425957ef2fc97b427ea3eb53e9f9846f44eeb085d2927e";
  const ByteVector boot_bytes = hex(boot), file_bytes = hex(file);
  ASSERT_EQ(boot_bytes.size(), 72U);
  ASSERT_EQ(file_bytes.size(), 101U);
  const auto b = parsed(pts::parse_simple_component_evidence, boot_bytes);
  ASSERT_TRUE(b) << b.error().text();
  EXPECT_EQ(b->component, pts::component_boot);
  EXPECT_EQ(b->pcr, 0U);
  EXPECT_EQ(b->time, "2026-11-23T18:01:21Z");
  EXPECT_EQ(written(pts::append_simple_component_evidence, *b), boot);
  const auto f = parsed(pts::parse_simple_component_evidence, file_bytes);
  ASSERT_TRUE(f) << f.error().text();
  EXPECT_EQ(f->component, pts::component_ima);
  EXPECT_EQ(f->pcr, 10U);
  EXPECT_EQ(f->validation, pts::Validation::passed);
  const auto name = pts::parse_ima_uri(f->policy_uri);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->algorithm, "sha256");
  EXPECT_EQ(name->name, "/usr/bin/hello_world");
  EXPECT_EQ(written(pts::append_simple_component_evidence, *f), file);

  // Behind another one with the same head, what differs is the same; everything else is read in full.
  const auto alike = pts::parse_alike_evidence(file_bytes, file_bytes);
  ASSERT_TRUE(alike);
  EXPECT_EQ(alike->policy_uri, f->policy_uri);
  EXPECT_TRUE(equal(alike->measurement, f->measurement));
  EXPECT_FALSE(pts::parse_alike_evidence(boot_bytes, boot_bytes)) << "it has no policy URI";
  EXPECT_FALSE(pts::parse_alike_evidence(file_bytes, {}));
  for (std::size_t i = 0; i < pts::evidence_head; ++i) {
    ByteVector other = file_bytes;
    other[i] ^= std::byte{1};
    EXPECT_FALSE(pts::parse_alike_evidence(other, file_bytes)) << "byte " << i;
  }
  for (std::size_t size = 0; size < pts::evidence_head + 2 + f->policy_uri.size(); ++size)
    EXPECT_FALSE(pts::parse_alike_evidence(Bytes(file_bytes).first(size), file_bytes)) << size << " bytes";
  ByteVector with_pcrs = file_bytes, without_name = file_bytes;
  with_pcrs[0] |= std::byte{0x80};
  EXPECT_FALSE(pts::parse_alike_evidence(with_pcrs, with_pcrs));
  without_name[41] = {};
  EXPECT_FALSE(pts::parse_alike_evidence(without_name, file_bytes));
}

TEST(PtsExamples, TheKeyAsAnAttribute) {
  const auto key = tpm::parse_public(hex(public_hex));
  ASSERT_TRUE(key);
  const std::string value = "80" + to_hex(key->key.spki());
  const ByteVector bytes = hex(value);
  ASSERT_EQ(bytes.size(), 92U);
  const auto aik = parsed(pts::parse_aik, bytes);
  ASSERT_TRUE(aik) << aik.error().text();
  EXPECT_TRUE(aik->naked);
  EXPECT_EQ(written(pts::append_aik, *aik), value);
}

}  // namespace
}  // namespace gatehouse::testing
