// Both ends of TLS as the roofline measures them.
#pragma once

#include <openssl/evp.h>
#include <openssl/ssl.h>

namespace gatehouse::bench {

// Ends the program with exit code 4 where it isn't.
void must(bool good, const char* what);
EVP_PKEY* p256();

// TLS 1.3 with P-256, ECDSA certificates and AES-128-GCM. Lives as long as the program.
struct TlsPair {
  // As the server uses it, but for its memory of certificates that were found good: each is verified.
  SSL_CTX* server;
  SSL_CTX* client;
  explicit TlsPair(bool mutual);
};

}  // namespace gatehouse::bench
