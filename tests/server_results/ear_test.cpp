// Results as relying parties of other makes read them: the claims of draft-ietf-rats-ear-04, in a token that its key signed.
#include "server/results/ear.h"

#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include <boost/json.hpp>
#include <fstream>

#include "base/base64.h"
#include "pipeline/verdict/verdict.h"
#include "tests/folder.h"
#include "tests/server_results/sample.h"

namespace gatehouse::server {
namespace {

using pipeline::Recommendation;
using pipeline::Status;
using test::Folder;
using test::sample_record;

pipeline::Verdict good() {
  pipeline::Verdict v;
  v.session = "s-1";
  v.device = "deb3";
  v.recommendation = Recommendation::allow;
  v.evaluation = pipeline::Evaluation::compliant;
  v.quote.status = Status::ok;
  v.boot_given = v.ima_given = true;
  v.boot = {.processed = 136, .ok = 136};
  v.ima = {.processed = 10, .ok = 10};
  v.checks = {{"Q1", Status::ok}, {"Q9", Status::ok}};
  return v;
}
boost::json::object appraisal(const pipeline::Verdict& v) {
  SessionRecord record = sample_record("s-1");
  record.verdict = pipeline::to_json(v);
  const auto claims = ear_claims(record_line(record, false));
  EXPECT_TRUE(claims) << claims.error().text();
  return boost::json::parse(*claims).as_object().at("submods").as_object().at("endpoint").as_object();
}
std::string vector_of(const pipeline::Verdict& v) { return boost::json::serialize(appraisal(v).at("ear_trustworthiness_vector")); }
std::string status_of(const pipeline::Verdict& v) { return std::string(appraisal(v).at("ear_status").as_string()); }

TEST(Ear, HasTheProfilesClaims) {
  SessionRecord record = sample_record("s-1");
  record.verdict = pipeline::to_json(good());
  const auto claims = ear_claims(record_line(record, false));
  ASSERT_TRUE(claims) << claims.error().text();
  const auto all = boost::json::parse(*claims).as_object();
  EXPECT_EQ(all.at("eat_profile").as_string(), "tag:ietf.org,2026:rats/ear#04");
  EXPECT_EQ(all.at("iat").as_int64(), 1'764'000'666);
  EXPECT_EQ(all.at("ear_verifier_id").as_object().at("developer").as_string(), "Gatehouse");
  ASSERT_EQ(all.at("submods").as_object().size(), 1U);
  const auto& one = all.at("submods").as_object().at("endpoint").as_object();
  EXPECT_EQ(one.at("ear_status").as_string(), "affirming");
  EXPECT_EQ(boost::json::serialize(one.at("ear_trustworthiness_vector")), R"({"instance-identity":2,"executables":2,"hardware":2})");
  EXPECT_EQ(boost::json::serialize(one.at("ear_appraisal_policy_ids")), R"(["policy-1"])");
  EXPECT_EQ(one.at("ear_attester_claims").as_object().at("device").as_string(), "deb3");
  EXPECT_EQ(one.at("ear_verifier_claims").as_object().at("session").as_string(), "s-1");
  EXPECT_EQ(one.at("ear_verifier_claims").as_object().at("recommendation").as_string(), "allow");
}

TEST(Ear, IsOfNoMoreTrustThanItsWorstClaim) {
  pipeline::Verdict v = good();
  v.ima.unknown = 1;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"executables":33,"hardware":2})");
  EXPECT_EQ(status_of(v), "warning") << "though the recommendation is allow";
  v = good();
  v.ima.differ = 1;
  v.recommendation = Recommendation::isolate;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"executables":96,"hardware":2})");
  EXPECT_EQ(status_of(v), "contraindicated");
  v = good();
  v.recommendation = Recommendation::block;
  EXPECT_EQ(status_of(v), "contraindicated") << "the recommendation counts, too";
  v = good();
  v.quote.status = Status::failed;
  v.checks["Q1"] = Status::failed;
  v.recommendation = Recommendation::isolate;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":99,"executables":99,"hardware":99})");
  v.checks["Q1"] = Status::ok;
  v.checks["Q9"] = Status::failed;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":97,"executables":99,"hardware":99})");
  v.checks["Q9"] = Status::ok;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"executables":99,"hardware":99})") << "the replay is another than the quoted one";
  v = good();
  v.ima_given = false;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"executables":3,"hardware":2})");
  v.boot.unknown = 136;
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"hardware":97})");
  v = pipeline::Verdict();
  EXPECT_EQ(vector_of(v), "{}");
  EXPECT_EQ(status_of(v), "none");
  v = good();
  v.items = {{.type = "TPMRA", .argument = {}, .recommendation = Recommendation::isolate},
             {.type = "PCKGS", .argument = {}, .recommendation = Recommendation::allow},
             {.type = "PWDEN", .argument = {}, .recommendation = Recommendation::isolate}};
  EXPECT_EQ(vector_of(v), R"({"instance-identity":2,"configuration":32,"executables":2,"hardware":2})");
}

TEST(Ear, OfASessionWithoutAVerdictSaysNothing) {
  SessionRecord record = sample_record("s-1");
  record.verdict.clear();
  record.state = SessionState::interrupted;
  record.finished = 0;
  const auto claims = ear_claims(record_line(record, false));
  ASSERT_TRUE(claims);
  const auto all = boost::json::parse(*claims).as_object();
  const auto& one = all.at("submods").as_object().at("endpoint").as_object();
  EXPECT_EQ(one.at("ear_status").as_string(), "none");
  EXPECT_EQ(one.at("ear_verifier_claims").as_object().at("state").as_string(), "interrupted");
}

ByteVector from_base64url(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return from_base64(text).value();
}

// Whether OpenSSL finds the token's signature good, by what RFC 7518 and RFC 8037 say of its algorithm.
bool verifies(EVP_PKEY* key, const std::string& token, const std::string& algorithm) {
  const std::size_t dot = token.rfind('.');
  ByteVector signature = from_base64url(token.substr(dot + 1));
  const std::string message = token.substr(0, dot);
  if (algorithm.starts_with("ES")) {
    const int half = int(signature.size() / 2);
    const auto* const raw = as_uchar(signature);
    ECDSA_SIG* const both = ECDSA_SIG_new();
    ECDSA_SIG_set0(both, BN_bin2bn(raw, half, nullptr), BN_bin2bn(raw + half, half, nullptr));
    unsigned char* der = nullptr;
    const int size = i2d_ECDSA_SIG(both, &der);
    signature.assign(reinterpret_cast<std::byte*>(der), reinterpret_cast<std::byte*>(der) + size);
    OPENSSL_free(der);
    ECDSA_SIG_free(both);
  }
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  EVP_PKEY_CTX* how = nullptr;
  const char* const hash = algorithm == "EdDSA" ? nullptr : algorithm.ends_with("256") ? "SHA256" : algorithm.ends_with("384") ? "SHA384" : "SHA512";
  EXPECT_EQ(EVP_DigestVerifyInit_ex(context, &how, hash, nullptr, nullptr, key, nullptr), 1);
  if (algorithm == "PS256") {
    EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(how, 32);
  }
  const bool good = EVP_DigestVerify(context, as_uchar(signature), signature.size(), as_uchar(as_bytes(message)), message.size()) == 1;
  EVP_MD_CTX_free(context);
  return good;
}

TEST(EarToken, IsSignedByAKeyOfAnyKind) {
  const Folder folder;
  const std::vector<std::tuple<std::string, EVP_PKEY*, std::size_t>> keys = {
      {"ES256", EVP_EC_gen("P-256"), 64}, {"ES384", EVP_EC_gen("P-384"), 96}, {"ES512", EVP_EC_gen("P-521"), 132},
      {"EdDSA", EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), 64}, {"PS256", EVP_RSA_gen(2048), 256}};
  for (const auto& [algorithm, key, size] : keys) {
    const std::string path = folder / (algorithm + ".key");
    std::FILE* const file = std::fopen(path.c_str(), "w");
    ASSERT_EQ(PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
    std::fclose(file);
    const auto signer = JwsSigner::read_file(path);
    ASSERT_TRUE(signer) << signer.error().text();
    EXPECT_EQ(signer->algorithm(), algorithm);
    const auto token = ear_token(test::sample_line("s-1"), *signer);
    ASSERT_TRUE(token) << token.error().text();
    const std::size_t first = token->find('.'), last = token->rfind('.');
    const ByteVector head = from_base64url(token->substr(0, first));
    const auto header = boost::json::parse(as_text(head)).as_object();
    EXPECT_EQ(std::string_view(header.at("alg").as_string()), algorithm);
    EXPECT_EQ(header.at("typ").as_string(), "eat+jwt");
    EXPECT_EQ(std::string_view(header.at("kid").as_string()), signer->key_id());
    EXPECT_EQ(from_base64url(token->substr(last + 1)).size(), size);
    EXPECT_TRUE(verifies(key, *token, algorithm)) << algorithm;
    std::string changed = *token;
    changed[first + 1] = changed[first + 1] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(verifies(key, changed, algorithm)) << algorithm;
    EVP_PKEY_free(key);
  }
}

TEST(EarToken, IsntSignedByWhatIsNoKeyForIt) {
  const Folder folder;
  folder.write("text", "no key");
  EXPECT_EQ(JwsSigner::read_file(folder / "text").error().reason, "not a private key in PEM, or one with a passphrase");
  EVP_PKEY* const small = EVP_RSA_gen(1024);
  std::FILE* const file = std::fopen((folder / "small").c_str(), "w");
  ASSERT_EQ(PEM_write_PrivateKey(file, small, nullptr, nullptr, 0, nullptr, nullptr), 1);
  std::fclose(file);
  EVP_PKEY_free(small);
  EXPECT_EQ(JwsSigner::read_file(folder / "small").error().fault, Fault::malformed);
  EXPECT_EQ(JwsSigner::read_file(folder / "nowhere").error().fault, Fault::environment);
}

}  // namespace
}  // namespace gatehouse::server
