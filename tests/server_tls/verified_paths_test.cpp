#include "server/tls/verified_paths.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <optional>
#include <string>

#include "base/der.h"
#include "tests/server_tls/handshake.h"

namespace gatehouse::test {
namespace {

constexpr std::int64_t day = 86'400;
std::int64_t now = 0;  // of the contexts that are made here

class VerifiedPaths : public ::testing::Test {
 protected:
  VerifiedPaths() : folder(::testing::TempDir() + "verified_paths_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder);
    authority.emplace(folder, "test CA", 30);
    authority->issue("server", {.purpose = "serverAuth"});
    authority->issue("client");
    config.certificate = folder + "/server.pem";
    config.key = folder + "/server.key";
    config.client_ca = authority->certificate();
    now = std::int64_t(std::time(nullptr));
  }
  ~VerifiedPaths() override { std::filesystem::remove_all(folder); }

  std::shared_ptr<const server::TlsContext> context() {
    auto made = server::TlsContext::make(config);
    EXPECT_TRUE(made) << made.error().text();
    return made ? *made : nullptr;
  }
  bool good(SSL_CTX* context, const std::string& name) {
    const Handshake one(context, with(name));
    return one.good() && server::peer_subject(one.server()) == "CN=" + name;
  }
  ClientWanted with(const std::string& name) const { return {folder + "/" + name + ".pem", folder + "/" + name + ".key"}; }

  std::string folder;
  std::optional<Authority> authority;
  server::Config config;
};

TEST_F(VerifiedPaths, AreOfTheVeryChainInItsContext) {
  authority->issue("other");
  const auto made = context();
  ASSERT_TRUE(made);
  EXPECT_TRUE(good(made->native(), "client"));
  EXPECT_EQ(made->paths()->recognised(), 0U);
  EXPECT_TRUE(good(made->native(), "client"));
  EXPECT_EQ(made->paths()->recognised(), 1U);
  EXPECT_TRUE(good(made->native(), "other"));
  EXPECT_EQ(made->paths()->recognised(), 1U);
  // A new certificate of the same name, and another context.
  authority->issue("client");
  EXPECT_TRUE(good(made->native(), "client"));
  EXPECT_EQ(made->paths()->recognised(), 1U);
  const auto next = context();
  EXPECT_TRUE(good(next->native(), "client"));
  EXPECT_EQ(next->paths()->recognised(), 0U);
}

TEST_F(VerifiedPaths, OfWhatIsRefusedNothingIsKept) {
  Authority stranger(folder, "another CA");
  stranger.issue("strange");
  authority->issue("expired", {.from_days = -3, .to_days = -1});
  authority->issue("for-servers", {.purpose = "serverAuth"});
  authority->issue("revoked");
  config.client_crl = folder + "/crl.pem";
  authority->revoke({folder + "/revoked.pem"}, config.client_crl);
  const auto made = context();
  ASSERT_TRUE(made);
  for (int n = 0; n < 3; ++n)
    for (const char* name : {"strange", "expired", "for-servers", "revoked"}) {
      const Handshake one(made->native(), with(name));
      EXPECT_FALSE(one.good()) << name;
      EXPECT_NE(server::refused_certificate(one.server()), "") << name;
    }
  EXPECT_FALSE(Handshake(made->native(), {}).good());
  EXPECT_EQ(made->paths()->recognised(), 0U);
  EXPECT_TRUE(good(made->native(), "client") && good(made->native(), "client"));
  EXPECT_EQ(made->paths()->recognised(), 1U);
}

TEST_F(VerifiedPaths, HaveTheirIssuersWhenTheyAreRecognised) {
  Authority middle(*authority, "middle CA");
  middle.issue("below");
  const auto made = context();
  ASSERT_TRUE(made);
  const Handshake first(made->native(), with("below")), second(made->native(), with("below"));
  ASSERT_TRUE(first.good() && second.good());
  EXPECT_EQ(made->paths()->recognised(), 1U);
  EXPECT_FALSE(server::peer_issuer(first.server()).empty());
  EXPECT_EQ(server::peer_issuer(second.server()), server::peer_issuer(first.server()));
  EXPECT_EQ(server::peer_certificate(second.server()), server::peer_certificate(first.server()));
  const STACK_OF(X509)* const one = SSL_get0_verified_chain(first.server());
  const STACK_OF(X509)* const other = SSL_get0_verified_chain(second.server());
  ASSERT_EQ(sk_X509_num(one), 3);
  ASSERT_EQ(sk_X509_num(other), 3);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(encoded<X509>(sk_X509_value(one, i), &i2d_X509), encoded<X509>(sk_X509_value(other, i), &i2d_X509)) << i;
  // The same certificate without its issuer is another chain: by it there is no path.
  FILE* const file = std::fopen((folder + "/below.pem").c_str(), "re");
  const X509Ptr alone(PEM_read_X509(file, nullptr, nullptr, nullptr));
  std::fclose(file);
  FILE* const to = std::fopen((folder + "/below.pem").c_str(), "we");
  EXPECT_EQ(PEM_write_X509(to, alone.get()), 1);
  std::fclose(to);
  EXPECT_FALSE(Handshake(made->native(), with("below")).good());
}

// A context of its own, whose clock is the test's; OpenSSL's isn't.
class Clocked : public VerifiedPaths {
 protected:
  std::unique_ptr<SSL_CTX, gatehouse::test::Freed<SSL_CTX, SSL_CTX_free>> clocked(server::VerifiedPaths& paths) {
    std::unique_ptr<SSL_CTX, gatehouse::test::Freed<SSL_CTX, SSL_CTX_free>> out(SSL_CTX_new(TLS_server_method()));
    SSL_CTX* const c = out.get();
    EXPECT_EQ(SSL_CTX_use_certificate_chain_file(c, config.certificate.c_str()), 1);
    EXPECT_EQ(SSL_CTX_use_PrivateKey_file(c, config.key.c_str(), SSL_FILETYPE_PEM), 1);
    EXPECT_EQ(SSL_CTX_load_verify_file(c, config.client_ca.c_str()), 1);
    SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    if (!config.client_crl.empty()) {
      X509_STORE* const store = SSL_CTX_get_cert_store(c);
      EXPECT_GE(X509_load_crl_file(X509_STORE_add_lookup(store, X509_LOOKUP_file()), config.client_crl.c_str(), X509_FILETYPE_PEM), 1);
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    paths.use_for(c);
    return out;
  }
};

TEST_F(Clocked, CountWhileAllCertificatesAreInForce) {
  server::VerifiedPaths paths(16, 4, [] { return now; });
  const auto made = clocked(paths);
  const std::int64_t begun = now;
  EXPECT_TRUE(good(made.get(), "client"));
  // The client's is in force for a day in either direction, its authority's for thirty.
  struct Row {
    std::int64_t at;
    bool recognised;
  };
  constexpr std::int64_t moment = 60;  // since its certificate was made
  const Row rows[] = {{0, true}, {day - moment, true}, {day + 1, false}, {29 * day, false}, {moment - day, true}, {-day - moment, false}};
  for (const Row& row : rows) {
    now = begun + row.at;
    const std::uint64_t before = paths.recognised();
    EXPECT_TRUE(good(made.get(), "client")) << row.at;
    EXPECT_EQ(paths.recognised(), before + (row.recognised ? 1 : 0)) << row.at;
  }
}

TEST_F(Clocked, CountWhileAllRevocationListsAreInForce) {
  config.client_crl = folder + "/crl.pem";
  authority->revoke({}, config.client_crl, -60, 600);
  server::VerifiedPaths paths(16, 4, [] { return now; });
  const auto made = clocked(paths);
  const std::int64_t begun = now;
  for (const std::int64_t at : {0, 500}) {
    now = begun + at;
    EXPECT_TRUE(good(made.get(), "client"));
  }
  EXPECT_EQ(paths.recognised(), 1U);
  for (const std::int64_t at : {660, 3600, -120}) {
    now = begun + at;
    EXPECT_TRUE(good(made.get(), "client"));
  }
  EXPECT_EQ(paths.recognised(), 1U);
}

TEST_F(Clocked, AreBoundedAndEndWithTheClientsThatMadeThem) {
  server::VerifiedPaths paths(2, 1, [] { return now; });
  const auto made = clocked(paths);
  for (const char* name : {"a", "b", "c"}) authority->issue(name);
  EXPECT_TRUE(good(made.get(), "a") && good(made.get(), "b") && good(made.get(), "a"));
  EXPECT_EQ(paths.recognised(), 1U);
  EXPECT_TRUE(good(made.get(), "c") && good(made.get(), "a"));  // all went for c
  EXPECT_EQ(paths.recognised(), 1U);
  // By more issuers than may be: verified each time.
  Authority middle(*authority, "middle CA");
  middle.issue("below");
  EXPECT_TRUE(good(made.get(), "below") && good(made.get(), "below"));
  EXPECT_EQ(paths.recognised(), 1U);
  EXPECT_TRUE(good(made.get(), "a"));
  EXPECT_EQ(paths.recognised(), 2U);
}

}  // namespace
}  // namespace gatehouse::test
