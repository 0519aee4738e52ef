#include "bench/roofline/tls_pair.h"

#include <openssl/ec.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>

#include "server/tls/tls_library.h"

namespace gatehouse::bench {

void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "gatehouse-roofline: %s failed\n", what);
  std::exit(4);
}

EVP_PKEY* p256() {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  must(key != nullptr, "P-256 key generation");
  return key;
}

namespace {

// A certificate for `key`, signed by `issuer_key`; self-signed with ca = true when they are the same.
X509* certificate(EVP_PKEY* key, const char* name, X509* issuer, EVP_PKEY* issuer_key, const char* usage) {
  X509* const cert = X509_new();
  static long serial = 1;
  ASN1_INTEGER_set(X509_get_serialNumber(cert), ++serial);
  X509_set_version(cert, 2);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(cert, issuer != nullptr ? X509_get_subject_name(issuer) : X509_get_subject_name(cert));
  X509_set_pubkey(cert, key);
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer != nullptr ? issuer : cert, cert, nullptr, nullptr, 0);
  const auto extend = [&](int nid, const char* value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    must(extension != nullptr && X509_add_ext(cert, extension, -1) == 1, "certificate extension");
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "CA:FALSE");
  if (usage != nullptr) extend(NID_ext_key_usage, usage);
  must(X509_sign(cert, issuer_key, EVP_sha256()) > 0, "certificate signature");
  return cert;
}

}  // namespace

TlsPair::TlsPair(bool mutual)
    : server(SSL_CTX_new_ex(server::tls_library(), nullptr, TLS_server_method())), client(SSL_CTX_new(TLS_client_method())) {
  EVP_PKEY* const ca_key = p256();
  EVP_PKEY* const server_key = p256();
  EVP_PKEY* const client_key = p256();
  X509* const ca = certificate(ca_key, "bench CA", nullptr, ca_key, nullptr);
  must(SSL_CTX_set_ciphersuites(server, "TLS_AES_128_GCM_SHA256") == 1 && SSL_CTX_use_certificate(server, certificate(server_key, "server", ca, ca_key, "serverAuth")) == 1 &&
           SSL_CTX_use_PrivateKey(server, server_key) == 1 && SSL_CTX_set1_groups_list(server, "P-256") == 1 &&
           SSL_CTX_set1_groups_list(client, "P-256") == 1,
       "TLS set-up");
  X509_STORE_add_cert(SSL_CTX_get_cert_store(server), ca);
  SSL_CTX_set_num_tickets(server, 0);
  SSL_CTX_set_session_cache_mode(server, SSL_SESS_CACHE_OFF);
  if (mutual) {
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    SSL_CTX_use_certificate(client, certificate(client_key, "client", ca, ca_key, "clientAuth"));
    SSL_CTX_use_PrivateKey(client, client_key);
  }
}

}  // namespace gatehouse::bench
