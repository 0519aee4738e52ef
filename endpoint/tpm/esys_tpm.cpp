#include <tss2/tss2_esys.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <cstdlib>

#include "endpoint/tpm/device.h"

namespace gatehouse::endpoint {
namespace {

std::unexpected<Error> tpm_error(std::string_view what, TSS2_RC rc) {
  return fail(Error{Fault::environment, what, "TPM 2.0", 0, "TPM", Tss2_RC_Decode(rc)});
}

template <class T>
struct EsysFree {
  void operator()(T* p) const { Esys_Free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, EsysFree<T>>;

// An ESYS context over a TCTI; closed in order.
class Context {
 public:
  static Result<Context> open(const std::string& tcti) {
    Context c;
    if (const TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.empty() ? nullptr : tcti.c_str(), &c.tcti_); rc != TSS2_RC_SUCCESS)
      return fail(Error{Fault::environment, "can't reach the TPM", {}, 0, tcti, Tss2_RC_Decode(rc)});
    if (const TSS2_RC rc = Esys_Initialize(&c.esys_, c.tcti_, nullptr); rc != TSS2_RC_SUCCESS) return tpm_error("can't initialise", rc);
    return c;
  }
  Context() = default;
  Context(Context&& o) noexcept : tcti_(std::exchange(o.tcti_, nullptr)), esys_(std::exchange(o.esys_, nullptr)) {}
  Context& operator=(Context&&) = delete;
  ~Context() {
    if (esys_ != nullptr) Esys_Finalize(&esys_);
    if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
  }
  ESYS_CONTEXT* get() const { return esys_; }

 private:
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
};

Result<ByteVector> marshalled(const TPM2B_PUBLIC& area) {
  ByteVector out(sizeof area);
  std::size_t n = 0;
  if (const TSS2_RC rc = Tss2_MU_TPM2B_PUBLIC_Marshal(&area, reinterpret_cast<std::uint8_t*>(out.data()), out.size(), &n); rc != TSS2_RC_SUCCESS)
    return tpm_error("can't marshal the public area", rc);
  out.resize(n);
  return out;
}

Result<ByteVector> read_public(ESYS_CONTEXT* esys, ESYS_TR object) {
  TPM2B_PUBLIC* raw = nullptr;
  if (const TSS2_RC rc = Esys_ReadPublic(esys, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw, nullptr, nullptr); rc != TSS2_RC_SUCCESS)
    return tpm_error("can't read the key", rc);
  const Owned<TPM2B_PUBLIC> area(raw);
  return marshalled(*area);
}

class EsysTpm final : public Tpm {
 public:
  EsysTpm(Context context, ESYS_TR ak, PublicKey key) : context_(std::move(context)), ak_(ak), key_(std::move(key)) {}
  ~EsysTpm() override { Esys_TR_Close(context_.get(), &ak_); }

  Result<void> read_properties() {
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* raw = nullptr;
    if (const TSS2_RC rc = Esys_GetCapability(context_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_FIXED, 32,
                                              &more, &raw);
        rc != TSS2_RC_SUCCESS)
      return tpm_error("can't read properties", rc);
    const Owned<TPMS_CAPABILITY_DATA> properties(raw);
    for (std::uint32_t i = 0; i < properties->data.tpmProperties.count; ++i) {
      const TPMS_TAGGED_PROPERTY& p = properties->data.tpmProperties.tpmProperty[i];
      if (p.property == TPM2_PT_REVISION) info_.revision = p.value;
      if (p.property == TPM2_PT_YEAR) info_.year = p.value;
      if (p.property == TPM2_PT_MANUFACTURER) info_.manufacturer = p.value;
    }
    if (const TSS2_RC rc = Esys_GetCapability(context_.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_PCRS, 0, 1, &more, &raw);
        rc != TSS2_RC_SUCCESS)
      return tpm_error("can't read the PCR banks", rc);
    const Owned<TPMS_CAPABILITY_DATA> pcrs(raw);
    for (std::uint32_t i = 0; i < pcrs->data.assignedPCR.count; ++i) {
      const TPMS_PCR_SELECTION& s = pcrs->data.assignedPCR.pcrSelections[i];
      const auto bank = hash_algorithm(std::uint16_t(s.hash));
      if (bank && s.sizeofSelect > 0 && s.pcrSelect[0] != 0) banks_.push_back(*bank);
    }
    return {};
  }

  TpmInfo info() const override { return info_; }
  const std::vector<HashAlgorithm>& banks() const override { return banks_; }
  const PublicKey& ak() const override { return key_; }

  Result<Quote> quote(HashAlgorithm bank, std::uint32_t pcrs, Bytes nonce) override {
    TPM2B_DATA qualifying{};
    if (nonce.size() > sizeof qualifying.buffer) return fail(Fault::limit, "nonce longer than the TPM takes");
    qualifying.size = std::uint16_t(nonce.size());
    std::memcpy(qualifying.buffer, nonce.data(), nonce.size());
    TPMT_SIG_SCHEME scheme{};
    scheme.scheme = TPM2_ALG_NULL;  // the key's own
    TPML_PCR_SELECTION selection{};
    selection.count = 1;
    selection.pcrSelections[0].hash = TPM2_ALG_ID(bank);
    selection.pcrSelections[0].sizeofSelect = 3;
    for (int i = 0; i < 3; ++i) selection.pcrSelections[0].pcrSelect[i] = std::uint8_t(pcrs >> (8 * i));
    TPM2B_ATTEST* attest_raw = nullptr;
    TPMT_SIGNATURE* signature_raw = nullptr;
    if (const TSS2_RC rc = Esys_Quote(context_.get(), ak_, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &qualifying, &scheme, &selection, &attest_raw,
                                      &signature_raw);
        rc != TSS2_RC_SUCCESS)
      return tpm_error("TPM2_Quote failed", rc);
    const Owned<TPM2B_ATTEST> attest(attest_raw);
    const Owned<TPMT_SIGNATURE> signature(signature_raw);
    Quote out;
    const auto* const bytes = reinterpret_cast<const std::byte*>(attest->attestationData);
    out.attest.assign(bytes, bytes + attest->size);
    out.signature.resize(sizeof(TPMT_SIGNATURE));
    std::size_t n = 0;
    if (const TSS2_RC rc = Tss2_MU_TPMT_SIGNATURE_Marshal(signature.get(), reinterpret_cast<std::uint8_t*>(out.signature.data()), out.signature.size(), &n);
        rc != TSS2_RC_SUCCESS)
      return tpm_error("can't marshal the signature", rc);
    out.signature.resize(n);
    return out;
  }

 private:
  Context context_;
  ESYS_TR ak_;
  PublicKey key_;
  TpmInfo info_;
  std::vector<HashAlgorithm> banks_;
};

TPM2B_PUBLIC ak_template(AkKind kind) {
  TPM2B_PUBLIC t{};
  TPMT_PUBLIC& p = t.publicArea;
  p.nameAlg = TPM2_ALG_SHA256;
  p.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                       TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;
  if (kind == AkKind::ecc) {
    p.type = TPM2_ALG_ECC;
    p.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
    p.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
    p.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    p.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
    p.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
  } else {
    p.type = TPM2_ALG_RSA;
    p.parameters.rsaDetail.symmetric.algorithm = TPM2_ALG_NULL;
    p.parameters.rsaDetail.scheme.scheme = kind == AkKind::rsa ? TPM2_ALG_RSASSA : TPM2_ALG_RSAPSS;
    p.parameters.rsaDetail.scheme.details.rsassa.hashAlg = TPM2_ALG_SHA256;
    p.parameters.rsaDetail.keyBits = 2048;
  }
  return t;
}

TPM2B_PUBLIC storage_template() {
  TPM2B_PUBLIC t{};
  TPMT_PUBLIC& p = t.publicArea;
  p.type = TPM2_ALG_ECC;
  p.nameAlg = TPM2_ALG_SHA256;
  p.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                       TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  p.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_AES;
  p.parameters.eccDetail.symmetric.keyBits.aes = 128;
  p.parameters.eccDetail.symmetric.mode.aes = TPM2_ALG_CFB;
  p.parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
  p.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
  p.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
  return t;
}

Result<Provisioned> show(ESYS_CONTEXT* esys, ESYS_TR object, bool made) {
  GH_TRY(ByteVector area, read_public(esys, object));
  GH_TRY(const tpm::Public parsed, tpm::parse_public(area));
  return Provisioned{parsed.key, std::move(area), made};
}

// The key at a persistent handle; ESYS_TR_NONE: there is none.
ESYS_TR persistent(ESYS_CONTEXT* esys, std::uint32_t handle) {
  ESYS_TR object = ESYS_TR_NONE;
  if (Esys_TR_FromTPMPublic(esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &object) != TSS2_RC_SUCCESS) return ESYS_TR_NONE;
  return object;
}

// tpm2-tss reports every failed command on stderr by itself, also the question whether a handle is in use.
void quiet_library() { ::setenv("TSS2_LOG", "all+none", 0); }

}  // namespace

Result<std::unique_ptr<Tpm>> open_tpm(const std::string& tcti, std::uint32_t ak_handle) {
  quiet_library();
  GH_TRY(Context context, Context::open(tcti));
  const ESYS_TR ak = persistent(context.get(), ak_handle);
  if (ak == ESYS_TR_NONE)
    return fail(Error{Fault::environment, "no attestation key at this handle (gatehouse-endpoint provision makes one)", {}, 0, "TPM", {}});
  GH_TRY(const ByteVector area, read_public(context.get(), ak));
  GH_TRY(const tpm::Public parsed, tpm::parse_public(area));
  auto out = std::make_unique<EsysTpm>(std::move(context), ak, parsed.key);
  GH_CHECK(out->read_properties());
  return out;
}

Result<Provisioned> provision(const std::string& tcti, std::uint32_t ak_handle, AkKind kind, bool replace) {
  quiet_library();
  if (ak_handle < 0x81000000 || ak_handle > 0x817FFFFF)
    return fail(Error{Fault::usage, "the handle isn't in the owner's persistent range 0x81000000-0x817fffff", {}, 0, {}, {}});
  GH_TRY(const Context context, Context::open(tcti));
  ESYS_CONTEXT* const esys = context.get();
  ESYS_TR old = persistent(esys, ak_handle);
  if (old != ESYS_TR_NONE && !replace) return show(esys, old, false);
  const TPM2B_SENSITIVE_CREATE sensitive{};
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION creation{};
  const TPM2B_PUBLIC storage = storage_template();
  ESYS_TR primary = ESYS_TR_NONE;
  if (const TSS2_RC rc = Esys_CreatePrimary(esys, ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &storage, &outside, &creation,
                                            &primary, nullptr, nullptr, nullptr, nullptr);
      rc != TSS2_RC_SUCCESS)
    return tpm_error("can't make the primary key", rc);
  const TPM2B_PUBLIC wanted = ak_template(kind);
  TPM2B_PRIVATE* private_raw = nullptr;
  TPM2B_PUBLIC* public_raw = nullptr;
  TSS2_RC rc = Esys_Create(esys, primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted, &outside, &creation, &private_raw, &public_raw,
                           nullptr, nullptr, nullptr);
  const Owned<TPM2B_PRIVATE> key_private(private_raw);
  const Owned<TPM2B_PUBLIC> key_public(public_raw);
  ESYS_TR loaded = ESYS_TR_NONE;
  if (rc == TSS2_RC_SUCCESS)
    rc = Esys_Load(esys, primary, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, key_private.get(), key_public.get(), &loaded);
  Esys_FlushContext(esys, primary);
  if (rc != TSS2_RC_SUCCESS) return tpm_error("can't make the attestation key", rc);
  ESYS_TR ignored = ESYS_TR_NONE;
  if (old != ESYS_TR_NONE)
    rc = Esys_EvictControl(esys, ESYS_TR_RH_OWNER, old, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, ak_handle, &ignored);
  ESYS_TR stored = ESYS_TR_NONE;
  if (rc == TSS2_RC_SUCCESS)
    rc = Esys_EvictControl(esys, ESYS_TR_RH_OWNER, loaded, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, ak_handle, &stored);
  Esys_FlushContext(esys, loaded);
  if (rc != TSS2_RC_SUCCESS) return tpm_error("can't store the attestation key", rc);
  return show(esys, stored, true);
}

}  // namespace gatehouse::endpoint
