// What an OCSP response says, and of which responder it counts.
#include "base/ocsp.h"

#include <gtest/gtest.h>
#include <openssl/ocsp.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse {
namespace {

using ocsp::Standing;

std::string content(const std::string& path) { return std::string(as_text(read_file(path, 1 << 20).value())); }
Certificate certificate_in(const std::string& path) { return Certificate::from_pem(content(path)).value(); }

TEST(OcspAnswers, OfOpenSslsResponderAreUnderstood) {
  const std::string folder = std::string(GATEHOUSE_TEST_DATA) + "/ocsp/";
  const Certificate issuer = certificate_in(folder + "issuer.pem"), good = certificate_in(folder + "good.pem"), revoked = certificate_in(folder + "revoked.pem");
  const ByteVector of_good = read_file(folder + "good.der", 1 << 20).value(), of_revoked = read_file(folder + "revoked.der", 1 << 20).value();
  constexpr std::int64_t made = 1'795'755'256, then = made + 86'400;
  const auto first = ocsp::parse_answer(of_good, good, issuer, then);
  ASSERT_TRUE(first) << first.error().text();
  EXPECT_EQ(first->standing, Standing::good);
  EXPECT_EQ(first->since, made);
  EXPECT_EQ(first->until, made + std::int64_t(7'000) * 86'400);
  const auto second = ocsp::parse_answer(of_revoked, revoked, issuer, then);
  ASSERT_TRUE(second) << second.error().text();
  EXPECT_EQ(second->standing, Standing::revoked);
  EXPECT_EQ(second->why, "keyCompromise");
  EXPECT_EQ(ocsp::parse_answer(of_good, revoked, issuer, then).error().reason, "the OCSP response is about another certificate");
  EXPECT_EQ(ocsp::responder_of(good), "http://ocsp.example.org/status");
  EXPECT_EQ(ocsp::responder_of(issuer), "");
  // Every truncation, and what is longer.
  for (std::size_t n = 0; n < of_revoked.size(); ++n) EXPECT_FALSE(ocsp::parse_answer(Bytes(of_revoked).first(n), revoked, issuer, then)) << n;
  ByteVector longer = of_revoked;
  longer.push_back(std::byte{0});
  EXPECT_EQ(ocsp::parse_answer(longer, revoked, issuer, then).error().fault, Fault::malformed);
  // No single bit makes another answer of it; one of each byte.
  for (std::size_t at = 0; at < of_revoked.size(); ++at) {
    ByteVector other = of_revoked;
    const std::size_t bit = at * 8 + at % 8;
    other[at] ^= std::byte(1U << bit % 8);
    if (const auto said = ocsp::parse_answer(other, revoked, issuer, then); said) {
      EXPECT_EQ(said->standing, Standing::revoked) << bit;
      EXPECT_EQ(said->until, second->until) << bit;
    }
  }
}

TEST(OcspAnswers, AQuestionNamesOneCertificate) {
  const std::string folder = std::string(GATEHOUSE_TEST_DATA) + "/ocsp/";
  const Certificate issuer = certificate_in(folder + "issuer.pem"), good = certificate_in(folder + "good.pem"), revoked = certificate_in(folder + "revoked.pem");
  const auto one = ocsp::question_of(good, issuer), other = ocsp::question_of(revoked, issuer), again = ocsp::question_of(good, issuer);
  ASSERT_TRUE(one && other && again);
  EXPECT_EQ(one->id, again->id);
  EXPECT_NE(one->id, other->id);
  const unsigned char* at = reinterpret_cast<const unsigned char*>(one->der.data());
  OCSP_REQUEST* const request = d2i_OCSP_REQUEST(nullptr, &at, long(one->der.size()));
  ASSERT_NE(request, nullptr);
  EXPECT_EQ(OCSP_request_onereq_count(request), 1);
  OCSP_REQUEST_free(request);
}

// Answers of any responder, dates and algorithm.
class OcspSigner : public testing::Test {
 protected:
  OcspSigner() {
    authority_.key();
    authority_.issue("host");
    authority_.issue("delegated", {.purpose = "OCSPSigning"});
    authority_.issue("client", {.purpose = "clientAuth"});
    authority_.issue("old", {.purpose = "OCSPSigning", .from_days = -3, .to_days = -2});
    stranger_.key();
    stranger_.issue("foreign", {.purpose = "OCSPSigning"});
  }
  ~OcspSigner() override { std::filesystem::remove_all(folder_); }
  static std::string made_folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-ocsp-XXXXXX").string();
    return ::mkdtemp(pattern.data());
  }
  X509* x509(const std::string& name) {
    FILE* const file = std::fopen((folder_ + "/" + name + ".pem").c_str(), "re");
    X509* const out = PEM_read_X509(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    return out;
  }
  struct Said {
    std::string signer = "test CA";
    std::int64_t since = -60, until = 3'600;  // from `now_` on; until 0: none
    const EVP_MD* digest = EVP_sha256();
    std::string of = "host";
  };
  // What `response`, which goes with it, says of the host's certificate.
  Result<ocsp::Answer> parsed(OCSP_RESPONSE* response) {
    unsigned char* der = nullptr;
    const int size = i2d_OCSP_RESPONSE(response, &der);
    auto answer = ocsp::parse_answer({reinterpret_cast<std::byte*>(der), std::size_t(size)}, certificate_in(folder_ + "/host.pem"),
                                     certificate_in(folder_ + "/test CA.pem"), now_);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    return answer;
  }
  std::string_view judged(const Said& said) {
    X509 *const signer = x509(said.signer), *const subject = x509(said.of), *const issuer = x509("test CA");
    FILE* const file = std::fopen((folder_ + "/" + said.signer + ".key").c_str(), "re");
    EVP_PKEY* const key = PEM_read_PrivateKey(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    OCSP_BASICRESP* const basic = OCSP_BASICRESP_new();
    OCSP_CERTID* const id = OCSP_cert_to_id(EVP_sha1(), subject, issuer);
    ASN1_TIME *const since = ASN1_GENERALIZEDTIME_set(nullptr, now_ + said.since), *const until = said.until != 0 ? ASN1_GENERALIZEDTIME_set(nullptr, now_ + said.until) : nullptr;
    OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, nullptr, since, until);
    EXPECT_EQ(OCSP_basic_sign(basic, signer, key, said.digest, nullptr, 0), 1);
    OCSP_RESPONSE* const response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    const auto answer = parsed(response);
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    ASN1_TIME_free(since);
    ASN1_TIME_free(until);
    EVP_PKEY_free(key);
    for (X509* const one : {signer, subject, issuer}) X509_free(one);
    if (answer && said.until == 0) {
      EXPECT_EQ(answer->until, now_ + said.since + 3'600);
    }
    return answer ? "good" : answer.error().reason;
  }

  std::string folder_ = made_folder();
  test::Authority authority_{folder_};
  test::Authority stranger_{folder_, "stranger"};
  const std::int64_t now_ = ::time(nullptr);
};

TEST_F(OcspSigner, IsTheIssuerOrWhomItSignedForThat) {
  constexpr std::string_view no = "the OCSP response isn't signed by the certificate's issuer or for it";
  EXPECT_EQ(judged({}), "good");
  EXPECT_EQ(judged({.signer = "delegated"}), "good");
  EXPECT_EQ(judged({.signer = "client"}), no) << "a client's certificate of the same issuer";
  EXPECT_EQ(judged({.signer = "host"}), no) << "the certificate itself";
  EXPECT_EQ(judged({.signer = "old"}), no) << "a responder whose time is over";
  EXPECT_EQ(judged({.signer = "stranger"}), no);
  EXPECT_EQ(judged({.signer = "foreign"}), no) << "another authority's responder";
  EXPECT_EQ(judged({.digest = EVP_sha1()}), "the OCSP response's signature algorithm doesn't count");
  EXPECT_EQ(judged({.of = "client"}), "the OCSP response is about another certificate");
}

TEST_F(OcspSigner, AnAnswerCountsForItsTime) {
  EXPECT_EQ(judged({.since = 290}), "good") << "its clock is ahead by a little";
  EXPECT_EQ(judged({.since = 400}), "the OCSP response is of a time that is yet to come");
  EXPECT_EQ(judged({.since = -100, .until = -1}), "the OCSP response is out of date");
  EXPECT_EQ(judged({.since = -100, .until = 1}), "good");
  // Without an end it counts for an hour.
  EXPECT_EQ(judged({.since = -3'500, .until = 0}), "good");
  EXPECT_EQ(judged({.since = -3'700, .until = 0}), "the OCSP response is out of date");
}

TEST_F(OcspSigner, AResponderThatCantAnswerIsNoAnswer) {
  for (const int status : {OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, OCSP_RESPONSE_STATUS_INTERNALERROR, OCSP_RESPONSE_STATUS_TRYLATER, OCSP_RESPONSE_STATUS_SIGREQUIRED,
                           OCSP_RESPONSE_STATUS_UNAUTHORIZED}) {
    const auto answer = parsed(OCSP_response_create(status, nullptr));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().fault, Fault::environment);
  }
  EXPECT_EQ(ocsp::parse_answer(ByteVector(ocsp::max_answer_bytes + 1), certificate_in(folder_ + "/host.pem"), certificate_in(folder_ + "/test CA.pem"), now_).error().fault,
            Fault::limit);
}

}  // namespace
}  // namespace gatehouse
