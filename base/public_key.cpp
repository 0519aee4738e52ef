#include "base/public_key.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <memory>

namespace gatehouse {
namespace {

template <class T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
template <class T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Free>>;
void free_bio(BIO* b) { BIO_free_all(b); }

std::unexpected<Error> bad_key(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::malformed, why);
}

}  // namespace

std::string_view name(SignatureScheme scheme) {
  switch (scheme) {
    case SignatureScheme::rsassa: return "rsassa";
    case SignatureScheme::rsapss: return "rsapss";
    case SignatureScheme::ecdsa: return "ecdsa";
  }
  return "rsassa";
}

struct PublicKey::State {
  Owned<EVP_PKEY, EVP_PKEY_free> key;
  KeyType type = KeyType::rsa;
  std::size_t bits = 0;
  std::uint64_t exponent = 0;
  ByteVector spki;
  std::string key_id;
  std::string pin;
};

Result<PublicKey> PublicKey::adopt(void* evp_pkey) {
  auto state = std::make_shared<State>();
  state->key.reset(static_cast<EVP_PKEY*>(evp_pkey));
  EVP_PKEY* const key = state->key.get();
  state->bits = std::size_t(EVP_PKEY_get_bits(key));
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    state->type = KeyType::rsa;
    if (state->bits < 1024 || state->bits > 8192) return bad_key("RSA key size outside 1024 to 8192 bits");
    BIGNUM* e = nullptr;
    if (EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &e) != 1) return bad_key("RSA key without exponent");
    const Owned<BIGNUM, BN_free> owned(e);
    if (BN_num_bits(e) > 64) return bad_key("RSA exponent longer than 64 bits");
    state->exponent = BN_get_word(e);
  } else if (EVP_PKEY_is_a(key, "EC") == 1) {
    char group[64] = {};
    std::size_t length = 0;
    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &length) != 1)
      return bad_key("EC key without a named curve");
    const std::string_view curve(group, length);
    if (curve == "prime256v1" || curve == "P-256") state->type = KeyType::ecc_p256;
    else if (curve == "secp384r1" || curve == "P-384") state->type = KeyType::ecc_p384;
    else if (curve == "secp521r1" || curve == "P-521") state->type = KeyType::ecc_p521;
    else return bad_key("unsupported curve");
  } else {
    return bad_key("key is neither RSA nor ECC");
  }
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(key, &der);
  if (size <= 0) return bad_key("key can't be encoded");
  state->spki.assign(reinterpret_cast<std::byte*>(der), reinterpret_cast<std::byte*>(der) + size);
  OPENSSL_free(der);
  state->key_id = digest_of(HashAlgorithm::sha1, state->spki).hex();
  state->pin = digest_of(HashAlgorithm::sha256, state->spki).hex();
  return PublicKey(std::move(state));
}

Result<PublicKey> PublicKey::from_spki(Bytes der) {
  if (der.size() > 16384) return bad_key("public key longer than 16384 bytes");
  const unsigned char* p = as_uchar(der);
  EVP_PKEY* const key = d2i_PUBKEY(nullptr, &p, long(der.size()));
  if (key == nullptr) return bad_key("not a SubjectPublicKeyInfo");
  if (p != as_uchar(der) + der.size()) {
    EVP_PKEY_free(key);
    return bad_key("bytes after the SubjectPublicKeyInfo");
  }
  return adopt(key);
}

Result<PublicKey> PublicKey::from_certificate(Bytes der) {
  const unsigned char* p = as_uchar(der);
  const Owned<X509, X509_free> certificate(d2i_X509(nullptr, &p, long(der.size())));
  if (!certificate) return bad_key("not an X.509 certificate");
  EVP_PKEY* const key = X509_get_pubkey(certificate.get());
  if (key == nullptr) return bad_key("certificate without a usable key");
  return adopt(key);
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const Owned<BIO, free_bio> bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
  char* block = nullptr;
  char* header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  if (!bio || PEM_read_bio(bio.get(), &block, &header, &data, &size) != 1) return bad_key("no PEM block");
  const std::string label(block);
  const ByteVector der(reinterpret_cast<std::byte*>(data), reinterpret_cast<std::byte*>(data) + size);
  OPENSSL_free(block);
  OPENSSL_free(header);
  OPENSSL_free(data);
  if (label == "PUBLIC KEY") return from_spki(der);
  if (label == "CERTIFICATE" || label == "X509 CERTIFICATE" || label == "TRUSTED CERTIFICATE")
    return from_certificate(der);
  if (label == "RSA PUBLIC KEY") {
    const unsigned char* p = as_uchar(der);
    EVP_PKEY* const key = d2i_PublicKey(EVP_PKEY_RSA, nullptr, &p, long(der.size()));
    if (key == nullptr) return bad_key("not an RSA public key");
    return adopt(key);
  }
  return bad_key("PEM block is neither a public key nor a certificate");
}

Result<PublicKey> PublicKey::from_rsa(Bytes modulus, std::uint32_t exponent) {
  const Owned<BIGNUM, BN_free> n(BN_bin2bn(as_uchar(modulus), int(modulus.size()), nullptr));
  const Owned<BIGNUM, BN_free> e(BN_new());
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  if (!n || !e || !build || BN_set_word(e.get(), exponent == 0 ? 65537 : exponent) != 1 ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1)
    return bad_key("RSA key can't be built");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr));
  EVP_PKEY* key = nullptr;
  if (!parameters || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters.get()) != 1)
    return bad_key("RSA key can't be built");
  return adopt(key);
}

Result<PublicKey> PublicKey::from_ecc(KeyType curve, Bytes x, Bytes y) {
  std::size_t field = 0;
  const char* group = nullptr;
  switch (curve) {
    case KeyType::ecc_p256: field = 32, group = "P-256"; break;
    case KeyType::ecc_p384: field = 48, group = "P-384"; break;
    case KeyType::ecc_p521: field = 66, group = "P-521"; break;
    case KeyType::rsa: return bad_key("RSA isn't a curve");
  }
  if (x.size() > field || y.size() > field) return bad_key("coordinate longer than the field");
  ByteVector point(1 + 2 * field);
  point[0] = std::byte{4};
  if (!x.empty()) std::memcpy(point.data() + 1 + field - x.size(), x.data(), x.size());
  if (!y.empty()) std::memcpy(point.data() + 1 + 2 * field - y.size(), y.data(), y.size());
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(group), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), point.size()), OSSL_PARAM_construct_end()};
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr));
  EVP_PKEY* key = nullptr;
  if (!context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
    return bad_key("point isn't on the curve");
  return adopt(key);
}

KeyType PublicKey::type() const { return state_->type; }
std::size_t PublicKey::bits() const { return state_->bits; }
std::uint64_t PublicKey::rsa_exponent() const { return state_->exponent; }
const ByteVector& PublicKey::spki() const { return state_->spki; }
const std::string& PublicKey::key_id() const { return state_->key_id; }
const std::string& PublicKey::pin() const { return state_->pin; }

Digest PublicKey::subject_key_id() const {
  const unsigned char* p = as_uchar(state_->spki);
  const Owned<X509_PUBKEY, X509_PUBKEY_free> spki(d2i_X509_PUBKEY(nullptr, &p, long(state_->spki.size())));
  const unsigned char* bits = nullptr;
  int size = 0;
  GH_ASSERT(spki && X509_PUBKEY_get0_param(nullptr, &bits, &size, nullptr, spki.get()) == 1);
  return digest_of(HashAlgorithm::sha1, {reinterpret_cast<const std::byte*>(bits), std::size_t(size)});
}

std::size_t PublicKey::field_size() const {
  switch (state_->type) {
    case KeyType::rsa: return 0;
    case KeyType::ecc_p256: return 32;
    case KeyType::ecc_p384: return 48;
    case KeyType::ecc_p521: return 66;
  }
  return 0;
}

namespace {

// Of the hashes that signatures are made with; null: none of them.
const char* openssl_name(HashAlgorithm hash) {
  switch (hash) {
    case HashAlgorithm::sha1:
      return "SHA1";
    case HashAlgorithm::sha256:
      return "SHA2-256";
    case HashAlgorithm::sha384:
      return "SHA2-384";
    case HashAlgorithm::sha512:
      return "SHA2-512";
    case HashAlgorithm::sm3_256:
    case HashAlgorithm::sha3_256:
    case HashAlgorithm::sha3_384:
    case HashAlgorithm::sha3_512:
      break;
  }
  return nullptr;
}

bool set_pss(EVP_PKEY_CTX* parameters) {
  return EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) == 1 &&
         EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_AUTO) == 1;
}

}  // namespace

bool PublicKey::verify(SignatureScheme scheme, HashAlgorithm hash, Bytes message, Bytes signature) const {
  const bool rsa = state_->type == KeyType::rsa;
  // OpenSSL takes the digest by name here and keeps what it fetched with the key's provider.
  const char* const digest = openssl_name(hash);
  if (digest == nullptr || rsa != (scheme != SignatureScheme::ecdsa)) return false;
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;  // owned by the context
  bool good = context && EVP_DigestVerifyInit_ex(context.get(), &parameters, digest, nullptr, nullptr,
                                                 state_->key.get(), nullptr) == 1;
  if (good && scheme == SignatureScheme::rsapss) good = set_pss(parameters);
  good = good && EVP_DigestVerify(context.get(), as_uchar(signature), signature.size(), as_uchar(message),
                                  message.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

bool PublicKey::verify_digest(SignatureScheme scheme, HashAlgorithm hash, Bytes digest, Bytes signature) const {
  const bool rsa = state_->type == KeyType::rsa;
  const char* const name = openssl_name(hash);
  if (name == nullptr || digest.size() != digest_size(hash) || rsa != (scheme != SignatureScheme::ecdsa)) return false;
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_pkey(nullptr, state_->key.get(), nullptr));
  const Owned<EVP_MD, EVP_MD_free> fetched(EVP_MD_fetch(nullptr, name, nullptr));
  bool good = context && fetched && EVP_PKEY_verify_init(context.get()) == 1;
  if (good && rsa)  // before the hash: with the padding it is checked which hash may go with it
    good = scheme == SignatureScheme::rsapss ? set_pss(context.get())
                                             : EVP_PKEY_CTX_set_rsa_padding(context.get(), RSA_PKCS1_PADDING) == 1;
  good = good && EVP_PKEY_CTX_set_signature_md(context.get(), fetched.get()) == 1 &&
         EVP_PKEY_verify(context.get(), as_uchar(signature), signature.size(), as_uchar(digest), digest.size()) == 1;
  if (!good) ERR_clear_error();
  return good;
}

std::string PublicKey::pem() const {
  const Owned<BIO, free_bio> bio(BIO_new(BIO_s_mem()));
  GH_ASSERT(bio && PEM_write_bio_PUBKEY(bio.get(), state_->key.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, std::size_t(size)};
}

ByteVector ecdsa_der(Bytes r, Bytes s) {
  const auto append = [](ByteVector& out, Bytes number) {
    while (!number.empty() && number.front() == std::byte{0}) number = number.subspan(1);
    const bool pad = number.empty() || (number.front() & std::byte{0x80}) != std::byte{0};
    out.push_back(std::byte{2});
    out.push_back(std::byte(number.size() + (pad ? 1 : 0)));
    if (pad) out.push_back(std::byte{0});
    out.insert(out.end(), number.begin(), number.end());
  };
  GH_ASSERT(r.size() <= 66 && s.size() <= 66);
  ByteVector body;
  append(body, r);
  append(body, s);
  ByteVector out{std::byte{0x30}};
  if (body.size() >= 128) out.push_back(std::byte{0x81});
  out.push_back(std::byte(body.size()));
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace gatehouse
