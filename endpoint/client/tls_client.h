// How the endpoint's TLS is set up, with and without a socket (spec part 1a §1.8): 1.3, or 1.2 with forward secrecy and AEAD;
// the server's certificate chains to the CA given and names whom the user meant, no wildcards (RFC 6876 3.4.2.1).
#pragma once

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <string>

#include "base/error.h"

namespace gatehouse::endpoint {

struct TlsFiles {
  std::string ca;                // PEM; empty: the system's
  std::string certificate, key;  // PEM; empty: none
};

inline std::string tls_library_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? reason : "";
}

inline std::unexpected<Error> tls_failure(std::string_view why, const std::string& where, std::string detail = {}) {
  return fail(Error{Fault::environment, why, {}, 0, where, std::move(detail)});
}

inline Result<void> configure_tls_client(SSL_CTX* context, const TlsFiles& files, bool legacy_server, const std::string& where) {
  constexpr const char* tls12_ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM";
  if (context == nullptr || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 || SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1)
    return tls_failure("can't set TLS up", where, tls_library_error());
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  if (legacy_server) SSL_CTX_set_options(context, SSL_OP_LEGACY_SERVER_CONNECT);
  SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if ((files.ca.empty() ? SSL_CTX_set_default_verify_paths(context) : SSL_CTX_load_verify_file(context, files.ca.c_str())) != 1)
    return tls_failure("can't use the CA certificates", files.ca, tls_library_error());
  if (files.certificate.empty()) return {};
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1)
    return tls_failure("can't use the certificate", files.certificate, tls_library_error());
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(context) != 1)
    return tls_failure("can't use the private key", files.key, tls_library_error());
  return {};
}

inline bool is_address(const std::string& host) {
  std::array<unsigned char, 16> buffer{};
  return ::inet_pton(AF_INET, host.c_str(), buffer.data()) == 1 || ::inet_pton(AF_INET6, host.c_str(), buffer.data()) == 1;
}

// The name or address that the user gave must be in the certificate's alternative names.
inline Result<void> expect_server(SSL* ssl, const std::string& host, const std::string& where) {
  bool good = false;
  if (is_address(host)) {
    good = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str()) == 1;
  } else {
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    good = SSL_set_tlsext_host_name(ssl, host.c_str()) == 1 && SSL_set1_host(ssl, host.c_str()) == 1;
  }
  if (!good) return tls_failure("can't check a server of this name", where, tls_library_error());
  return {};
}

}  // namespace gatehouse::endpoint
