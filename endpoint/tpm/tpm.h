// What the endpoint asks of its TPM 2.0. The real one is behind esys.h (tpm2-tss); software.h has one that signs with
// an OpenSSL key, so that a test, a fuzzer or a load generator runs thousands of endpoints in one process. One object
// belongs to one thread at a time; calls may block for as long as the TPM takes (a quote: 100 to 500 ms on a discrete
// one).
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/public_key.h"

namespace gatehouse::endpoint {

inline constexpr std::uint32_t pcr_count = 24;  // of a bank (TCG PC Client Platform TPM Profile)

// Of an attestation key; with SHA-256 in each case. RSA-2048 or P-256.
enum class KeyAlgorithm : std::uint8_t { rsassa, rsapss, ecc };

struct TpmProperties {
  std::uint32_t manufacturer = 0;  // four ASCII characters, the first in the highest byte
  std::uint32_t revision = 0;      // times 100: 164 is 1.64
  std::uint32_t year = 0;          // of the specification
};

// As the TPM made it.
struct Quote {
  ByteVector attest;     // TPMS_ATTEST
  ByteVector signature;  // TPMT_SIGNATURE
};

class Tpm {
 public:
  virtual ~Tpm() = default;

  // The attestation key that quotes.
  virtual const PublicKey& ak() const = 0;
  // TPMT_PUBLIC of the key; empty: not known.
  virtual ByteVector public_area() const { return {}; }
  virtual Result<TpmProperties> properties() = 0;
  // Banks with allocated PCRs, those alone that Gatehouse knows.
  virtual Result<std::vector<HashAlgorithm>> banks() = 0;
  virtual Result<Digest> read_pcr(HashAlgorithm bank, std::uint32_t pcr) = 0;
  // TPM2_Quote of one bank; bit p of `pcrs` is PCR p, p < 24. `qualifying_data` becomes extraData, whole.
  virtual Result<Quote> quote(Bytes qualifying_data, HashAlgorithm bank, std::uint32_t pcrs) = 0;
};

}  // namespace gatehouse::endpoint
