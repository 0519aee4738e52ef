#include "endpoint/tpm/software.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <atomic>

#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::endpoint {
namespace {

struct Free {
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
  void operator()(EVP_MD_CTX* p) const { EVP_MD_CTX_free(p); }
  void operator()(BIO* p) const { BIO_free(p); }
  void operator()(ECDSA_SIG* p) const { ECDSA_SIG_free(p); }
  void operator()(unsigned char* p) const { OPENSSL_free(p); }
  void operator()(BIGNUM* p) const { BN_free(p); }
};
template <class T>
using Owned = std::unique_ptr<T, Free>;

std::unexpected<Error> openssl_failed(std::string_view what) { return fail(Fault::internal, what); }

Result<PublicKey> public_key(EVP_PKEY* key) {
  unsigned char* raw = nullptr;
  const int size = i2d_PUBKEY(key, &raw);
  if (size <= 0) return openssl_failed("OpenSSL can't encode the public key");
  const Owned<unsigned char> der(raw);
  return PublicKey::from_spki({reinterpret_cast<const std::byte*>(raw), std::size_t(size)});
}

Result<ByteVector> number(EVP_PKEY* key, const char* name, std::size_t size) {
  BIGNUM* raw = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return openssl_failed("OpenSSL doesn't tell the key's numbers");
  const Owned<BIGNUM> value(raw);
  ByteVector out(size);
  if (BN_bn2binpad(raw, reinterpret_cast<unsigned char*>(out.data()), int(size)) != int(size))
    return openssl_failed("the key is longer than it says");
  return out;
}

// TPM 2.0 Part 2, TPMT_PUBLIC.
Result<ByteVector> make_public_area(EVP_PKEY* key, const PublicKey& pub, KeyAlgorithm algorithm) {
  constexpr std::uint16_t alg_null = 0x0010, alg_rsa = 0x0001, alg_ecc = 0x0023;
  constexpr std::uint16_t sha256 = std::uint16_t(HashAlgorithm::sha256);
  Writer w;
  w.put(algorithm == KeyAlgorithm::ecc ? alg_ecc : alg_rsa);
  w.put(sha256);
  w.put(tpm::fixed_tpm | tpm::fixed_parent | tpm::sensitive_data_origin | tpm::user_with_auth | tpm::no_da |
        tpm::restricted | tpm::sign);
  w.put(std::uint16_t{0});  // authPolicy
  w.put(alg_null);          // symmetric
  const auto put = [&](const ByteVector& unique) {
    w.put(std::uint16_t(unique.size()));
    w.put_bytes(unique);
  };
  if (algorithm == KeyAlgorithm::ecc) {
    w.put(tpm::alg_ecdsa);
    w.put(sha256);
    w.put(std::uint16_t(pub.type() == KeyType::ecc_p256 ? 3 : pub.type() == KeyType::ecc_p384 ? 4 : 5));  // NIST curves
    w.put(alg_null);                                                                                      // kdf
    GH_TRY(const ByteVector x, number(key, OSSL_PKEY_PARAM_EC_PUB_X, pub.field_size()));
    GH_TRY(const ByteVector y, number(key, OSSL_PKEY_PARAM_EC_PUB_Y, pub.field_size()));
    put(x);
    put(y);
  } else {
    w.put(algorithm == KeyAlgorithm::rsapss ? tpm::alg_rsapss : tpm::alg_rsassa);
    w.put(sha256);
    w.put(std::uint16_t(pub.bits()));
    w.put(std::uint32_t(pub.rsa_exponent() == 65'537 ? 0 : pub.rsa_exponent()));
    GH_TRY(const ByteVector modulus, number(key, OSSL_PKEY_PARAM_RSA_N, pub.bits() / 8));
    put(modulus);
  }
  return std::move(w).take();
}

}  // namespace

struct SigningKey::State {
  Owned<EVP_PKEY> key;
  KeyAlgorithm algorithm;
  PublicKey public_key;
  ByteVector public_area;
};

SigningKey::SigningKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
SigningKey::~SigningKey() = default;

Result<std::shared_ptr<const SigningKey>> SigningKey::generate(KeyAlgorithm algorithm) {
  Owned<EVP_PKEY> key(algorithm == KeyAlgorithm::ecc ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048));
  if (!key) return openssl_failed("OpenSSL can't make a key");
  GH_TRY(PublicKey pub, public_key(key.get()));
  GH_TRY(ByteVector area, make_public_area(key.get(), pub, algorithm));
  return std::shared_ptr<const SigningKey>(
      new SigningKey(std::make_unique<State>(std::move(key), algorithm, std::move(pub), std::move(area))));
}

Result<std::shared_ptr<const SigningKey>> SigningKey::from_pem(std::string_view pem, KeyAlgorithm rsa) {
  const Owned<BIO> bio(BIO_new_mem_buf(pem.data(), int(pem.size())));
  Owned<EVP_PKEY> key(bio ? PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr) : nullptr);
  if (!key) return fail(Fault::malformed, "not a PEM private key");
  GH_TRY(PublicKey pub, public_key(key.get()));
  const KeyAlgorithm algorithm = pub.type() == KeyType::rsa ? rsa : KeyAlgorithm::ecc;
  GH_TRY(ByteVector area, make_public_area(key.get(), pub, algorithm));
  return std::shared_ptr<const SigningKey>(
      new SigningKey(std::make_unique<State>(std::move(key), algorithm, std::move(pub), std::move(area))));
}

const PublicKey& SigningKey::key() const { return state_->public_key; }
const ByteVector& SigningKey::public_area() const { return state_->public_area; }

std::string SigningKey::pem() const {
  const Owned<BIO> bio(BIO_new(BIO_s_mem()));
  char* text = nullptr;
  GH_ASSERT(bio && PEM_write_bio_PrivateKey(bio.get(), state_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, std::size_t(size)};
}

Result<ByteVector> SigningKey::sign(Bytes message) const {
  const Owned<EVP_MD_CTX> context(EVP_MD_CTX_new());
  EVP_PKEY_CTX* parameters = nullptr;
  if (!context || EVP_DigestSignInit(context.get(), &parameters, EVP_sha256(), nullptr, state_->key.get()) != 1)
    return openssl_failed("OpenSSL can't sign");
  if (state_->algorithm == KeyAlgorithm::rsapss &&
      (EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
       EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1))
    return openssl_failed("OpenSSL can't sign with PSS");
  std::size_t size = 0;
  if (EVP_DigestSign(context.get(), nullptr, &size, as_uchar(message), message.size()) != 1)
    return openssl_failed("OpenSSL can't sign");
  ByteVector made(size);
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(made.data()), &size, as_uchar(message),
                     message.size()) != 1)
    return openssl_failed("OpenSSL can't sign");
  made.resize(size);

  tpm::Signature signature;
  signature.hash = std::uint16_t(HashAlgorithm::sha256);
  ByteVector parts[2];
  if (state_->algorithm == KeyAlgorithm::ecc) {
    const unsigned char* at = as_uchar(made);
    const Owned<ECDSA_SIG> ecdsa(d2i_ECDSA_SIG(nullptr, &at, long(made.size())));
    const int field = int(state_->public_key.field_size());
    for (ByteVector& part : parts) part.resize(std::size_t(field));
    if (!ecdsa ||
        BN_bn2binpad(ECDSA_SIG_get0_r(ecdsa.get()), reinterpret_cast<unsigned char*>(parts[0].data()), field) !=
            field ||
        BN_bn2binpad(ECDSA_SIG_get0_s(ecdsa.get()), reinterpret_cast<unsigned char*>(parts[1].data()), field) != field)
      return openssl_failed("OpenSSL's ECDSA signature can't be read");
    signature.algorithm = tpm::alg_ecdsa;
    signature.r = parts[0];
    signature.s = parts[1];
  } else {
    signature.algorithm = state_->algorithm == KeyAlgorithm::rsapss ? tpm::alg_rsapss : tpm::alg_rsassa;
    signature.rsa = made;
  }
  Writer w;
  tpm::append_signature(w, signature);
  return std::move(w).take();
}

SoftwareTpm::SoftwareTpm(std::shared_ptr<const SigningKey> key, Options options)
    : key_(std::move(key)), options_(std::move(options)) {
  // Any name will do as long as it stays the same: nameAlg and a digest.
  Writer w;
  w.put(std::uint16_t(HashAlgorithm::sha256));
  w.put_bytes(digest_of(HashAlgorithm::sha256, key_->key().spki()).view());
  signer_ = std::move(w).take();
  startup(0);
}

void SoftwareTpm::startup(std::uint8_t locality) {
  pcrs_.clear();
  for (const HashAlgorithm bank : options_.banks) {
    std::vector<Digest>& values = pcrs_[bank];
    for (std::uint32_t pcr = 0; pcr < pcr_count; ++pcr)
      values.push_back(Digest::filled(digest_size(bank), pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0}));
    values[0].bytes[values[0].size - 1U] = std::byte(locality);
  }
}

void SoftwareTpm::extend(std::uint32_t pcr, HashAlgorithm bank, Bytes digest) {
  const auto at = pcrs_.find(bank);
  if (at == pcrs_.end() || pcr >= pcr_count) return;
  Hasher(bank).extend(at->second[pcr], digest);
}

Result<void> SoftwareTpm::extend_event_log(Bytes log) {
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  for (;;) {
    GH_TRY(const eventlog::Event* const event, cursor.next());
    if (event == nullptr) return {};
    if (!event->extends()) continue;
    for (const eventlog::EventDigest& digest : event->digests)
      if (const auto bank = hash_algorithm(digest.bank)) extend(event->pcr, *bank, digest.value);
  }
}

Result<void> SoftwareTpm::extend_ima_list(Bytes list) {
  ima::Cursor cursor(ima::form_of(list));
  cursor.feed(list);
  cursor.end();
  std::vector<Hasher> hashers;
  for (const HashAlgorithm bank : options_.banks) hashers.emplace_back(bank);
  for (;;) {
    GH_TRY(const ima::Entry* const entry, cursor.next());
    if (entry == nullptr) return {};
    for (Hasher& hasher : hashers) {
      const HashAlgorithm bank = hasher.algorithm();
      Digest digest = Digest::filled(digest_size(bank), std::byte{0xFF});
      if (!entry->violation())
        digest = bank == HashAlgorithm::sha1 ? Digest(entry->recorded_hash) : hasher(entry->template_data);
      if (entry->pcr < pcr_count) hasher.extend(pcrs_[bank][entry->pcr], digest.view());
    }
  }
}

Result<Digest> SoftwareTpm::read_pcr(HashAlgorithm bank, std::uint32_t pcr) {
  const auto at = pcrs_.find(bank);
  if (at == pcrs_.end() || pcr >= pcr_count)
    return fail(Fault::environment, "no such PCR", "TPM 2.0 Part 3, TPM2_PCR_Read");
  return at->second[pcr];
}

Result<Quote> SoftwareTpm::quote(Bytes qualifying_data, HashAlgorithm bank, std::uint32_t pcrs) {
  const auto at = pcrs_.find(bank);
  if (at == pcrs_.end()) return fail(Fault::environment, "no such PCR bank", "TPM 2.0 Part 3, TPM2_Quote");
  Hasher composite(HashAlgorithm::sha256);  // the scheme's hash, not the bank's (spec part 2 §4.1)
  composite.start();
  for (std::uint32_t pcr = 0; pcr < pcr_count; ++pcr)
    if ((pcrs >> pcr & 1) != 0) composite.update(at->second[pcr].view());
  // Endpoints of a simulated fleet may share a TPM, and nobody's clock goes back.
  const std::uint64_t now = std::atomic_ref(options_.clock.clock).fetch_add(step_ms_) + step_ms_;
  Writer clock, firmware, selection;
  clock.put(now);
  clock.put(options_.clock.reset_count);
  clock.put(options_.clock.restart_count);
  clock.put(options_.clock.safe);
  firmware.put(options_.firmware_version);
  tpm::append_selections(selection, {{std::uint16_t(bank), 3, pcrs & 0xFFFFFF}});
  Quote out;
  out.attest = tpm::build_quote(signer_, qualifying_data, clock.view(), firmware.view(), selection.view(),
                                composite.finish().view());
  GH_TRY(out.signature, key_->sign(out.attest));
  return out;
}

}  // namespace gatehouse::endpoint
