// TPM 2.0 structures that travel in attestations: TPMS_ATTEST of a quote, TPMT_SIGNATURE, TPM2B_PUBLIC (TPM 2.0 Library
// Part 2; spec part 2 §4, §5.3). Big-endian. Parsed values borrow from the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/hash.h"
#include "base/public_key.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::tpm {

inline constexpr std::uint32_t generated_value = 0xFF544347;  // TPM_GENERATED_VALUE
inline constexpr std::uint16_t st_attest_quote = 0x8018;      // TPM_ST_ATTEST_QUOTE

// One bank of a TPML_PCR_SELECTION: bit p of `pcrs` is PCR p.
struct PcrSelection {
  std::uint16_t bank = 0;  // TPM_ALG_ID; may be one that we don't know
  std::uint8_t size = 3;   // sizeofSelect, at most 4
  std::uint32_t pcrs = 0;
  friend bool operator==(const PcrSelection&, const PcrSelection&) = default;
};

struct ClockInfo {
  std::uint64_t clock = 0;  // milliseconds
  std::uint32_t reset_count = 0, restart_count = 0;
  std::uint8_t safe = 0;
};

struct Attest {
  std::uint32_t magic = 0;  // judged by the caller (Q2)
  std::uint16_t type = 0;   // judged by the caller (Q3)
  Bytes qualified_signer;   // TPM2B_NAME content
  Bytes extra_data;         // the nonce
  ClockInfo clock;
  std::uint64_t firmware_version = 0;
  std::vector<PcrSelection> selections;
  Bytes pcr_digest;
  Bytes signed_bytes;       // the TPMS_ATTEST, what the signature covers
};

// TPMS_ATTEST with or without the TPM2B size in front; the body is read as a quote's whatever the type says.
// Malformed: sizes out of range, no bank or more than 16, more than 4 select bytes, trailing bytes.
Result<Attest> parse_attest(Bytes bytes);

struct Signature {
  std::uint16_t algorithm = 0;  // TPM_ALG_RSASSA 0x0014, RSAPSS 0x0016, ECDSA 0x0018
  std::uint16_t hash = 0;       // TPM_ALG_ID
  Bytes rsa;                    // RSASSA, RSAPSS
  Bytes r, s;                   // ECDSA
};
inline constexpr std::uint16_t alg_rsassa = 0x0014, alg_rsapss = 0x0016, alg_ecdsa = 0x0018;

Result<Signature> parse_signature(Bytes bytes);
void append_signature(Writer& w, const Signature& signature);

// TPML_PCR_SELECTION.
Result<std::vector<PcrSelection>> parse_selections(Reader& r);
void append_selections(Writer& w, const std::vector<PcrSelection>& selections);

// TPMS_ATTEST of a quote from its parts, as Simple Evidence Final carries them (spec part 2 §4.4). `clock_info` is 17
// bytes, `firmware_version` 8, `selection` a TPML_PCR_SELECTION: the caller checked their lengths.
ByteVector build_quote(Bytes qualified_signer, Bytes extra_data, Bytes clock_info, Bytes firmware_version,
                       Bytes selection, Bytes pcr_digest);

// TPMA_OBJECT bits.
inline constexpr std::uint32_t fixed_tpm = 1U << 1, fixed_parent = 1U << 4, sensitive_data_origin = 1U << 5,
                               user_with_auth = 1U << 6, no_da = 1U << 10, restricted = 1U << 16, decrypt = 1U << 17,
                               sign = 1U << 18;

// Of a decryption key; algorithm 0x0010: none.
inline constexpr std::uint16_t alg_null = 0x0010, alg_aes = 0x0006, alg_cfb = 0x0043;
struct Symmetric {
  std::uint16_t algorithm = alg_null, key_bits = 0, mode = 0;
};

struct Public {
  std::uint16_t name_algorithm = 0;
  std::uint32_t attributes = 0;  // TPMA_OBJECT
  std::uint16_t scheme = 0;      // of a signing key, 0x0010 = none
  PublicKey key;
  ByteVector name;               // nameAlg || H(TPMT_PUBLIC)
  Symmetric symmetric{};
  std::size_t auth_policy_size = 0;  // bytes
};

// Why it is no attestation key: one that signs only what its TPM made (spec part 2 §5.3), of a strength that we accept;
// nullopt: it is one. The text is a literal.
std::optional<std::string_view> no_attestation_key(const Public& area);
// The same of an endorsement key: a restricted decryption key of the TPM with AES in CFB mode.
std::optional<std::string_view> no_endorsement_key(const Public& area);

// TPM2B_PUBLIC, or TPMT_PUBLIC without its size; RSA or a NIST curve.
Result<Public> parse_public(Bytes bytes);

}  // namespace gatehouse::tpm
