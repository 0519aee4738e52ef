#include "endpoint/client/transport.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace gatehouse::endpoint {
namespace {

std::string library_error() {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  const char* const reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  return reason != nullptr ? reason : "";
}

std::unexpected<Error> network(std::string_view why, const std::string& where, std::string detail) {
  return fail(Error{Fault::environment, why, {}, 0, where, std::move(detail)});
}

bool is_address(const std::string& host) {
  unsigned char buffer[16];
  return ::inet_pton(AF_INET, host.c_str(), buffer) == 1 || ::inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

}  // namespace

struct Transport::State {
  int fd = -1;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  std::chrono::seconds timeout{120};
  std::string where;
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    SSL_free(ssl);
    SSL_CTX_free(context);
    if (fd >= 0) ::close(fd);
  }
  Result<void> wait(short events) const {
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, int(std::chrono::milliseconds(timeout).count()));
    if (n == 0) return network("timed out", where, {});
    if (n < 0) return fail_errno("poll failed", where);
    return {};
  }
  // Runs a TLS operation to its end.
  template <class Operation>
  Result<int> run(Operation&& operation, std::string_view what) {
    for (;;) {
      ERR_clear_error();
      const int n = operation();
      if (n > 0) return n;
      switch (SSL_get_error(ssl, n)) {
        case SSL_ERROR_WANT_READ: GH_CHECK(wait(POLLIN)); break;
        case SSL_ERROR_WANT_WRITE: GH_CHECK(wait(POLLOUT)); break;
        case SSL_ERROR_ZERO_RETURN: return 0;
        default: {
          std::string detail = library_error();
          if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK) detail = X509_verify_cert_error_string(verified);
          return network(what, where, std::move(detail));
        }
      }
    }
  }
};

Transport::Transport(std::unique_ptr<State> state) : state_(std::move(state)) {}
Transport::Transport(Transport&&) noexcept = default;
Transport::~Transport() = default;

Result<Transport> Transport::connect(const TransportOptions& o) {
  auto s = std::make_unique<State>();
  s->timeout = o.timeout;
  s->where = o.host + ":" + o.port;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int rc = ::getaddrinfo(o.host.c_str(), o.port.c_str(), &hints, &list); rc != 0) return network("unknown host or port", s->where, ::gai_strerror(rc));
  std::string last = "no address";
  for (const addrinfo* a = list; a != nullptr && s->fd < 0; a = a->ai_next) {
    s->fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (s->fd < 0) continue;
    int error = 0;
    if (::connect(s->fd, a->ai_addr, a->ai_addrlen) != 0) {
      error = errno;
      if (error == EINPROGRESS) {
        if (s->wait(POLLOUT)) {
          socklen_t size = sizeof error;
          ::getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        } else {
          error = ETIMEDOUT;
        }
      }
    }
    if (error != 0) {
      last = std::generic_category().message(error);
      ::close(s->fd);
      s->fd = -1;
    }
  }
  ::freeaddrinfo(list);
  if (s->fd < 0) return network("can't connect", s->where, last);

  s->context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(s->context, TLS1_2_VERSION);
  SSL_CTX_set_mode(s->context, SSL_MODE_AUTO_RETRY | SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (o.legacy_server) SSL_CTX_set_options(s->context, SSL_OP_LEGACY_SERVER_CONNECT);
  SSL_CTX_set_verify(s->context, SSL_VERIFY_PEER, nullptr);
  if ((o.ca.empty() ? SSL_CTX_set_default_verify_paths(s->context) : SSL_CTX_load_verify_file(s->context, o.ca.c_str())) != 1)
    return network("can't use the CA certificates", o.ca, library_error());
  if (!o.certificate.empty()) {
    // The leaf alone: each certificate more costs the server a decoding.
    if (SSL_CTX_use_certificate_chain_file(s->context, o.certificate.c_str()) != 1) return network("can't use the certificate", o.certificate, library_error());
    if (SSL_CTX_use_PrivateKey_file(s->context, o.key.c_str(), SSL_FILETYPE_PEM) != 1) return network("can't use the private key", o.key, library_error());
  }
  s->ssl = SSL_new(s->context);
  SSL_set_fd(s->ssl, s->fd);
  if (is_address(o.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl), o.host.c_str());
  } else {
    SSL_set_tlsext_host_name(s->ssl, o.host.c_str());
    SSL_set_hostflags(s->ssl, X509_CHECK_FLAG_NO_WILDCARDS);
    SSL_set1_host(s->ssl, o.host.c_str());
  }
  State* const state = s.get();
  GH_TRY(const int connected, s->run([state] { return SSL_connect(state->ssl); }, "TLS handshake failed"));
  if (connected == 0) return network("the server closed in the TLS handshake", s->where, {});
  return Transport(std::move(s));
}

Result<void> Transport::write(Bytes bytes) {
  while (!bytes.empty()) {
    GH_TRY(const int n, state_->run([&] { return SSL_write(state_->ssl, bytes.data(), int(std::min<std::size_t>(bytes.size(), 1 << 20))); }, "can't send"));
    if (n == 0) return network("the server closed the connection", state_->where, {});
    bytes = bytes.subspan(std::size_t(n));
  }
  return {};
}

Result<ByteVector> Transport::read() {
  ByteVector out(65'536);
  GH_TRY(const int n, state_->run([&] { return SSL_read(state_->ssl, out.data(), int(out.size())); }, "can't receive"));
  out.resize(std::size_t(n));
  return out;
}

void Transport::close() { SSL_shutdown(state_->ssl); }

}  // namespace gatehouse::endpoint
