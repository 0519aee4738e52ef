// TPM2_MakeCredential without a TPM (TPM 2.0 Library Part 3, 12.6; Part 1, 24 and B.10.4, C.6.4): a secret that only the TPM
// with this endorsement key (EK) gives away, and only while it holds the key with this Name. OpenSSL stays behind this header.
//
//   GH_TRY(const TpmCredential sealed, make_tpm_credential({ek, HashAlgorithm::sha256, 128}, ak_name, secret));
//   … the endpoint's TPM2_ActivateCredential(sealed.id_object, sealed.encrypted_secret) gives `secret` back
#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/public_key.h"

namespace gatehouse {

// What of an EK's public area counts here.
struct CredentialKey {
  PublicKey key;                 // RSA of 2,048 bits and more, P-256, P-384, P-521
  HashAlgorithm name_algorithm;  // of the public area
  unsigned aes_bits = 0;         // of its symmetric algorithm: AES in CFB mode
};

// Whether we seal for such a key: SHA-256 with AES-128, SHA-384 or SHA-512 with AES-256, as the templates of the TCG EK
// Credential Profile have them. Fault::denied else.
Result<void> check_credential_key(const CredentialKey& key);

struct TpmCredential {
  ByteVector id_object;         // TPMS_ID_OBJECT: TPM2B integrity HMAC, encrypted TPM2B identity
  ByteVector encrypted_secret;  // content of TPM2B_ENCRYPTED_SECRET: RSA-OAEP, or the ephemeral TPMS_ECC_POINT
};

// `name`: of the key to be activated, TPM2B_NAME content (nameAlg || digest). `secret`: 1 byte to the digest's size.
Result<TpmCredential> make_tpm_credential(const CredentialKey& ek, Bytes name, Bytes secret);

// Key derivation of the same specification, for what has to undo the above (Part 1, 11.4.10): KDFa on HMAC in counter mode,
// at most one digest long; `label` without its NUL. KDFe likewise, for a shared X coordinate.
ByteVector tpm_kdfa(HashAlgorithm hash, Bytes key, std::string_view label, Bytes context_u, Bytes context_v, unsigned bits);
ByteVector tpm_kdfe(HashAlgorithm hash, Bytes z, std::string_view label, Bytes party_u, Bytes party_v);

}  // namespace gatehouse
