#include "endpoint/tpm/software_tpm.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

namespace gatehouse::endpoint {

struct SoftwareTpm::Signer {
  EVP_PKEY* key = nullptr;
  AkKind kind = AkKind::rsa;
  Signer() = default;
  Signer(const Signer&) = delete;
  Signer& operator=(const Signer&) = delete;
  ~Signer() { EVP_PKEY_free(key); }

  ByteVector sign(Bytes message) const {
    EVP_MD_CTX* const context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* parameters = nullptr;
    std::size_t size = 0;
    ByteVector out;
    bool good = EVP_DigestSignInit_ex(context, &parameters, "SHA2-256", nullptr, nullptr, key, nullptr) == 1;
    if (good && kind == AkKind::rsapss)
      good = EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestSign(context, nullptr, &size, as_uchar(message), message.size()) == 1;
    out.resize(size);
    good = good && EVP_DigestSign(context, reinterpret_cast<unsigned char*>(out.data()), &size, as_uchar(message), message.size()) == 1;
    EVP_MD_CTX_free(context);
    GH_ASSERT(good);
    out.resize(size);
    return out;
  }
};

SoftwareTpm::~SoftwareTpm() = default;

Result<std::unique_ptr<SoftwareTpm>> SoftwareTpm::make(AkKind kind) {
  std::unique_ptr<SoftwareTpm> out(new SoftwareTpm);
  out->signer_ = std::make_unique<Signer>();
  out->signer_->kind = kind;
  out->signer_->key = kind == AkKind::ecc ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(out->signer_->key, &der);
  if (size <= 0) return fail(Fault::internal, "can't make a key");
  auto key = PublicKey::from_spki(Bytes(reinterpret_cast<const std::byte*>(der), std::size_t(size)));
  OPENSSL_free(der);
  if (!key) return std::unexpected(std::move(key).error());
  out->key_ = *key;
  return out;
}

Result<Quote> SoftwareTpm::quote(HashAlgorithm bank, std::uint32_t selected, Bytes nonce) {
  Hasher hasher(HashAlgorithm::sha256);  // the hash of the signing scheme
  hasher.start();
  for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
    if ((selected >> pcr & 1) == 0) continue;
    const auto at = pcrs_[bank].find(pcr);
    hasher.update((at != pcrs_[bank].end() ? at->second : Digest::filled(digest_size(bank), pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0})).view());
  }
  const Digest composite = hasher.finish();
  Writer signer, clock, firmware, selection;
  signer.put(std::uint16_t(HashAlgorithm::sha256));
  signer.put_bytes(digest_of(HashAlgorithm::sha256, key_->spki()).view());
  clock_ += 10;
  clock.put(clock_);
  clock.put(reset_count_);
  clock.put(std::uint32_t{0});
  clock.put(std::uint8_t{1});
  firmware.put(std::uint64_t{0x2026000100000000});
  tpm::append_selections(selection, {{std::uint16_t(bank), 3, selected}});
  Quote out;
  out.attest = tpm::build_quote(signer.view(), nonce, clock.view(), firmware.view(), selection.view(), composite.view());
  if (before_signing) before_signing(out.attest);
  const ByteVector raw = signer_->sign(out.attest);
  tpm::Signature s;
  s.hash = std::uint16_t(HashAlgorithm::sha256);
  ByteVector r, t;
  if (signer_->kind == AkKind::ecc) {
    s.algorithm = tpm::alg_ecdsa;
    const unsigned char* p = as_uchar(raw);
    ECDSA_SIG* const parsed = d2i_ECDSA_SIG(nullptr, &p, long(raw.size()));
    GH_ASSERT(parsed != nullptr);
    r.resize(32);
    t.resize(32);
    BN_bn2binpad(ECDSA_SIG_get0_r(parsed), reinterpret_cast<unsigned char*>(r.data()), 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(parsed), reinterpret_cast<unsigned char*>(t.data()), 32);
    ECDSA_SIG_free(parsed);
    s.r = r;
    s.s = t;
  } else {
    s.algorithm = signer_->kind == AkKind::rsa ? tpm::alg_rsassa : tpm::alg_rsapss;
    s.rsa = raw;
  }
  Writer signature;
  tpm::append_signature(signature, s);
  out.signature = std::move(signature).take();
  return out;
}

}  // namespace gatehouse::endpoint
