#include "server/tls/tls_library.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "tests/server_tls/handshake.h"

namespace gatehouse::test {
namespace {

class TlsLibrary : public ::testing::Test {
 protected:
  TlsLibrary() : folder(::testing::TempDir() + "tls_library_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder);
    authority.emplace(folder);
    config.client_ca = authority->certificate();
  }
  ~TlsLibrary() override { std::filesystem::remove_all(folder); }

  std::shared_ptr<const server::TlsContext> context(const Wanted& wanted) {
    authority->issue("server", wanted);
    config.certificate = folder + "/server.pem";
    config.key = folder + "/server.key";
    auto made = server::TlsContext::make(config);
    EXPECT_TRUE(made) << made.error().text();
    return made ? *made : nullptr;
  }
  // A key of another kind, as `openssl genpkey` writes it, and its certificate.
  void issue_of(const std::string& name, const char* algorithm, const char* option = nullptr, const char* value = nullptr) {
    const std::unique_ptr<EVP_PKEY_CTX, Freed<EVP_PKEY_CTX, EVP_PKEY_CTX_free>> making(EVP_PKEY_CTX_new_from_name(nullptr, algorithm, nullptr));
    ASSERT_EQ(EVP_PKEY_keygen_init(making.get()), 1);
    if (option != nullptr) {
      ASSERT_EQ(EVP_PKEY_CTX_ctrl_str(making.get(), option, value), 1);
    }
    EVP_PKEY* key = nullptr;
    ASSERT_EQ(EVP_PKEY_keygen(making.get(), &key), 1);
    const Key owned(key);
    FILE* const file = std::fopen((folder + "/" + name + ".key").c_str(), "we");
    EXPECT_EQ(PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr), 1);
    std::fclose(file);
    BIO* const pem = BIO_new(BIO_s_mem());
    EXPECT_EQ(PEM_write_bio_PUBKEY(pem, key), 1);
    char* text = nullptr;
    const long size = BIO_get_mem_data(pem, &text);
    authority->issue_for(name, std::string(text, std::size_t(size)));
    BIO_free(pem);
  }
  ClientWanted with(const std::string& name) const { return {folder + "/" + name + ".pem", folder + "/" + name + ".key"}; }

  std::string folder;
  std::optional<Authority> authority;
  server::Config config;
};

TEST_F(TlsLibrary, IsOfItsOwnWhereOpenSslIsAsShipped) {
  EXPECT_NE(server::tls_library(), nullptr);
  EXPECT_EQ(server::tls_library(), server::tls_library());
}

TEST_F(TlsLibrary, TakesClientsOfEveryKindOfKeyInBothVersions) {
  authority->issue("rsa", {.rsa = true});
  issue_of("pss", "RSA-PSS");
  issue_of("p256", "EC", "ec_paramgen_curve", "P-256");
  issue_of("p384", "EC", "ec_paramgen_curve", "P-384");
  issue_of("p521", "EC", "ec_paramgen_curve", "P-521");
  issue_of("ed25519", "ED25519");
  issue_of("ed448", "ED448");
  const auto made = context({.purpose = "serverAuth"});
  ASSERT_TRUE(made);
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION})
    for (const char* name : {"rsa", "pss", "p256", "p384", "p521", "ed25519", "ed448"}) {
      ClientWanted wanted = with(name);
      wanted.version = version;
      const Handshake one(made->native(), wanted);
      EXPECT_TRUE(one.good()) << name << ": " << server::refused_certificate(one.server());
      EXPECT_EQ(server::peer_subject(one.server()), std::string("CN=") + name);
    }
}

TEST_F(TlsLibrary, ServesWithEitherKindOfKeyAllGroupsAndSuites) {
  authority->issue("client");
  for (const bool rsa : {false, true}) {
    const auto made = context({.purpose = "serverAuth", .rsa = rsa});
    ASSERT_TRUE(made);
    for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION})
      for (const char* group : {"X25519", "P-256", "X448", "P-384", "P-521"}) {
        ClientWanted wanted = with("client");
        wanted.version = version;
        // In TLS 1.2 a client's groups are its certificate's curves, too.
        wanted.groups = group;
        if (version == TLS1_2_VERSION && wanted.groups != "P-256") wanted.groups += ":P-256";
        EXPECT_TRUE(Handshake(made->native(), wanted).good()) << group;
      }
    ClientWanted wanted = with("client");
    for (const char* suite : {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
      wanted.ciphers = suite;
      EXPECT_TRUE(Handshake(made->native(), wanted).good()) << suite;
    }
    wanted.version = TLS1_2_VERSION;
    for (const char* suites : {"ECDHE+AESGCM", "ECDHE+CHACHA20"}) {
      wanted.ciphers = suites;
      EXPECT_TRUE(Handshake(made->native(), wanted).good()) << suites;
    }
    wanted.ciphers = "DHE+AESGCM";
    EXPECT_EQ(Handshake(made->native(), wanted).good(), rsa);
    wanted.ciphers = "ECDHE+AES:!AESGCM:!AESCCM";
    EXPECT_FALSE(Handshake(made->native(), wanted).good());
  }
  config.tls_13_only = true;
  const auto made = context({.purpose = "serverAuth"});
  ClientWanted wanted = with("client");
  wanted.groups = "ffdhe2048";
  EXPECT_TRUE(Handshake(made->native(), wanted).good());
}

}  // namespace
}  // namespace gatehouse::test
