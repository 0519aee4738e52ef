// TPM2_ActivateCredential with an endorsement key of OpenSSL: undoes what base/tpm_credential.h makes, as a TPM does, by
// the private key. For tests of both ends without a TPM.
#pragma once

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>

#include "base/owned.h"
#include "base/public_key.h"
#include "base/tpm_credential.h"
#include "endpoint/tpm/activation.h"
#include "endpoint/tpm/software.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint::test {

// TPMT_PUBLIC of an EK; `attributes`, key bits and mode may be made wrong.
struct EkShape {
  HashAlgorithm name_algorithm = HashAlgorithm::sha256;
  std::uint16_t aes_bits = 128, mode = tpm::alg_cfb;
  std::uint32_t attributes = tpm::fixed_tpm | tpm::fixed_parent | tpm::sensitive_data_origin | (1U << 7) | tpm::restricted | tpm::decrypt;
};

class SoftwareEk {
 public:
  // "RSA2048", "RSA3072", "P-256", "P-384".
  explicit SoftwareEk(const std::string& kind = "P-256", const EkShape& shape = {}) : shape_(shape) {
    key_.reset(kind.starts_with("RSA") ? EVP_RSA_gen(unsigned(std::stoul(kind.substr(3)))) : EVP_EC_gen(kind.c_str()));
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &der);
    public_ = *PublicKey::from_spki({reinterpret_cast<const std::byte*>(der), std::size_t(size)});
    OPENSSL_free(der);
  }
  EVP_PKEY* native() const { return key_.get(); }
  const PublicKey& key() const { return *public_; }
  CredentialKey credential_key() const { return {*public_, shape_.name_algorithm, shape_.aes_bits}; }

  ByteVector public_area() const {
    Writer w;
    const bool rsa = public_->type() == KeyType::rsa;
    w.put(std::uint16_t(rsa ? 0x0001 : 0x0023));
    w.put(std::uint16_t(shape_.name_algorithm));
    w.put(shape_.attributes);
    w.put(std::uint16_t(32));
    w.put_zeros(32);
    w.put(tpm::alg_aes);
    w.put(shape_.aes_bits);
    w.put(shape_.mode);
    w.put(tpm::alg_null);  // scheme
    if (rsa) {
      BIGNUM* n = nullptr;
      EVP_PKEY_get_bn_param(key_.get(), OSSL_PKEY_PARAM_RSA_N, &n);
      ByteVector modulus(std::size_t(BN_num_bytes(n)));
      BN_bn2bin(n, reinterpret_cast<unsigned char*>(modulus.data()));
      BN_free(n);
      w.put(std::uint16_t(public_->bits()));
      w.put(std::uint32_t(0));
      w.put(std::uint16_t(modulus.size()));
      w.put_bytes(modulus);
    } else {
      w.put(std::uint16_t(public_->type() == KeyType::ecc_p384 ? 4 : 3));
      w.put(tpm::alg_null);  // kdf
      const ByteVector both = point(key_.get());
      const std::size_t field = public_->field_size();
      for (const Bytes part : {Bytes(both).first(field), Bytes(both).last(field)}) {
        w.put(std::uint16_t(field));
        w.put_bytes(part);
      }
    }
    return std::move(w).take();
  }

  // Fault::denied where the integrity value is wrong: other EK, other name, or changed.
  Result<Secret> activate(Bytes name, Bytes id_object, Bytes encrypted_secret) const {
    const std::size_t size = digest_size(shape_.name_algorithm);
    GH_TRY(const ByteVector seed, open_seed(encrypted_secret));
    Reader r(id_object, "test");
    GH_TRY(const auto mac_size, r.get<std::uint16_t>());
    GH_TRY(const Bytes mac, r.take(mac_size));
    const Bytes encrypted = r.rest();
    ByteVector covered = to_vector(encrypted);
    covered.insert(covered.end(), name.begin(), name.end());
    const ByteVector mac_key = tpm_kdfa(shape_.name_algorithm, seed, "INTEGRITY", {}, {}, unsigned(8 * size));
    if (!equal(hmac(shape_.name_algorithm, mac_key, covered).view(), mac)) return fail(Fault::denied, "integrity");
    const ByteVector key = tpm_kdfa(shape_.name_algorithm, seed, "STORAGE", name, {}, shape_.aes_bits);
    const Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context(EVP_CIPHER_CTX_new());
    const std::array<unsigned char, 16> iv{};
    EVP_DecryptInit_ex(context.get(), shape_.aes_bits == 128 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128(), nullptr, as_uchar(key), iv.data());
    ByteVector plain(encrypted.size());
    int n = 0;
    EVP_DecryptUpdate(context.get(), reinterpret_cast<unsigned char*>(plain.data()), &n, as_uchar(encrypted), int(encrypted.size()));
    Reader inside(plain, "test");
    GH_TRY(const auto secret_size, inside.get<std::uint16_t>());
    GH_TRY(const Bytes secret, inside.take(secret_size));
    return Secret(secret);
  }

 private:
  static ByteVector point(EVP_PKEY* key) {
    std::array<unsigned char, 200> out{};
    std::size_t size = 0;
    EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out.data(), out.size(), &size);
    return to_vector(std::as_bytes(std::span(out)).subspan(1, size - 1));
  }
  Result<ByteVector> open_seed(Bytes encrypted) const {
    if (public_->type() != KeyType::rsa) return agree(encrypted);
    const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
    const EVP_MD* const md = shape_.name_algorithm == HashAlgorithm::sha256 ? EVP_sha256() : EVP_sha384();
    EVP_PKEY_decrypt_init(context.get());
    EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_OAEP_PADDING);
    EVP_PKEY_CTX_set_rsa_oaep_md(context.get(), md);
    EVP_PKEY_CTX_set_rsa_mgf1_md(context.get(), md);
    EVP_PKEY_CTX_set0_rsa_oaep_label(context.get(), OPENSSL_memdup("IDENTITY", 9), 9);
    ByteVector out(1024);
    std::size_t size = out.size();
    if (EVP_PKEY_decrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, as_uchar(encrypted), encrypted.size()) != 1)
      return fail(Fault::denied, "OAEP");
    out.resize(size);
    return out;
  }
  Result<ByteVector> agree(Bytes encrypted) const {
    Reader r(encrypted, "test");
    GH_TRY(const auto nx, r.get<std::uint16_t>());
    GH_TRY(const Bytes x, r.take(nx));
    GH_TRY(const auto ny, r.get<std::uint16_t>());
    GH_TRY(const Bytes y, r.take(ny));
    GH_CHECK(r.finish());
    GH_TRY(const PublicKey theirs, PublicKey::from_ecc(public_->type(), x, y));
    const unsigned char* p = as_uchar(theirs.spki());
    const Owned<EVP_PKEY, EVP_PKEY_free> peer(d2i_PUBKEY(nullptr, &p, long(theirs.spki().size())));
    const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_pkey(nullptr, key_.get(), nullptr));
    ByteVector z(public_->field_size());
    std::size_t size = z.size();
    if (EVP_PKEY_derive_init(context.get()) != 1 || EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
        EVP_PKEY_derive(context.get(), reinterpret_cast<unsigned char*>(z.data()), &size) != 1)
      return fail(Fault::denied, "ECDH");
    return tpm_kdfe(shape_.name_algorithm, z, "IDENTITY", x, Bytes(point(key_.get())).first(public_->field_size()));
  }

  EkShape shape_;
  Owned<EVP_PKEY, EVP_PKEY_free> key_;
  std::optional<PublicKey> public_;
};

// An AK and an EK of OpenSSL in one.
class SoftwareActivator final : public Activator {
 public:
  SoftwareActivator(const SoftwareEk& ek, ByteVector ak_public, ByteVector certificate = {}, std::vector<ByteVector> chain = {})
      : ek_(ek), ak_public_(std::move(ak_public)) {
    endorsement_ = {ek.public_area(), std::move(certificate), std::move(chain)};
    name_ = tpm::parse_public(ak_public_)->name;
    qualified_name_ = name_;  // as long as one
  }
  const Endorsement& endorsement() const override { return endorsement_; }
  const ByteVector& ak_public() const override { return ak_public_; }
  const ByteVector& ak_qualified_name() const override { return qualified_name_; }
  Result<Secret> activate(Bytes id_object, Bytes encrypted_secret) override { return ek_.activate(name_, id_object, encrypted_secret); }

 private:
  const SoftwareEk& ek_;
  ByteVector ak_public_, name_, qualified_name_;
  Endorsement endorsement_;
};

}  // namespace gatehouse::endpoint::test
