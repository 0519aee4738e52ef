#include "server/tls/connection.h"

#include <openssl/ssl.h>

#include <boost/asio.hpp>
#include <deque>
#include <optional>

#include "base/hash.h"
#include "base/log.h"
#include "server/results/record.h"
#include "server/tls/impl.h"
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
constexpr std::size_t max_session_pending = std::size_t(4) << 20;

log::Level native(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return log::Level::debug;
    case LogLevel::info: return log::Level::info;
    case LogLevel::warning: return log::Level::warning;
    case LogLevel::error: return log::Level::error;
  }
  return log::Level::error;
}

class PtTlsConnection final : public Connection, public Host, public std::enable_shared_from_this<PtTlsConnection> {
 public:
  PtTlsConnection(std::shared_ptr<Server::Impl> server, Admission::Id id, tcp::socket socket, std::string address, std::string host)
      : server_(std::move(server)), id_(id), tls_(server_->current(server_->tls)), settings_(*server_->current(server_->settings)),
        users_(server_->current(server_->users)), view_(server_->current(server_->view)), work_(server_->io.get_executor()),
        strand_(socket.get_executor()), stream_(std::move(socket), tls_->native()), timer_(strand_), room_timer_(strand_),
        address_(std::move(address)), host_(std::move(host)) {}
  ~PtTlsConnection() override {
    const std::lock_guard lock(server_->mutex);
    end_assessment();
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
  // On any thread.
  Doing doing_now() const override { return clock_.doing(); }
  void cut() override {
    asio::post(strand_, [self = shared_from_this()] { self->abort("the server stops"); });
  }

  // Host
  void send(ByteVector plaintext) override {
    if (gone_) return;
    queued_ += plaintext.size();
    if (queued_ > max_queued_bytes) return abort("the endpoint reads too slowly");
    out_.push_back(std::move(plaintext));
    if (!writing_) write();
  }
  void close() override {
    closing_ = true;
    clock_.enter(Doing::closing);
    arm(closing_deadline, [](PtTlsConnection& c) { c.abort({}); });
    if (!writing_) shut_down();
  }
  void log(LogLevel level, std::string text) override { log::write(native(level), session_ ? session_->id() : std::string(), text); }
  void set_deadline(std::chrono::milliseconds from_now) override {
    if (closing_) return;
    arm(from_now, [](PtTlsConnection& c) {
      c.clock_.enter(Doing::protocol);
      if (c.session_) c.session_->on_deadline();
      c.after();
    });
  }
  void check_password(std::string user, Secret password) override {
    auto shared = std::make_shared<Secret>(std::move(password));
    ++server_->waiting_checks;
    asio::post(server_->workers, [self = shared_from_this(), user = std::move(user), shared] {
      --self->server_->waiting_checks;
      const bool good = self->users_ && self->users_->check_blocking(user, *shared);
      asio::post(self->strand_, [self, good] {
        if (self->gone_ || !self->session_) return;
        self->clock_.enter(Doing::protocol);
        self->session_->on_password(good);
        self->after();
      });
    });
  }
  ScramRecord scram_record(const std::string& user) override {
    static const UserFile nobody;
    return users_ ? users_->scram_record(user) : nobody.scram_record(user);
  }
  void password_attempt(bool good) override {
    (good ? server_->counted.passwords_accepted : server_->counted.passwords_refused).add();
    const std::lock_guard lock(server_->mutex);
    if (good) server_->backoff.succeeded(host_);
    else server_->backoff.failed(host_, Backoff::Clock::now());
  }
  std::unique_ptr<pipeline::Evidence> open_evidence(pipeline::Context context) override {
    const std::string id = context.session;
    return server_->pipeline->open(std::move(context), [weak = weak_from_this(), strand = strand_, id](Result<pipeline::Outcome> outcome) {
      // Completions come on the evidence plane's threads.
      auto shared = std::make_shared<Result<pipeline::Outcome>>(std::move(outcome));
      asio::post(strand, [weak, shared, id] {
        const auto self = weak.lock();
        if (!self || !self->session_) return;
        if (!self->gone_) self->clock_.enter(Doing::protocol);
        if (*shared) self->note((*shared)->effort);
        else if (shared->error().reason != pipeline::cancelled) self->server_->counted.evidence_faults[std::size_t(shared->error().fault)].add();
        self->session_->on_outcome(id, std::move(*shared));
        self->after();
      });
    });
  }
  void begin_session(SessionIntent intent) override {
    const std::string id = intent.session;
    ++writes_;
    if (!begin_assessment(intent))
      return completion([id](Session& s, Result<void> r) { s.on_session_begun(id, std::move(r)); })(
          fail(Fault::limit, "too many assessments of this device at once"));
    server_->state->begin_session(std::move(intent), completion([id](Session& s, Result<void> r) { s.on_session_begun(id, std::move(r)); }));
  }
  void commit_result(SessionResult result) override {
    if (recording_) recording_->result(result);
    const std::string id = result.intent.session;
    result.timing = clock_.timing();
    ++writes_;
    const auto began = std::chrono::steady_clock::now();
    {
      const std::lock_guard lock(server_->mutex);
      end_assessment();
    }
    std::string line;
    if (server_->results)
      line = record_line({SessionState::complete, result.intent, result.finished, result.verdict, result.timing, result.enforced},
                         result.evidence != nullptr);
    auto body = [id, began, counted = &server_->counted](Session& s, Result<void> r) {
      counted->commit.observe(std::chrono::steady_clock::now() - began);
      s.on_result_committed(id, std::move(r));
    };
    Completion done = completion(std::move(body));
    // What is on record goes out, also where the endpoint is gone.
    server_->state->commit_result(std::move(result), [server = server_, line = std::move(line), done = std::move(done)](Result<void> r) mutable {
      if (r && server->results) server->results->write(std::move(line));
      done(std::move(r));
    });
  }
  void stage_software(SoftwareChunk chunk) override {
    std::string id = chunk.session;
    ++writes_;
    server_->state->stage_software(std::move(chunk), completion([id](Session& s, Result<void> r) { s.on_staged(id, std::move(r)); }));
  }
  bool has_room(std::size_t pending) override {
    if (pending <= max_session_pending && server_->pipeline->has_room(settings_.max_batch)) return true;
    held_back_ = true;
    room_timer_.expires_after(10ms);
    room_timer_.async_wait(asio::bind_executor(strand_, [self = shared_from_this()](error_code ec) {
      self->held_back_ = false;
      if (ec || self->gone_ || !self->session_) return;
      self->clock_.enter(Doing::protocol);
      self->session_->on_room();
      self->after();
    }));
    return false;
  }
  std::shared_ptr<const refdb::View> references() override { return view_; }
  void renew() override {
    if (!session_) return;  // it begins with what is current
    clock_.begin();
    settings_ = *server_->current(server_->settings);
    view_ = server_->current(server_->view);
  }
  std::int64_t now_ms() override { return server::now_ms(); }
  ByteVector random(std::size_t bytes) override { return random_bytes(bytes); }
  void told(pipeline::Recommendation recommendation, pipeline::Evaluation evaluation) override {
    server_->counted.told[std::size_t(recommendation)][std::size_t(evaluation)].add();
    server_->counted.observe(clock_.timing());
  }
  void monitored(pipeline::Recommendation judged) override { server_->counted.monitored[std::size_t(judged)].add(); }
  void judged(std::shared_ptr<const evidence::Kept> kept, std::shared_ptr<const pipeline::Verdict> verdict,
              std::shared_ptr<const pipeline::Verdict> attested) override {
    server_->judge_by_shadow(std::move(kept), std::move(verdict), std::move(attested), settings_, view_);
  }
  void ended_early() override { server_->counted.ended_early.add(); }
  void error(Direction direction, std::optional<pttls::ErrorCode> code) override {
    server_->counted.pt_tls_errors[std::size_t(direction)].add(code ? std::optional(std::uint32_t(*code)) : std::nullopt);
  }
  void error(Direction direction, std::optional<pbtnc::ErrorCode> code) override {
    server_->counted.pb_tnc_errors[std::size_t(direction)].add(code ? std::optional(std::uint32_t(*code)) : std::nullopt);
  }
  void trace_message(Direction direction, Bytes whole) override {
    if (recording_) recording_->message(direction, whole);
  }
  void trace_fact(std::string_view fact, Bytes value) override {
    if (recording_) recording_->fact(fact, value);
  }

 private:
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
  template <class Body>
  Completion completion(Body body) {
    // The connection lives until its record is on disk.
    return [self = shared_from_this(), body](Result<void> result) {
      auto shared = std::make_shared<Result<void>>(std::move(result));
      asio::post(self->strand_, [self, body, shared] {
        --self->writes_;
        if (!self->gone_) self->clock_.enter(Doing::protocol);
        if (!*shared) self->server_->counted.state_faults[std::size_t(shared->error().fault)].add();
        if (!*shared && self->gone_) log::write(log::Level::error, {}, "a session's result isn't recorded: " + shared->error().text());
        if (self->session_) body(*self->session_, std::move(*shared));
        self->after();
      });
    };
  }
  void handshake_over() {
    {
      const std::lock_guard lock(server_->mutex);
      server_->admission.established(id_);
      if (server_->admission.waiting() == 0) return;
    }
    server_->begin_next();
  }
  // Counted by the identity that it proved, or else by its address: a name that somebody claims takes nobody's place.
  bool begin_assessment(const SessionIntent& intent) {
    std::string whose = (intent.identity.empty() ? host_ : intent.identity) + '\0' + intent.device;
    const std::lock_guard lock(server_->mutex);
    end_assessment();
    std::size_t& count = server_->assessments[whose];
    if (count >= server_->config.max_assessments_per_device) return false;
    ++count;
    assessed_ = std::move(whose);
    return true;
  }
  // With the server's mutex held.
  void end_assessment() {
    if (assessed_.empty()) return;
    const auto of = server_->assessments.find(assessed_);
    if (--of->second == 0) server_->assessments.erase(of);
    assessed_.clear();
  }
  void established() {
    server_->counted.handshakes_done.add();
    server_->counted.handshake.observe(clock_.enter(Doing::protocol));
    SSL* const ssl = stream_.native();
    const std::string subject = peer_subject(ssl);
    Peer peer{address_, subject, subject.empty() ? "" : "certificate", tls_exporter(ssl)};
    session_ = std::make_unique<Session>(*this, settings_, *server_->state, std::move(peer));
    log(LogLevel::info, "connection from " + address_ + ", " + SSL_get_version(ssl) + " with " + SSL_get_cipher_name(ssl));
    if (server_->recorder) begin_trace(ssl, subject);
    const bool password = settings_.auth == Auth::sasl || settings_.auth == Auth::tls_and_sasl ||
                          (settings_.auth == Auth::tls_or_sasl && subject.empty());
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
  void begin_trace(SSL* ssl, const std::string& subject) {
    recording_ = server_->recorder->begin(session_->id());
    recording_->transport("peer", address_);
    recording_->transport("server_tls", SSL_get_version(ssl));
    recording_->transport("server_cipher", SSL_get_cipher_name(ssl));
    recording_->transport("identity", subject);
    recording_->transport("identity_type", subject.empty() ? "" : "certificate");
    recording_->settings(settings_);
  }
  void read() {
    if (reading_ || gone_ || closing_) return;
    reading_ = true;
    in_.resize(16'384);
    stream_.read(in_, [self = shared_from_this()](const TlsResult& r) {
      self->reading_ = false;
      if (self->gone_) return;
      if (!r.failure.empty()) {
        // An end without close_notify is a truncation; either way nothing more comes.
        if (!self->session_->ended()) self->log(LogLevel::debug, "connection ended: " + r.failure);
        self->session_->on_peer_gone();
        return self->close();
      }
      self->clock_.enter(Doing::protocol);
      self->session_->feed(Bytes(self->in_.data(), r.size));
      self->after();
    });
  }
  // What the session does or waits for, once it has done what it could.
  Doing doing() const {
    if (session_->ended()) return Doing::closing;
    if (session_->negotiating()) return session_->checking_password() ? Doing::password : Doing::negotiation;
    if (session_->wants_data()) return session_->decided() ? Doing::kept : Doing::peer;
    return writes_ != 0 ? Doing::state : held_back_ ? Doing::room : Doing::evidence;
  }
  void note(const pipeline::Effort& effort) {
    clock_.add(Stage::parse, effort.parse);
    clock_.add(Stage::lookup, effort.lookup);
    clock_.add(Stage::extend, effort.extend);
    clock_.add(Stage::quote, effort.quote);
    clock_.add(Stage::conclude, effort.conclude);
  }
  // After anything that may have changed what the session wants.
  void after() {
    if (gone_) return;
    if (session_) clock_.enter(doing());
    if (session_ && session_->wants_data()) read();
    else if (session_ && !session_->ended() && !reading_) in_ = {};
  }
  void write() {
    if (out_.empty()) {
      if (closing_) shut_down();
      return;
    }
    writing_ = true;
    // One TLS write for what is queued: an answer of several messages is one record.
    current_.clear();
    for (const ByteVector& bytes : out_) current_.insert(current_.end(), bytes.begin(), bytes.end());
    out_.clear();
    stream_.write(current_, [self = shared_from_this()](const TlsResult& r) {
      self->writing_ = false;
      self->queued_ -= self->current_.size();
      self->current_ = {};
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
    in_.resize(16'384);
    stream_.socket().async_read_some(asio::buffer(in_), asio::bind_executor(strand_, [self = shared_from_this()](error_code ec, std::size_t) {
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

  const std::shared_ptr<Server::Impl> server_;
  const Admission::Id id_;
  const std::shared_ptr<const TlsContext> tls_;
  Settings settings_;
  const std::shared_ptr<const UserFile> users_;
  std::shared_ptr<const refdb::View> view_;
  // While there is a connection there is work, also where only the store owes it an answer.
  const asio::executor_work_guard<asio::io_context::executor_type> work_;
  asio::strand<asio::any_io_executor> strand_;
  TlsStream stream_;
  asio::steady_timer timer_, room_timer_;
  const std::string address_, host_;
  std::string assessed_;  // guarded by the server's mutex; empty: nobody is
  std::unique_ptr<Session> session_;
  std::unique_ptr<trace::Recording> recording_;
  ByteVector in_, current_;
  std::deque<ByteVector> out_;
  std::size_t queued_ = 0;
  std::uint64_t deadline_ = 0;  // the how manieth
  metrics::SessionClock clock_;
  unsigned writes_ = 0;     // of state, that aren't on disk yet
  bool held_back_ = false;  // the evidence plane has no room
  bool reading_ = false, writing_ = false, closing_ = false, shutting_ = false, gone_ = false;
};

}  // namespace

std::shared_ptr<Connection> make_connection(std::shared_ptr<Server::Impl> server, Admission::Id id, tcp::socket socket,
                                            std::string address, std::string host) {
  return std::make_shared<PtTlsConnection>(std::move(server), id, std::move(socket), std::move(address), std::move(host));
}

}  // namespace gatehouse::server
