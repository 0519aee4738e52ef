#include "fleet/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <sys/socket.h>

#include <array>

namespace gatehouse::fleet {
namespace {

constexpr std::size_t reading = 16'384;  // a TLS record

}  // namespace

Connection::Connection(const Config& config, const Identity& identity, std::shared_ptr<const Variant> variant)
    : config_(config), identity_(identity), collectors_(identity.ak, config.product, config.clock_from, std::move(variant)) {
  endpoint::Session::Config session;
  session.tnc.keep = config.keep;
  session.user = config.user;
  session.password = Secret(config.password);
  session.salted = config.salted;
  session_.emplace(std::move(session), collectors_.imcs());
}

Connection::State Connection::fail_with(std::string_view reason) {
  error_ = Error{Fault::environment, reason, {}, 0, {}, {}};
  return State::ended;
}

Connection::State Connection::connect() {
  fd_ = Descriptor(::socket(config_.address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd_.get() < 0) return fail_with("no socket: too many open files");
  const int on = 1;
  (void)::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(fd_.get(), config_.address, socklen_t(config_.address_size)) != 0 && errno != EINPROGRESS)
    return fail_with("the server can't be reached");
  connecting_ = true;
  return State::busy;
}

Connection::State Connection::retry(std::shared_ptr<const Variant> variant) {
  collectors_.change(std::move(variant));
  return take(session_->retry(), reading);
}

Connection::State Connection::proceed(std::size_t most) {
  if (connecting_) {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(fd_.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
      return fail_with(error == ECONNREFUSED ? "connection refused" : "the server can't be reached");
    connecting_ = false;
    ssl_.reset(SSL_new(config_.tls));
    if (!ssl_ || SSL_set_fd(ssl_.get(), fd_.get()) != 1) return fail_with("OpenSSL has no connection");
    if (identity_.certificate && (SSL_use_certificate(ssl_.get(), identity_.certificate.get()) != 1 ||
                                  SSL_use_PrivateKey(ssl_.get(), identity_.key.get()) != 1))
      return fail_with("OpenSSL doesn't take the client certificate");
    if (!config_.host.empty() && (SSL_set_tlsext_host_name(ssl_.get(), config_.host.c_str()) != 1 ||
                                  SSL_set1_host(ssl_.get(), config_.host.c_str()) != 1))
      return fail_with("OpenSSL doesn't take the server's name");
    SSL_set_connect_state(ssl_.get());
  }
  ERR_clear_error();
  if (!talking_) {
    const int done = SSL_do_handshake(ssl_.get());
    if (done != 1) {
      const int why = SSL_get_error(ssl_.get(), done);
      wants_write_ = why == SSL_ERROR_WANT_WRITE;
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return State::busy;
      return fail_with(SSL_get_verify_result(ssl_.get()) != X509_V_OK &&
                               SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE
                           ? "the server's certificate isn't trusted"
                           : "the TLS handshake failed");
    }
    talking_ = true;
    wants_write_ = false;
    return take(session_->start(), most);
  }
  if (const State now = flush(most); now == State::ended) return now;
  std::array<std::byte, reading> buffer;
  for (std::size_t read = 0; read < most && !ended_;) {
    std::size_t n = 0;
    const int done = SSL_read_ex(ssl_.get(), buffer.data(), std::min(buffer.size(), most - read), &n);
    if (done != 1) {
      const int why = SSL_get_error(ssl_.get(), done);
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) break;
      (void)session_->end_of_stream();
      if (!session_->outcome() || session_->error()) return fail_with("the server closed the connection");
      return State::ended;
    }
    read += n;
    if (const State now = take(session_->feed(Bytes(buffer).first(n)), most); now != State::busy) return now;
  }
  return after();
}

Connection::State Connection::take(endpoint::Session::Step step, std::size_t most) {
  out_.insert(out_.end(), step.send.begin(), step.send.end());
  ended_ = ended_ || step.ended;
  if (ended_ && session_->error()) {
    error_ = session_->error();
    (void)flush(out_.size());
    return State::ended;
  }
  if (const State now = flush(most); now == State::ended) return now;
  return after();
}

Connection::State Connection::flush(std::size_t most) {
  wants_write_ = false;
  for (std::size_t written = 0; sent_ < out_.size() && written < most;) {
    std::size_t n = 0;
    const int done = SSL_write_ex(ssl_.get(), out_.data() + sent_, std::min(out_.size() - sent_, most - written), &n);
    if (done != 1) {
      const int why = SSL_get_error(ssl_.get(), done);
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return State::busy;
      return fail_with("the server closed the connection");
    }
    sent_ += n;
    written += n;
  }
  if (sent_ == out_.size()) {
    out_ = ByteVector();
    sent_ = 0;
  }
  return State::busy;
}

Connection::State Connection::after() {
  if (sent_ < out_.size()) return State::busy;
  if (ended_) {
    (void)SSL_shutdown(ssl_.get());
    return State::ended;
  }
  return config_.keep && session_->decided() && session_->outcome() ? State::resting : State::busy;
}

Connection::State Connection::idle() {
  const State now = proceed(reading);
  return now == State::busy ? State::resting : now;
}

void Connection::vanish() {
  const linger none{1, 0};
  (void)::setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
  ssl_.reset();
  fd_ = Descriptor();
}

std::uint64_t Connection::bytes_sent() const { return ssl_ ? BIO_number_written(SSL_get_wbio(ssl_.get())) : 0; }

}  // namespace gatehouse::fleet
