// The real TPM commands, against swtpm: provisioning, PCRs, quotes, and a whole conversation with them.
#include "endpoint/tpm/esys.h"

#include <tss2/tss2_esys.h>
#include <tss2/tss2_tctildr.h>

#include "base/hex.h"
#include "swtpm.h"
#include "tests/endpoint_client/harness.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint::test {
namespace {

const std::string log_file = interop + "evidence/base/binary_bios_measurements";
const std::string list_file = interop + "evidence/base/binary_runtime_measurements";

class EsysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Swtpm::installed()) GTEST_SKIP() << "swtpm isn't installed: nothing was tested";
    swtpm.emplace();
  }
  // As firmware and kernel do.
  void boot(const std::string& list = list_file) {
    const Ran extended = run(std::string(GATEHOUSE_TPM_EXTEND) + " --json --tcti " + swtpm->tcti() + " --swtpm-ctrl " + swtpm->control_path() +
                             " --startup-locality 3 --eventlog " + log_file + " --ima " + list);
    ASSERT_EQ(extended.code, 0) << extended.out;
    EXPECT_EQ(extended.out, "{\"events\": 136, \"entries\": 1733}\n");
  }
  std::optional<Swtpm> swtpm;
};

TEST_F(EsysTest, extended_log_and_list_are_in_the_pcrs_of_every_bank) {
  boot();
  ASSERT_TRUE(provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc}));
  const auto tpm = open_tpm(swtpm->tcti(), default_ak_handle);
  ASSERT_TRUE(tpm) << tpm.error().text();
  SoftwareTpm expected(signing_key(KeyAlgorithm::ecc));
  expected.startup(3);
  ASSERT_TRUE(expected.extend_event_log(file(log_file)));
  ASSERT_TRUE(expected.extend_ima_list(file(list_file)));
  EXPECT_EQ(*(*tpm)->banks(), (std::vector<HashAlgorithm>{HashAlgorithm::sha1, HashAlgorithm::sha256, HashAlgorithm::sha384, HashAlgorithm::sha512}));
  for (const HashAlgorithm bank : common_banks)
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
      const auto value = (*tpm)->read_pcr(bank, pcr);
      ASSERT_TRUE(value) << value.error().text();
      EXPECT_EQ(value->hex(), expected.read_pcr(bank, pcr)->hex()) << name(bank) << " PCR " << pcr;
    }
  const auto properties = (*tpm)->properties();
  ASSERT_TRUE(properties);
  EXPECT_EQ(properties->manufacturer, 0x49424D00U);  // "IBM"
  EXPECT_GE(properties->revision, 138U);
  EXPECT_GE(properties->year, 2016U);
}

TEST_F(EsysTest, startup_at_a_locality_needs_a_tpm_that_was_not_started) {
  boot();
  const Ran again = run(std::string(GATEHOUSE_TPM_EXTEND) + " --tcti " + swtpm->tcti() + " --startup-locality 3");
  EXPECT_EQ(again.code, 4);
  EXPECT_NE(again.out.find("was started before"), std::string::npos) << again.out;
}

TEST_F(EsysTest, quotes_of_every_kind_of_key_verify) {
  boot();
  struct Row {
    KeyAlgorithm algorithm;
    SignatureScheme scheme;
    Hierarchy hierarchy;
  };
  std::uint32_t handle = 0x81010100;
  for (const Row& row : {Row{KeyAlgorithm::rsassa, SignatureScheme::rsassa, Hierarchy::owner}, Row{KeyAlgorithm::rsapss, SignatureScheme::rsapss, Hierarchy::owner},
                         Row{KeyAlgorithm::ecc, SignatureScheme::ecdsa, Hierarchy::owner}, Row{KeyAlgorithm::ecc, SignatureScheme::ecdsa, Hierarchy::endorsement}}) {
    const auto key = provision(swtpm->tcti(), {.algorithm = row.algorithm, .handle = ++handle, .hierarchy = row.hierarchy});
    ASSERT_TRUE(key) << key.error().text();
    EXPECT_TRUE(key->made);
    const auto area = tpm::parse_public(key->tpm2b_public);
    ASSERT_TRUE(area) << area.error().text();
    EXPECT_EQ(area->key.pin(), key->key.pin());
    EXPECT_EQ(to_hex(area->name), to_hex(key->name));
    EXPECT_EQ(area->attributes & 0x00050032U, 0x00050032U);  // spec part 2 §5.3
    EXPECT_EQ(area->attributes & tpm::decrypt, 0U);

    const auto opened = open_tpm(swtpm->tcti(), handle);
    ASSERT_TRUE(opened) << opened.error().text();
    EXPECT_EQ((*opened)->ak().key_id(), key->key.key_id());
    const auto sized = to_hex((*opened)->public_area());
    EXPECT_EQ(to_hex(Bytes(key->tpm2b_public).subspan(2)), sized);
    for (const HashAlgorithm bank : {HashAlgorithm::sha256, HashAlgorithm::sha384}) {
      const ByteVector nonce = random_bytes(digest_size(bank));
      const std::uint32_t pcrs = 0x47FF;
      const auto quote = (*opened)->quote(nonce, bank, pcrs);
      ASSERT_TRUE(quote) << quote.error().text();
      const auto attest = tpm::parse_attest(quote->attest);
      const auto signature = tpm::parse_signature(quote->signature);
      ASSERT_TRUE(attest && signature);
      EXPECT_EQ(attest->magic, tpm::generated_value);
      EXPECT_EQ(attest->type, tpm::st_attest_quote);
      EXPECT_TRUE(equal(attest->extra_data, nonce));
      EXPECT_TRUE(equal(attest->qualified_signer, key->qualified_name));
      ASSERT_EQ(attest->selections.size(), 1U);
      EXPECT_EQ(attest->selections[0], (tpm::PcrSelection{std::uint16_t(bank), 3, pcrs}));
      Writer composite;
      for (std::uint32_t pcr = 0; pcr < 24; ++pcr)
        if ((pcrs >> pcr & 1) != 0) composite.put_bytes((*opened)->read_pcr(bank, pcr)->view());
      EXPECT_TRUE(equal(attest->pcr_digest, digest_of(HashAlgorithm::sha256, composite.view()).view()));
      const ByteVector bytes = row.algorithm == KeyAlgorithm::ecc ? ecdsa_der(signature->r, signature->s) : to_vector(signature->rsa);
      EXPECT_TRUE(key->key.verify(row.scheme, HashAlgorithm::sha256, quote->attest, bytes));
      ByteVector other = quote->attest;
      other[50] ^= std::byte{1};
      EXPECT_FALSE(key->key.verify(row.scheme, HashAlgorithm::sha256, other, bytes));
    }
    const auto too_long = (*opened)->quote(ByteVector(100), HashAlgorithm::sha256, 1);
    ASSERT_FALSE(too_long);
  }
}

TEST_F(EsysTest, provisioning_again_shows_the_key_and_replacing_makes_another) {
  boot();
  const auto first = provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc});
  const auto again = provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::rsassa});
  ASSERT_TRUE(first && again);
  EXPECT_TRUE(first->made);
  EXPECT_FALSE(again->made);
  EXPECT_EQ(first->key.pin(), again->key.pin());
  const auto other = provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc, .replace = true});
  ASSERT_TRUE(other);
  EXPECT_TRUE(other->made);
  EXPECT_NE(other->key.pin(), first->key.pin());
  // Nothing transient is left behind: a TPM without resource manager has room for three.
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc, .replace = true}));
}

TEST_F(EsysTest, what_is_no_attestation_key_is_refused) {
  boot();
  {
    TSS2_TCTI_CONTEXT* tcti = nullptr;
    ESYS_CONTEXT* esys = nullptr;
    ASSERT_EQ(Tss2_TctiLdr_Initialize(swtpm->tcti().c_str(), &tcti), TSS2_RC_SUCCESS);
    ASSERT_EQ(Esys_Initialize(&esys, tcti, nullptr), TSS2_RC_SUCCESS);
    // A signing key that isn't restricted: it would sign a made-up TPMS_ATTEST.
    TPM2B_PUBLIC area{};
    area.publicArea.type = TPM2_ALG_ECC;
    area.publicArea.nameAlg = TPM2_ALG_SHA256;
    area.publicArea.objectAttributes =
        TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT;
    area.publicArea.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
    area.publicArea.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
    area.publicArea.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    area.publicArea.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
    area.publicArea.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
    const TPM2B_SENSITIVE_CREATE sensitive{};
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION pcrs{};
    ESYS_TR made = ESYS_TR_NONE, stored = ESYS_TR_NONE;
    ASSERT_EQ(Esys_CreatePrimary(esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &area, &outside, &pcrs, &made, nullptr, nullptr,
                                 nullptr, nullptr),
              TSS2_RC_SUCCESS);
    ASSERT_EQ(Esys_EvictControl(esys, ESYS_TR_RH_OWNER, made, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, default_ak_handle, &stored), TSS2_RC_SUCCESS);
    Esys_FlushContext(esys, made);
    Esys_Finalize(&esys);
    Tss2_TctiLdr_Finalize(&tcti);
  }
  const auto opened = open_tpm(swtpm->tcti(), default_ak_handle);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "what is at this handle isn't an attestation key");
  const auto shown = provision(swtpm->tcti(), {});
  ASSERT_FALSE(shown);
  EXPECT_EQ(shown.error().reason, "what is at this handle isn't an attestation key");
  EXPECT_TRUE(provision(swtpm->tcti(), {.algorithm = KeyAlgorithm::ecc, .replace = true}));
}

TEST_F(EsysTest, missing_keys_and_tpms_are_named) {
  boot();
  const auto no_key = open_tpm(swtpm->tcti(), 0x81010077);
  ASSERT_FALSE(no_key);
  EXPECT_EQ(no_key.error().fault, Fault::environment);
  const auto no_tpm = open_tpm("swtpm:path=/nonexistent/tpm", default_ak_handle);
  ASSERT_FALSE(no_tpm);
  EXPECT_EQ(no_tpm.error().fault, Fault::environment);
  EXPECT_EQ(no_tpm.error().source, "swtpm:path=/nonexistent/tpm");
  const auto bad_handle = provision(swtpm->tcti(), {.handle = 0x40000001});
  ASSERT_FALSE(bad_handle);
  EXPECT_EQ(bad_handle.error().fault, Fault::usage);
}

// A recorded server asks, the TPM answers: its quote is over the PCR values of the recording.
TEST_F(EsysTest, whole_conversation_with_a_recorded_server) {
  boot();
  ASSERT_TRUE(provision(swtpm->tcti(), {}));
  const auto opened = open_tpm(swtpm->tcti(), default_ak_handle);
  ASSERT_TRUE(opened);
  SpyTpm tpm(**opened);
  FileEvidence evidence(log_file, list_file);
  OsImc os(read_os_info());
  AttestationImc attestation({.strongest = HashAlgorithm::sha256}, tpm, evidence);
  Session session({}, {&os, &attestation});
  Server server(session);
  server.negotiate();
  std::vector<std::string> batches;
  for (const auto& entry : std::filesystem::directory_iterator(interop + "sasl-rsa/batches"))
    if (entry.path().filename().string().find("s2c") != std::string::npos) batches.push_back(entry.path());
  std::sort(batches.begin(), batches.end());
  for (const std::string& batch : batches) server.send_batch(file(batch));
  ASSERT_FALSE(session.error()) << session.error()->text();
  EXPECT_EQ(session.outcome()->recommendation, Recommendation::allow);
  EXPECT_TRUE(attestation.warnings().empty());
  ASSERT_EQ(tpm.quotes.size(), 1U);
  // "pcr_composite_digest" of sasl-rsa/facts.json
  EXPECT_EQ(to_hex(tpm::parse_attest(tpm.quotes[0].attest)->pcr_digest), "90d66091d561d559a695ef1edbf41cb6ef2b88afc7c1f36bc530dac6cc880db5");
}

TEST_F(EsysTest, program_provisions_and_writes_the_key) {
  boot();
  const std::string program = std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " provision --tcti " + swtpm->tcti();
  const std::string pem = swtpm->folder() + "/ak.pem", tpm2b = swtpm->folder() + "/ak.tpm2b";
  const Ran made = run(program + " --algorithm ecc --json --pem " + pem + " --tpm2b " + tpm2b);
  ASSERT_EQ(made.code, 0) << made.out;
  const auto key = PublicKey::from_pem(as_text(file(pem)));
  ASSERT_TRUE(key);
  EXPECT_NE(made.out.find("\"key_id\": \"" + key->key_id() + "\", \"handle\": \"0x81010002\", \"type\": \"ecc\""), std::string::npos) << made.out;
  EXPECT_NE(made.out.find("\"made\": true"), std::string::npos);
  EXPECT_EQ(std::count(made.out.begin(), made.out.end(), '\n'), 1);  // one object, one line
  EXPECT_EQ(tpm::parse_public(file(tpm2b))->key.pin(), key->pin());
  const Ran shown = run(program);
  EXPECT_EQ(shown.code, 0);
  EXPECT_NE(shown.out.find(key->key_id()), std::string::npos) << shown.out;
  EXPECT_EQ(run(program + " --handle 0x40000001").code, 2);
  EXPECT_EQ(run(program + " --handle nonsense").code, 2);
  EXPECT_EQ(run(program + " --algorithm dsa").code, 2);
  EXPECT_EQ(run(program + " --pem /nonexistent/ak.pem").code, 4);
  EXPECT_EQ(run(std::string(GATEHOUSE_ENDPOINT_PROGRAM) + " provision --tcti swtpm:path=/nonexistent").code, 4);
}

}  // namespace
}  // namespace gatehouse::endpoint::test
