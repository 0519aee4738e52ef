#include "base/x509.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <utility>

#include "base/file.h"

namespace gatehouse {
namespace {

constexpr std::int64_t day = 86'400;
constexpr std::int64_t now = 1'764'000'000;

// A certificate of a test CA, with its key.
struct Issued {
  std::shared_ptr<X509> x509;
  std::shared_ptr<EVP_PKEY> key;
  ByteVector der() const {
    unsigned char* out = nullptr;
    const int size = i2d_X509(x509.get(), &out);
    const ByteVector bytes(reinterpret_cast<std::byte*>(out), reinterpret_cast<std::byte*>(out) + size);
    OPENSSL_free(out);
    return bytes;
  }
  Certificate certificate() const { return Certificate::from_der(der()).value(); }
  std::string pem() const {
    BIO* const bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(bio, x509.get());
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio, &text);
    std::string out(text, std::size_t(size));
    BIO_free(bio);
    return out;
  }
};

struct Wanted {
  std::string name;
  std::int64_t from = now - day, to = now + day;
  std::vector<std::pair<int, const char*>> extensions;
  long serial = 1;
};

Issued issue(const Wanted& wanted, const Issued* issuer = nullptr) {
  Issued out{{X509_new(), X509_free}, {EVP_EC_gen("P-256"), EVP_PKEY_free}};
  X509* const x509 = out.x509.get();
  X509_set_version(x509, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(x509), wanted.serial);
  ASN1_TIME_set(X509_getm_notBefore(x509), wanted.from);
  ASN1_TIME_set(X509_getm_notAfter(x509), wanted.to);
  X509_NAME* const name = X509_get_subject_name(x509);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(wanted.name.c_str()), -1, -1, 0);
  X509_set_issuer_name(x509, issuer ? X509_get_subject_name(issuer->x509.get()) : name);
  X509_set_pubkey(x509, out.key.get());
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer ? issuer->x509.get() : x509, x509, nullptr, nullptr, 0);
  for (const auto& [nid, value] : wanted.extensions) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    EXPECT_NE(extension, nullptr) << value;
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
  }
  EXPECT_GT(X509_sign(x509, issuer ? issuer->key.get() : out.key.get(), EVP_sha256()), 0);
  return out;
}

std::pair<int, const char*> ca() { return {NID_basic_constraints, "critical,CA:TRUE"}; }
std::pair<int, const char*> signs() { return {NID_key_usage, "critical,keyCertSign,cRLSign"}; }

std::string crl_pem(const Issued& issuer, std::initializer_list<long> serials, std::int64_t from, std::int64_t to) {
  X509_CRL* const crl = X509_CRL_new();
  X509_CRL_set_version(crl, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer.x509.get()));
  ASN1_TIME* const time = ASN1_TIME_set(nullptr, from);
  X509_CRL_set1_lastUpdate(crl, time);
  for (const long serial : serials) {
    X509_REVOKED* const revoked = X509_REVOKED_new();
    ASN1_INTEGER* const number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, time);
    X509_CRL_add0_revoked(crl, revoked);
    ASN1_INTEGER_free(number);
  }
  ASN1_TIME_set(time, to);
  X509_CRL_set1_nextUpdate(crl, time);
  ASN1_TIME_free(time);
  EXPECT_GT(X509_CRL_sign(crl, issuer.key.get(), EVP_sha256()), 0);
  BIO* const bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509_CRL(bio, crl);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string out(text, std::size_t(size));
  BIO_free(bio);
  X509_CRL_free(crl);
  return out;
}

class X509Path : public testing::Test {
 protected:
  X509Path() : root_(issue({.name = "root", .extensions = {ca(), signs()}})) {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-x509-XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~X509Path() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << content;
    return folder_ + "/" + name;
  }
  TrustAnchors anchors(const std::string& crl = {}) const {
    return TrustAnchors::load(write("ca.pem", root_.pem()), crl.empty() ? "" : write("ca.crl", crl)).value();
  }
  static std::string_view reason(const Result<void>& result) { return result ? "valid" : result.error().reason; }

  Issued root_;
  std::string folder_;
};

// An endorsement key decrypts, and its certificate says of what TPM it is.
TEST_F(X509Path, EndorsementCertificatesAreJudgedByTheirOwnRules) {
  const auto of = [&](std::vector<std::pair<int, const char*>> extensions, std::int64_t to = now + day) {
    return reason(anchors().verify_endorsement(issue({.name = "ek", .to = to, .extensions = std::move(extensions)}, &root_).certificate(), {}, now));
  };
  const std::pair<int, const char*> usage{NID_ext_key_usage, "2.23.133.8.1"};
  EXPECT_EQ(of({usage}), "valid");
  EXPECT_EQ(of({usage, {NID_key_usage, "critical,keyEncipherment"}}), "valid");
  EXPECT_EQ(of({usage, {NID_key_usage, "critical,keyAgreement"}}), "valid");
  EXPECT_EQ(of({usage, {NID_key_usage, "critical,digitalSignature"}}), "certificate's key usage lacks keyEncipherment and keyAgreement");
  EXPECT_EQ(of({}), "certificate lacks the extended key usage asked for");
  EXPECT_EQ(of({{NID_ext_key_usage, "2.23.133.8.3"}}), "certificate lacks the extended key usage asked for");
  EXPECT_EQ(of({usage, ca()}), "certificate is a CA's");
  EXPECT_EQ(of({usage}, now - 1), "certificate has expired");
  EXPECT_NE(reason(anchors().verify_endorsement(issue({.name = "ek", .extensions = {usage}}).certificate(), {}, now)), "valid");
  const Issued middle = issue({.name = "middle", .extensions = {ca(), signs()}}, &root_);
  const std::vector<Certificate> chain{middle.certificate()};
  EXPECT_EQ(reason(anchors().verify_endorsement(issue({.name = "ek", .extensions = {usage}}, &middle).certificate(), chain, now)), "valid");
}

TEST_F(X509Path, TheRecordedCertificatesAreValid) {
  const std::string keys = std::string(GATEHOUSE_TEST_DATA) + "/interop/keys/";
  const auto recorded = TrustAnchors::load(keys + "ak-ca.pem");
  ASSERT_TRUE(recorded) << recorded.error().text();
  for (const char* kind : {"rsa", "ecc"}) {
    const auto der = read_file(keys + kind + "/ak.cert.der", 1 << 20);
    ASSERT_TRUE(der);
    const auto certificate = Certificate::from_der(*der);
    ASSERT_TRUE(certificate);
    const auto pem = read_file(keys + kind + "/ak.pem", 1 << 20);
    EXPECT_EQ(certificate->key().pin(), PublicKey::from_pem(as_text(*pem))->pin());
    EXPECT_FALSE(certificate->subject().empty());
    const std::int64_t middle = certificate->not_before() + (certificate->not_after() - certificate->not_before()) / 2;
    EXPECT_EQ(reason(recorded->verify(*certificate, {}, middle)), "valid") << kind;
    EXPECT_EQ(reason(recorded->verify(*certificate, {}, certificate->not_after() + 1)), "certificate has expired");
    EXPECT_EQ(reason(recorded->verify(*certificate, {}, certificate->not_before() - 1)), "certificate is not yet valid");
    EXPECT_EQ(reason(anchors().verify(*certificate, {}, middle)), "certificate isn't issued by a configured CA");
  }
}

TEST_F(X509Path, EachRuleRefuses) {
  const auto judged = [&](const Issued& leaf, std::string_view usage = {}) {
    return std::string(reason(anchors().verify(leaf.certificate(), {}, now, usage)));
  };
  EXPECT_EQ(judged(issue({.name = "ak"}, &root_)), "valid");
  EXPECT_EQ(judged(issue({.name = "ak", .extensions = {{NID_key_usage, "digitalSignature"}}}, &root_)), "valid");
  EXPECT_EQ(judged(issue({.name = "ak", .extensions = {{NID_key_usage, "keyEncipherment"}}}, &root_)),
            "certificate's key usage lacks digitalSignature");
  EXPECT_EQ(judged(issue({.name = "ak", .extensions = {ca()}}, &root_)), "certificate is a CA's");
  EXPECT_EQ(judged(issue({.name = "ak"})), "certificate isn't issued by a configured CA");
  EXPECT_EQ(judged(issue({.name = "ak", .from = now - 2 * day, .to = now - day}, &root_)), "certificate has expired");
  EXPECT_EQ(judged(issue({.name = "ak"}, &root_), ak_certificate_usage), "certificate lacks the extended key usage asked for");
  EXPECT_EQ(judged(issue({.name = "ak", .extensions = {{NID_ext_key_usage, "2.23.133.8.3"}}}, &root_), ak_certificate_usage), "valid");
  // Same name as the CA, another key.
  const Issued impostor = issue({.name = "root", .extensions = {ca(), signs()}});
  EXPECT_NE(judged(issue({.name = "ak"}, &impostor)), "valid");
  // A device's certificate can't issue another.
  const Issued device = issue({.name = "device"}, &root_);
  const Issued forged = issue({.name = "forged"}, &device);
  const std::vector<Certificate> chain{device.certificate()};
  EXPECT_NE(reason(anchors().verify(forged.certificate(), chain, now)), "valid");
  const Issued middle = issue({.name = "middle", .extensions = {ca(), signs()}}, &root_);
  const Issued below = issue({.name = "below"}, &middle);
  EXPECT_EQ(judged(below), "certificate isn't issued by a configured CA");
  const std::vector<Certificate> good_chain{middle.certificate()};
  EXPECT_EQ(reason(anchors().verify(below.certificate(), good_chain, now)), "valid");
}

TEST_F(X509Path, RevocationCountsWhereAListIsGiven) {
  const Issued good = issue({.name = "good", .serial = 7}, &root_), bad = issue({.name = "bad", .serial = 8}, &root_);
  const TrustAnchors current = anchors(crl_pem(root_, {8}, now - day, now + day));
  EXPECT_EQ(reason(current.verify(good.certificate(), {}, now)), "valid");
  EXPECT_EQ(reason(current.verify(bad.certificate(), {}, now)), "certificate is revoked");
  const TrustAnchors stale = anchors(crl_pem(root_, {}, now - 3 * day, now - 2 * day));
  EXPECT_EQ(reason(stale.verify(good.certificate(), {}, now)), "no current revocation list for the certificate's issuer");
  const Issued other = issue({.name = "root", .extensions = {ca(), signs()}});
  const TrustAnchors forged = anchors(crl_pem(other, {}, now - day, now + day));
  EXPECT_NE(reason(forged.verify(good.certificate(), {}, now)), "valid");
}

TEST_F(X509Path, ADirectoryHoldsAnchorsAndIntermediates) {
  const Issued middle = issue({.name = "middle", .extensions = {ca(), signs()}}, &root_);
  std::filesystem::create_directory(folder_ + "/cas");
  write("cas/root.pem", root_.pem());
  write("cas/middle.cer", std::string(as_text(middle.der())));
  write("cas/README", "not a certificate");
  const auto both = TrustAnchors::load(folder_ + "/cas");
  ASSERT_TRUE(both) << both.error().text();
  EXPECT_EQ(both->size(), 1U);
  EXPECT_EQ(reason(both->verify(issue({.name = "ak"}, &middle).certificate(), {}, now)), "valid");
  // An intermediate alone is an anchor: the operator named it.
  const auto alone = TrustAnchors::load(write("middle.pem", middle.pem()));
  ASSERT_TRUE(alone);
  EXPECT_EQ(reason(alone->verify(issue({.name = "ak"}, &middle).certificate(), {}, now)), "valid");
  EXPECT_NE(reason(alone->verify(issue({.name = "ak"}, &root_).certificate(), {}, now)), "valid");

  EXPECT_EQ(TrustAnchors::load(folder_ + "/nothing").error().fault, Fault::environment);
  EXPECT_EQ(TrustAnchors::load(write("junk.pem", "junk")).error().fault, Fault::malformed);
  EXPECT_EQ(TrustAnchors::load(folder_ + "/cas", write("junk.crl", "junk")).error().fault, Fault::malformed);
  std::filesystem::create_directory(folder_ + "/none");
  EXPECT_EQ(TrustAnchors::load(folder_ + "/none").error().fault, Fault::environment);
}

TEST_F(X509Path, TextsOfNames) {
  const Issued leaf = issue({.name = "device 7, \xC3\xA4\n",
                             .extensions = {{NID_subject_alt_name, "DNS:d7.example,email:a@example,URI:urn:d7,IP:192.0.2.7,IP:2001:db8::7"},
                                            {NID_ext_key_usage, "clientAuth,2.23.133.8.3"}},
                             .serial = 0x1234},
                            &root_);
  const Certificate certificate = leaf.certificate();
  EXPECT_EQ(certificate.issuer(), "CN=root");
  EXPECT_EQ(certificate.subject().find('\n'), std::string::npos);
  EXPECT_EQ(certificate.serial(), "1234");
  EXPECT_EQ(certificate.not_before(), now - day);
  EXPECT_EQ(certificate.alternative_names(),
            (std::vector<std::string>{"dns:d7.example", "email:a@example", "uri:urn:d7", "ip:192.0.2.7",
                                      "ip:2001:0db8:0000:0000:0000:0000:0000:0007"}));
  EXPECT_EQ(certificate.extended_key_usage(), (std::vector<std::string>{"1.3.6.1.5.5.7.3.2", "2.23.133.8.3"}));
  EXPECT_EQ(certificate.fingerprint(), digest_of(HashAlgorithm::sha256, leaf.der()).hex());
  EXPECT_EQ(Certificate::from_pem(leaf.pem())->fingerprint(), certificate.fingerprint());
}

// What a peer may send in its place: every truncation, every flipped bit, bytes behind it.
TEST_F(X509Path, DamagedCertificatesAreNeverValid) {
  const Issued leaf = issue({.name = "ak"}, &root_);
  const ByteVector good = leaf.der();
  const TrustAnchors trusted = anchors();
  for (std::size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(Certificate::from_der(Bytes(good).first(n))) << n;
  ByteVector longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(Certificate::from_der(longer));
  EXPECT_FALSE(Certificate::from_der(ByteVector(65 * 1024)));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    ByteVector flipped = good;
    flipped[bit / 8] ^= std::byte(1U << (bit % 8));
    const auto certificate = Certificate::from_der(flipped);
    if (certificate) {
      EXPECT_FALSE(trusted.verify(*certificate, {}, now)) << bit;
    }
  }
}

}  // namespace
}  // namespace gatehouse
