#include "base/public_key.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <cstdlib>

#include "base/file.h"
#include "base/hex.h"
#include "base/x509.h"

namespace gatehouse {
namespace {

std::string key_file(std::string_view name) { return std::string(GATEHOUSE_TEST_DATA) + "/interop/keys/" + std::string(name); }

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path, 1 << 20);
  EXPECT_TRUE(bytes) << path;
  return std::string(as_text(bytes.value()));
}

TEST(PublicKey, HasTheKeyIdOfTheRecordedEndpoints) {
  for (const std::string kind : {"rsa", "ecc"}) {
    const auto key = PublicKey::from_pem(text_of(key_file(kind + "/ak.pem")));
    ASSERT_TRUE(key) << kind;
    const std::string id = text_of(key_file(kind + "/keyid"));
    EXPECT_EQ(key->key_id(), id.substr(0, 40));
    const auto certificate = read_file(key_file(kind + "/ak.cert.der"), 1 << 20);
    ASSERT_TRUE(certificate);
    EXPECT_EQ(PublicKey::from_certificate(*certificate)->pin(), key->pin());
    EXPECT_EQ(PublicKey::from_spki(key->spki())->pin(), key->pin());
    EXPECT_EQ(PublicKey::from_pem(key->pem())->pin(), key->pin());
  }
}

// Spec part 2 §11.4 and §11.5: the quote of the worked example.
TEST(PublicKey, VerifiesTheWorkedExample) {
  const auto x = from_hex("e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09").value();
  const auto y = from_hex("4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3").value();
  const auto key = PublicKey::from_ecc(KeyType::ecc_p256, x, y);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->key_id(), "6e7f1a9e0d4d024ea41da69c95ca5da3d829634f");
  EXPECT_EQ(key->field_size(), 32U);
  auto attest = from_hex(
      "ff54434780180022000b6615659c4a95e9f940e85236c5484953afdd4f88ad0619319b9366e0d19d6a1c0020b355031272b48ff16f3923"
      "de20d6eea3d2354af2fdb2d17f2716df4430123da000000000000470630000000200000000012019102300163636"
      "00000001000b03ff470000204923eaabae0f642b6463bcfd60153e8f29c8cd3740429c4fece9b0dcf099deec").value();
  const auto r = from_hex("954b6ec7f4d19719b78b9f95b49463df316c9eb838550dcb74078a370290b360").value();
  const auto s = from_hex("9499371c3be85dfdf254d67a69241762f47f40b3d4b2397bccd622989420345a").value();
  EXPECT_TRUE(key->verify(SignatureScheme::ecdsa, HashAlgorithm::sha256, attest, ecdsa_der(r, s)));
  EXPECT_FALSE(key->verify(SignatureScheme::ecdsa, HashAlgorithm::sha256, attest, ecdsa_der(s, r)));
  EXPECT_FALSE(key->verify(SignatureScheme::rsassa, HashAlgorithm::sha256, attest, r));
  EXPECT_FALSE(key->verify(SignatureScheme::ecdsa, HashAlgorithm::sha3_256, attest, ecdsa_der(r, s)));
  attest[5] ^= std::byte{1};
  EXPECT_FALSE(key->verify(SignatureScheme::ecdsa, HashAlgorithm::sha256, attest, ecdsa_der(r, s)));
}

// The same signature over the digest alone, and not over another one.
TEST(PublicKey, VerifiesADigest) {
  const auto x = from_hex("e474f0b966e8603a5bf65c47d49b4892d77b0fd03d3e77752b39cd20bc4c6a09").value();
  const auto y = from_hex("4349fb24d4fa5e44bdb86a3c0d8a8e810d5c2d86cca858fc11cf3b17e74bd1d3").value();
  const auto key = PublicKey::from_ecc(KeyType::ecc_p256, x, y);
  ASSERT_TRUE(key);
  const auto attest = from_hex(
                          "ff54434780180022000b6615659c4a95e9f940e85236c5484953afdd4f88ad0619319b9366e0d19d6a1c0020b355"
                          "031272b48ff16f3923"
                          "de20d6eea3d2354af2fdb2d17f2716df4430123da000000000000470630000000200000000012019102300163636"
                          "00000001000b03ff470000204923eaabae0f642b6463bcfd60153e8f29c8cd3740429c4fece9b0dcf099deec")
                          .value();
  const auto signature =
      ecdsa_der(from_hex("954b6ec7f4d19719b78b9f95b49463df316c9eb838550dcb74078a370290b360").value(),
                from_hex("9499371c3be85dfdf254d67a69241762f47f40b3d4b2397bccd622989420345a").value());
  const Digest digest = digest_of(HashAlgorithm::sha256, attest);
  EXPECT_TRUE(key->verify_digest(SignatureScheme::ecdsa, HashAlgorithm::sha256, digest.view(), signature));
  EXPECT_FALSE(key->verify_digest(SignatureScheme::ecdsa, HashAlgorithm::sha256,
                                  digest_of(HashAlgorithm::sha256, signature).view(), signature));
  EXPECT_FALSE(key->verify_digest(SignatureScheme::ecdsa, HashAlgorithm::sha384, digest.view(), signature));
  EXPECT_FALSE(key->verify_digest(SignatureScheme::ecdsa, HashAlgorithm::sha256, digest.view().first(31), signature));
  EXPECT_FALSE(key->verify_digest(SignatureScheme::rsassa, HashAlgorithm::sha256, digest.view(), signature));
  EXPECT_FALSE(key->verify_digest(SignatureScheme::ecdsa, HashAlgorithm::sha3_256, digest.view(), signature));
}

// The identifier that the recorded certificates name in their extension.
TEST(PublicKey, HasTheSubjectKeyIdentifierOfItsCertificate) {
  for (const std::string kind : {"rsa", "ecc"}) {
    const auto bytes = read_file(key_file(kind + "/ak.cert.der"), 1 << 20);
    ASSERT_TRUE(bytes);
    const auto certificate = Certificate::from_der(*bytes);
    ASSERT_TRUE(certificate);
    ASSERT_EQ(certificate->subject_key_id().size(), 20U) << kind;
    EXPECT_EQ(to_hex(certificate->subject_key_id()), certificate->key().subject_key_id().hex());
  }
}

// What libcrypto's own decoders and encoders make of it: the same bytes, so the same key ids, and the same refusals.
TEST(PublicKey, IsEncodedAsOpenSslDoes) {
  struct Key {
    const char* type;
    const char* parameter;
    const char* value;
    const char* refused;  // null: it is taken
  };
  const Key keys[] = {
      {"RSA", nullptr, "1024", nullptr},
      {"RSA", nullptr, "2048", nullptr},
      {"RSA", nullptr, "3072", nullptr},
      {"RSA", nullptr, "768", "RSA key size outside 1024 to 8192 bits"},
      {"RSA-PSS", nullptr, "2048", "key is neither RSA nor ECC"},
      {"EC", "group", "P-256", nullptr},
      {"EC", "group", "P-384", nullptr},
      {"EC", "group", "P-521", nullptr},
      {"EC", "group", "secp256k1", "unsupported curve"},
      {"EC", "group", "P-224", "unsupported curve"},
      {"ED25519", nullptr, nullptr, "key is neither RSA nor ECC"},
      {"X25519", nullptr, nullptr, "key is neither RSA nor ECC"},
  };
  for (const Key& wanted : keys)
    for (const std::string form : {"uncompressed", "compressed", "explicit"}) {
      const bool ec = std::string_view(wanted.type) == "EC";
      if (!ec && form != "uncompressed") continue;
      SCOPED_TRACE(std::string(wanted.type) + " " + (wanted.value != nullptr ? wanted.value : "") + " " + form);
      EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_name(nullptr, wanted.type, nullptr);
      ASSERT_EQ(EVP_PKEY_keygen_init(context), 1);
      if (ec) {
        ASSERT_EQ(EVP_PKEY_CTX_set_group_name(context, wanted.value), 1);
      } else if (wanted.value != nullptr) {
        ASSERT_EQ(EVP_PKEY_CTX_set_rsa_keygen_bits(context, std::atoi(wanted.value)), 1);
      }
      EVP_PKEY* key = nullptr;
      ASSERT_EQ(EVP_PKEY_generate(context, &key), 1);
      if (form != "uncompressed") {
        const bool compressed = form == "compressed";
        ASSERT_EQ(EVP_PKEY_set_utf8_string_param(key, compressed ? "point-format" : "encoding", form.c_str()), 1);
      }
      unsigned char* der = nullptr;
      const int size = i2d_PUBKEY(key, &der);
      ASSERT_GT(size, 0);
      const Bytes spki(reinterpret_cast<const std::byte*>(der), std::size_t(size));
      const auto taken = PublicKey::from_spki(spki);
      if (wanted.refused == nullptr && form != "explicit") {
        ASSERT_TRUE(taken) << taken.error().text();
        EXPECT_EQ(taken->spki(), to_vector(spki));
        EXPECT_EQ(taken->bits(), std::size_t(EVP_PKEY_get_bits(key)));
        EXPECT_EQ(PublicKey::from_pem(taken->pem())->pin(), taken->pin());
        for (std::size_t n = 0; n < spki.size(); ++n) ASSERT_FALSE(PublicKey::from_spki(spki.first(n))) << n;
      } else {
        ASSERT_FALSE(taken);
        EXPECT_EQ(taken.error().reason, form == "explicit" ? "EC key without a named curve" : wanted.refused);
      }
      OPENSSL_free(der);
      EVP_PKEY_free(key);
      EVP_PKEY_CTX_free(context);
    }
}

// BER that isn't DER reads as the same key: it has one key id, whatever it comes as.
TEST(PublicKey, HasOneIdHoweverItIsEncoded) {
  const ByteVector spki = PublicKey::from_pem(text_of(key_file("rsa/ak.pem")))->spki();
  ASSERT_EQ(spki[1], std::byte{0x82});
  ByteVector longer{spki[0], std::byte{0x83}, std::byte{0}};
  longer.insert(longer.end(), spki.begin() + 2, spki.end());
  const auto key = PublicKey::from_spki(longer);
  EXPECT_TRUE(!key || key->spki() == spki);
  // The algorithm's parameters, which are NULL.
  ByteVector other = spki;
  ASSERT_EQ(other[17], std::byte{5});
  other[17] = std::byte{4};
  const auto same = PublicKey::from_spki(other);
  ASSERT_TRUE(same);
  EXPECT_EQ(same->spki(), spki);
}

TEST(PublicKey, RefusesWhatIsNoKey) {
  EXPECT_FALSE(PublicKey::from_pem(""));
  EXPECT_FALSE(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"));
  EXPECT_FALSE(PublicKey::from_spki({}));
  auto spki = PublicKey::from_pem(text_of(key_file("ecc/ak.pem")))->spki();
  spki.push_back(std::byte{0});
  EXPECT_EQ(PublicKey::from_spki(spki).error().reason, "bytes after the SubjectPublicKeyInfo");
  spki.pop_back();
  spki.back() ^= std::byte{1};  // off the curve
  EXPECT_FALSE(PublicKey::from_spki(spki));
  const ByteVector one(32, std::byte{1});
  EXPECT_FALSE(PublicKey::from_ecc(KeyType::ecc_p256, one, one));
  EXPECT_FALSE(PublicKey::from_ecc(KeyType::ecc_p256, ByteVector(33, std::byte{1}), one));
}

TEST(EcdsaDer, EncodesShortAndHighNumbers) {
  EXPECT_EQ(to_hex(ecdsa_der(from_hex("0001").value(), from_hex("80").value())), "300702010102020080");
  EXPECT_EQ(to_hex(ecdsa_der({}, {})), "3006020100020100");
}

}  // namespace
}  // namespace gatehouse
