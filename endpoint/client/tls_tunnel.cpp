#include "endpoint/client/tls_tunnel.h"

#include <openssl/bio.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "endpoint/client/tls_client.h"

namespace gatehouse::endpoint {

struct KeptSession::State {
  SSL_SESSION* session = nullptr;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { SSL_SESSION_free(session); }
};

KeptSession::KeptSession() : state_(std::make_unique<State>()) {}
KeptSession::~KeptSession() = default;
bool KeptSession::empty() const { return state_->session == nullptr; }

struct TlsTunnel::State {
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  BIO* in = nullptr;   // the SSL's
  BIO* out = nullptr;  // the SSL's
  bool established = false;
  std::shared_ptr<KeptSession> kept;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    // EAP-TTLS ends without close_notify, and OpenSSL would resume nothing that ended so.
    if (ssl != nullptr) SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    SSL_CTX_free(context);
  }
  // Of the context.
  Result<void> open() {
    ssl = SSL_new(context);
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());
    if (ssl == nullptr || in == nullptr || out == nullptr) {
      BIO_free(in);
      BIO_free(out);
      return tls_failure("can't set TLS up", {}, tls_library_error());
    }
    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);
    return {};
  }
  std::unexpected<Error> failure(std::string_view what) const {
    std::string detail = tls_library_error();
    if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK) detail = X509_verify_cert_error_string(verified);
    return tls_failure(what, {}, std::move(detail));
  }
};

TlsTunnel::TlsTunnel(std::unique_ptr<State> state) : state_(std::move(state)) {}
TlsTunnel::~TlsTunnel() = default;
bool TlsTunnel::established() const { return state_->established; }

Result<std::unique_ptr<TlsTunnel>> TlsTunnel::make(const TunnelOptions& o) {
  auto s = std::make_unique<State>();
  s->context = SSL_CTX_new(TLS_client_method());
  GH_CHECK(configure_tls_client(s->context, {o.ca, o.certificate, o.key}, o.legacy_server, o.server_name));
  if (o.tls_12) SSL_CTX_set_max_proto_version(s->context, TLS1_2_VERSION);
  if ((s->kept = o.session)) {
    SSL_CTX_set_session_cache_mode(s->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(s->context, [](SSL* ssl, SSL_SESSION* session) {
      auto* const kept = static_cast<KeptSession::State*>(SSL_get_app_data(ssl));
      SSL_SESSION_free(std::exchange(kept->session, session));
      return 1;  // it is ours now
    });
  }
  GH_CHECK(s->open());
  if (s->kept) {
    SSL_set_app_data(s->ssl, s->kept->state_.get());
    if (!s->kept->empty()) SSL_set_session(s->ssl, s->kept->state_->session);
  }
  if (!o.server_name.empty()) GH_CHECK(expect_server(s->ssl, o.server_name, o.server_name));
  return std::unique_ptr<TlsTunnel>(new TlsTunnel(std::move(s)));
}

Result<std::unique_ptr<TlsTunnel>> TlsTunnel::make(SSL_CTX* context, X509* certificate, EVP_PKEY* key) {
  auto s = std::make_unique<State>();
  SSL_CTX_up_ref(context);
  s->context = context;
  GH_CHECK(s->open());
  if (certificate != nullptr && (SSL_use_certificate(s->ssl, certificate) != 1 || SSL_use_PrivateKey(s->ssl, key) != 1))
    return tls_failure("OpenSSL doesn't take the client certificate", {}, tls_library_error());
  return std::unique_ptr<TlsTunnel>(new TlsTunnel(std::move(s)));
}

Result<void> TlsTunnel::receive(Bytes tls) {
  if (!tls.empty() && BIO_write(state_->in, tls.data(), int(tls.size())) != int(tls.size())) return tls_failure("out of memory", {});
  if (state_->established) return {};
  ERR_clear_error();
  const int n = SSL_do_handshake(state_->ssl);
  if (n == 1) {
    state_->established = true;
    return {};
  }
  const int error = SSL_get_error(state_->ssl, n);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {};
  return state_->failure("TLS handshake failed");
}

Result<ByteVector> TlsTunnel::read() {
  constexpr std::size_t piece = 16'384;
  ByteVector out;
  for (;;) {
    const std::size_t at = out.size();
    out.resize(at + piece);
    ERR_clear_error();
    const int n = SSL_read(state_->ssl, out.data() + at, int(piece));
    out.resize(at + std::size_t(std::max(n, 0)));
    if (n > 0) continue;
    const int error = SSL_get_error(state_->ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return out;
    if (error == SSL_ERROR_ZERO_RETURN) return tls_failure("the server ended TLS", {});
    return state_->failure("TLS failed");
  }
}

Result<void> TlsTunnel::write(Bytes plaintext) {
  while (!plaintext.empty()) {
    ERR_clear_error();
    const int n = SSL_write(state_->ssl, plaintext.data(), int(plaintext.size()));
    if (n <= 0) return state_->failure("TLS can't write");
    plaintext = plaintext.subspan(std::size_t(n));
  }
  return {};
}

ByteVector TlsTunnel::output() {
  ByteVector out(BIO_ctrl_pending(state_->out));
  const int n = out.empty() ? 0 : BIO_read(state_->out, out.data(), int(out.size()));
  out.resize(std::size_t(std::max(n, 0)));
  return out;
}

Result<Secret> TlsTunnel::keys() const {
  ByteVector out(128);
  const bool modern = SSL_version(state_->ssl) >= TLS1_3_VERSION;
  constexpr std::string_view old_label = "ttls keying material", label = "EXPORTER_EAP_TLS_Key_Material";
  constexpr unsigned char type = 21;
  const std::string_view used = modern ? label : old_label;
  const int done = SSL_export_keying_material(state_->ssl, reinterpret_cast<unsigned char*>(out.data()), out.size(), used.data(), used.size(),
                                              &type, modern ? 1 : 0, modern ? 1 : 0);
  Secret keys{Bytes(out)};
  wipe(out);
  if (!state_->established || done != 1) return state_->failure("TLS exports no keys");
  return keys;
}

bool TlsTunnel::resumed() const { return state_->established && SSL_session_reused(state_->ssl) == 1; }

std::string TlsTunnel::description() const {
  return std::string(SSL_get_version(state_->ssl)) + " " + SSL_CIPHER_get_name(SSL_get_current_cipher(state_->ssl));
}

}  // namespace gatehouse::endpoint
