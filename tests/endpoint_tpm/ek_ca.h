// A TPM manufacturer's CA of a test's own: certificates for endorsement keys, of any dates and usages.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string>

#include "base/bytes.h"
#include "base/owned.h"

namespace gatehouse::test {

struct EkWanted {
  std::int64_t from = 0, to = 4'102'444'800;  // seconds since 1970
  std::string usage = "2.23.133.8.1";         // empty: none
  bool authority = false;
};

class EkCa {
 public:
  explicit EkCa(const std::string& name = "TPM manufacturer", const EkCa* above = nullptr)
      : key_(EVP_EC_gen("P-256")), certificate_(make(name, key_.get(), {.usage = "", .authority = true}, above)) {}

  ByteVector issue(EVP_PKEY* ek, const EkWanted& wanted = {}) const { return der(make("", ek, wanted, this).get()); }
  ByteVector certificate() const { return der(certificate_.get()); }
  void write(const std::string& path) const { write_pem(path, certificate_.get()); }
  static void write_pem(const std::string& path, X509* one) {
    FILE* const file = std::fopen(path.c_str(), "we");
    ASSERT_NE(file, nullptr) << path;
    EXPECT_EQ(PEM_write_X509(file, one), 1);
    std::fclose(file);
  }

 private:
  using Made = Owned<X509, X509_free>;
  static ByteVector der(X509* x) {
    unsigned char* out = nullptr;
    const int size = i2d_X509(x, &out);
    ByteVector bytes(reinterpret_cast<std::byte*>(out), reinterpret_cast<std::byte*>(out) + size);
    OPENSSL_free(out);
    return bytes;
  }
  static void extend(X509* x, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, x, nullptr, nullptr, 0);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(x, extension, -1);
    X509_EXTENSION_free(extension);
  }
  // A critical alternative name with what the TPM is, as manufacturers have it; the subject is empty.
  static void name_tpm(X509* x) {
    X509_NAME* const name = X509_NAME_new();
    for (const auto& [oid, value] : {std::pair{"2.23.133.2.1", "id:49424D00"}, {"2.23.133.2.2", "test TPM"}, {"2.23.133.2.3", "id:20191023"}}) {
      ASN1_OBJECT* const object = OBJ_txt2obj(oid, 1);
      X509_NAME_add_entry_by_OBJ(name, object, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value), -1, -1, 0);
      ASN1_OBJECT_free(object);
    }
    GENERAL_NAME* const general = GENERAL_NAME_new();
    general->type = GEN_DIRNAME;
    general->d.directoryName = name;
    GENERAL_NAMES* const names = GENERAL_NAMES_new();
    sk_GENERAL_NAME_push(names, general);
    EXPECT_EQ(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT), 1);
    GENERAL_NAMES_free(names);
  }
  static Made make(const std::string& name, EVP_PKEY* key, const EkWanted& wanted, const EkCa* issuer) {
    Made made(X509_new());
    X509* const x = made.get();
    X509_set_version(x, 2);
    static long serial = 0;
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    ASN1_TIME_set(X509_getm_notBefore(x), time_t(wanted.from));
    ASN1_TIME_set(X509_getm_notAfter(x), time_t(wanted.to));
    if (!name.empty())
      X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const signer = issuer != nullptr ? issuer->certificate_.get() : x;
    X509_set_issuer_name(x, X509_get_subject_name(signer));
    X509_set_pubkey(x, key);
    extend(x, signer, NID_basic_constraints, wanted.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(x, signer, NID_key_usage, wanted.authority ? "critical,keyCertSign,cRLSign" : EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? "critical,keyEncipherment" : "critical,keyAgreement");
    if (!wanted.usage.empty()) extend(x, signer, NID_ext_key_usage, wanted.usage.c_str());
    if (!wanted.authority) name_tpm(x);
    EXPECT_GT(X509_sign(x, issuer != nullptr ? issuer->key_.get() : key, EVP_sha256()), 0);
    return made;
  }

  Owned<EVP_PKEY, EVP_PKEY_free> key_;
  Made certificate_;
};

}  // namespace gatehouse::test
