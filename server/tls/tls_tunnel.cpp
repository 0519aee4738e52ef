#include "server/tls/tls_tunnel.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/hash.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t keys_size = 128;

class TlsTunnel final : public EapTunnel {
 public:
  explicit TlsTunnel(std::shared_ptr<const TlsContext> context) : context_(std::move(context)), ssl_(SSL_new(context_->native())) {
    if (!ssl_) return;
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_accept_state(ssl_.get());
  }

  Result<void> receive(Bytes tls) override {
    if (!ssl_ || in_ == nullptr || out_ == nullptr) return fail(Fault::environment, "TLS can't begin");
    if (!tls.empty() && BIO_write(in_, tls.data(), int(tls.size())) != int(tls.size())) return fail(Fault::environment, "out of memory");
    if (established_) return {};
    ERR_clear_error();
    const int n = SSL_do_handshake(ssl_.get());
    if (n == 1) {
      established_ = true;
      return {};
    }
    const int error = SSL_get_error(ssl_.get(), n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return {};
    std::string why = tls_error();
    const std::string refused = refused_certificate(ssl_.get());
    return fail(Error{Fault::denied, "TLS handshake failed", {}, 0, {}, why + (refused.empty() ? "" : ": " + refused)});
  }
  bool established() const override { return established_; }
  Result<ByteVector> read() override {
    ByteVector out;
    for (;;) {
      constexpr std::size_t piece = 16'384;
      const std::size_t at = out.size();
      out.resize(at + piece);
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), out.data() + at, int(piece));
      out.resize(at + std::size_t(std::max(n, 0)));
      if (n > 0) continue;
      const int error = SSL_get_error(ssl_.get(), n);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return out;
      wipe(out);
      if (error == SSL_ERROR_ZERO_RETURN) return fail(Fault::protocol, "the client ended TLS");
      return fail(Error{Fault::protocol, "TLS failed", {}, 0, {}, tls_error()});
    }
  }
  Result<void> write(Bytes plaintext) override {
    ERR_clear_error();
    while (!plaintext.empty()) {
      const int n = SSL_write(ssl_.get(), plaintext.data(), int(plaintext.size()));
      if (n <= 0) return fail(Error{Fault::environment, "TLS can't write", {}, 0, {}, tls_error()});
      plaintext = plaintext.subspan(std::size_t(n));
    }
    return {};
  }
  ByteVector output() override {
    ByteVector out(BIO_ctrl_pending(out_));
    const int n = out.empty() ? 0 : BIO_read(out_, out.data(), int(out.size()));
    out.resize(std::size_t(std::max(n, 0)));
    // What it grew to would stay with it.
    BIO_reset(out_);
    return out;
  }
  Result<Secret> keys() const override {
    ByteVector out(keys_size);
    const bool modern = SSL_version(ssl_.get()) >= TLS1_3_VERSION;
    constexpr std::string_view old_label = "ttls keying material", label = "EXPORTER_EAP_TLS_Key_Material";
    constexpr unsigned char type = 21;
    const std::string_view used = modern ? label : old_label;
    const int done = SSL_export_keying_material(ssl_.get(), reinterpret_cast<unsigned char*>(out.data()), out.size(), used.data(),
                                                used.size(), &type, modern ? 1 : 0, modern ? 1 : 0);
    Secret keys{Bytes(out)};
    wipe(out);
    if (!established_ || done != 1) return fail(Error{Fault::internal, "TLS exports no keys", {}, 0, {}, tls_error()});
    return keys;
  }
  std::string subject() const override { return peer_subject(ssl_.get()); }
  Result<std::optional<Issued>> certificate_and_issuer() const override {
    const ByteVector issuer = peer_issuer(ssl_.get());
    if (issuer.empty()) return std::nullopt;
    GH_TRY(Certificate own, Certificate::from_der(peer_certificate(ssl_.get())));
    GH_TRY(Certificate above, Certificate::from_der(issuer));
    return Issued(std::move(own), std::move(above));
  }
  CertificateNames certificate_names() const override { return peer_certificate_names(ssl_.get()); }
  std::string version() const override { return SSL_get_version(ssl_.get()); }
  std::string cipher() const override { return SSL_get_cipher_name(ssl_.get()); }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };
  const std::shared_ptr<const TlsContext> context_;
  std::unique_ptr<SSL, Free> ssl_;
  BIO* in_ = nullptr;   // the SSL's
  BIO* out_ = nullptr;  // the SSL's
  bool established_ = false;
};

}  // namespace

std::unique_ptr<EapTunnel> make_tls_tunnel(std::shared_ptr<const TlsContext> context) {
  return std::make_unique<TlsTunnel>(std::move(context));
}

}  // namespace gatehouse::server
