#include "server/tls/connection.h"

#include <openssl/ssl.h>

#include <boost/asio.hpp>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/release.h"
#include "server/tls/impl.h"
#include "server/tls/session_host.h"
#include "server/tls/tls_stream.h"

namespace gatehouse::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;
using metrics::Doing;

constexpr auto handshake_deadline = 15s;
constexpr auto closing_deadline = 2s;
constexpr std::size_t max_queued_bytes = std::size_t(8) << 20;

class PtTlsConnection final : public Connection, public SessionHost, private Sink {
 public:
  PtTlsConnection(std::shared_ptr<Server::Impl> server, Admission::Id id, tcp::socket socket, std::string address, std::string host)
      : SessionHost(std::move(server), strand_of(socket), std::move(address), std::move(host)), id_(id),
        tls_(server_->current(server_->tls)), stream_(std::move(socket), tls_->native()), timer_(strand_) {}
  ~PtTlsConnection() override {
    const std::lock_guard lock(server_->mutex);
    server_->admission.gone(id_);
    server_->open.erase(id_);
    asio::post(server_->own, [server = server_] {
      server->begin_next();
      server->maybe_done();
    });
  }

  // On its strand: where the peer has waited, its part of the handshake is there.
  void begin() override {
    asio::post(strand_, [self = shared_from_this()] {
      if (!self->gone_) self->start();
    });
  }
  void start() {
    arm(std::min<std::chrono::steady_clock::duration>(handshake_deadline, server_->config.idle_deadline), [](PtTlsConnection& c) {
      c.server_->counted.handshakes_late.add();
      c.abort("TLS handshake took too long");
    });
    stream_.handshake([self = shared_from_this()](const TlsResult& r) {
      if (self->gone_) return;
      self->handshake_over();
      if (!r.failure.empty()) {
        self->server_->counted.handshakes_failed.add();
        self->clock_.enter(Doing::closing);
        const std::string refused = refused_certificate(self->stream_.native());
        log::write(log::Level::warning, {}, "TLS handshake with " + self->address_ + " failed: " + r.failure + (refused.empty() ? "" : ": " + refused));
        // The alert was sent: it has to arrive.
        self->arm(closing_deadline, [](PtTlsConnection& c) { c.abort({}); });
        return self->linger();
      }
      self->established();
    });
  }
  // Others wait for its place, and it has had its time.
  void give_way() override {
    asio::post(strand_, [self = shared_from_this()] {
      if (self->gone_ || self->session_) return;
      self->server_->counted.handshakes_late.add();
      self->abort("TLS handshake gives way to others that wait");
    });
  }
  // The server stops: what is between assessments ends now, an assessment when its verdict is told.
  void drain() override {
    asio::post(strand_, [self = shared_from_this()] {
      if (self->gone_) return;
      if (!self->session_) return self->abort({});
      self->clock_.enter(Doing::protocol);
      self->session_->on_stop();
      self->after();
    });
  }
  // Whether the session here was asked for another assessment, told on the strand.
  void reassess(std::string device, std::function<void(bool)> done) override {
    asio::post(strand_, [self = shared_from_this(), device = std::move(device), done = std::move(done)] {
      const bool asked = !self->gone_ && self->session_ && self->session_->device() == device && self->session_->reassess();
      done(asked);
      if (asked) self->after();
    });
  }
  void reassess_any(std::shared_ptr<const std::set<std::string>> devices) override {
    asio::post(strand_, [self = shared_from_this(), devices = std::move(devices)] {
      if (!self->gone_ && self->session_ && devices->contains(self->session_->device()) && self->session_->reassess()) self->after();
    });
  }
  // On any thread.
  Doing doing_now() const override { return clock_.doing(); }
  void cut() override {
    asio::post(strand_, [self = shared_from_this()] { self->abort("the server stops"); });
  }

  // Host
  void send(ByteVector plaintext) override {
    if (gone_) return;
    if (out_.size() + current_.size() + plaintext.size() > max_queued_bytes) return abort("the endpoint reads too slowly");
    if (out_.empty()) out_ = std::move(plaintext);
    else out_.insert(out_.end(), plaintext.begin(), plaintext.end());
    if (!writing_) write();
  }
  void close() override {
    closing_ = true;
    clock_.enter(Doing::closing);
    arm(closing_deadline, [](PtTlsConnection& c) { c.abort({}); });
    if (!writing_) shut_down();
  }
  void set_deadline(std::chrono::milliseconds from_now) override {
    if (closing_) return;
    arm(from_now, [](PtTlsConnection& c) {
      c.clock_.enter(Doing::protocol);
      if (c.session_) c.session_->on_deadline();
      c.after();
    });
  }

 private:
  // Its socket was accepted on one.
  static Strand strand_of(tcp::socket& socket) {
    const auto executor = socket.get_executor();
    const auto* const strand = executor.target<Strand>();
    GH_ASSERT(strand != nullptr);
    return *strand;
  }
  std::shared_ptr<PtTlsConnection> shared_from_this() {
    return std::static_pointer_cast<PtTlsConnection>(SessionHost::shared_from_this());
  }
  // The pending deadline is what keeps a connection alive while nothing is read or written: while the store or the
  // evidence plane is at work.
  template <class Body>
  void arm(std::chrono::steady_clock::duration from_now, Body body) {
    timer_.expires_after(from_now);
    // A deadline that has passed may wait for its turn when another one takes its place.
    timer_.async_wait(asio::bind_executor(strand_, [self = shared_from_this(), body, deadline = ++deadline_](error_code ec) {
      if (ec || self->gone_ || deadline != self->deadline_) return;
      body(*self);
    }));
  }
  void handshake_over() {
    {
      const std::lock_guard lock(server_->mutex);
      server_->admission.established(id_);
      if (server_->admission.waiting() == 0) return;
    }
    server_->begin_next();
  }
  void established() {
    server_->counted.handshakes_done.add();
    server_->counted.handshake.observe(clock_.enter(Doing::protocol));
    const ByteVector issuer = server_->config.client_ocsp.empty() ? ByteVector() : peer_issuer(stream_.native());
    if (issuer.empty()) return begin_session_for(Result<void>());
    const auto own = Certificate::from_der(peer_certificate(stream_.native()));
    const auto above = Certificate::from_der(issuer);
    if (!own || !above) return begin_session_for(fail(own ? above.error() : own.error()));
    // Its responder is asked before the endpoint is listened to. The answer comes within its own bounds.
    arm(server_->config.ocsp_limit + handshake_deadline, [](PtTlsConnection& c) { c.abort("the status of the client's certificate took too long"); });
    const std::weak_ptr<PtTlsConnection> weak = shared_from_this();
    server_->ask_status(server_->config.client_ocsp, {*own, *above, {}}, [weak, strand = strand_](Result<void> status) {
      auto shared = std::make_shared<Result<void>>(std::move(status));
      asio::post(strand, [weak, shared] {
        const auto self = weak.lock();
        if (self && !self->gone_) self->begin_session_for(std::move(*shared));
      });
    });
  }
  // `status`: of the client's certificate.
  void begin_session_for(Result<void> status) {
    SSL* const ssl = stream_.native();
    const std::string subject = peer_subject(ssl);
    const bool password = settings_.auth == Auth::sasl || settings_.auth == Auth::tls_and_sasl ||
                          (settings_.auth == Auth::tls_or_sasl && subject.empty());
    // A password alone is bound to the connection.
    Peer peer{address_, subject, subject.empty() ? "" : "certificate", peer_certificate_names(ssl), password ? channel_binding(ssl) : ChannelBinding()};
    session_ = std::make_unique<Session>(*this, settings_, *server_->state, std::move(peer));
    log(LogLevel::info, "connection from " + address_ + ", " + SSL_get_version(ssl) + " with " + SSL_get_cipher_name(ssl));
    begin_trace(SSL_get_version(ssl), SSL_get_cipher_name(ssl), subject, subject.empty() ? "" : "certificate");
    if (!status) {
      log(LogLevel::warning, "the client's certificate is refused: " + status.error().text());
      return session_->refuse("the client's certificate doesn't count");
    }
    if (!password) return after();
    const auto wait = next_attempt();
    if (!wait) {
      return session_->refuse("too many wrong passwords came from this address");
    }
    if (wait->count() == 0) return after();
    clock_.enter(Doing::negotiation);
    log(LogLevel::warning, "waits " + std::to_string(wait->count()) + " ms: wrong passwords came from this address");
    room_timer_.expires_after(*wait);
    room_timer_.async_wait(asio::bind_executor(strand_, [self = shared_from_this()](error_code ec) {
      if (!ec && !self->gone_) self->read();
    }));
  }
  std::optional<std::chrono::milliseconds> next_attempt() {
    const std::lock_guard lock(server_->mutex);
    return server_->backoff.reserve(host_, Backoff::Clock::now());
  }
  void read() {
    if (reading_ || gone_ || closing_) return;
    reading_ = true;
    stream_.read(*this, [self = shared_from_this()](const TlsResult& r) {
      self->reading_ = false;
      if (self->gone_) return;
      if (!r.failure.empty()) {
        // An end without close_notify is a truncation; either way nothing more comes.
        if (!self->session_->ended()) self->log(LogLevel::debug, "connection ended: " + r.failure);
        self->session_->on_peer_gone();
        return self->close();
      }
      self->clock_.enter(Doing::protocol);
      self->session_->feed({});
      self->after();
    });
  }
  // Sink
  std::span<std::byte> room() override { return session_->room(); }
  bool came(std::size_t bytes) override { return session_->came(bytes); }
  void wait() override { session_->wait(); }

  // After anything that may have changed what the session wants.
  void after() override {
    if (gone_) return;
    if (session_) clock_.enter(doing());
    if (session_ && session_->wants_data()) read();
  }
  void write() {
    if (out_.empty()) {
      if (closing_) shut_down();
      return;
    }
    writing_ = true;
    // One TLS write for what is queued: an answer of several messages is one record.
    current_ = std::exchange(out_, ByteVector());
    stream_.write(current_, [self = shared_from_this()](const TlsResult& r) {
      self->writing_ = false;
      release(self->current_);
      if (self->gone_) return;
      if (!r.failure.empty()) {
        if (self->session_) self->session_->on_peer_gone();
        return self->abort({});
      }
      self->write();
    });
  }
  void shut_down() {
    if (shutting_ || gone_) return;
    shutting_ = true;
    stream_.shut_down([self = shared_from_this()](const TlsResult& r) {
      if (!r.failure.empty()) self->linger();
      else self->abort({});
    });
  }
  // Reads away what the peer still sends, until it closes or the deadline comes: a socket that is closed over unread
  // bytes resets the connection, and takes what we said last with it.
  void linger() {
    if (gone_) return;
    error_code ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    unread_.resize(4096);
    stream_.socket().async_read_some(asio::buffer(unread_), asio::bind_executor(strand_, [self = shared_from_this()](error_code ec, std::size_t) {
      if (ec) self->abort({});
      else self->linger();
    }));
  }
  void abort(std::string why) {
    if (gone_) return;
    if (!why.empty()) log::write(log::Level::warning, session_ ? session_->id() : std::string(), address_ + ": " + why);
    gone_ = true;
    clock_.enter(Doing::closing);
    timer_.cancel();
    room_timer_.cancel();
    stream_.close();
    if (session_ && !session_->ended()) session_->on_peer_gone();
  }

  const Admission::Id id_;
  const std::shared_ptr<const TlsContext> tls_;
  TlsStream stream_;
  asio::steady_timer timer_;
  ByteVector current_, out_;  // is being written, and what waits behind it
  ByteVector unread_;         // while it lingers
  std::uint64_t deadline_ = 0;  // the how manieth
  bool reading_ = false, writing_ = false, closing_ = false, shutting_ = false;
};

}  // namespace

std::shared_ptr<Connection> make_connection(std::shared_ptr<Server::Impl> server, Admission::Id id, tcp::socket socket,
                                            std::string address, std::string host) {
  return std::make_shared<PtTlsConnection>(std::move(server), id, std::move(socket), std::move(address), std::move(host));
}

}  // namespace gatehouse::server
