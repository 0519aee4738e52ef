// Credential activation: what base/tpm_credential.h seals against swtpm's TPM2_ActivateCredential, and against a key of
// OpenSSL for the kinds of EK that swtpm isn't asked for.
#include "endpoint/tpm/activation.h"

#include "base/hex.h"
#include "endpoint/tpm/esys.h"
#include "software_ek.h"
#include "swtpm.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint::test {
namespace {

const std::string secret_text = "0123456789abcdef0123456789abcdef";

TEST(TpmCredential, EveryKindOfKeyGivesTheSecretBackForItsNameAlone) {
  struct Row {
    const char* kind;
    EkShape shape;
  };
  const EkShape larger{.name_algorithm = HashAlgorithm::sha384, .aes_bits = 256};
  for (const Row& row : {Row{"RSA2048", {}}, Row{"RSA3072", larger}, Row{"P-256", {}}, Row{"P-384", larger}}) {
    const SoftwareEk ek(row.kind, row.shape), other(row.kind, row.shape);
    const ByteVector name = random_bytes(34), other_name = random_bytes(34);
    auto sealed = make_tpm_credential(ek.credential_key(), name, as_bytes(secret_text));
    ASSERT_TRUE(sealed) << sealed.error().text();
    const auto opened = ek.activate(name, sealed->id_object, sealed->encrypted_secret);
    ASSERT_TRUE(opened) << row.kind;
    EXPECT_TRUE(opened->equals(as_bytes(secret_text)));
    EXPECT_FALSE(ek.activate(other_name, sealed->id_object, sealed->encrypted_secret));
    EXPECT_FALSE(other.activate(name, sealed->id_object, sealed->encrypted_secret));
    sealed->id_object.back() ^= std::byte{1};
    EXPECT_FALSE(ek.activate(name, sealed->id_object, sealed->encrypted_secret));
  }
}

TEST(TpmCredential, OnlyTheTemplatesOfTheProfileAreSealedFor) {
  const SoftwareEk ek("P-256");
  const auto reason = [&](HashAlgorithm hash, unsigned bits) {
    const auto made = make_tpm_credential({ek.key(), hash, bits}, random_bytes(34), as_bytes(secret_text));
    return made ? std::string() : std::string(made.error().reason);
  };
  EXPECT_EQ(reason(HashAlgorithm::sha256, 128), "");
  for (const auto& [hash, bits] : {std::pair{HashAlgorithm::sha1, 128U}, {HashAlgorithm::sha256, 256U}, {HashAlgorithm::sha384, 128U}, {HashAlgorithm::sha256, 0U}})
    EXPECT_EQ(reason(hash, bits), "the EK's name algorithm and AES key aren't those of a TCG template");
  const SoftwareEk weak("RSA1024");
  EXPECT_FALSE(make_tpm_credential(weak.credential_key(), random_bytes(34), as_bytes(secret_text)));
  EXPECT_FALSE(make_tpm_credential(ek.credential_key(), random_bytes(34), {}));
  EXPECT_FALSE(make_tpm_credential(ek.credential_key(), random_bytes(34), random_bytes(33)));
}

TEST(EndorsementArea, WhatIsntAnEndorsementKeyIsNamed) {
  const auto why = [](const EkShape& shape) {
    const auto area = tpm::parse_public(SoftwareEk("P-256", shape).public_area());
    EXPECT_TRUE(area);
    return tpm::no_endorsement_key(*area).value_or("");
  };
  EkShape shape;
  EXPECT_EQ(why(shape), "");
  for (const std::uint32_t bit : {tpm::fixed_tpm, tpm::fixed_parent, tpm::sensitive_data_origin}) {
    shape = {};
    shape.attributes &= ~bit;
    EXPECT_EQ(why(shape), "the EK isn't bound to its TPM (fixedTPM, fixedParent, sensitiveDataOrigin)");
  }
  for (const std::uint32_t bit : {tpm::restricted, tpm::decrypt}) {
    shape = {};
    shape.attributes &= ~bit;
    EXPECT_EQ(why(shape), "the EK isn't a restricted decryption key");
  }
  shape = {.mode = 0x0042};  // CBC
  EXPECT_EQ(why(shape), "the EK's symmetric algorithm isn't AES in CFB mode");
}

class Activation : public ::testing::TestWithParam<EkAlgorithm> {
 protected:
  void SetUp() override {
    if (!Swtpm::installed()) GTEST_SKIP() << "swtpm isn't installed: nothing was tested";
    swtpm.emplace();
    const Ran started = run(std::string(GATEHOUSE_TPM_EXTEND) + " --tcti " + swtpm->tcti() + " --swtpm-ctrl " + swtpm->control_path() + " --startup-locality 0");
    ASSERT_EQ(started.code, 0) << started.out;
  }
  std::optional<Swtpm> swtpm;
};

TEST_P(Activation, ARealTpmGivesTheSecretAwayForItsOwnKeyOnly) {
  ASSERT_TRUE(provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc}));
  const auto tpm = open_activator(swtpm->tcti(), default_ak_handle, GetParam());
  ASSERT_TRUE(tpm) << tpm.error().text();
  const auto ek = tpm::parse_public((*tpm)->endorsement().public_area), ak = tpm::parse_public((*tpm)->ak_public());
  ASSERT_TRUE(ek && ak);
  EXPECT_EQ(tpm::no_endorsement_key(*ek), std::nullopt);
  EXPECT_EQ(tpm::no_attestation_key(*ak), std::nullopt);
  EXPECT_NE(tpm::no_attestation_key(*ek), std::nullopt);
  EXPECT_NE(tpm::no_endorsement_key(*ak), std::nullopt);
  EXPECT_EQ(ek->key.type(), GetParam() == EkAlgorithm::ecc ? KeyType::ecc_p256 : KeyType::rsa);
  EXPECT_EQ(ek->symmetric.key_bits, 128);
  const CredentialKey key{ek->key, HashAlgorithm::sha256, ek->symmetric.key_bits};
  for (int round = 0; round < 3; ++round) {
    const auto sealed = make_tpm_credential(key, ak->name, as_bytes(secret_text));
    ASSERT_TRUE(sealed);
    const auto opened = (*tpm)->activate(sealed->id_object, sealed->encrypted_secret);
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_TRUE(opened->equals(as_bytes(secret_text)));
  }
  const auto of_another_key = make_tpm_credential(key, random_bytes(34), as_bytes(secret_text));
  EXPECT_FALSE((*tpm)->activate(of_another_key->id_object, of_another_key->encrypted_secret));
  const SoftwareEk stranger(GetParam() == EkAlgorithm::ecc ? "P-256" : "RSA2048");
  const auto for_another_tpm = make_tpm_credential(stranger.credential_key(), ak->name, as_bytes(secret_text));
  EXPECT_FALSE((*tpm)->activate(for_another_tpm->id_object, for_another_tpm->encrypted_secret));
  EXPECT_FALSE((*tpm)->activate(ByteVector(5'000), ByteVector(5'000)));
  EXPECT_TRUE((*tpm)->endorsement().certificate.empty());
}
INSTANTIATE_TEST_SUITE_P(Eks, Activation, ::testing::Values(EkAlgorithm::automatic, EkAlgorithm::rsa, EkAlgorithm::ecc),
                         [](const auto& param) { return param.param == EkAlgorithm::ecc ? "Ecc" : param.param == EkAlgorithm::rsa ? "Rsa" : "Automatic"; });

}  // namespace
}  // namespace gatehouse::endpoint::test
