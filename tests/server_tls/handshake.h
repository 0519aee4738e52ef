// A TLS handshake between two contexts, in memory.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "server/tls/tls_context.h"
#include "tests/server_tls/certificates.h"

namespace gatehouse::test {

struct ClientWanted {
  std::string certificate, key;  // PEM files; empty: none
  int version = TLS1_3_VERSION;
  std::string groups{}, ciphers{};  // empty: the library's
};

class Handshake {
 public:
  Handshake(SSL_CTX* server, const ClientWanted& wanted) : context_(SSL_CTX_new(TLS_client_method())) {
    SSL_CTX_set_min_proto_version(context_.get(), wanted.version);
    SSL_CTX_set_max_proto_version(context_.get(), wanted.version);
    if (!wanted.groups.empty()) {
      EXPECT_EQ(SSL_CTX_set1_groups_list(context_.get(), wanted.groups.c_str()), 1);
    }
    if (!wanted.ciphers.empty() && wanted.version == TLS1_3_VERSION) {
      EXPECT_EQ(SSL_CTX_set_ciphersuites(context_.get(), wanted.ciphers.c_str()), 1);
    }
    if (!wanted.ciphers.empty() && wanted.version != TLS1_3_VERSION) {
      EXPECT_EQ(SSL_CTX_set_cipher_list(context_.get(), wanted.ciphers.c_str()), 1);
    }
    if (!wanted.certificate.empty()) {
      EXPECT_EQ(SSL_CTX_use_certificate_chain_file(context_.get(), wanted.certificate.c_str()), 1);
      EXPECT_EQ(SSL_CTX_use_PrivateKey_file(context_.get(), wanted.key.c_str(), SSL_FILETYPE_PEM), 1);
    }
    client_.reset(SSL_new(context_.get()));
    server_.reset(SSL_new(server));
    BIO *a = nullptr, *b = nullptr;
    EXPECT_EQ(BIO_new_bio_pair(&a, 1 << 20, &b, 1 << 20), 1);
    SSL_set_bio(client_.get(), a, a);
    SSL_set_bio(server_.get(), b, b);
    SSL_set_connect_state(client_.get());
    SSL_set_accept_state(server_.get());
    for (int turn = 0; turn < 8; ++turn) {
      (void)SSL_do_handshake(client_.get());
      (void)SSL_do_handshake(server_.get());
    }
    ERR_clear_error();
  }
  // As the server sees it.
  bool good() const { return SSL_is_init_finished(server_.get()) == 1; }
  SSL* server() const { return server_.get(); }
  SSL* client() const { return client_.get(); }

 private:
  std::unique_ptr<SSL_CTX, Freed<SSL_CTX, SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Freed<SSL, SSL_free>> client_, server_;
};

}  // namespace gatehouse::test
