// A software key that signs TPMS_ATTEST as a TPM would: for quotes that are wrong in exactly one way.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>
#include <stdexcept>

#include "base/public_key.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::testing {

class Signer {
 public:
  static Signer rsa(std::size_t bits = 2048) { return Signer(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", bits)); }
  static Signer ecc(const char* curve = "P-256") { return Signer(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve)); }

  PublicKey key() const {
    unsigned char* der = nullptr;
    const int n = i2d_PUBKEY(key_.get(), &der);
    const ByteVector spki = to_vector(Bytes(reinterpret_cast<const std::byte*>(der), std::size_t(n)));
    OPENSSL_free(der);
    return PublicKey::from_spki(spki).value();
  }
  // RSA: the signature; ECDSA: DER.
  ByteVector sign(Bytes message, HashAlgorithm hash = HashAlgorithm::sha256, bool pss = false) const {
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    EVP_PKEY_CTX* pkey = nullptr;
    check(EVP_DigestSignInit_ex(ctx.get(), &pkey, std::string(name(hash)).c_str(), nullptr, nullptr, key_.get(), nullptr));
    if (pss) check(EVP_PKEY_CTX_set_rsa_padding(pkey, RSA_PKCS1_PSS_PADDING));
    std::size_t n = 0;
    check(EVP_DigestSign(ctx.get(), nullptr, &n, as_uchar(message), message.size()));
    ByteVector out(n);
    check(EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(out.data()), &n, as_uchar(message), message.size()));
    out.resize(n);
    return out;
  }
  struct Pair {
    ByteVector r, s;  // without leading zeros
  };
  Pair sign_ecdsa(Bytes message, HashAlgorithm hash = HashAlgorithm::sha256) const {
    const ByteVector der = sign(message, hash);
    const unsigned char* at = as_uchar(der);
    std::unique_ptr<ECDSA_SIG, decltype(&ECDSA_SIG_free)> sig(d2i_ECDSA_SIG(nullptr, &at, long(der.size())), ECDSA_SIG_free);
    return {bytes_of(ECDSA_SIG_get0_r(sig.get())), bytes_of(ECDSA_SIG_get0_s(sig.get()))};
  }
  // TPMT_SIGNATURE.
  ByteVector tpmt(Bytes message, HashAlgorithm hash = HashAlgorithm::sha256, bool pss = false) const {
    Writer w;
    tpm::Signature s;
    s.hash = std::uint16_t(hash);
    if (EVP_PKEY_get_base_id(key_.get()) == EVP_PKEY_EC) {
      const Pair pair = sign_ecdsa(message, hash);
      s.algorithm = tpm::alg_ecdsa;
      s.r = pair.r;
      s.s = pair.s;
      tpm::append_signature(w, s);
    } else {
      const ByteVector signature = sign(message, hash, pss);
      s.algorithm = pss ? tpm::alg_rsapss : tpm::alg_rsassa;
      s.rsa = signature;
      tpm::append_signature(w, s);
    }
    return std::move(w).take();
  }

 private:
  explicit Signer(EVP_PKEY* key) : key_(key, EVP_PKEY_free) {
    if (key == nullptr) throw std::runtime_error("key");
  }
  static void check(int good) {
    if (good <= 0) throw std::runtime_error("sign");
  }
  static ByteVector bytes_of(const BIGNUM* n) {
    ByteVector out(std::size_t(BN_num_bytes(n)));
    BN_bn2bin(n, reinterpret_cast<unsigned char*>(out.data()));
    return out;
  }
  std::shared_ptr<EVP_PKEY> key_;
};

}  // namespace gatehouse::testing
