// The TPM's endorsement key (EK) and TPM2_ActivateCredential: what an enrolment asks of the endpoint's TPM
// (docs/formats/enrolment.md). The real one is open_activator() (tpm2-tss); tests have one of OpenSSL.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"

namespace gatehouse::endpoint {

// What the TPM and its maker say of the EK.
struct Endorsement {
  ByteVector public_area;          // TPMT_PUBLIC
  ByteVector certificate;          // DER; empty: there is none in the TPM
  std::vector<ByteVector> chain;   // DER, certificates behind it; at most 8
};

// An attestation key beside an EK in one TPM. Calls may block for as long as the TPM takes.
class Activator {
 public:
  virtual ~Activator() = default;
  virtual const Endorsement& endorsement() const = 0;
  virtual const ByteVector& ak_public() const = 0;          // TPMT_PUBLIC
  virtual const ByteVector& ak_qualified_name() const = 0;  // TPM2B_NAME content
  // The secret that was sealed for this EK and this AK; Fault::denied: it was sealed for others.
  virtual Result<Secret> activate(Bytes id_object, Bytes encrypted_secret) = 0;
};

// Which of a TPM's EKs: automatic is that which has a certificate in the TPM, RSA first.
enum class EkAlgorithm : std::uint8_t { automatic, rsa, ecc };

// The AK at the persistent handle, and the EK by the default templates of the TCG EK Credential Profile (L-1: RSA 2048,
// L-2: P-256), whose certificates are at the NV indices 0x01C00002 and 0x01C0000A, with their chain from 0x01C00100 on.
// The EK takes a slot for transient objects until the object ends. `tcti` as open_tpm() has it.
Result<std::unique_ptr<Activator>> open_activator(const std::string& tcti, std::uint32_t ak_handle, EkAlgorithm algorithm);

}  // namespace gatehouse::endpoint
