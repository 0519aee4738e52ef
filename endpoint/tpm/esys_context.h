// What the parts of the real TPM share: an ESYS context, objects that are flushed, errors in the library's words. For the
// .cpp files of this folder alone.
#pragma once

#include <tss2/tss2_esys.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::endpoint::esys {

inline std::unexpected<Error> tpm_failed(std::string_view what, TSS2_RC rc) {
  return fail(Error{Fault::environment, what, {}, 0, "TPM", Tss2_RC_Decode(rc)});
}

// rc != success: return the error.
#define GH_TPM(what, ...)                                                                        \
  do {                                                                                           \
    if (const TSS2_RC rc_ = (__VA_ARGS__); rc_ != TSS2_RC_SUCCESS) return tpm_failed(what, rc_); \
  } while (false)

// How a storage key (TPMS_RSA_PARMS, TPMS_ECC_PARMS) protects what is below it.
template <class Parameters>
void protect_with_aes128(Parameters& parameters) {
  parameters.symmetric.algorithm = TPM2_ALG_AES;
  parameters.symmetric.keyBits.aes = 128;
  parameters.symmetric.mode.aes = TPM2_ALG_CFB;
  parameters.scheme.scheme = TPM2_ALG_NULL;
}

struct EsysFree {
  void operator()(void* p) const { Esys_Free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, EsysFree>;

// An ESYS context over a TCTI; closed in this order.
class Context {
 public:
  static Result<Context> open(const std::string& tcti) {
    ::setenv("TSS2_LOG", "all+none", 0);
    Context c;
    if (const TSS2_RC rc = Tss2_TctiLdr_Initialize(tcti.empty() ? nullptr : tcti.c_str(), &c.tcti_);
        rc != TSS2_RC_SUCCESS)
      return fail(Error{Fault::environment,
                        "can't reach the TPM",
                        {},
                        0,
                        tcti.empty() ? "tpm2-tss's default TCTI" : tcti,
                        Tss2_RC_Decode(rc)});
    GH_TPM("can't initialise", Esys_Initialize(&c.esys_, c.tcti_, nullptr));
    return c;
  }
  Context(Context&& other) noexcept
      : tcti_(std::exchange(other.tcti_, nullptr)), esys_(std::exchange(other.esys_, nullptr)) {}
  Context& operator=(Context&&) = delete;
  ~Context() {
    if (esys_ != nullptr) Esys_Finalize(&esys_);
    if (tcti_ != nullptr) Tss2_TctiLdr_Finalize(&tcti_);
  }
  ESYS_CONTEXT* get() const { return esys_; }

 private:
  Context() = default;
  TSS2_TCTI_CONTEXT* tcti_ = nullptr;
  ESYS_CONTEXT* esys_ = nullptr;
};

// A transient object: flushed, or a TPM without resource manager soon has no room (TPM_RC_OBJECT_MEMORY).
class Transient {
 public:
  explicit Transient(ESYS_CONTEXT* esys) : esys_(esys) {}
  Transient(const Transient&) = delete;
  Transient& operator=(const Transient&) = delete;
  ~Transient() {
    if (object_ != ESYS_TR_NONE) Esys_FlushContext(esys_, object_);
  }
  ESYS_TR* out() { return &object_; }
  ESYS_TR get() const { return object_; }

 private:
  ESYS_CONTEXT* esys_;
  ESYS_TR object_ = ESYS_TR_NONE;
};

inline Bytes bytes_of(const std::uint8_t* data, std::size_t size) { return {reinterpret_cast<const std::byte*>(data), size}; }

// The object at a persistent handle, or the index of that handle. ESYS_TR_NONE: there is none; another failure is an error.
inline Result<ESYS_TR> persistent(ESYS_CONTEXT* esys, std::uint32_t handle) {
  TPMI_YES_NO more = 0;
  TPMS_CAPABILITY_DATA* raw = nullptr;
  GH_TPM("can't list its handles",
         Esys_GetCapability(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, handle, 1, &more, &raw));
  const Owned<TPMS_CAPABILITY_DATA> found(raw);
  if (found->data.handles.count == 0 || found->data.handles.handle[0] != handle) return ESYS_TR{ESYS_TR_NONE};
  ESYS_TR object = ESYS_TR_NONE;
  GH_TPM("can't open the key", Esys_TR_FromTPMPublic(esys, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &object));
  return object;
}

}  // namespace gatehouse::endpoint::esys
