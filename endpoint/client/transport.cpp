#include "endpoint/client/transport.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "endpoint/client/tls_client.h"

namespace gatehouse::endpoint {
namespace {

using Clock = std::chrono::steady_clock;

std::unexpected<Error> failed(std::string_view why, const std::string& where, std::string detail = {}) {
  return fail(Error{Fault::environment, why, {}, 0, where, std::move(detail)});
}

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

}  // namespace

struct Transport::State {
  int fd = -1;
  SSL_CTX* context = nullptr;
  SSL* ssl = nullptr;
  int stop_fd = -1;
  std::chrono::milliseconds timeout{};
  std::chrono::seconds whole{};
  Clock::time_point deadline;
  std::string where;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    SSL_free(ssl);
    SSL_CTX_free(context);
    disconnect();
  }
  void disconnect() {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }

  enum class Woken : std::uint8_t { socket, other, time };
  // poll(2) for one of these; a descriptor of -1 is left out.
  Result<Woken> wait_for(short events, Clock::time_point until, int other_fd) const {
    for (;;) {
      // Rounded up: what is due is due then.
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
      std::array<pollfd, 3> p{pollfd{fd, events, 0}, pollfd{stop_fd, POLLIN, 0}, pollfd{other_fd, POLLIN, 0}};
      constexpr std::int64_t most = 3'600'000;
      const int n = ::poll(p.data(), p.size(), int(std::clamp<std::int64_t>(left.count(), 0, most)));
      if (n < 0 && errno != EINTR) return fail_errno("poll failed", where);
      if (n > 0 && (p[1].revents != 0 || p[2].revents != 0)) return Woken::other;
      if (n > 0) return Woken::socket;
      if (n == 0 && left.count() <= most) return Woken::time;
    }
  }
  Result<void> wait(short events) const {
    GH_TRY(const Woken woken, wait_for(events, std::min(Clock::now() + timeout, deadline), -1));
    if (woken == Woken::time) return failed("timed out", where);
    if (woken == Woken::other) return failed("told to stop", where);
    return {};
  }

  // Of a TLS operation; `saved`: errno after it.
  std::unexpected<Error> failure(std::string_view what, int saved) const {
    std::string detail = tls_library_error();
    if (const long verified = SSL_get_verify_result(ssl); verified != X509_V_OK)
      detail = X509_verify_cert_error_string(verified);
    if (detail.empty() && saved != 0) detail = std::generic_category().message(saved);
    return failed(what, where, std::move(detail));
  }

  // Runs a TLS operation to its end; 0: the server has closed.
  template <class Operation>
  Result<int> run(std::string_view what, Operation&& operation) {
    for (;;) {
      ERR_clear_error();
      const int n = operation();
      if (n > 0) return n;
      const int saved = errno;
      switch (SSL_get_error(ssl, n)) {
        case SSL_ERROR_WANT_READ: GH_CHECK(wait(POLLIN)); break;
        case SSL_ERROR_WANT_WRITE: GH_CHECK(wait(POLLOUT)); break;
        case SSL_ERROR_ZERO_RETURN: return 0;
        default: return failure(what, saved);
      }
    }
  }

  Result<void> dial(const TransportOptions& o);
  void keep_alive() const;
};

// Each address of the host in turn.
Result<void> Transport::State::dial(const TransportOptions& o) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  if (const int rc = ::getaddrinfo(o.host.c_str(), o.port.c_str(), &hints, &raw); rc != 0) return failed("unknown host or port", where, ::gai_strerror(rc));
  const std::unique_ptr<addrinfo, FreeAddresses> list(raw);
  std::string last = "no address";
  for (const addrinfo* a = list.get(); a != nullptr; a = a->ai_next) {
    fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (fd < 0) continue;
    int error = ::connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      socklen_t size = sizeof error;
      if (!wait(POLLOUT)) error = ETIMEDOUT;
      else if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
    }
    if (error == 0) {
      // A batch's last record is small: held back until the server acknowledges those before it, each round would wait
      // for the server's delayed acknowledgement (40 ms).
      const int on = 1;
      (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      keep_alive();
      return {};
    }
    last = std::generic_category().message(error);
    disconnect();
  }
  return failed("can't connect", where, last);
}

// A server that vanished while nothing was said is noticed (spec part 1a §1.8): 60 s idle, 3 probes.
void Transport::State::keep_alive() const {
  constexpr int on = 1, idle = 60, between = 20, probes = 3;
  (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof between);
  (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

Transport::Transport(std::unique_ptr<State> state) : state_(std::move(state)) {}
Transport::Transport(Transport&&) noexcept = default;
Transport::~Transport() = default;

Result<Transport> Transport::connect(const TransportOptions& o) {
  auto s = std::make_unique<State>();
  s->timeout = o.timeout;
  s->whole = o.deadline;
  s->deadline = Clock::now() + o.deadline;
  s->stop_fd = o.stop_fd;
  s->where = o.host + ":" + o.port;
  s->context = SSL_CTX_new(TLS_client_method());
  GH_CHECK(configure_tls_client(s->context, {o.ca, o.certificate, o.key}, o.legacy_server, s->where));
  GH_CHECK(s->dial(o));
  s->ssl = SSL_new(s->context);
  if (s->ssl == nullptr || SSL_set_fd(s->ssl, s->fd) != 1) return failed("can't set TLS up", s->where, tls_library_error());
  GH_CHECK(expect_server(s->ssl, o.host, s->where));
  GH_TRY(const int connected, s->run("TLS handshake failed", [&] { return SSL_connect(s->ssl); }));
  if (connected == 0) return failed("the server closed in the TLS handshake", s->where);
  return Transport(std::move(s));
}

Result<void> Transport::write(Bytes bytes) {
  constexpr std::size_t most = std::size_t(1) << 20;
  while (!bytes.empty()) {
    GH_TRY(const int n, state_->run("can't send", [&] { return SSL_write(state_->ssl, bytes.data(), int(std::min(bytes.size(), most))); }));
    if (n == 0) return failed("the server closed the connection", state_->where);
    bytes = bytes.subspan(std::size_t(n));
  }
  return {};
}

Result<ByteVector> Transport::read() {
  ByteVector out(65'536);
  GH_TRY(const int n, state_->run("can't receive", [&] { return SSL_read(state_->ssl, out.data(), int(out.size())); }));
  out.resize(std::size_t(n));
  return out;
}

Result<std::optional<ByteVector>> Transport::read_until(Clock::time_point until, int wake_fd) {
  ByteVector out(65'536);
  for (;;) {
    ERR_clear_error();
    const int n = SSL_read(state_->ssl, out.data(), int(out.size()));
    if (n > 0) {
      out.resize(std::size_t(n));
      return out;
    }
    const int saved = errno, why = SSL_get_error(state_->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN) return ByteVector{};
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) return state_->failure("can't receive", saved);
    GH_TRY(const State::Woken woken,
           state_->wait_for(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until, wake_fd));
    if (woken != State::Woken::socket) return std::nullopt;
  }
}

void Transport::start_over() { state_->deadline = Clock::now() + state_->whole; }

void Transport::finish(Bytes last, std::chrono::seconds patience) {
  state_->stop_fd = -1;
  state_->deadline = Clock::now() + patience;
  if (!last.empty() && !write(last)) return;
  ERR_clear_error();
  if (SSL_shutdown(state_->ssl) < 0) return;
  for (;;) {
    const auto more = read();
    if (!more || more->empty()) return;
  }
}

ChannelBinding Transport::channel_binding() const {
  constexpr std::string_view label = "EXPORTER-Channel-Binding";
  constexpr std::size_t exporter_size = 32, largest_finished = 64;
  SSL* const ssl = state_->ssl;
  if (SSL_version(ssl) >= TLS1_3_VERSION) {
    ByteVector out(exporter_size);
    if (SSL_export_keying_material(ssl, reinterpret_cast<unsigned char*>(out.data()), out.size(), label.data(), label.size(), nullptr, 0, 1) != 1)
      return {};
    return {tls_exporter_binding, std::move(out)};
  }
  if (SSL_get_extms_support(ssl) != 1) return {};
  // The first Finished of the handshake; no session is resumed here, so it is ours (RFC 5929 section 3.1).
  ByteVector out(largest_finished);
  const std::size_t size = SSL_get_finished(ssl, out.data(), out.size());
  if (size == 0 || size > out.size()) return {};
  out.resize(size);
  return {tls_unique_binding, std::move(out)};
}

std::string Transport::description() const {
  return std::string(SSL_get_version(state_->ssl)) + " " + SSL_CIPHER_get_name(SSL_get_current_cipher(state_->ssl));
}

}  // namespace gatehouse::endpoint
