// A certificate authority of a test's own: certificates of any dates and purposes, revocation lists, PEM files.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace gatehouse::test {

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* p) const { Free(p); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509, X509_free>>;

struct Wanted {
  std::string purpose = "clientAuth";  // extended key usage; empty: no such extension
  long from_days = -1, to_days = 1;
  bool authority = false;
  bool rsa = false;
};

class Authority {
 public:
  explicit Authority(std::string folder, const std::string& name = "test CA", long days = 1) : folder_(std::move(folder)), name_(name) {
    key_ = make_key(false);
    certificate_ = make(name, key_.get(), {.purpose = "", .from_days = -days, .to_days = days, .authority = true}, nullptr);
    write(certificate(), certificate_.get());
  }
  // An authority below this one; its certificates come with their chain.
  Authority(Authority& above, const std::string& name) : folder_(above.folder_), name_(name), above_(&above) {
    key_ = make_key(false);
    certificate_ = above.make(name, key_.get(), {.purpose = "", .authority = true}, &above);
    write(certificate(), certificate_.get());
  }

  std::string certificate() const { return folder_ + "/" + name_ + ".pem"; }

  // Its private key, in a file.
  std::string key() const {
    const std::string path = folder_ + "/" + name_ + ".key";
    FILE* const file = std::fopen(path.c_str(), "we");
    EXPECT_EQ(PEM_write_PrivateKey(file, key_.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
    std::fclose(file);
    return path;
  }

  // Writes folder/NAME.pem and folder/NAME.key.
  void issue(const std::string& name, const Wanted& wanted = {}) {
    const Key key = make_key(wanted.rsa);
    const X509Ptr made = make(name, key.get(), wanted, this);
    const std::string path = folder_ + "/" + name;
    write(path + ".pem", made.get());
    if (above_ != nullptr) {
      FILE* const chain = std::fopen((path + ".pem").c_str(), "ae");
      EXPECT_EQ(PEM_write_X509(chain, certificate_.get()), 1);
      std::fclose(chain);
    }
    FILE* const file = std::fopen((path + ".key").c_str(), "we");
    EXPECT_EQ(PEM_write_PrivateKey(file, key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
    std::fclose(file);
  }
  // The same of a key that somebody else has: only the certificate is written.
  void issue_for(const std::string& name, const std::string& public_key_pem, const Wanted& wanted = {}) {
    BIO* const bio = BIO_new_mem_buf(public_key_pem.data(), int(public_key_pem.size()));
    const Key key(PEM_read_bio_PUBKEY(bio, nullptr, nullptr, nullptr));
    BIO_free(bio);
    ASSERT_NE(key, nullptr);
    write(folder_ + "/" + name + ".pem", make(name, key.get(), wanted, this).get());
  }
  // Appends this authority's list to a file; it revokes the certificates in these files. Seconds from now on: its period.
  void revoke(const std::vector<std::string>& certificates, const std::string& list, long from = -60, long to = 86'400) {
    const std::unique_ptr<X509_CRL, Freed<X509_CRL, X509_CRL_free>> crl(X509_CRL_new());
    X509_CRL_set_version(crl.get(), 1);
    X509_CRL_set_issuer_name(crl.get(), X509_get_subject_name(certificate_.get()));
    const std::unique_ptr<ASN1_TIME, Freed<ASN1_TIME, ASN1_TIME_free>> now(X509_gmtime_adj(nullptr, from)), later(X509_gmtime_adj(nullptr, to));
    X509_CRL_set1_lastUpdate(crl.get(), now.get());
    X509_CRL_set1_nextUpdate(crl.get(), later.get());
    for (const std::string& path : certificates) {
      FILE* const file = std::fopen(path.c_str(), "re");
      ASSERT_NE(file, nullptr) << path;
      const X509Ptr gone(PEM_read_X509(file, nullptr, nullptr, nullptr));
      std::fclose(file);
      X509_REVOKED* const entry = X509_REVOKED_new();
      X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(gone.get()));
      X509_REVOKED_set_revocationDate(entry, now.get());
      X509_CRL_add0_revoked(crl.get(), entry);
    }
    X509_CRL_sort(crl.get());
    ASSERT_GT(X509_CRL_sign(crl.get(), key_.get(), EVP_sha256()), 0);
    FILE* const file = std::fopen(list.c_str(), "ae");
    EXPECT_EQ(PEM_write_X509_CRL(file, crl.get()), 1);
    std::fclose(file);
  }

 private:
  static Key make_key(bool rsa) { return Key(rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")); }
  static void write(const std::string& path, X509* certificate) {
    FILE* const file = std::fopen(path.c_str(), "we");
    ASSERT_NE(file, nullptr) << path;
    EXPECT_EQ(PEM_write_X509(file, certificate), 1);
    std::fclose(file);
  }
  static void extend(X509* certificate, X509* issuer, int kind, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509Ptr make(const std::string& name, EVP_PKEY* key, const Wanted& wanted, Authority* issuer) {
    X509Ptr made(X509_new());
    X509* const x = made.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++(issuer != nullptr ? *issuer : *this).serial_);
    X509_gmtime_adj(X509_getm_notBefore(x), wanted.from_days * 86'400);
    X509_gmtime_adj(X509_getm_notAfter(x), wanted.to_days * 86'400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const signer = issuer != nullptr ? issuer->certificate_.get() : x;
    X509_set_issuer_name(x, X509_get_subject_name(signer));
    X509_set_pubkey(x, key);
    extend(x, signer, NID_basic_constraints, wanted.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wanted.authority) extend(x, signer, NID_key_usage, "critical,keyCertSign,cRLSign");
    extend(x, signer, NID_subject_key_identifier, "hash");
    if (!wanted.purpose.empty()) extend(x, signer, NID_ext_key_usage, wanted.purpose.c_str());
    if (wanted.purpose == "serverAuth") extend(x, signer, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1");
    EXPECT_GT(X509_sign(x, issuer != nullptr ? issuer->key_.get() : key, EVP_sha256()), 0);
    return made;
  }

  std::string folder_, name_;
  Authority* above_ = nullptr;
  long serial_ = 0;
  Key key_;
  X509Ptr certificate_;
};

}  // namespace gatehouse::test
