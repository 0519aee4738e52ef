#include "endpoint/tpm/activation.h"

#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstring>

#include "endpoint/tpm/esys.h"
#include "endpoint/tpm/esys_context.h"

namespace gatehouse::endpoint {
namespace {

using namespace esys;

constexpr std::uint32_t rsa_certificate = 0x01C00002, ecc_certificate = 0x01C0000A;
constexpr std::uint32_t first_of_chain = 0x01C00100, last_of_chain = 0x01C001FF;
constexpr std::size_t max_index = 8'192, max_chain_bytes = 32'768, max_chain = 8;
constexpr std::uint16_t read_at_once = 512;  // what each TPM's buffer takes

// PolicySecret(TPM_RH_ENDORSEMENT), "PolicyA" with SHA-256 (TCG EK Credential Profile B.6.2).
constexpr std::uint8_t policy_a[] = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC, 0x8D, 0x46, 0xA5, 0xD7, 0x24,
                                     0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52, 0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA};

// Templates L-1 and L-2 of the profile: with these the TPM makes the same key each time, of its endorsement seed.
TPM2B_PUBLIC ek_template(bool ecc) {
  TPM2B_PUBLIC t{};
  TPMT_PUBLIC& p = t.publicArea;
  p.nameAlg = TPM2_ALG_SHA256;
  p.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                       TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  p.authPolicy.size = sizeof policy_a;
  std::memcpy(p.authPolicy.buffer, policy_a, sizeof policy_a);
  if (ecc) {
    p.type = TPM2_ALG_ECC;
    TPMS_ECC_PARMS& parameters = p.parameters.eccDetail;
    protect_with_aes128(parameters);
    parameters.curveID = TPM2_ECC_NIST_P256;
    parameters.kdf.scheme = TPM2_ALG_NULL;
    p.unique.ecc.x.size = p.unique.ecc.y.size = 32;
  } else {
    p.type = TPM2_ALG_RSA;
    TPMS_RSA_PARMS& parameters = p.parameters.rsaDetail;
    protect_with_aes128(parameters);
    parameters.keyBits = 2048;
    p.unique.rsa.size = 256;
  }
  return t;
}

// What an NV index holds; empty: there is no such index, or nothing was written.
Result<ByteVector> read_index(ESYS_CONTEXT* esys, std::uint32_t handle) {
  GH_TRY(ESYS_TR index, persistent(esys, handle));
  if (index == ESYS_TR_NONE) return ByteVector();
  struct Close {
    ESYS_CONTEXT* esys;
    ESYS_TR* object;
    ~Close() { Esys_TR_Close(esys, object); }
  } const close{esys, &index};
  TPM2B_NV_PUBLIC* raw = nullptr;
  GH_TPM("can't read an NV index", Esys_NV_ReadPublic(esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw, nullptr));
  const Owned<TPM2B_NV_PUBLIC> area(raw);
  if ((area->nvPublic.attributes & TPMA_NV_WRITTEN) == 0) return ByteVector();
  const std::size_t size = std::min<std::size_t>(area->nvPublic.dataSize, max_index);
  // By the index's own authorisation where it allows that, else by the owner's.
  const ESYS_TR by = (area->nvPublic.attributes & TPMA_NV_AUTHREAD) != 0 ? index : ESYS_TR{ESYS_TR_RH_OWNER};
  ByteVector out;
  while (out.size() < size) {
    const auto part = std::uint16_t(std::min<std::size_t>(size - out.size(), read_at_once));
    TPM2B_MAX_NV_BUFFER* data = nullptr;
    GH_TPM("can't read an NV index", Esys_NV_Read(esys, by, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, part,
                                                  std::uint16_t(out.size()), &data));
    const Owned<TPM2B_MAX_NV_BUFFER> got(data);
    if (got->size == 0) break;
    const Bytes bytes = bytes_of(got->buffer, got->size);
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

// A DER SEQUENCE at the beginning; empty: there is none. Indices are often longer than what is in them.
Bytes first_der(Bytes bytes) {
  if (bytes.size() < 4 || bytes[0] != std::byte{0x30} || bytes[1] != std::byte{0x82}) return {};
  const std::size_t size = 4 + (std::to_integer<std::size_t>(bytes[2]) << 8 | std::to_integer<std::size_t>(bytes[3]));
  return size <= bytes.size() ? bytes.first(size) : Bytes();
}

// Certificates lie one behind the other, across as many indices as they take.
Result<std::vector<ByteVector>> read_chain(ESYS_CONTEXT* esys) {
  ByteVector all;
  for (std::uint32_t handle = first_of_chain; handle <= last_of_chain && all.size() < max_chain_bytes; ++handle) {
    GH_TRY(const ByteVector part, read_index(esys, handle));
    if (part.empty()) break;
    all.insert(all.end(), part.begin(), part.end());
  }
  std::vector<ByteVector> out;
  Bytes rest = all;
  for (Bytes one = first_der(rest); !one.empty() && out.size() < max_chain; one = first_der(rest)) {
    out.push_back(to_vector(one));
    rest = rest.subspan(one.size());
  }
  return out;
}

class EsysActivator final : public Activator {
 public:
  EsysActivator(Context context, Provisioned ak)
      : context_(std::move(context)), ek_(context_.get()), qualified_name_(std::move(ak.qualified_name)),
        // TPMT_PUBLIC is what is sized in TPM2B_PUBLIC.
        ak_public_(ak.tpm2b_public.begin() + 2, ak.tpm2b_public.end()), ak_handle_(ak.handle) {}
  ~EsysActivator() override {
    if (ak_ != ESYS_TR_NONE) Esys_TR_Close(context_.get(), &ak_);
  }

  Result<void> open(EkAlgorithm algorithm) {
    ESYS_CONTEXT* const esys = context_.get();
    GH_TRY(ak_, persistent(esys, ak_handle_));
    bool ecc = algorithm == EkAlgorithm::ecc;
    if (!ecc) {
      GH_TRY(endorsement_.certificate, read_index(esys, rsa_certificate));
      ecc = algorithm == EkAlgorithm::automatic && endorsement_.certificate.empty();
    }
    if (ecc) {
      GH_TRY(endorsement_.certificate, read_index(esys, ecc_certificate));
      // Without any certificate it is the one that each TPM has.
      if (algorithm == EkAlgorithm::automatic && endorsement_.certificate.empty()) ecc = false;
    }
    endorsement_.certificate = to_vector(first_der(endorsement_.certificate));
    GH_TRY(endorsement_.chain, read_chain(esys));
    const TPM2B_SENSITIVE_CREATE sensitive{};
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION creation{};
    const TPM2B_PUBLIC wanted = ek_template(ecc);
    TPM2B_PUBLIC* raw = nullptr;
    GH_TPM("can't make the endorsement key",
           Esys_CreatePrimary(esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted,
                              &outside, &creation, ek_.out(), &raw, nullptr, nullptr, nullptr));
    const Owned<TPM2B_PUBLIC> area(raw);
    ByteVector marshalled(sizeof(TPMT_PUBLIC));
    std::size_t size = 0;
    GH_TPM("can't marshal the public area",
           Tss2_MU_TPMT_PUBLIC_Marshal(&area->publicArea, reinterpret_cast<std::uint8_t*>(marshalled.data()), marshalled.size(), &size));
    marshalled.resize(size);
    endorsement_.public_area = std::move(marshalled);
    return {};
  }

  const Endorsement& endorsement() const override { return endorsement_; }
  const ByteVector& ak_public() const override { return ak_public_; }
  const ByteVector& ak_qualified_name() const override { return qualified_name_; }

  Result<Secret> activate(Bytes id_object, Bytes encrypted_secret) override {
    ESYS_CONTEXT* const esys = context_.get();
    TPM2B_ID_OBJECT credential{};
    TPM2B_ENCRYPTED_SECRET seed{};
    if (id_object.size() > sizeof credential.credential || encrypted_secret.size() > sizeof seed.secret)
      return fail(Fault::denied, "a credential longer than a TPM takes", "TPM 2.0 Part 2, TPM2B_ID_OBJECT");
    credential.size = std::uint16_t(id_object.size());
    std::memcpy(credential.credential, id_object.data(), id_object.size());
    seed.size = std::uint16_t(encrypted_secret.size());
    std::memcpy(seed.secret, encrypted_secret.data(), encrypted_secret.size());

    Transient session(esys);
    const TPMT_SYM_DEF none{.algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
    GH_TPM("can't begin a policy session",
           Esys_StartAuthSession(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
                                 TPM2_SE_POLICY, &none, TPM2_ALG_SHA256, session.out()));
    GH_TPM("TPM2_PolicySecret failed",
           Esys_PolicySecret(esys, ESYS_TR_RH_ENDORSEMENT, session.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                             nullptr, nullptr, nullptr, 0, nullptr, nullptr));
    TPM2B_DIGEST* raw = nullptr;
    if (const TSS2_RC rc = Esys_ActivateCredential(esys, ak_, ek_.get(), ESYS_TR_PASSWORD, session.get(), ESYS_TR_NONE,
                                                   &credential, &seed, &raw);
        rc != TSS2_RC_SUCCESS)
      return fail(Error{Fault::denied, "the TPM can't activate the credential", "TPM 2.0 Part 3, 12.5", 0, "TPM", Tss2_RC_Decode(rc)});
    const Owned<TPM2B_DIGEST> secret(raw);
    Secret out(bytes_of(secret->buffer, secret->size));
    wipe({reinterpret_cast<std::byte*>(secret->buffer), secret->size});
    return out;
  }

 private:
  Context context_;
  Transient ek_;
  ESYS_TR ak_ = ESYS_TR_NONE;
  ByteVector qualified_name_, ak_public_;
  std::uint32_t ak_handle_;
  Endorsement endorsement_;
};

}  // namespace

Result<std::unique_ptr<Activator>> open_activator(const std::string& tcti, std::uint32_t ak_handle, EkAlgorithm algorithm) {
  // Only to look at it: what isn't there is an error of its own.
  {
    GH_TRY(const auto there, open_tpm(tcti, ak_handle));
  }
  GH_TRY(Provisioned ak, provision(tcti, {.handle = ak_handle}));
  GH_TRY(Context context, Context::open(tcti));
  auto out = std::make_unique<EsysActivator>(std::move(context), std::move(ak));
  GH_CHECK(out->open(algorithm));
  return out;
}

}  // namespace gatehouse::endpoint
