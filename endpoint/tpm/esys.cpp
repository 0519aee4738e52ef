#include "endpoint/tpm/esys.h"

#include <tss2/tss2_mu.h>

#include <cstring>
#include <utility>

#include "endpoint/tpm/esys_context.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {
namespace {

using namespace esys;

constexpr std::uint32_t first_persistent = 0x81000000, last_persistent = 0x817FFFFF;  // the owner's range

struct Described {
  tpm::Public parsed;
  Provisioned key;
};

// The key's public area; only that of an attestation key is taken (spec part 2 §5.3).
Result<Described> describe(ESYS_CONTEXT* esys, ESYS_TR object, std::uint32_t handle) {
  TPM2B_PUBLIC* raw = nullptr;
  TPM2B_NAME* raw_name = nullptr;
  TPM2B_NAME* raw_qualified = nullptr;
  GH_TPM("can't read the key",
         Esys_ReadPublic(esys, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw, &raw_name, &raw_qualified));
  const Owned<TPM2B_PUBLIC> area(raw);
  const Owned<TPM2B_NAME> name(raw_name), qualified(raw_qualified);
  ByteVector marshalled(sizeof(TPM2B_PUBLIC));
  std::size_t size = 0;
  GH_TPM("can't marshal the public area",
         Tss2_MU_TPM2B_PUBLIC_Marshal(area.get(), reinterpret_cast<std::uint8_t*>(marshalled.data()), marshalled.size(),
                                      &size));
  marshalled.resize(size);
  const auto refuse = [](std::string detail) {
    return fail(Error{Fault::environment, "what is at this handle isn't an attestation key", "spec part 2 5.3", 0,
                      "TPM", std::move(detail)});
  };
  auto parsed = tpm::parse_public(marshalled);
  if (!parsed) return refuse(std::string(parsed.error().reason));
  constexpr std::uint32_t needed =
      tpm::fixed_tpm | tpm::fixed_parent | tpm::sensitive_data_origin | tpm::restricted | tpm::sign;
  constexpr std::uint16_t null_scheme = 0x0010;
  if ((parsed->attributes & needed) != needed || (parsed->attributes & tpm::decrypt) != 0 ||
      parsed->scheme == null_scheme)
    return refuse("it must be a restricted signing key with fixedTPM, fixedParent, sensitiveDataOrigin and a scheme");
  Provisioned key{parsed->key,
                  std::move(marshalled),
                  to_vector(bytes_of(name->name, name->size)),
                  to_vector(bytes_of(qualified->name, qualified->size)),
                  handle,
                  false};
  return Described{*std::move(parsed), std::move(key)};
}

class EsysTpm final : public Tpm {
 public:
  EsysTpm(Context context, ESYS_TR ak, PublicKey key, ByteVector public_area)
      : context_(std::move(context)), ak_(ak), key_(std::move(key)), public_area_(std::move(public_area)) {}
  ~EsysTpm() override { Esys_TR_Close(context_.get(), &ak_); }

  const PublicKey& ak() const override { return key_; }
  ByteVector public_area() const override { return public_area_; }

  Result<TpmProperties> properties() override {
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* raw = nullptr;
    GH_TPM("can't read its properties", Esys_GetCapability(context_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                           TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FIXED, 32, &more, &raw));
    const Owned<TPMS_CAPABILITY_DATA> found(raw);
    TpmProperties out;
    for (std::uint32_t i = 0; i < found->data.tpmProperties.count; ++i) {
      const TPMS_TAGGED_PROPERTY& p = found->data.tpmProperties.tpmProperty[i];
      if (p.property == TPM2_PT_REVISION) out.revision = p.value;
      if (p.property == TPM2_PT_YEAR) out.year = p.value;
      if (p.property == TPM2_PT_MANUFACTURER) out.manufacturer = p.value;
    }
    return out;
  }

  Result<std::vector<HashAlgorithm>> banks() override {
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* raw = nullptr;
    GH_TPM("can't read its PCR banks", Esys_GetCapability(context_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                          TPM2_CAP_PCRS, 0, 1, &more, &raw));
    const Owned<TPMS_CAPABILITY_DATA> found(raw);
    std::vector<HashAlgorithm> out;
    for (std::uint32_t i = 0; i < found->data.assignedPCR.count; ++i) {
      const TPMS_PCR_SELECTION& s = found->data.assignedPCR.pcrSelections[i];
      const auto bank = hash_algorithm(std::uint16_t(s.hash));
      if (bank && !all_of_value(bytes_of(s.pcrSelect, s.sizeofSelect), std::byte{0})) out.push_back(*bank);
    }
    return out;
  }

  Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) override {
    const TPML_PCR_SELECTION selection = select(bank, 1U << pcr);
    TPML_DIGEST* raw = nullptr;
    GH_TPM("TPM2_PCR_Read failed",
           Esys_PCR_Read(context_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &selection, nullptr, nullptr, &raw));
    const Owned<TPML_DIGEST> values(raw);
    if (values->count != 1 || values->digests[0].size != digest_size(bank))
      return fail(Error{Fault::environment,
                        "the PCR isn't allocated in this bank",
                        {},
                        0,
                        "TPM",
                        std::string(name(bank)) + " PCR " + std::to_string(pcr)});
    return Digest(bytes_of(values->digests[0].buffer, values->digests[0].size));
  }

  Result<Quote> quote(Bytes qualifying_data, HashAlgorithm bank, std::uint32_t pcrs) override {
    TPM2B_DATA data{};
    if (qualifying_data.size() > sizeof data.buffer)
      return fail(Fault::limit, "qualifying data longer than a TPM takes", "TPM 2.0 Part 2, TPM2B_DATA");
    data.size = std::uint16_t(qualifying_data.size());
    std::memcpy(data.buffer, qualifying_data.data(), qualifying_data.size());
    TPMT_SIG_SCHEME scheme{};
    scheme.scheme = TPM2_ALG_NULL;  // the key's own (spec part 2 §4.7)
    const TPML_PCR_SELECTION selection = select(bank, pcrs);
    TPM2B_ATTEST* raw = nullptr;
    TPMT_SIGNATURE* raw_signature = nullptr;
    GH_TPM("TPM2_Quote failed", Esys_Quote(context_.get(), ak_, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &data,
                                           &scheme, &selection, &raw, &raw_signature));
    const Owned<TPM2B_ATTEST> attest(raw);
    const Owned<TPMT_SIGNATURE> signature(raw_signature);
    Quote out{to_vector(bytes_of(attest->attestationData, attest->size)), ByteVector(sizeof(TPMT_SIGNATURE))};
    std::size_t size = 0;
    GH_TPM("can't marshal the signature",
           Tss2_MU_TPMT_SIGNATURE_Marshal(signature.get(), reinterpret_cast<std::uint8_t*>(out.signature.data()),
                                          out.signature.size(), &size));
    out.signature.resize(size);
    return out;
  }

 private:
  static TPML_PCR_SELECTION select(HashAlgorithm bank, std::uint32_t pcrs) {
    TPML_PCR_SELECTION selection{};
    selection.count = 1;
    selection.pcrSelections[0].hash = TPM2_ALG_ID(bank);
    selection.pcrSelections[0].sizeofSelect = 3;
    for (unsigned i = 0; i < 3; ++i) selection.pcrSelections[0].pcrSelect[i] = std::uint8_t(pcrs >> (8 * i));
    return selection;
  }
  Context context_;
  ESYS_TR ak_;
  PublicKey key_;
  ByteVector public_area_;
};

constexpr TPMA_OBJECT of_this_tpm = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                                    TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED;

TPM2B_PUBLIC ak_template(KeyAlgorithm algorithm) {
  TPM2B_PUBLIC t{};
  TPMT_PUBLIC& p = t.publicArea;
  p.nameAlg = TPM2_ALG_SHA256;
  p.objectAttributes = of_this_tpm | TPMA_OBJECT_SIGN_ENCRYPT;
  if (algorithm == KeyAlgorithm::ecc) {
    p.type = TPM2_ALG_ECC;
    TPMS_ECC_PARMS& ecc = p.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = TPM2_ALG_ECDSA;
    ecc.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    ecc.curveID = TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
  } else {
    p.type = TPM2_ALG_RSA;
    TPMS_RSA_PARMS& rsa = p.parameters.rsaDetail;
    rsa.symmetric.algorithm = TPM2_ALG_NULL;
    if (algorithm == KeyAlgorithm::rsassa) {
      rsa.scheme.scheme = TPM2_ALG_RSASSA;
      rsa.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256;
    } else {
      rsa.scheme.scheme = TPM2_ALG_RSAPSS;
      rsa.scheme.details.rsapss.hashAlg = TPM2_ALG_SHA256;
    }
    rsa.keyBits = 2048;
  }
  return t;
}

// A storage key: the same one each time in the same hierarchy, as its seed decides.
TPM2B_PUBLIC primary_template() {
  TPM2B_PUBLIC t{};
  TPMT_PUBLIC& p = t.publicArea;
  p.type = TPM2_ALG_ECC;
  p.nameAlg = TPM2_ALG_SHA256;
  p.objectAttributes = of_this_tpm | TPMA_OBJECT_DECRYPT;
  TPMS_ECC_PARMS& ecc = p.parameters.eccDetail;
  protect_with_aes128(ecc);
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  return t;
}

Result<void> evict(ESYS_CONTEXT* esys, ESYS_TR object, std::uint32_t handle, ESYS_TR* stored) {
  GH_TPM("TPM2_EvictControl failed", Esys_EvictControl(esys, ESYS_TR_RH_OWNER, object, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                                       ESYS_TR_NONE, handle, stored));
  return {};
}

}  // namespace

Result<Provisioned> provision(const std::string& tcti, const ProvisionOptions& options) {
  if (options.handle < first_persistent || options.handle > last_persistent)
    return fail(Fault::usage, "the handle isn't in the owner's persistent range, 0x81000000 to 0x817fffff");
  GH_TRY(const Context context, Context::open(tcti));
  ESYS_CONTEXT* const esys = context.get();
  GH_TRY(const ESYS_TR there, persistent(esys, options.handle));
  if (there != ESYS_TR_NONE && !options.replace) {
    GH_TRY(Described found, describe(esys, there, options.handle));
    return std::move(found.key);
  }

  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION creation{};
  const TPM2B_PUBLIC primary_public = primary_template(), ak_public = ak_template(options.algorithm);
  const ESYS_TR hierarchy =
      options.hierarchy == Hierarchy::owner ? ESYS_TR{ESYS_TR_RH_OWNER} : ESYS_TR{ESYS_TR_RH_ENDORSEMENT};
  Transient primary(esys), loaded(esys);
  GH_TPM("can't make the primary key",
         Esys_CreatePrimary(esys, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &primary_public,
                            &outside, &creation, primary.out(), nullptr, nullptr, nullptr, nullptr));
  TPM2B_PRIVATE* raw_private = nullptr;
  TPM2B_PUBLIC* raw_public = nullptr;
  GH_TPM("can't make the attestation key",
         Esys_Create(esys, primary.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &ak_public,
                     &outside, &creation, &raw_private, &raw_public, nullptr, nullptr, nullptr));
  const Owned<TPM2B_PRIVATE> key_private(raw_private);
  const Owned<TPM2B_PUBLIC> key_public(raw_public);
  GH_TPM("can't load the attestation key", Esys_Load(esys, primary.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                                                     key_private.get(), key_public.get(), loaded.out()));
  // The old key goes only when the new one is there.
  ESYS_TR removed = ESYS_TR_NONE, stored = ESYS_TR_NONE;
  if (there != ESYS_TR_NONE) GH_CHECK(evict(esys, there, options.handle, &removed));
  GH_CHECK(evict(esys, loaded.get(), options.handle, &stored));
  GH_TRY(Described made, describe(esys, stored, options.handle));
  made.key.made = true;
  return std::move(made.key);
}

Result<std::unique_ptr<Tpm>> open_tpm(const std::string& tcti, std::uint32_t ak_handle) {
  GH_TRY(Context context, Context::open(tcti));
  GH_TRY(const ESYS_TR ak, persistent(context.get(), ak_handle));
  if (ak == ESYS_TR_NONE)
    return fail(Error{Fault::environment,
                      "there is no attestation key at this handle: gatehouse-endpoint provision makes one",
                      {},
                      0,
                      "TPM",
                      {}});
  GH_TRY(Described described, describe(context.get(), ak, ak_handle));
  // TPMT_PUBLIC is what is sized in TPM2B_PUBLIC.
  ByteVector area(described.key.tpm2b_public.begin() + 2, described.key.tpm2b_public.end());
  return std::make_unique<EsysTpm>(std::move(context), ak, std::move(described.key.key), std::move(area));
}

}  // namespace gatehouse::endpoint
