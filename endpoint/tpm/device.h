// What the endpoint needs of a TPM 2.0: an attestation key (AK), the PCR banks and a quote. The real one speaks to a TPM
// through tpm2-tss; the software one signs what a TPM would sign, for tests and load.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/public_key.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {

struct TpmInfo {
  std::uint32_t revision = 0;      // times 100
  std::uint32_t year = 0;
  std::uint32_t manufacturer = 0;  // four ASCII characters
};

struct Quote {
  ByteVector attest;     // TPMS_ATTEST
  ByteVector signature;  // TPMT_SIGNATURE
};

class Tpm {
 public:
  virtual ~Tpm() = default;
  virtual TpmInfo info() const = 0;
  virtual const std::vector<HashAlgorithm>& banks() const = 0;  // allocated ones
  virtual const PublicKey& ak() const = 0;
  virtual Result<Quote> quote(HashAlgorithm bank, std::uint32_t pcrs, Bytes nonce) = 0;
};

enum class AkKind : std::uint8_t { rsa, rsapss, ecc };

struct Provisioned {
  PublicKey key;
  ByteVector public_area;  // TPM2B_PUBLIC
  bool made = false;       // false: the handle held this key already
};

// `tcti`: a tpm2-tss TCTI, e.g. "device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321".
Result<std::unique_ptr<Tpm>> open_tpm(const std::string& tcti, std::uint32_t ak_handle);
// Makes a restricted signing key under the owner hierarchy and stores it at a persistent handle; a key that is there
// is shown, unless `replace`.
Result<Provisioned> provision(const std::string& tcti, std::uint32_t ak_handle, AkKind kind, bool replace);

}  // namespace gatehouse::endpoint
