// A TPM 2.0 through tpm2-tss (ESYS over a TCTI): provisioning an attestation key, and quoting with it. The library's
// own messages on stderr are silenced unless TSS2_LOG is set: its errors come back as Fault::environment with its
// words.
//
//   GH_TRY(const auto made, provision("device:/dev/tpmrm0", {.algorithm = KeyAlgorithm::ecc}));
//   GH_TRY(const auto tpm, open_tpm("device:/dev/tpmrm0", made.handle));
#pragma once

#include <memory>
#include <string>

#include "base/public_key.h"
#include "endpoint/tpm/tpm.h"

namespace gatehouse::endpoint {

inline constexpr std::uint32_t default_ak_handle = 0x81010002;

enum class Hierarchy : std::uint8_t {
  owner,
  endorsement,  // quotes then carry the real reset count, restart count and firmware version (spec part 2 §4.5)
};

struct ProvisionOptions {
  KeyAlgorithm algorithm = KeyAlgorithm::rsassa;
  std::uint32_t handle = default_ak_handle;
  Hierarchy hierarchy = Hierarchy::owner;
  bool replace = false;  // a key that is there is removed; else it is shown as it is
};

struct Provisioned {
  PublicKey key;
  ByteVector tpm2b_public;
  ByteVector name;            // nameAlg || digest of the public area
  ByteVector qualified_name;  // what its quotes name as their signer
  std::uint32_t handle = 0;
  bool made = false;  // false: it was there
};

// A restricted signing key with fixedTPM, RSA-2048 or P-256 with SHA-256, under a primary key of the hierarchy,
// persistent at `handle`. What is at the handle and isn't such a key is refused, unless it is to be replaced.
Result<Provisioned> provision(const std::string& tcti, const ProvisionOptions& options);

// `tcti`: "device:/dev/tpmrm0", "swtpm:host=127.0.0.1,port=2321", "swtpm:path=/run/tpm.sock", ...; empty: the library's
// default. Fault::environment: the TPM can't be reached, or there is no attestation key at the handle.
Result<std::unique_ptr<Tpm>> open_tpm(const std::string& tcti, std::uint32_t ak_handle);

}  // namespace gatehouse::endpoint
