#include "base/jws.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <algorithm>
#include <array>

#include "base/base64.h"
#include "base/der.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/owned.h"

namespace gatehouse {
namespace {

using Bio = Owned<BIO, BIO_free_all>;

constexpr std::size_t most_key_pem = std::size_t(1) << 16;
constexpr std::string_view document = "RFC 7518 3.1";

struct Kind {
  std::string_view algorithm;
  const char* hash = nullptr;     // null: the algorithm has its own
  std::size_t coordinate = 0;     // bytes of R and of S; 0: not ECDSA
};

Result<Kind> kind_of(const EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519") == 1) return Kind{"EdDSA", nullptr, 0};
  if (EVP_PKEY_is_a(key, "RSA") == 1) {
    if (EVP_PKEY_get_bits(key) < 2048) return fail(Fault::malformed, "an RSA key of less than 2,048 bits signs no token", "RFC 7518 3.5");
    return Kind{"PS256", "SHA256", 0};
  }
  std::array<char, 64> group{};
  if (EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, group.data(), group.size(), nullptr) == 1) {
    const std::string_view name(group.data());
    if (name == "prime256v1" || name == "P-256") return Kind{"ES256", "SHA256", 32};
    if (name == "secp384r1" || name == "P-384") return Kind{"ES384", "SHA384", 48};
    if (name == "secp521r1" || name == "P-521") return Kind{"ES512", "SHA512", 66};
  }
  return fail(Fault::malformed, "a key of this kind signs no token: P-256, P-384, P-521, Ed25519 and RSA do", document);
}

// RFC 7518 section 3.4: R and S as they are, each as long as the curve's order, in place of their DER.
Result<ByteVector> fixed_length(Bytes der, std::size_t coordinate) {
  const unsigned char* at = as_uchar(der);
  const Owned<ECDSA_SIG, ECDSA_SIG_free> both(d2i_ECDSA_SIG(nullptr, &at, long(der.size())));
  ByteVector out(2 * coordinate);
  auto* const raw = reinterpret_cast<unsigned char*>(out.data());
  if (!both || BN_bn2binpad(ECDSA_SIG_get0_r(both.get()), raw, int(coordinate)) < 0 ||
      BN_bn2binpad(ECDSA_SIG_get0_s(both.get()), raw + coordinate, int(coordinate)) < 0) {
    ERR_clear_error();
    return fail(Fault::internal, "a signature can't be written", "RFC 7518 3.4");
  }
  return out;
}

}  // namespace

struct JwsSigner::State {
  Owned<EVP_PKEY, EVP_PKEY_free> key;
  Kind kind;
  std::string key_id;
};

std::string to_base64url(Bytes bytes) {
  std::string out = to_base64(bytes);
  out.erase(std::find(out.begin(), out.end(), '='), out.end());
  std::replace(out.begin(), out.end(), '+', '-');
  std::replace(out.begin(), out.end(), '/', '_');
  return out;
}

Result<JwsSigner> JwsSigner::read_file(const std::string& path) {
  GH_TRY(ByteVector pem, gatehouse::read_file(path, most_key_pem));
  auto state = std::make_shared<State>();
  {
    const Bio bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
    state->key.reset(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr) : nullptr);
  }
  wipe(pem);
  if (!state->key) {
    ERR_clear_error();
    return fail(Error{Fault::malformed, "not a private key in PEM, or one with a passphrase", {}, 0, path, {}});
  }
  auto kind = kind_of(state->key.get());
  if (!kind) return fail(std::move(kind).error().from(path));
  state->kind = *kind;
  unsigned char* der = nullptr;
  const int size = i2d_PUBKEY(state->key.get(), &der);
  if (size <= 0) {
    ERR_clear_error();
    return fail(Error{Fault::malformed, "the key can't be encoded", {}, 0, path, {}});
  }
  state->key_id = digest_of(HashAlgorithm::sha256, {reinterpret_cast<const std::byte*>(der), std::size_t(size)}).hex();
  OPENSSL_free(der);
  return JwsSigner(std::move(state));
}

std::string_view JwsSigner::algorithm() const { return state_->kind.algorithm; }
const std::string& JwsSigner::key_id() const { return state_->key_id; }

std::string JwsSigner::public_pem() const {
  const Bio bio(BIO_new(BIO_s_mem()));
  GH_ASSERT(bio && PEM_write_bio_PUBKEY(bio.get(), state_->key.get()) == 1);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return std::string(text, std::size_t(size));
}

Result<std::string> JwsSigner::sign(std::string_view type, std::string_view payload) const {
  const Kind& kind = state_->kind;
  const std::string header = "{\"alg\":\"" + std::string(kind.algorithm) + "\",\"typ\":\"" + std::string(type) + "\",\"kid\":\"" + state_->key_id + "\"}";
  std::string token = to_base64url(as_bytes(header)) + '.' + to_base64url(as_bytes(payload));
  const auto refuse = [] {
    ERR_clear_error();
    return fail(Fault::internal, "a token can't be signed", document);
  };
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* how = nullptr;
  if (!context || EVP_DigestSignInit_ex(context.get(), &how, kind.hash, nullptr, nullptr, state_->key.get(), nullptr) != 1) return refuse();
  // RFC 7518 section 3.5: a salt as long as the hash.
  if (kind.algorithm == "PS256" && (EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) != 1 ||
                                    EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) != 1))
    return refuse();
  const Bytes message = as_bytes(token);
  std::size_t size = 0;
  if (EVP_DigestSign(context.get(), nullptr, &size, as_uchar(message), message.size()) != 1) return refuse();
  ByteVector signature(size);
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, as_uchar(message), message.size()) != 1) return refuse();
  signature.resize(size);
  if (kind.coordinate != 0) {
    GH_TRY(signature, fixed_length(signature, kind.coordinate));
  }
  return token + '.' + to_base64url(signature);
}

}  // namespace gatehouse
