#include "server/tls/server.h"

#include <openssl/ssl.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <boost/asio.hpp>
#include <netinet/tcp.h>
#include <csignal>
#include <malloc.h>
#include <deque>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "server/config/listen_address.h"
#include "server/control/control.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metrics.h"
#include "server/session/session.h"
#include "server/state/state.h"
#include "server/state/users.h"
#include "server/tls/admission.h"
#include "server/tls/backoff.h"
#include "server/tls/tls_context.h"
#include "server/tls/tls_stream.h"
#include "server/trace/recorder.h"

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
// How often it is looked whether the machine keeps up: with connections, and without.
constexpr auto probe_interval = 25ms, idle_probe_interval = 500ms;
// Password checks that wait, each some milliseconds of a thread of their own: with more of them the machine is behind.
constexpr std::size_t max_waiting_checks = 64;
// Of connections that are refused, the log tells how many there were in so long.
constexpr auto refusals_interval = 10s;

log::Level native(LogLevel level) {
  switch (level) {
    case LogLevel::debug: return log::Level::debug;
    case LogLevel::info: return log::Level::info;
    case LogLevel::warning: return log::Level::warning;
    case LogLevel::error: return log::Level::error;
  }
  return log::Level::error;
}

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The addresses whose connections count together: an IPv6 host has a whole /64 to itself.
std::string crowd_of(const asio::ip::address& address) {
  if (!address.is_v6() || address.to_v6().is_v4_mapped()) return address.to_string();
  asio::ip::address_v6::bytes_type bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t(0));
  return asio::ip::make_address_v6(bytes).to_string() + "/64";
}

// Taken from the listener, its handshake not begun.
struct Arrived {
  tcp::socket socket;
  tcp::endpoint remote;
};

class Connection;
struct Open {
  const Connection* connection;
  std::weak_ptr<Connection> weak;
};

}  // namespace

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(Config c, ReferenceSource r)
      : config(std::move(c)), source(std::move(r)), own(asio::make_strand(io)), signals(own), refresh(own), grace(own), probe(own), workers(1),
        admission({.connections = config.max_connections, .connections_per_address = config.max_connections_per_address,
                   .handshakes = config.max_handshakes, .waiting = config.max_waiting, .waiting_per_address = config.max_waiting_per_address}),
        pace(config.max_delay) {}

  Config config;
  ReferenceSource source;
  asio::io_context io;
  asio::strand<asio::io_context::executor_type> own;  // signals, reload, stop: the server's own doings
  std::unique_ptr<State> state;
  std::unique_ptr<pipeline::Pipeline> pipeline;
  std::unique_ptr<trace::Recorder> recorder;  // null: no traces
  asio::signal_set signals;
  asio::steady_timer refresh, grace, probe;
  std::vector<tcp::acceptor> acceptors;  // each of its executor, a strand
  std::vector<std::uint16_t> ports;
  std::vector<std::unique_ptr<asio::steady_timer>> pauses;
  asio::thread_pool workers;  // password checks: milliseconds each, apart from the sessions' threads
  std::unique_ptr<ControlServer> control;
  std::atomic<bool> stopping{false};
  metrics::Metrics counted;
  const std::int64_t started = now_ms();  // milliseconds since 1970
  std::unique_ptr<metrics::HttpServer> metrics_port;  // null: none is configured

  // What SIGHUP replaces; sessions keep what they began with.
  mutable std::mutex mutex;
  std::shared_ptr<const TlsContext> tls;             // guarded by mutex
  std::shared_ptr<const Settings> settings;          // guarded by mutex
  std::shared_ptr<const UserFile> users;             // guarded by mutex
  std::shared_ptr<const refdb::View> view;           // guarded by mutex
  Backoff backoff;                                   // guarded by mutex
  std::unordered_map<std::string, std::size_t> assessments;  // guarded by mutex: in progress, by who is assessed
  Admission admission;                               // guarded by mutex
  std::unordered_map<Admission::Id, Arrived> arrived;                // guarded by mutex: those that wait
  std::unordered_map<Admission::Id, Open> open;  // guarded by mutex: those that have begun
  Pace pace;                                         // on `own`
  unsigned probes_until_trim = 0;                    // on `own`; 0: there is nothing to give back
  std::atomic<bool> behind{false};                   // the machine, with those it has
  std::atomic<std::int64_t> delay_ns{0};             // how long what was ready waited for a thread, last
  std::atomic<std::size_t> waiting_checks{0};
  std::size_t refused = 0;                           // guarded by mutex: connections that no line of the log tells of yet
  std::chrono::steady_clock::time_point told_refused{};  // guarded by mutex

  template <class T>
  T current(const T& member) const {
    const std::lock_guard lock(mutex);
    return member;
  }
  Result<void> load();
  Result<void> reload_references();
  Result<void> listen();
  void accept(std::size_t which);
  void arrive(tcp::socket socket);
  // Begins with those that wait, as far as may be.
  void begin_next();
  void refuse(const tcp::endpoint& remote, Admission::Refusal why);
  void await_probe(std::chrono::steady_clock::duration interval);
  void give_back(bool at_work);
  void await_signal();
  void await_refresh();
  void begin_stop();
  std::size_t reassess(std::string_view device);
  // On the thread of the metrics port or of the control socket.
  std::vector<metrics::Family> read_metrics() const;
  void maybe_done();
};

namespace {

class Connection : public Host, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<Server::Impl> server, Admission::Id id, tcp::socket socket, std::string address, std::string host)
      : server_(std::move(server)), id_(id), tls_(server_->current(server_->tls)), settings_(*server_->current(server_->settings)),
        users_(server_->current(server_->users)), view_(server_->current(server_->view)), work_(server_->io.get_executor()),
        strand_(socket.get_executor()), stream_(std::move(socket), tls_->native()), timer_(strand_), room_timer_(strand_),
        address_(std::move(address)), host_(std::move(host)) {}
  ~Connection() override {
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
  void begin() {
    asio::post(strand_, [self = shared_from_this()] {
      if (!self->gone_) self->start();
    });
  }
  void start() {
    arm(std::min<std::chrono::steady_clock::duration>(handshake_deadline, server_->config.idle_deadline), [](Connection& c) {
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
        self->arm(closing_deadline, [](Connection& c) { c.abort({}); });
        return self->linger();
      }
      self->established();
    });
  }
  // Others wait for its place, and it has had its time.
  void give_way() {
    asio::post(strand_, [self = shared_from_this()] {
      if (self->gone_ || self->session_) return;
      self->server_->counted.handshakes_late.add();
      self->abort("TLS handshake gives way to others that wait");
    });
  }
  // The server stops: what is between assessments ends now, an assessment when its verdict is told.
  void drain() {
    asio::post(strand_, [self = shared_from_this()] {
      if (self->gone_) return;
      if (!self->session_) return self->abort({});
      self->clock_.enter(Doing::protocol);
      self->session_->on_stop();
      self->after();
    });
  }
  // Whether the session here was asked for another assessment, told on the strand.
  void reassess(std::string device, std::function<void(bool)> done) {
    asio::post(strand_, [self = shared_from_this(), device = std::move(device), done = std::move(done)] {
      const bool asked = !self->gone_ && self->session_ && self->session_->device() == device && self->session_->reassess();
      done(asked);
      if (asked) self->after();
    });
  }
  // On any thread.
  Doing doing_now() const { return clock_.doing(); }
  void cut() {
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
    arm(closing_deadline, [](Connection& c) { c.abort({}); });
    if (!writing_) shut_down();
  }
  void log(LogLevel level, std::string text) override { log::write(native(level), session_ ? session_->id() : std::string(), text); }
  void set_deadline(std::chrono::milliseconds from_now) override {
    if (closing_) return;
    arm(from_now, [](Connection& c) {
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
    server_->state->commit_result(std::move(result), completion([id, began, counted = &server_->counted](Session& s, Result<void> r) {
      counted->commit.observe(std::chrono::steady_clock::now() - began);
      s.on_result_committed(id, std::move(r));
    }));
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

// All mistakes of a policy file, for the operator to mend in one go.
Error policy_error(const policy::Mistakes& mistakes, const std::string& file) {
  if (mistakes.unreadable) return *mistakes.unreadable;
  std::string all;
  for (const policy::Mistake& m : mistakes.list) all += "\n" + m.text();
  return Error{Fault::usage, "the policy has mistakes", {}, 0, file, all};
}

Result<tcp::endpoint> endpoint_of(const std::string& text) {
  const auto where = parse_listen_address(text);
  error_code ec;
  const auto address = asio::ip::make_address(where ? where->host : std::string(), ec);
  if (!where || ec) return fail(Error{Fault::usage, "not an ADDRESS:PORT to listen on", {}, 0, text, {}});
  return tcp::endpoint(address, where->port);
}

}  // namespace

// Everything that SIGHUP reads again. Nothing is replaced unless all of it is good.
Result<void> Server::Impl::load() {
  GH_TRY(auto new_tls, TlsContext::make(config));
  auto s = std::make_shared<Settings>();
  s->auth = config.auth;
  s->banks = config.banks;
  s->dh_groups = config.dh_groups;
  s->minimum_nonce = config.min_nonce;
  s->raw_evidence = config.raw_evidence;
  s->raw_vendor = config.raw_vendor;
  s->idle_deadline = config.idle_deadline;
  s->negotiation_deadline = std::min<std::chrono::milliseconds>(s->negotiation_deadline, config.idle_deadline);
  s->total_deadline = config.total_deadline;
  s->test_imv = config.test_imv;
  s->test_rounds = config.test_rounds;
  if (config.test_imv)
    log::write(log::Level::warning, {}, "the Test IMV is on ([imv] test): endpoints' Test collectors say what is recommended; not for production");
  if (!config.policy_file.empty()) {
    auto read = policy::read_policy(config.policy_file);
    if (!read) return fail(policy_error(read.error(), config.policy_file));
    s->policy = std::move(*read);
  }
  for (const std::string& warning : s->policy->warnings) log::write(log::Level::warning, {}, warning);
  if (!config.ak_ca.empty()) {
    GH_TRY(TrustAnchors anchors, TrustAnchors::load(config.ak_ca, config.ak_crl));
    s->ak_authorities = std::make_shared<const TrustAnchors>(std::move(anchors));
  }
  std::shared_ptr<const UserFile> new_users;
  if (!config.users.empty()) {
    GH_TRY(UserFile file, UserFile::load(config.users));
    new_users = std::make_shared<const UserFile>(std::move(file));
  }
  GH_CHECK(reload_references());
  const std::lock_guard lock(mutex);
  tls = std::move(new_tls);
  settings = std::move(s);
  users = std::move(new_users);
  return {};
}

Result<void> Server::Impl::reload_references() {
  GH_TRY(auto opened, source.open(config.refdb));
  log::write(log::Level::info, {}, "reference generation " + std::to_string(opened->generation()));
  const std::lock_guard lock(mutex);
  view = std::move(opened);
  return {};
}

Result<void> Server::Impl::listen() {
  for (const std::string& where : config.listen) {
    GH_TRY(const tcp::endpoint endpoint, endpoint_of(where));
    tcp::acceptor acceptor(asio::make_strand(io));
    error_code ec;
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(4096, ec);
    if (ec) return fail(Error{Fault::environment, "can't listen", {}, 0, where, ec.message()});
    log::write(log::Level::info, {}, "PT-TLS listening on " + where.substr(0, where.rfind(':')) + ":" + std::to_string(acceptor.local_endpoint().port()));
    ports.push_back(acceptor.local_endpoint().port());
    pauses.push_back(std::make_unique<asio::steady_timer>(acceptor.get_executor()));
    acceptors.push_back(std::move(acceptor));
  }
  for (std::size_t i = 0; i < acceptors.size(); ++i) accept(i);
  return {};
}

void Server::Impl::accept(std::size_t which) {
  acceptors[which].async_accept(asio::make_strand(io), [self = shared_from_this(), which](error_code ec, tcp::socket socket) {
    if (self->stopping) return;
    if (ec) {
      // Out of descriptors or memory: those that are served go on, new ones wait.
      self->counted.accept_failures.add();
      log::write(log::Level::error, {}, "accept failed: " + ec.message());
      self->pauses[which]->expires_after(100ms);
      self->pauses[which]->async_wait([self, which](error_code stopped) {
        if (!stopped) self->accept(which);
      });
      return;
    }
    self->accept(which);
    self->arrive(std::move(socket));
  });
}

void Server::Impl::arrive(tcp::socket socket) {
  error_code gone;
  const tcp::endpoint remote = socket.remote_endpoint(gone);
  if (gone) return;
  {
    const std::lock_guard lock(mutex);
    const auto id = admission.arrive(crowd_of(remote.address()), Admission::Clock::now());
    if (!id) return refuse(remote, id.error());
    arrived.emplace(*id, Arrived{std::move(socket), remote});
  }
  begin_next();
}

// With the mutex held.
void Server::Impl::refuse(const tcp::endpoint& remote, Admission::Refusal why) {
  std::string_view reason;
  switch (why) {
    case Admission::Refusal::connections:
      counted.refused_for_all.add();
      reason = "too many connections";
      break;
    case Admission::Refusal::address:
      counted.refused_for_address.add();
      reason = "too many connections from there";
      break;
    case Admission::Refusal::waiting:
      counted.refused_for_load.add();
      reason = "too many wait for their handshake";
      break;
  }
  ++refused;
  const auto now = std::chrono::steady_clock::now();
  if (now - told_refused < refusals_interval) return;
  told_refused = now;
  log::write(log::Level::warning, {}, "connection from " + remote.address().to_string() + " refused: " + std::string(reason) +
                                          (refused > 1 ? "; with it " + std::to_string(refused) + " since this was last said" : ""));
  refused = 0;
}

void Server::Impl::begin_next() {
  for (;;) {
    std::optional<Admission::Turn> turn;
    std::unordered_map<Admission::Id, Arrived>::node_type one;
    std::shared_ptr<Connection> gives_way;
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
      turn = admission.next(Admission::Clock::now(), behind);
      if (!turn) return;
      one = arrived.extract(turn->id);
      if (turn->late) admission.gone(turn->id);
      if (turn->gives_way)
        if (const auto old = open.find(*turn->gives_way); old != open.end()) gives_way = old->second.weak.lock();
    }
    if (turn->late) {
      counted.waited_too_long.add();
      continue;
    }
    if (gives_way) gives_way->give_way();
    tcp::socket& socket = one.mapped().socket;
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    // A peer that is gone is noticed after a minute of silence and three probes (spec part 1a §1.8).
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    const auto keep_alive = [&](int option, int value) {
      (void)::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
    };
    keep_alive(TCP_KEEPIDLE, 60);
    keep_alive(TCP_KEEPINTVL, 20);
    keep_alive(TCP_KEEPCNT, 3);
    const tcp::endpoint& remote = one.mapped().remote;
    const std::string host = remote.address().to_string();
    const auto connection = std::make_shared<Connection>(shared_from_this(), turn->id, std::move(socket),
                                                         host + ":" + std::to_string(remote.port()), host);
    counted.connections.add();
    {
      const std::lock_guard lock(mutex);
      open[turn->id] = {connection.get(), connection};
    }
    connection->begin();
    if (stopping) connection->drain();
  }
}

// A timer whose time has come waits for a thread like anything that is ready.
void Server::Impl::await_probe(std::chrono::steady_clock::duration interval) {
  probe.expires_after(interval);
  probe.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->stopping) return;
    const auto delay = std::chrono::steady_clock::now() - self->probe.expiry();
    self->delay_ns = std::chrono::nanoseconds(delay).count();
    const bool slow = self->pace.note(delay);
    self->behind = slow || self->waiting_checks > max_waiting_checks ||
                   self->pipeline->bytes_in_flight() > self->pipeline->budget_bytes() / 2;
    // Also where nobody went: a handshake may have had its time.
    self->begin_next();
    bool idle = false, at_work = false;
    {
      const std::lock_guard lock(self->mutex);
      idle = self->admission.connections() == 0;
      at_work = !self->assessments.empty();
    }
    self->give_back(at_work);
    self->await_probe(idle ? idle_probe_interval : probe_interval);
  });
}

// What a crowd's evidence took, the C library keeps for the next crowd. Endpoints that stay connected may be silent for
// hours: once nobody has been assessed for a second or so, the system gets it back.
void Server::Impl::give_back(bool at_work) {
  constexpr unsigned probes = 40;
  if (at_work) {
    probes_until_trim = probes;
  } else if (probes_until_trim != 0 && --probes_until_trim == 0) {
    ::malloc_trim(0);
  }
}

void Server::Impl::await_signal() {
  signals.async_wait([self = shared_from_this()](error_code ec, int signal) {
    if (ec) return;
    if (signal == SIGHUP) {
      log::write(log::Level::info, {}, "SIGHUP: reading certificates, users and references again");
      if (const auto loaded = self->load(); !loaded)
        log::write(log::Level::error, {}, "reload failed, what was loaded before stays: " + loaded.error().text());
      return self->await_signal();
    }
    log::write(log::Level::info, {}, "stopping");
    self->begin_stop();
  });
}

// A new generation of references is noticed by a look at its pointer.
void Server::Impl::await_refresh() {
  refresh.expires_after(5s);
  refresh.async_wait([self = shared_from_this()](error_code ec) {
    if (ec) return;
    const auto now = self->source.current(self->config.refdb);
    const auto known = self->current(self->view);
    if (now && known && *now != known->generation())
      if (const auto loaded = self->reload_references(); !loaded) log::write(log::Level::error, {}, "references: " + loaded.error().text());
    self->await_refresh();
  });
}

void Server::Impl::begin_stop() {
  if (stopping.exchange(true)) return;
  error_code ignored;
  for (std::size_t i = 0; i < acceptors.size(); ++i)
    asio::post(acceptors[i].get_executor(), [self = shared_from_this(), i] {
      error_code gone;
      self->acceptors[i].close(gone);
      self->pauses[i]->cancel();
    });
  signals.cancel(ignored);
  refresh.cancel();
  probe.cancel();
  control.reset();
  std::vector<std::shared_ptr<Connection>> live;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [id, _] : std::exchange(arrived, {})) admission.gone(id);
    for (const auto& [_, one] : open)
      if (auto connection = one.weak.lock()) live.push_back(std::move(connection));
  }
  for (const auto& connection : live) connection->drain();
  grace.expires_after(config.grace);
  grace.async_wait([self = shared_from_this()](error_code ec) {
    if (ec) return;
    std::vector<std::shared_ptr<Connection>> left;
    {
      const std::lock_guard lock(self->mutex);
      for (const auto& [_, one] : self->open)
        if (auto connection = one.weak.lock()) left.push_back(std::move(connection));
    }
    log::write(log::Level::warning, {}, "the grace period is over: " + std::to_string(left.size()) + " sessions are cut");
    for (const auto& connection : left) connection->cut();
  });
  maybe_done();
}

// On the control socket's thread, which waits for each connection's answer; a server that stops doesn't give them all.
std::size_t Server::Impl::reassess(std::string_view device) {
  struct Count {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t pending = 0, asked = 0;
  };
  const auto count = std::make_shared<Count>();
  std::vector<std::shared_ptr<Connection>> live;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [_, one] : open)
      if (auto connection = one.weak.lock()) live.push_back(std::move(connection));
  }
  count->pending = live.size();
  for (const auto& connection : live)
    connection->reassess(std::string(device), [count](bool asked) {
      const std::lock_guard lock(count->mutex);
      --count->pending;
      count->asked += asked ? 1 : 0;
      count->changed.notify_all();
    });
  live.clear();
  std::unique_lock lock(count->mutex);
  count->changed.wait_for(lock, 5s, [&] { return count->pending == 0; });
  return count->asked;
}

std::vector<metrics::Family> Server::Impl::read_metrics() const {
  metrics::Readings now;
  now.started = started;
  now.delay = std::chrono::nanoseconds(delay_ns.load());
  now.behind = behind;
  if (state) now.state_writes_waiting = state->writes_waiting();
  if (pipeline) {
    now.evidence = pipeline->totals();
    now.evidence_pending_bytes = pipeline->bytes_in_flight();
    now.evidence_budget_bytes = pipeline->budget_bytes();
  }
  const auto references = current(view);
  now.generation = references->generation();
  now.generation_made = references->made();
  {
    const std::lock_guard lock(mutex);
    now.waiting_for_handshake = admission.waiting();
    // One that is about to end waits for this lock before it is gone.
    for (const auto& [_, one] : open) ++now.connections[std::size_t(one.connection->doing_now())];
  }
  return metrics::families(counted, now);
}

void Server::Impl::maybe_done() {
  if (!stopping) return;
  const std::lock_guard lock(mutex);
  if (open.empty()) grace.cancel();
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() {
  if (!impl_) return;
  impl_->metrics_port.reset();
  impl_->workers.join();
}

Result<void> Server::check(const Config& config) {
  for (const std::string& address : config.listen) GH_CHECK(endpoint_of(address));
  if (!config.metrics_listen.empty()) GH_CHECK(endpoint_of(config.metrics_listen));
  GH_CHECK(TlsContext::make(config));
  if (!config.ak_ca.empty()) GH_CHECK(TrustAnchors::load(config.ak_ca, config.ak_crl));
  if (!config.users.empty()) GH_CHECK(UserFile::load(config.users));
  return {};
}

Result<std::unique_ptr<Server>> Server::start(Config config, ReferenceSource references) {
  // Keys and passwords are in memory: no core files, no ptrace by others.
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(SIGPIPE, SIG_IGN);
  auto impl = std::make_shared<Impl>(std::move(config), std::move(references));
  GH_TRY(impl->state, State::open({.path = impl->config.state, .create = true}));
  GH_CHECK(impl->load());
  impl->pipeline = std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = impl->config.threads});
  if (!impl->config.trace.empty()) {
    GH_TRY(impl->recorder, trace::Recorder::open(impl->config.trace));
    log::write(log::Level::warning, {}, "each conversation is written to " + impl->config.trace);
  }
  impl->signals.add(SIGTERM);
  impl->signals.add(SIGINT);
  impl->signals.add(SIGHUP);
  State* const state = impl->state.get();
  const std::weak_ptr<Impl> weak = impl;
  const auto read_metrics = [weak] {
    const auto server = weak.lock();
    return server ? server->read_metrics() : std::vector<metrics::Family>();
  };
  const Live live{[weak](std::string_view device) {
                    const auto server = weak.lock();
                    return server ? server->reassess(device) : 0;
                  },
                  read_metrics};
  GH_TRY(impl->control, ControlServer::start(impl->config.control_socket,
                                             [state, live](std::string_view request) { return execute(*state, request, &live); }));
  GH_CHECK(impl->state->announce_socket(impl->config.control_socket));
  GH_CHECK(impl->listen());
  if (!impl->config.metrics_listen.empty()) {
    GH_TRY(const tcp::endpoint where, endpoint_of(impl->config.metrics_listen));
    GH_TRY(impl->metrics_port, metrics::HttpServer::start(where.address().to_string(), where.port(),
                                                          [read_metrics] { return metrics::exposition(read_metrics()); }));
    log::write(log::Level::info, {}, "metrics on " + where.address().to_string() + ":" + std::to_string(impl->metrics_port->port()));
  }
  impl->await_signal();
  impl->await_refresh();
  impl->await_probe(probe_interval);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::run() {
  const unsigned count = impl_->config.threads != 0 ? impl_->config.threads : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back([impl = impl_] { impl->io.run(); });
  impl_->io.run();
  threads.clear();
  impl_->control.reset();
  impl_->metrics_port.reset();  // it reads what follows
  impl_->pipeline.reset();  // waits for what is in flight
  impl_->state.reset();     // writes what waits
  log::write(log::Level::info, {}, "stopped");
}

void Server::stop() {
  asio::post(impl_->own, [impl = impl_] { impl->begin_stop(); });
}
std::uint16_t Server::port() const { return impl_->ports.front(); }
std::uint16_t Server::metrics_port() const { return impl_->metrics_port ? impl_->metrics_port->port() : 0; }
std::size_t Server::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->open.size();
}

}  // namespace gatehouse::server
