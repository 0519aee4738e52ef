// OpenSSL 3.0's decoders and encoders of public keys look their way up each time: 170 us for what the functions that it
// calls deprecated do in 3, to the same bytes. They are used here alone; signatures are checked by providers' keys.
#define OPENSSL_SUPPRESS_DEPRECATED
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

#include <algorithm>
#include <array>
#include <memory>

#include "base/der.h"
#include "base/owned.h"

namespace gatehouse {
namespace {

std::unexpected<Error> bad_key(std::string_view why) {
  ERR_clear_error();
  return fail(Fault::malformed, why);
}
constexpr std::string_view neither = "key is neither RSA nor ECC";

struct Curve {
  KeyType type;
  int nid;
  const char* name;
  std::size_t field;  // bytes
};
constexpr Curve curves[] = {{KeyType::ecc_p256, NID_X9_62_prime256v1, "P-256", 32},
                            {KeyType::ecc_p384, NID_secp384r1, "P-384", 48},
                            {KeyType::ecc_p521, NID_secp521r1, "P-521", 66}};

Owned<EVP_PKEY, EVP_PKEY_free> build_key(const char* type, OSSL_PARAM* parameters) {
  const Owned<EVP_PKEY_CTX, EVP_PKEY_CTX_free> context(EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr));
  EVP_PKEY* key = nullptr;
  if (parameters == nullptr || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
      EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
    return nullptr;
  return Owned<EVP_PKEY, EVP_PKEY_free>(key);
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

Result<PublicKey> PublicKey::adopt(State&& state, ByteVector spki) {
  state.spki = std::move(spki);
  state.key_id = digest_of(HashAlgorithm::sha1, state.spki).hex();
  state.pin = digest_of(HashAlgorithm::sha256, state.spki).hex();
  return PublicKey(std::make_shared<const State>(std::move(state)));
}

Result<PublicKey> PublicKey::adopt_rsa(const void* rsa) {
  const RSA* const key = static_cast<const RSA*>(rsa);
  // One that is for PSS alone has another type of its own.
  if (RSA_test_flags(key, RSA_FLAG_TYPE_MASK) != RSA_FLAG_TYPE_RSA) return bad_key(neither);
  const BIGNUM *n = nullptr, *e = nullptr;
  RSA_get0_key(key, &n, &e, nullptr);
  State state;
  state.type = KeyType::rsa;
  state.bits = std::size_t(BN_num_bits(n));
  if (state.bits < 1024 || state.bits > 8192) return bad_key("RSA key size outside 1024 to 8192 bits");
  if (BN_num_bits(e) > 64) return bad_key("RSA exponent longer than 64 bits");
  state.exponent = BN_get_word(e);
  const Owned<OSSL_PARAM_BLD, OSSL_PARAM_BLD_free> build(OSSL_PARAM_BLD_new());
  if (!build || OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_N, n) != 1 ||
      OSSL_PARAM_BLD_push_BN(build.get(), OSSL_PKEY_PARAM_RSA_E, e) != 1)
    return bad_key("RSA key can't be built");
  const Owned<OSSL_PARAM, OSSL_PARAM_free> parameters(OSSL_PARAM_BLD_to_param(build.get()));
  state.key = build_key("RSA", parameters.get());
  if (!state.key) return bad_key("RSA key can't be built");
  return adopt(std::move(state), encoded(key, &i2d_RSA_PUBKEY));
}

Result<PublicKey> PublicKey::adopt_ec(const void* ec) {
  const EC_KEY* const key = static_cast<const EC_KEY*>(ec);
  const EC_GROUP* const group = EC_KEY_get0_group(key);
  if (EC_GROUP_get_asn1_flag(group) != OPENSSL_EC_NAMED_CURVE) return bad_key("EC key without a named curve");
  State state;
  const Curve* const curve = std::ranges::find(curves, EC_GROUP_get_curve_name(group), &Curve::nid);
  if (curve == std::end(curves)) return bad_key("unsupported curve");
  state.type = curve->type;
  state.bits = std::size_t(EC_GROUP_get_degree(group));
  std::array<unsigned char, 1 + 2 * 66> point{};
  const std::size_t size = EC_POINT_point2oct(group, EC_KEY_get0_public_key(key), POINT_CONVERSION_UNCOMPRESSED,
                                              point.data(), point.size(), nullptr);
  // One byte: the point at infinity, which is no key.
  if (size <= 1) return bad_key("point isn't on the curve");
  OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(curve->name), 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point.data(), size), OSSL_PARAM_construct_end()};
  state.key = build_key("EC", parameters);
  if (!state.key) return bad_key("point isn't on the curve");
  return adopt(std::move(state), encoded(key, &i2d_EC_PUBKEY));
}

Result<PublicKey> PublicKey::from_spki(Bytes der) {
  if (der.size() > 16384) return bad_key("public key longer than 16384 bytes");
  const auto whole = [&](const unsigned char* end) { return end == as_uchar(der) + der.size(); };
  constexpr std::string_view more = "bytes after the SubjectPublicKeyInfo";
  const unsigned char* p = as_uchar(der);
  if (const Owned<RSA, RSA_free> rsa(d2i_RSA_PUBKEY(nullptr, &p, long(der.size()))); rsa) {
    if (!whole(p)) return bad_key(more);
    return adopt_rsa(rsa.get());
  }
  p = as_uchar(der);
  if (const Owned<EC_KEY, EC_KEY_free> ec(d2i_EC_PUBKEY(nullptr, &p, long(der.size()))); ec) {
    if (!whole(p)) return bad_key(more);
    ERR_clear_error();  // it was no RSA key
    return adopt_ec(ec.get());
  }
  p = as_uchar(der);
  const Owned<EVP_PKEY, EVP_PKEY_free> other(d2i_PUBKEY(nullptr, &p, long(der.size())));
  return bad_key(!other ? "not a SubjectPublicKeyInfo" : whole(p) ? neither : more);
}

Result<PublicKey> PublicKey::from_certificate(Bytes der) {
  const unsigned char* p = as_uchar(der);
  const Owned<X509, X509_free> certificate(d2i_X509(nullptr, &p, long(der.size())));
  if (!certificate) return bad_key("not an X.509 certificate");
  auto key = from_spki(encoded(X509_get_X509_PUBKEY(certificate.get()), &i2d_X509_PUBKEY));
  if (!key) return bad_key("certificate without a usable key");
  return key;
}

Result<PublicKey> PublicKey::from_pem(std::string_view pem) {
  const Owned<BIO, BIO_free_all> bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
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
    const Owned<RSA, RSA_free> key(d2i_RSAPublicKey(nullptr, &p, long(der.size())));
    if (!key) return bad_key("not an RSA public key");
    return adopt_rsa(key.get());
  }
  return bad_key("PEM block is neither a public key nor a certificate");
}

Result<PublicKey> PublicKey::from_rsa(Bytes modulus, std::uint32_t exponent) {
  const Owned<RSA, RSA_free> key(RSA_new());
  Owned<BIGNUM, BN_free> n(BN_bin2bn(as_uchar(modulus), int(modulus.size()), nullptr)), e(BN_new());
  if (!key || !n || !e || BN_set_word(e.get(), exponent == 0 ? 65537 : exponent) != 1 ||
      RSA_set0_key(key.get(), n.get(), e.get(), nullptr) != 1)
    return bad_key("RSA key can't be built");
  (void)n.release();
  (void)e.release();
  return adopt_rsa(key.get());
}

Result<PublicKey> PublicKey::from_ecc(KeyType type, Bytes x, Bytes y) {
  const Curve* const curve = std::ranges::find(curves, type, &Curve::type);
  if (curve == std::end(curves)) return bad_key("RSA isn't a curve");
  if (x.size() > curve->field || y.size() > curve->field) return bad_key("coordinate longer than the field");
  const Owned<EC_KEY, EC_KEY_free> key(EC_KEY_new_by_curve_name(curve->nid));
  const Owned<BIGNUM, BN_free> bn_x(BN_bin2bn(as_uchar(x), int(x.size()), nullptr)),
      bn_y(BN_bin2bn(as_uchar(y), int(y.size()), nullptr));
  if (!key || !bn_x || !bn_y || EC_KEY_set_public_key_affine_coordinates(key.get(), bn_x.get(), bn_y.get()) != 1)
    return bad_key("point isn't on the curve");
  return adopt_ec(key.get());
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
  const Owned<BIO, BIO_free_all> bio(BIO_new(BIO_s_mem()));
  const ByteVector& der = state_->spki;
  GH_ASSERT(bio && PEM_write_bio(bio.get(), PEM_STRING_PUBLIC, "", as_uchar(der), long(der.size())) > 0);
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
