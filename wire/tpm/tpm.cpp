#include "wire/tpm/tpm.h"

namespace gatehouse::tpm {
namespace {

constexpr std::string_view attest_spec = "TPM 2.0 Part 2, TPMS_ATTEST";
constexpr std::string_view signature_spec = "TPM 2.0 Part 2, TPMT_SIGNATURE";
constexpr std::string_view public_spec = "TPM 2.0 Part 2, TPMT_PUBLIC";

Result<Bytes> sized(Reader& r, std::size_t most) {
  const auto start = r;
  GH_TRY(const auto size, r.get<std::uint16_t>());
  if (size > most) return start.fail("sized buffer longer than its type allows");
  return r.take(size);
}

std::uint16_t be16(Bytes bytes) {
  return std::uint16_t(std::to_integer<unsigned>(bytes[0]) << 8 | std::to_integer<unsigned>(bytes[1]));
}

}  // namespace

Result<std::vector<PcrSelection>> parse_selections(Reader& r) {
  const auto start = r;
  GH_TRY(const auto count, r.get<std::uint32_t>());
  if (count == 0 || count > 16) return start.fail("number of PCR banks outside 1 to 16");
  std::vector<PcrSelection> out;
  for (std::uint32_t i = 0; i < count; ++i) {
    PcrSelection s;
    GH_TRY(s.bank, r.get<std::uint16_t>());
    const auto at = r;
    GH_TRY(s.size, r.get<std::uint8_t>());
    if (s.size > 4) return at.fail("PCR selection longer than 4 bytes");
    GH_TRY(const Bytes bits, r.take(s.size));
    for (std::size_t b = 0; b < bits.size(); ++b) s.pcrs |= std::to_integer<std::uint32_t>(bits[b]) << (8 * b);
    out.push_back(s);
  }
  return out;
}

void append_selections(Writer& w, const std::vector<PcrSelection>& selections) {
  w.put(std::uint32_t(selections.size()));
  for (const PcrSelection& s : selections) {
    w.put(s.bank);
    w.put(s.size);
    for (unsigned b = 0; b < s.size; ++b) w.put(std::uint8_t(s.pcrs >> (8 * b)));
  }
}

Result<Attest> parse_attest(Bytes bytes) {
  std::size_t base = 0;
  if (bytes.size() >= 6 && be16(bytes) == bytes.size() - 2 && be16(bytes.subspan(2)) != 0x4347) {
    bytes = bytes.subspan(2);  // TPM2B_ATTEST
    base = 2;
  }
  Reader r(bytes, attest_spec, base);
  Attest a;
  a.signed_bytes = bytes;
  GH_TRY(a.magic, r.get<std::uint32_t>());
  GH_TRY(a.type, r.get<std::uint16_t>());
  GH_TRY(a.qualified_signer, sized(r, 2 + 64));
  GH_TRY(a.extra_data, sized(r, 2 + 64));
  GH_TRY(a.clock.clock, r.get<std::uint64_t>());
  GH_TRY(a.clock.reset_count, r.get<std::uint32_t>());
  GH_TRY(a.clock.restart_count, r.get<std::uint32_t>());
  const auto safe = r;
  GH_TRY(a.clock.safe, r.get<std::uint8_t>());
  if (a.clock.safe > 1) return safe.fail("clockInfo.safe is neither 0 nor 1");
  GH_TRY(a.firmware_version, r.get<std::uint64_t>());
  GH_TRY(a.selections, parse_selections(r));
  GH_TRY(a.pcr_digest, sized(r, 64));
  GH_CHECK(r.finish());
  return a;
}

Result<Signature> parse_signature(Bytes bytes) {
  Reader r(bytes, signature_spec);
  Signature s;
  const auto start = r;
  GH_TRY(s.algorithm, r.get<std::uint16_t>());
  if (s.algorithm != alg_rsassa && s.algorithm != alg_rsapss && s.algorithm != alg_ecdsa)
    return start.fail("unsupported signature algorithm");
  GH_TRY(s.hash, r.get<std::uint16_t>());
  if (s.algorithm == alg_ecdsa) {
    GH_TRY(s.r, sized(r, 66));
    GH_TRY(s.s, sized(r, 66));
  } else {
    GH_TRY(s.rsa, sized(r, 1024));
  }
  GH_CHECK(r.finish());
  return s;
}

void append_signature(Writer& w, const Signature& s) {
  w.put(s.algorithm);
  w.put(s.hash);
  const auto put = [&](Bytes value) {
    w.put(std::uint16_t(value.size()));
    w.put_bytes(value);
  };
  if (s.algorithm == alg_ecdsa) {
    put(s.r);
    put(s.s);
  } else {
    put(s.rsa);
  }
}

ByteVector build_quote(Bytes qualified_signer, Bytes extra_data, Bytes clock_info, Bytes firmware_version,
                       Bytes selection, Bytes pcr_digest) {
  Writer w;
  w.put(generated_value);
  w.put(st_attest_quote);
  w.put(std::uint16_t(qualified_signer.size()));
  w.put_bytes(qualified_signer);
  w.put(std::uint16_t(extra_data.size()));
  w.put_bytes(extra_data);
  w.put_bytes(clock_info);
  w.put_bytes(firmware_version);
  w.put_bytes(selection);
  w.put(std::uint16_t(pcr_digest.size()));
  w.put_bytes(pcr_digest);
  return std::move(w).take();
}

Result<Public> parse_public(Bytes bytes) {
  std::size_t base = 0;
  if (bytes.size() >= 4 && be16(bytes) == bytes.size() - 2) {
    bytes = bytes.subspan(2);  // TPM2B_PUBLIC
    base = 2;
  }
  Reader r(bytes, public_spec, base);
  const auto start = r;
  GH_TRY(const auto type, r.get<std::uint16_t>());
  if (type != 0x0001 && type != 0x0023) return start.fail("key type is neither RSA nor ECC");
  const auto at_name = r;
  GH_TRY(const auto name_algorithm, r.get<std::uint16_t>());
  const auto hash = hash_algorithm(name_algorithm);
  if (!hash) return at_name.fail("unknown name algorithm");
  GH_TRY(const auto attributes, r.get<std::uint32_t>());
  GH_TRY(const Bytes policy, sized(r, 64));
  const auto at_symmetric = r;
  Symmetric symmetric;
  GH_TRY(symmetric.algorithm, r.get<std::uint16_t>());
  if (symmetric.algorithm != alg_null) {  // a decryption key has an algorithm with key bits and mode
    if (symmetric.algorithm != alg_aes && symmetric.algorithm != 0x0013 && symmetric.algorithm != 0x0026)
      return at_symmetric.fail("unknown symmetric algorithm");
    GH_TRY(symmetric.key_bits, r.get<std::uint16_t>());
    GH_TRY(symmetric.mode, r.get<std::uint16_t>());
  }
  GH_TRY(const auto scheme, r.get<std::uint16_t>());
  if (scheme != 0x0010) GH_CHECK(r.skip(2));  // the scheme's hash
  std::optional<Result<PublicKey>> key;
  if (type == 0x0001) {
    GH_CHECK(r.skip(2));  // keyBits; the modulus tells
    GH_TRY(const auto exponent, r.get<std::uint32_t>());
    GH_TRY(const Bytes modulus, sized(r, 1024));
    key = PublicKey::from_rsa(modulus, exponent);
  } else {
    const auto at_curve = r;
    GH_TRY(const auto curve, r.get<std::uint16_t>());
    GH_TRY(const auto kdf, r.get<std::uint16_t>());
    if (kdf != 0x0010) GH_CHECK(r.skip(2));
    GH_TRY(const Bytes x, sized(r, 66));
    GH_TRY(const Bytes y, sized(r, 66));
    if (curve == 3) key = PublicKey::from_ecc(KeyType::ecc_p256, x, y);
    else if (curve == 4) key = PublicKey::from_ecc(KeyType::ecc_p384, x, y);
    else if (curve == 5) key = PublicKey::from_ecc(KeyType::ecc_p521, x, y);
    else return at_curve.fail("unsupported curve");
  }
  GH_CHECK(r.finish());
  if (!*key) return std::unexpected(std::move(*key).error());
  const Digest digest = digest_of(*hash, bytes);
  Writer name;
  name.put(name_algorithm);
  name.put_bytes(digest.view());
  return Public{name_algorithm, attributes, scheme, **std::move(key), std::move(name).take(), symmetric, policy.size()};
}

namespace {

// A key that was made in the TPM and never leaves it.
constexpr std::uint32_t of_this_tpm = fixed_tpm | fixed_parent | sensitive_data_origin;

bool strong(const PublicKey& key) { return key.type() != KeyType::rsa || (key.bits() >= 2048 && key.bits() <= 4096); }

}  // namespace

std::optional<std::string_view> no_attestation_key(const Public& area) {
  if ((area.attributes & of_this_tpm) != of_this_tpm)
    return "the AK isn't bound to its TPM (fixedTPM, fixedParent, sensitiveDataOrigin)";
  if ((area.attributes & restricted) == 0) return "the AK isn't restricted: it would sign anything";
  if ((area.attributes & sign) == 0 || (area.attributes & decrypt) != 0 || area.scheme == alg_null)
    return "the AK isn't a signing key with a scheme of its own";
  if (!strong(area.key)) return "the AK is weaker than RSA with 2,048 bits, or larger than 4,096";
  return std::nullopt;
}

std::optional<std::string_view> no_endorsement_key(const Public& area) {
  if ((area.attributes & of_this_tpm) != of_this_tpm)
    return "the EK isn't bound to its TPM (fixedTPM, fixedParent, sensitiveDataOrigin)";
  if ((area.attributes & restricted) == 0 || (area.attributes & decrypt) == 0 || (area.attributes & sign) != 0)
    return "the EK isn't a restricted decryption key";
  if (area.symmetric.algorithm != alg_aes || area.symmetric.mode != alg_cfb) return "the EK's symmetric algorithm isn't AES in CFB mode";
  if (!strong(area.key)) return "the EK is weaker than RSA with 2,048 bits, or larger than 4,096";
  return std::nullopt;
}

}  // namespace gatehouse::tpm
