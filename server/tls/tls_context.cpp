#include "server/tls/tls_context.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <system_error>

#include "base/der.h"
#include "base/hex.h"
#include "base/owned.h"
#include "base/x509.h"
#include "server/tls/tls_library.h"
#include "server/tls/tls_sessions.h"
#include "server/tls/verified_paths.h"

namespace gatehouse::server {
namespace {

// Forward secrecy and AEAD only; strongSwan's clients offer these in TLS 1.2, their default.
constexpr char tls12_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!aPSK";

// Of the client's chain and its certificates, and so of what one of them may cost (spec part 1a §7).
constexpr long max_chain_bytes = 65'536;
constexpr int max_depth = 6;

struct FreeText {
  void operator()(char* text) const { OPENSSL_free(text); }
};

std::string subject_of(X509* certificate) {
  if (certificate == nullptr) return {};
  const std::unique_ptr<char, FreeText> text(X509_NAME_oneline(X509_get_subject_name(certificate), nullptr, 0));
  return text ? escaped(text.get(), 256) : std::string();
}

void free_refusal(void*, void* data, CRYPTO_EX_DATA*, int, long, void*) { delete static_cast<std::string*>(data); }
int refusal_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_refusal);
  return index;
}

// OpenSSL's judgement of each certificate of the path, kept where it is a refusal. A revocation list is needed of the
// issuer of the client's certificate; of the authorities above it, those that are given count.
int on_certificate(int good, X509_STORE_CTX* path) {
  const int error = X509_STORE_CTX_get_error(path);
  if (good == 1) return 1;
  if (error == X509_V_ERR_UNABLE_TO_GET_CRL && X509_STORE_CTX_get_error_depth(path) > 0) {
    X509_STORE_CTX_set_error(path, X509_V_OK);
    return 1;
  }
  auto* const ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(path, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (ssl == nullptr || SSL_get_ex_data(ssl, refusal_index()) != nullptr) return 0;
  auto why = std::make_unique<std::string>("certificate of '" + subject_of(X509_STORE_CTX_get_current_cert(path)) +
                                           "': " + X509_verify_cert_error_string(error));
  if (SSL_set_ex_data(ssl, refusal_index(), why.get()) == 1) (void)why.release();
  return 0;
}

// Of TLS 1.3's suites, with those that OpenSSL's configuration allows: the one that every implementation has to have
// (RFC 8446 section 9.1) first. Its key schedule is by SHA-256, for which processors have instructions; by SHA-384 it is a
// twentieth of a handshake.
bool prefer_sha256(SSL_CTX* context) {
  constexpr std::string_view preferred = "TLS_AES_128_GCM_SHA256";
  std::string first, others;
  const STACK_OF(SSL_CIPHER)* const all = SSL_CTX_get_ciphers(context);
  for (int i = 0; i < sk_SSL_CIPHER_num(all); ++i) {
    const SSL_CIPHER* const one = sk_SSL_CIPHER_value(all, i);
    const std::string_view name = SSL_CIPHER_get_name(one);
    if (std::string_view(SSL_CIPHER_get_version(one)) != "TLSv1.3") continue;
    if (name == preferred) first = name;
    else (others += others.empty() ? "" : ":") += name;
  }
  if (first.empty()) return true;
  if (!others.empty()) first += ':' + others;
  return SSL_CTX_set_ciphersuites(context, first.c_str()) == 1;
}

// By OpenSSL's own library: the one for TLS reads no private keys.
Owned<EVP_PKEY, EVP_PKEY_free> key_of(const std::string& file) {
  const Owned<BIO, BIO_free_all> in(BIO_new_file(file.c_str(), "r"));
  return Owned<EVP_PKEY, EVP_PKEY_free>(in ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr) : nullptr);
}

std::unexpected<Error> bad(std::string_view why, const std::string& file) {
  std::string detail = tls_error();
  // Of a file that isn't there OpenSSL says "system lib".
  if (!file.empty() && ::access(file.c_str(), R_OK) != 0) detail = std::generic_category().message(errno);
  return fail(Error{Fault::environment, why, {}, 0, file, std::move(detail)});
}

}  // namespace

std::string tls_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return {};
  const char* const reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

TlsContext::TlsContext() = default;
TlsContext::~TlsContext() { SSL_CTX_free(context_); }

Result<std::shared_ptr<const TlsContext>> TlsContext::make(const Config& config, std::chrono::seconds resumption) {
  std::shared_ptr<TlsContext> out(new TlsContext);
  SSL_CTX* const context = out->context_ = SSL_CTX_new_ex(tls_library(), nullptr, TLS_server_method());
  if (context == nullptr) return bad("TLS can't be set up", {});
  SSL_CTX_set_min_proto_version(context, config.tls_13_only ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_dh_auto(context, 1);
  if (SSL_CTX_set_cipher_list(context, tls12_ciphers) != 1 || !prefer_sha256(context)) return bad("no cipher suite", {});
  if (SSL_CTX_use_certificate_chain_file(context, config.certificate.c_str()) != 1) return bad("can't use the certificate", config.certificate);
  const Owned<EVP_PKEY, EVP_PKEY_free> key = key_of(config.key);
  if (!key || SSL_CTX_use_PrivateKey(context, key.get()) != 1) return bad("can't use the private key", config.key);
  if (SSL_CTX_check_private_key(context) != 1) return bad("the private key isn't the certificate's", config.key);
  if (!config.client_ca.empty() && config.auth != Auth::sasl && config.auth != Auth::none) {
    if (SSL_CTX_load_verify_file(context, config.client_ca.c_str()) != 1) return bad("can't use the client CAs", config.client_ca);
    STACK_OF(X509_NAME)* const names = SSL_load_client_CA_file(config.client_ca.c_str());
    if (names == nullptr) return bad("no client CA", config.client_ca);
    SSL_CTX_set_client_CA_list(context, names);
    const bool needed = config.auth == Auth::tls || config.auth == Auth::tls_and_sasl;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (needed ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), &on_certificate);
    SSL_CTX_set_verify_depth(context, max_depth);
    SSL_CTX_set_max_cert_list(context, max_chain_bytes);
    if (!config.client_crl.empty()) {
      X509_STORE* const store = SSL_CTX_get_cert_store(context);
      X509_LOOKUP* const lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
      if (lookup == nullptr || X509_load_crl_file(lookup, config.client_crl.c_str(), X509_FILETYPE_PEM) < 1)
        return bad("can't use the revocation list", config.client_crl);
      X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    out->paths_ = std::make_unique<VerifiedPaths>();
    out->paths_->use_for(context);
  }
  if (resumption.count() != 0) out->sessions_ = TlsSessions::of(context, resumption);
  return out;
}

bool still_verifies(SSL_CTX* context, X509* certificate, STACK_OF(X509)* path) {
  struct Free {
    void operator()(X509_STORE_CTX* c) const { X509_STORE_CTX_free(c); }
  };
  const std::unique_ptr<X509_STORE_CTX, Free> c(X509_STORE_CTX_new());
  if (!c || X509_STORE_CTX_init(c.get(), SSL_CTX_get_cert_store(context), certificate, path) != 1 || X509_STORE_CTX_set_default(c.get(), "ssl_client") != 1)
    return false;
  X509_STORE_CTX_set_depth(c.get(), max_depth);
  X509_STORE_CTX_set_verify_cb(c.get(), &on_certificate);
  const bool good = X509_verify_cert(c.get()) == 1;
  ERR_clear_error();
  return good;
}

std::string refused_certificate(SSL* ssl) {
  if (ssl == nullptr) return {};
  const auto* const why = static_cast<const std::string*>(SSL_get_ex_data(ssl, refusal_index()));
  return why != nullptr ? *why : std::string();
}

ChannelBinding channel_binding(SSL* ssl) {
  constexpr std::string_view label = "EXPORTER-Channel-Binding";
  constexpr std::size_t exporter_size = 32, largest_finished = 64;
  if (SSL_version(ssl) >= TLS1_3_VERSION) {
    ByteVector out(exporter_size);
    if (SSL_export_keying_material(ssl, reinterpret_cast<unsigned char*>(out.data()), out.size(), label.data(), label.size(),
                                   reinterpret_cast<const unsigned char*>(""), 0, 1) != 1)
      return {};
    return {tls_exporter_binding, std::move(out)};
  }
  if (SSL_get_extms_support(ssl) != 1) return {};
  // The first Finished of the handshake: the client's, and in a resumed session ours (RFC 5929 section 3.1).
  ByteVector out(largest_finished);
  const std::size_t size = SSL_session_reused(ssl) == 1 ? SSL_get_finished(ssl, out.data(), out.size()) : SSL_get_peer_finished(ssl, out.data(), out.size());
  if (size == 0 || size > out.size()) return {};
  out.resize(size);
  return {tls_unique_binding, std::move(out)};
}

std::string peer_subject(SSL* ssl) {
  X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  const unsigned char* der = nullptr;
  std::size_t size = 0;
  if (X509_NAME_get0_der(X509_get_subject_name(certificate), &der, &size) != 1) return {};
  return distinguished_name({reinterpret_cast<const std::byte*>(der), size});
}

CertificateNames peer_certificate_names(SSL* ssl) {
  X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  return certificate_names(certificate);
}

ByteVector peer_certificate(SSL* ssl) {
  const X509* const certificate = SSL_get0_peer_certificate(ssl);
  if (certificate == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return {};
  return encoded(certificate, &i2d_X509);
}

ByteVector peer_issuer(SSL* ssl) {
  const STACK_OF(X509)* const path = SSL_get0_verified_chain(ssl);
  if (SSL_get_verify_result(ssl) != X509_V_OK || path == nullptr || sk_X509_num(path) < 2) return {};
  return encoded<X509>(sk_X509_value(path, 1), &i2d_X509);
}

}  // namespace gatehouse::server
