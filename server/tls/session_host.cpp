#include "server/tls/session_host.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

#include "base/hash.h"
#include "base/log.h"
#include "server/results/record.h"
#include "server/tls/radius_dynamic.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using boost::system::error_code;
using namespace std::chrono_literals;
using metrics::Doing;

namespace {

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

}  // namespace

SessionHost::SessionHost(std::shared_ptr<Server::Impl> server, Strand strand, std::string address, std::string host)
    : server_(std::move(server)), settings_(*server_->current(server_->settings)), users_(server_->current(server_->users)),
      view_(server_->current(server_->view)), work_(server_->io.get_executor()), strand_(std::move(strand)),
      room_timer_(strand_), address_(std::move(address)), host_(std::move(host)) {}

SessionHost::~SessionHost() {
  const std::lock_guard lock(server_->mutex);
  end_assessment();
}

bool SessionHost::logs(LogLevel level) const { return log::enabled(native(level)); }
void SessionHost::log(LogLevel level, std::string text) {
  log::write(native(level), session_ ? session_->id() : std::string(), text);
}

void SessionHost::check_password(std::string user, Secret password) {
  auto shared = std::make_shared<Secret>(std::move(password));
  ++server_->waiting_checks;
  asio::post(server_->workers, [self = shared_from_this(), user = std::move(user), shared] {
    --self->server_->waiting_checks;
    const bool good = self->users_ && self->users_->check_blocking(user, *shared);
    asio::post(self->strand_, [self, good] {
      if (!self->gone_) self->on_password(good);
    });
  });
}

void SessionHost::on_password(bool good) {
  if (!session_) return;
  clock_.enter(Doing::protocol);
  session_->on_password(good);
  after();
}

ScramRecord SessionHost::scram_record(const std::string& user) {
  static const UserFile nobody;
  return users_ ? users_->scram_record(user) : nobody.scram_record(user);
}

void SessionHost::password_attempt(bool good) {
  (good ? server_->counted.passwords_accepted : server_->counted.passwords_refused).add();
  const std::lock_guard lock(server_->mutex);
  if (good) server_->backoff.succeeded(host_);
  else server_->backoff.failed(host_, Backoff::Clock::now());
}

std::unique_ptr<pipeline::Evidence> SessionHost::open_evidence(pipeline::Context context) {
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

void SessionHost::begin_session(SessionIntent intent) {
  const std::string id = intent.session;
  ++writes_;
  if (!begin_assessment(intent))
    return completion([id](Session& s, Result<void> r) { s.on_session_begun(id, std::move(r)); })(
        fail(Fault::limit, "too many assessments of this device at once"));
  server_->state->begin_session(std::move(intent), completion([id](Session& s, Result<void> r) { s.on_session_begun(id, std::move(r)); }));
}

void SessionHost::commit_result(SessionResult result) {
  if (recording_) recording_->result(result);
  const std::string id = result.intent.session;
  result.timing = clock_.timing();
  committed_ = result.intent;
  committed_quote_ = result.quote_key.has_value();
  ++writes_;
  const auto began = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(server_->mutex);
    end_assessment();
  }
  std::string line;
  if (server_->results->wants_lines())
    line = record_line({SessionState::complete, result.intent, result.finished, result.verdict, result.timing, result.enforced},
                       result.evidence != nullptr);
  auto body = [id, began, counted = &server_->counted](Session& s, Result<void> r) {
    counted->commit.observe(std::chrono::steady_clock::now() - began);
    s.on_result_committed(id, std::move(r));
  };
  Completion done = completion(std::move(body));
  // What is on record goes out, also where the endpoint is gone.
  server_->state->commit_result(std::move(result), [server = server_, line = std::move(line), done = std::move(done)](Result<void> r) mutable {
    if (r) server->results->publish(std::move(line));
    done(std::move(r));
  });
}

void SessionHost::stage_software(SoftwareChunk chunk) {
  std::string id = chunk.session;
  ++writes_;
  server_->state->stage_software(std::move(chunk), completion([id](Session& s, Result<void> r) { s.on_staged(id, std::move(r)); }));
}

void SessionHost::activate(Activation activation) {
  std::string id = activation.session;
  ++writes_;
  server_->state->activate(std::move(activation), completion([id](Session& s, Result<void> r) { s.on_activated(id, std::move(r)); }));
}

void SessionHost::ask_status(std::string session, CertificateOf whose, Certificate certificate, Certificate issuer) {
  server_->ask_status(whose == CertificateOf::ak ? server_->config.ak_ocsp : server_->config.ek_ocsp, {std::move(certificate), std::move(issuer), {}},
                      [weak = weak_from_this(), strand = strand_, whose, id = std::move(session)](Result<void> status) {
                        auto shared = std::make_shared<Result<void>>(std::move(status));
                        asio::post(strand, [weak, shared, whose, id] {
                          const auto self = weak.lock();
                          if (!self || self->gone_ || !self->session_) return;
                          self->clock_.enter(Doing::protocol);
                          self->session_->on_status(id, whose, std::move(*shared));
                          self->after();
                        });
                      });
}

bool SessionHost::has_room(std::size_t pending) {
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

void SessionHost::renew() {
  if (!session_) return;  // it begins with what is current
  clock_.begin();
  settings_ = *server_->current(server_->settings);
  view_ = server_->current(server_->view);
}

std::int64_t SessionHost::now_ms() { return server::now_ms(); }
ByteVector SessionHost::random(std::size_t bytes) { return random_bytes(bytes); }

void SessionHost::told(pipeline::Recommendation recommendation, pipeline::Evaluation evaluation) {
  server_->counted.told[std::size_t(recommendation)][std::size_t(evaluation)].add();
  server_->counted.observe(clock_.timing());
  // In monitor mode nobody is refused.
  if (settings_.enforce) server_->note_after_switch(committed_, committed_quote_, recommendation != pipeline::Recommendation::allow);
  if (!server_->radius) return;
  server_->leases.note({committed_.identity, committed_.identity_type}, committed_.device, committed_.key_pin, recommendation, now_ms());
  const RadiusDynamic::Verdict verdict{committed_.session, committed_.device, committed_.identity, committed_.identity_type, session_->sure(), recommendation};
  if (recommendation != pipeline::Recommendation::allow)
    server_->radius->dynamic().distrust(server_->radius->settings(), verdict, [this](const Admitted::Entry& e) { return succeeds(e); });
  else if (verdict.sure)
    server_->radius->dynamic().trust(verdict.device);
}

void SessionHost::monitored(pipeline::Recommendation judged) { server_->counted.monitored[std::size_t(judged)].add(); }

void SessionHost::judged(std::shared_ptr<const evidence::Kept> kept, std::shared_ptr<const pipeline::Verdict> verdict,
                         std::shared_ptr<const pipeline::Verdict> attested) {
  server_->judge_by_shadow(std::move(kept), std::move(verdict), std::move(attested), settings_, view_);
}

void SessionHost::ended_early() { server_->counted.ended_early.add(); }
void SessionHost::enrolled(enrolment::Code code) { server_->counted.enrolments[std::size_t(code)].add(); }

void SessionHost::error(Direction direction, std::optional<pttls::ErrorCode> code) {
  server_->counted.pt_tls_errors[std::size_t(direction)].add(code ? std::optional(std::uint32_t(*code)) : std::nullopt);
}

void SessionHost::error(Direction direction, std::optional<pbtnc::ErrorCode> code) {
  server_->counted.pb_tnc_errors[std::size_t(direction)].add(code ? std::optional(std::uint32_t(*code)) : std::nullopt);
}

void SessionHost::trace_message(Direction direction, Bytes whole) {
  if (recording_) recording_->message(direction, whole);
}

void SessionHost::trace_fact(std::string_view fact, Bytes value) {
  if (recording_) recording_->fact(fact, value);
}

template <class Body>
Completion SessionHost::completion(Body body) {
  // The peer lives until its record is on disk.
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

// Counted by the identity that it proved, or else by its address: a name that somebody claims takes nobody's place.
bool SessionHost::begin_assessment(const SessionIntent& intent) {
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
void SessionHost::end_assessment() {
  if (assessed_.empty()) return;
  const auto of = server_->assessments.find(assessed_);
  if (--of->second == 0) server_->assessments.erase(of);
  assessed_.clear();
}

void SessionHost::begin_trace(std::string_view tls, std::string_view cipher, std::string_view identity, std::string_view type) {
  if (!server_->recorder) return;
  recording_ = server_->recorder->begin(session_->id());
  recording_->transport("peer", address_);
  recording_->transport("server_tls", tls);
  recording_->transport("server_cipher", cipher);
  recording_->transport("identity", identity);
  recording_->transport("identity_type", type);
  recording_->settings(settings_);
}

Doing SessionHost::doing() const {
  if (session_->ended()) return Doing::closing;
  if (session_->negotiating()) return session_->checking_password() ? Doing::password : Doing::negotiation;
  if (session_->wants_data()) return session_->decided() ? Doing::kept : Doing::peer;
  return writes_ != 0 ? Doing::state : held_back_ ? Doing::room : Doing::evidence;
}

void SessionHost::note(const pipeline::Effort& effort) {
  clock_.add(Stage::parse, effort.parse);
  clock_.add(Stage::lookup, effort.lookup);
  clock_.add(Stage::extend, effort.extend);
  clock_.add(Stage::quote, effort.quote);
  clock_.add(Stage::conclude, effort.conclude);
}

}  // namespace gatehouse::server
