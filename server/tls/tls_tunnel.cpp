#include "server/tls/tls_tunnel.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "base/hash.h"
#include "server/tls/tls_sessions.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t keys_size = 128;

// TLS reads out of the message that has come and writes into the one that goes out, without anything in between: OpenSSL's own memory
// BIOs copy both ways, and keep the size of the largest message for the rest of the conversation.
struct Wire {
  Bytes in, last;                      // what is being read, and what comes last
  std::span<const ByteVector> pieces;  // between them
  ByteVector out;

  void begin(const ttls::Reassembler::Message& message) {
    in = {};
    pieces = message.kept;
    last = message.last;
  }
  bool empty() const { return left() == 0; }
  std::size_t left() const {
    std::size_t size = in.size() + last.size();
    for (const ByteVector& piece : pieces) size += piece.size();
    return size;
  }
  std::size_t read(std::span<std::byte> to) {
    std::size_t done = 0;
    while (done < to.size()) {
      if (in.empty() && !pieces.empty()) {
        in = pieces.front();
        pieces = pieces.subspan(1);
      } else if (in.empty()) {
        in = std::exchange(last, {});
        if (in.empty()) break;
      }
      const Bytes some = in.first(std::min(in.size(), to.size() - done));
      if (!some.empty()) std::memcpy(to.data() + done, some.data(), some.size());
      done += some.size();
      in = in.subspan(some.size());
    }
    return done;
  }
};

int read_wire(BIO* bio, char* to, std::size_t size, std::size_t* done) {
  Wire& wire = *static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = wire.read(std::as_writable_bytes(std::span(to, size)));
  if (*done == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  return 1;
}

int write_wire(BIO* bio, const char* from, std::size_t size, std::size_t* done) {
  Wire& wire = *static_cast<Wire*>(BIO_get_data(bio));
  const Bytes bytes = as_bytes({from, size});
  wire.out.insert(wire.out.end(), bytes.begin(), bytes.end());
  *done = size;
  return 1;
}

long control_wire(BIO*, int what, long, void*) { return what == BIO_CTRL_FLUSH ? 1 : 0; }

// Made once, and there until the process ends.
const BIO_METHOD* wire_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const out = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "EAP-TTLS");
    if (out != nullptr) {
      BIO_meth_set_read_ex(out, &read_wire);
      BIO_meth_set_write_ex(out, &write_wire);
      BIO_meth_set_ctrl(out, &control_wire);
    }
    return out;
  }();
  return method;
}

class TlsTunnel final : public EapTunnel {
 public:
  explicit TlsTunnel(std::shared_ptr<const TlsContext> context) : context_(std::move(context)), ssl_(SSL_new(context_->native())) {
    const BIO_METHOD* const method = wire_method();
    BIO* const bio = ssl_ && method != nullptr ? BIO_new(method) : nullptr;
    if (bio == nullptr) {
      ssl_.reset();
      return;
    }
    BIO_set_data(bio, &wire_);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl_.get(), bio, bio);
    SSL_set_accept_state(ssl_.get());
  }
  TlsTunnel(const TlsTunnel&) = delete;
  TlsTunnel& operator=(const TlsTunnel&) = delete;

  // TLS takes all of it, unless it fails: what there is of a record that isn't whole is in buffers of its own.
  Result<void> receive(const ttls::Reassembler::Message& tls) override {
    if (!ssl_) return fail(Fault::environment, "TLS can't begin");
    wire_.begin(tls);
    auto taken = established_ ? Result<void>() : shake_hands();
    if (taken && established_ && read_) read_ = read_now();
    wire_.begin({});
    return taken;
  }
  bool established() const override { return established_; }
  Result<ByteVector> read() override {
    if (!read_) return read_;
    return std::exchange(*read_, {});
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
  ByteVector output() override { return std::exchange(wire_.out, {}); }
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
    ByteVector issuer = peer_issuer(ssl_.get());
    if (issuer.empty()) issuer = TlsSessions::issuer(ssl_.get());
    if (issuer.empty()) return std::nullopt;
    GH_TRY(Certificate own, Certificate::from_der(peer_certificate(ssl_.get())));
    GH_TRY(Certificate above, Certificate::from_der(issuer));
    return Issued(std::move(own), std::move(above));
  }
  CertificateNames certificate_names() const override { return peer_certificate_names(ssl_.get()); }
  std::shared_ptr<Resumable> resumed() const override { return TlsSessions::resumed(ssl_.get()); }
  void let_resume(const std::shared_ptr<Resumable>& as) override {
    if (TlsSessions* const sessions = context_->sessions()) sessions->keep(ssl_.get(), as);
  }
  std::string version() const override { return SSL_get_version(ssl_.get()); }
  std::string cipher() const override { return SSL_get_cipher_name(ssl_.get()); }

 private:
  Result<void> shake_hands() {
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
  Result<ByteVector> read_now() {
    constexpr std::size_t smallest = 64, largest = 16'384;  // to read at once; largest: of a record
    ByteVector out = std::move(*read_);
    out.reserve(out.size() + wire_.left() + smallest);  // plaintext is shorter
    while (!wire_.empty() || SSL_has_pending(ssl_.get()) == 1) {
      const std::size_t at = out.size(), room = std::clamp(out.capacity() - at, smallest, largest);
      out.resize(at + room);
      ERR_clear_error();
      const int n = SSL_read(ssl_.get(), out.data() + at, int(room));
      out.resize(at + std::size_t(std::max(n, 0)));
      if (n > 0) continue;
      const int error = SSL_get_error(ssl_.get(), n);
      if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return out;
      wipe(out);
      if (error == SSL_ERROR_ZERO_RETURN) return fail(Fault::protocol, "the client ended TLS");
      return fail(Error{Fault::protocol, "TLS failed", {}, 0, {}, tls_error()});
    }
    return out;
  }

  struct Free {
    void operator()(SSL* ssl) const {
      // EAP-TTLS ends without close_notify, and OpenSSL would let nobody resume what ended so.
      SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
      SSL_free(ssl);
    }
  };
  const std::shared_ptr<const TlsContext> context_;
  Wire wire_;  // outlives the SSL, which has it
  std::unique_ptr<SSL, Free> ssl_;
  Result<ByteVector> read_ = ByteVector();  // plaintext that nobody has asked for yet, or why there is no more
  bool established_ = false;
};

}  // namespace

std::unique_ptr<EapTunnel> make_tls_tunnel(std::shared_ptr<const TlsContext> context) {
  return std::make_unique<TlsTunnel>(std::move(context));
}

}  // namespace gatehouse::server
