#include "base/tpm_credential.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <array>

#include "base/owned.h"
#include "base/writer.h"

namespace gatehouse {
namespace {

using Pkey = Owned<EVP_PKEY, EVP_PKEY_free>;
using PkeyContext = Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free>;

constexpr std::string_view credential_spec = "TPM 2.0 Part 1 24";
constexpr char identity_label[] = "IDENTITY";  // with its NUL: so it is hashed

// A secret that is wiped at its end.
struct Wiped {
  ByteVector bytes;
  ~Wiped() { wipe(bytes); }
};

std::unexpected<Error> failed(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::internal, why, credential_spec);
}

const char* name_in_openssl(HashAlgorithm hash) {
  switch (hash) {
    case HashAlgorithm::sha384: return "SHA384";
    case HashAlgorithm::sha512: return "SHA512";
    default: return "SHA256";
  }
}

Result<Pkey> native(const PublicKey& key) {
  const unsigned char* p = as_uchar(key.spki());
  Pkey out(d2i_PUBKEY(nullptr, &p, long(key.spki().size())));
  if (!out) return failed("the EK can't be decoded");
  return out;
}

// Part 1 B.10.4: OAEP with the EK's name algorithm, also for the mask, and the label with its NUL.
Result<ByteVector> seal_seed(EVP_PKEY* ek, HashAlgorithm hash, Bytes seed) {
  const PkeyContext context(EVP_PKEY_CTX_new_from_pkey(nullptr, ek, nullptr));
  std::array<OSSL_PARAM, 5> parameters{};
  int padding = RSA_PKCS1_OAEP_PADDING;
  // The provider copies what it is given.
  std::array<char, 8> digest{};
  std::string_view(name_in_openssl(hash)).copy(digest.data(), digest.size() - 1);
  std::array<char, sizeof identity_label> label{};
  std::memcpy(label.data(), identity_label, sizeof identity_label);
  parameters[0] = OSSL_PARAM_construct_int(OSSL_ASYM_CIPHER_PARAM_PAD_MODE, &padding);
  parameters[1] = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_OAEP_DIGEST, digest.data(), 0);
  parameters[2] = OSSL_PARAM_construct_utf8_string(OSSL_ASYM_CIPHER_PARAM_MGF1_DIGEST, digest.data(), 0);
  parameters[3] = OSSL_PARAM_construct_octet_string(OSSL_ASYM_CIPHER_PARAM_OAEP_LABEL, label.data(), label.size());
  parameters[4] = OSSL_PARAM_construct_end();
  std::size_t size = 0;
  if (!context || EVP_PKEY_encrypt_init_ex(context.get(), parameters.data()) != 1 ||
      EVP_PKEY_encrypt(context.get(), nullptr, &size, as_uchar(seed), seed.size()) != 1)
    return failed("the seed can't be encrypted to the EK");
  ByteVector out(size);
  if (EVP_PKEY_encrypt(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, as_uchar(seed), seed.size()) != 1)
    return failed("the seed can't be encrypted to the EK");
  out.resize(size);
  return out;
}

// X and Y, each as long as the field.
struct Point {
  ByteVector x, y;
};
Result<Point> point_of(EVP_PKEY* key, std::size_t field) {
  std::array<unsigned char, 1 + 2 * 66> encoded{};
  std::size_t size = 0;
  if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, encoded.data(), encoded.size(), &size) != 1 ||
      size != 1 + 2 * field || encoded[0] != 4)
    return failed("not an uncompressed point");
  const Bytes both = std::as_bytes(std::span(encoded)).subspan(1, 2 * field);
  return Point{to_vector(both.first(field)), to_vector(both.last(field))};
}

// Part 1 C.6.4: an ephemeral key, and KDFe of what it has in common with the EK.
Result<ByteVector> agree_seed(EVP_PKEY* ek, const CredentialKey& of, ByteVector& seed) {
  const std::size_t field = of.key.field_size();
  const PkeyContext make(EVP_PKEY_CTX_new_from_pkey(nullptr, ek, nullptr));
  EVP_PKEY* raw = nullptr;
  if (!make || EVP_PKEY_keygen_init(make.get()) != 1 || EVP_PKEY_keygen(make.get(), &raw) != 1)
    return failed("no ephemeral key on the EK's curve");
  const Pkey ephemeral(raw);
  const PkeyContext derive(EVP_PKEY_CTX_new_from_pkey(nullptr, ephemeral.get(), nullptr));
  Wiped z{ByteVector(field)};
  std::size_t size = field;
  if (!derive || EVP_PKEY_derive_init(derive.get()) != 1 || EVP_PKEY_derive_set_peer(derive.get(), ek) != 1 ||
      EVP_PKEY_derive(derive.get(), reinterpret_cast<unsigned char*>(z.bytes.data()), &size) != 1 || size != field)
    return failed("no key agreement with the EK");
  GH_TRY(const Point own, point_of(ephemeral.get(), field));
  GH_TRY(const Point theirs, point_of(ek, field));
  seed = tpm_kdfe(of.name_algorithm, z.bytes, identity_label, own.x, theirs.x);
  Writer w;
  for (const ByteVector* part : {&own.x, &own.y}) {
    w.put(std::uint16_t(part->size()));
    w.put_bytes(*part);
  }
  return std::move(w).take();
}

Result<ByteVector> aes_cfb(Bytes key, Bytes plain) {
  const Owned<EVP_CIPHER_CTX, EVP_CIPHER_CTX_free> context(EVP_CIPHER_CTX_new());
  const EVP_CIPHER* const cipher = key.size() == 16 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128();
  const std::array<unsigned char, 16> iv{};
  ByteVector out(plain.size());
  int size = 0;
  if (!context || EVP_EncryptInit_ex(context.get(), cipher, nullptr, as_uchar(key), iv.data()) != 1 ||
      EVP_EncryptUpdate(context.get(), reinterpret_cast<unsigned char*>(out.data()), &size, as_uchar(plain), int(plain.size())) != 1 ||
      std::size_t(size) != plain.size())
    return failed("the credential can't be encrypted");
  return out;
}

}  // namespace

ByteVector tpm_kdfa(HashAlgorithm hash, Bytes key, std::string_view label, Bytes context_u, Bytes context_v, unsigned bits) {
  GH_ASSERT(bits % 8 == 0 && bits / 8 <= digest_size(hash));
  Writer w;
  w.put(std::uint32_t(1));  // counter
  w.put_bytes(as_bytes(label));
  w.put(std::uint8_t(0));
  w.put_bytes(context_u);
  w.put_bytes(context_v);
  w.put(std::uint32_t(bits));
  Digest block = hmac(hash, key, w.view());
  ByteVector out = to_vector(block.view().first(bits / 8));
  wipe(block.bytes);
  return out;
}

ByteVector tpm_kdfe(HashAlgorithm hash, Bytes z, std::string_view label, Bytes party_u, Bytes party_v) {
  Writer w;
  w.put(std::uint32_t(1));  // counter
  w.put_bytes(z);
  w.put_bytes(as_bytes(label));
  w.put(std::uint8_t(0));
  w.put_bytes(party_u);
  w.put_bytes(party_v);
  Wiped whole{std::move(w).take()};
  Digest block = digest_of(hash, whole.bytes);
  ByteVector out = to_vector(block.view());
  wipe(block.bytes);
  return out;
}

Result<void> check_credential_key(const CredentialKey& key) {
  const bool known = (key.name_algorithm == HashAlgorithm::sha256 && key.aes_bits == 128) ||
                     (key.name_algorithm == HashAlgorithm::sha384 && key.aes_bits == 256) ||
                     (key.name_algorithm == HashAlgorithm::sha512 && key.aes_bits == 256);
  if (!known) return fail(Fault::denied, "the EK's name algorithm and AES key aren't those of a TCG template", "TCG EK Credential Profile B.3");
  if (key.key.type() == KeyType::rsa && (key.key.bits() < 2048 || key.key.bits() > 4096))
    return fail(Fault::denied, "an RSA EK has 2,048 to 4,096 bits", "TCG EK Credential Profile B.3");
  return {};
}

Result<TpmCredential> make_tpm_credential(const CredentialKey& ek, Bytes name, Bytes secret) {
  GH_CHECK(check_credential_key(ek));
  const HashAlgorithm hash = ek.name_algorithm;
  const std::size_t size = digest_size(hash);
  if (secret.empty() || secret.size() > size) return fail(Fault::internal, "a credential has 1 byte to the digest's size", credential_spec);
  GH_TRY(const Pkey key, native(ek.key));
  TpmCredential out;
  Wiped seed;
  if (ek.key.type() == KeyType::rsa) {
    seed.bytes = random_bytes(size);
    GH_TRY(out.encrypted_secret, seal_seed(key.get(), hash, seed.bytes));
  } else {
    GH_TRY(out.encrypted_secret, agree_seed(key.get(), ek, seed.bytes));
  }
  const Wiped cipher_key{tpm_kdfa(hash, seed.bytes, "STORAGE", name, {}, ek.aes_bits)};
  const Wiped mac_key{tpm_kdfa(hash, seed.bytes, "INTEGRITY", {}, {}, unsigned(8 * size))};
  Writer identity;
  identity.put(std::uint16_t(secret.size()));
  identity.put_bytes(secret);
  const Wiped plain{std::move(identity).take()};
  GH_TRY(const ByteVector encrypted, aes_cfb(cipher_key.bytes, plain.bytes));
  ByteVector covered = encrypted;
  covered.insert(covered.end(), name.begin(), name.end());
  const Digest mac = hmac(hash, mac_key.bytes, covered);
  Writer w;
  w.put(std::uint16_t(mac.size));
  w.put_bytes(mac.view());
  w.put_bytes(encrypted);
  out.id_object = std::move(w).take();
  return out;
}

}  // namespace gatehouse
