#include "server/tls/eap_peer.h"

#include <algorithm>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>

#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "server/radius/reply.h"
#include "server/radius/user_name.h"
#include "server/state/life.h"
#include "server/tls/radius_caller.h"
#include "server/tls/radius_dynamic.h"
#include "server/tls/tls_context.h"
#include "server/tls/tls_tunnel.h"
#include "wire/eap/eap.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using boost::system::error_code;
using metrics::Doing;
using metrics::RadiusDrop;
using pipeline::Recommendation;

namespace {

constexpr std::size_t msk_size = 64;
// What RADIUS and UDP put around an EAP packet on the way to the gateway is not the endpoint's link's: that has 4 bytes of its
// own (spec part 1a §3.3).
constexpr std::uint32_t link_header = 4, smallest_mtu = 260;

// "192.0.2.7 by way of 10.1.2.3:1645"
std::string whereabouts(const RadiusRequest& request) {
  const std::string gateway = request.from.address().to_string() + ":" + std::to_string(request.from.port());
  return request.station.empty() ? gateway : escaped(request.station, 64) + " by way of " + gateway;
}

}  // namespace

EapPeer::EapPeer(std::shared_ptr<RadiusFront> front, std::shared_ptr<Server::Impl> server, std::uint64_t id, const RadiusRequest& first)
    : SessionHost(server, boost::asio::make_strand(server->io), whereabouts(first), first.from.address().to_string()),
      front_(std::move(front)), id_(id), radius_(first.settings), client_(first.client->name), station_(first.station),
      eap_(*this, first.client->attestation ? radius_->eap : radius_->eap_without_attestation, make_tls_tunnel(radius_->tls)), timer_(strand_), turn_timer_(strand_), began_(std::chrono::steady_clock::now()) {
  settings_.auth = Auth::none;
  settings_.idle_deadline = radius_->config.idle_deadline;
  settings_.total_deadline = radius_->config.total_deadline;
  users_ = radius_->users;
}

EapPeer::~EapPeer() {
  asio::post(server_->own, [server = server_] { server->maybe_done(); });
}

// Most packets are fragments, whose answer is a few bytes that are known at once: those are answered where they were received, unless
// something else goes on in this conversation. What means work goes to whichever thread is free.
void EapPeer::take(RadiusRequest::Pointer request) {
  asio::dispatch(strand_, [self = self(), request = std::move(request)]() mutable {
    if (self->eap_.transport_only(request->eap)) return self->go_on(std::move(request));
    asio::post(self->strand_, [self, request = std::move(request)]() mutable { self->go_on(std::move(request)); });
  });
}

void EapPeer::cut() {
  asio::post(strand_, [self = self()] { self->end(); });
}

// Whether its State is the one that was given last, to the same client: nothing else could tell it, so it needs no other proof. Where
// the settings were read again since, the State's own tag decides.
bool EapPeer::answers_last(const RadiusRequest& request) const {
  if (!request.state) return round_ == 0;
  return round_ != 0 && request.settings == radius_ && given_.client == request.client && given_.to == request.key.address &&
         equal_constant_time(given_.state, *request.state);
}

void EapPeer::go_on(RadiusRequest::Pointer request) {
  if (gone_) return front_->drop(*request, RadiusDrop::replayed);
  if (!answers_last(*request)) {
    const std::optional<std::uint32_t> round = request->state ? front_->round(*request) : std::optional(0U);
    if (!round) return front_->refuse_unknown(*request);
    if (*round != round_) return front_->drop(*request, RadiusDrop::replayed);
  }
  if (request_) return front_->drop(*request, RadiusDrop::repeated);
  if (request->framed_mtu && *request->framed_mtu >= smallest_mtu) eap_.limit_fragments(*request->framed_mtu - link_header);
  const Result<void> taken = eap_.receive(request->eap);
  if (!taken) {
    front_->drop(*request, RadiusDrop::eap);
    // A conversation that doesn't begin isn't there.
    return round_ == 0 ? end() : void();
  }
  // The gateway has got the last answer, so nobody will ask for it again.
  if (last_) front_->forget(last_->first, last_->second);
  last_.reset();
  request_ = std::move(request);
  arm(radius_->config.idle_deadline);
  if (std::chrono::steady_clock::now() - began_ > radius_->config.total_deadline) {
    log(LogLevel::warning, "EAP conversation with " + address_ + " takes too long");
    const RadiusRequest last = *std::exchange(request_, nullptr);
    radius::Builder out(radius::Code::access_reject, last.key.identifier);
    out.add_eap(eap::failure(last.eap.size() > 1 ? std::uint8_t(last.eap[1]) : std::uint8_t{0}));
    front_->answer(last, std::move(out));
    return end();
  }
  after();
}

// Carries what the session and the EAP conversation have for each other, until one of them waits.
void EapPeer::after() {
  if (gone_ || acting_) return;
  acting_ = true;
  for (;;) {
    if (batch_) {
      const ByteVector batch = *std::exchange(batch_, std::nullopt);
      eap_.on_batch(batch);
    } else if (verdict_) {
      eap_.on_assessed(*std::exchange(verdict_, std::nullopt));
    } else if (session_ && session_->ended() && eap_.waiting()) {
      assessed(session_->concluded());
    } else {
      break;
    }
  }
  acting_ = false;
  if (gone_) return;
  if (session_) clock_.enter(doing());
  reply();
}

void EapPeer::reply() {
  if (!request_) return;
  if (const auto packet = eap_.take_packet()) {
    conclude(*packet);
    eap_.said();
  }
}

// Challenge, Accept or Reject.
void EapPeer::conclude(Bytes packet) {
  const RadiusRequest::Pointer held = std::exchange(request_, nullptr);
  const RadiusRequest& request = *held;
  if (!eap_.over()) {
    last_.emplace(request.key, request.authenticator);
    radius::Builder challenge(radius::Code::access_challenge, request.key.identifier);
    challenge.add_eap(packet);
    given_ = {front_->state(id_, ++round_, request), request.key.address, request.client};
    challenge.add(radius::type::state, given_.state);
    return front_->answer(request, std::move(challenge));
  }
  const auto verdict = eap_.verdict();
  const RadiusConfig& config = request.settings->config;
  RadiusReply reply = reply_for(config, whose_.groups, verdict);
  // A gateway may admit it for as long as the verdict holds.
  if (const std::chrono::seconds lease = server_->config.lease; admits(config, verdict) && lease.count() != 0 &&
                                                                 (reply.session_timeout.count() == 0 || reply.session_timeout > lease))
    reply.session_timeout = lease;
  // Not beyond the end of the lease.
  if (lease_left_ && (reply.session_timeout.count() == 0 || reply.session_timeout > *lease_left_)) reply.session_timeout = *lease_left_;
  Answering last{request, to_vector(packet), std::move(reply), verdict, admits(config, verdict) && eap_.keys(), {}, 0};
  if (!eap_.failure().empty()) last.why = ": " + std::string(eap_.failure());
  // First it is noted, then looked at again: whoever ends its trust meanwhile finds it, or it is seen here.
  if (!last.good || !admit(last, *verdict)) finish(std::move(last));
  else answering_ = std::make_unique<Answering>(std::move(last));
}

// The very last answer, with what is noted of it on record.
void EapPeer::finish(Answering last) {
  const RadiusRequest& request = last.request;
  if (last.good && !holds(*last.verdict)) {
    last.good = false;
    last.why = ": its device has lost its trust since";
  }
  if (!last.good && admits(request.settings->config, last.verdict)) {
    if (last.number != 0) server_->admitted.remove(last.number);
    last.reply = reply_for(request.settings->config, whose_.groups, Recommendation::block);
    last.packet = eap::failure(std::uint8_t(last.packet[1]));
  }
  log(last.good ? LogLevel::info : LogLevel::warning,
      std::string(last.good ? "Access-Accept" : "Access-Reject") + " for '" + shown_user(eap_.outer_identity()) + "' at " + address_ + ": " +
          (last.verdict ? std::string(pipeline::name(*last.verdict)) : "no verdict") + last.why + (eap_.failure_detail().empty() ? "" : ": " + eap_.failure_detail()));
  radius::Builder out(last.good ? radius::Code::access_accept : radius::Code::access_reject, request.key.identifier);
  out.add_eap(last.packet);
  if (const auto keys = eap_.keys(); last.good && keys) {
    std::uint16_t salt = 0;
    fill_random(std::as_writable_bytes(std::span(&salt, 1)));
    append_accept(out, last.reply, request.client->profile, keys->reveal().first(msk_size), salt, {}, request.authenticator,
                  request.client->secret.reveal());
    if ((!request.settings->config.accounting.empty() || request.streamed) && !whose_.session.empty()) out.add_text(radius::type::class_, Admitted::mark(whose_.session));
  } else {
    append_reject(out, last.reply);
  }
  front_->answer(request, std::move(out));
  if (last.good) beside_ = false;
  // A refusal closes a switch's port. A VPN gateway's connection stays as it is.
  if (last.good || (before_ && request.client->profile == RadiusProfile::dot1x)) {
    if (before_) server_->admitted.remove(before_->number);
    before_.reset();
  }
  end();
}

// Each packet defers the deadline. A timer that is there waits on when it ends too early, so that a packet costs none.
void EapPeer::arm(std::chrono::milliseconds from_now) {
  deadline_ = std::chrono::steady_clock::now() + from_now;
  if (timed_ && *timed_ <= deadline_) return;
  wait();
}

void EapPeer::wait() {
  timed_ = deadline_;
  timer_.expires_at(deadline_);
  timer_.async_wait(asio::bind_executor(strand_, [self = self(), timed = deadline_](error_code ec) {
    // One that has ended may wait for its turn when another one takes its place.
    if (ec || self->gone_ || self->timed_ != timed) return;
    self->timed_.reset();
    if (std::chrono::steady_clock::now() < self->deadline_) return self->wait();
    self->expire();
  }));
}

void EapPeer::set_deadline(std::chrono::milliseconds from_now) { arm(from_now); }

// Nobody asks any more, or we can't answer in time.
void EapPeer::expire() {
  const bool ours = request_ != nullptr;
  if (session_ && !session_->ended()) {
    clock_.enter(Doing::protocol);
    session_->on_deadline();
    if (ours) {
      arm(radius_->config.idle_deadline);
      return after();
    }
  }
  server_->counted.eap_expired.add();
  if (!session_) log(LogLevel::info, "EAP conversation of '" + shown_user(eap_.outer_identity()) + "' at " + address_ + " was left");
  end();
}

void EapPeer::end() {
  if (gone_) return;
  gone_ = true;
  clock_.enter(Doing::closing);
  timer_.cancel();
  room_timer_.cancel();
  turn_timer_.cancel();
  if (const auto last = std::exchange(request_, nullptr)) front_->drop(*last, RadiusDrop::load);
  if (const auto last = std::exchange(answering_, nullptr)) {
    server_->admitted.remove(last->number);
    front_->drop(last->request, RadiusDrop::load);
  }
  {
    const std::lock_guard lock(server_->mutex);
    discharge();
  }
  if (session_ && !session_->ended()) session_->on_peer_gone();
  take_back();
  if (beside_) front_->dynamic().succeeded_by_none(whose_.session);
  front_->remove(id_);
}

// --- Host

void EapPeer::send(ByteVector batch) {
  // One batch answers one; a session says more only where it doesn't know that nobody listens.
  batch_ = std::move(batch);
}

// --- EapHost

const StoredPassword* EapPeer::stored_password(const std::string& user) {
  return radius_->passwords ? radius_->passwords->find(user) : nullptr;
}

void EapPeer::check_password_of(std::string user, Secret password) {
  // Who is in both files has the password of the passwords file.
  if (const StoredPassword* const stored = stored_password(user)) {
    const auto hash = nt_hash(as_text(password.reveal()));
    const bool good = hash && equal_constant_time(*hash, stored->nt_hash);
    asio::post(strand_, [self = self(), good] { self->on_password(good); });
    return;
  }
  if (radius_->upstream.empty()) return check_password(std::move(user), std::move(password));
  constexpr std::size_t longest = 128;  // RFC 2865 section 5.2
  if (password.size() == 0 || password.size() > longest)
    return asio::post(strand_, [self = self()] { self->on_password(false); });
  ask_upstream(std::make_shared<const UpstreamQuestion>(UpstreamQuestion{std::move(user), std::move(password), station_}), front_->upstream() % radius_->upstream.size(), 0);
}

bool EapPeer::asks_elsewhere(const std::string& user) { return !radius_->upstream.empty() && stored_password(user) == nullptr; }

void EapPeer::judge_elsewhere(std::string user, ChallengeAnswer answer) {
  auto question = std::make_shared<UpstreamQuestion>(UpstreamQuestion{std::move(user), ChapAnswer(), station_});
  std::visit([&](auto& one) { question->about = std::move(one); }, answer);
  ask_upstream(std::move(question), front_->upstream() % radius_->upstream.size(), 0);
}

// Each server in turn, beginning with the one that had answered last when the first was asked, and each at least twice: a gateway
// waits for 14 s.
void EapPeer::ask_upstream(std::shared_ptr<const UpstreamQuestion> question, std::size_t first, std::size_t attempt) {
  const auto& servers = radius_->upstream;
  const std::size_t attempts = std::max<std::size_t>(3, 2 * servers.size()), which = (first + attempt) % servers.size();
  const auto answered = [self = self(), question, first, attempt, attempts, which](ByteVector answer) {
    asio::post(self->strand_, [self, question, first, attempt, attempts, which, answer = std::move(answer)] {
      if (self->gone_) return;
      const UpstreamSays says = read_answer(*question, answer);
      if (!says.heard && attempt + 1 < attempts) return self->ask_upstream(question, first, attempt + 1);
      if (says.heard) self->front_->prefer_upstream(which);
      self->on_upstream(*question, says);
    });
  };
  const UpstreamServer& server = servers[which];
  const auto make = [question, secret = server.secret](std::uint8_t identifier) { return make_question(*question, identifier, secret->reveal()); };
  // One that can't even be sent in that time is as good as silent.
  front_->caller()->ask({{server.address, server.port}, server.secret, make, {radius_->config.upstream_timeout}, true, radius_->config.upstream_timeout},
                        answered);
}

void EapPeer::on_upstream(const UpstreamQuestion& question, const UpstreamSays& says) {
  const auto outcome = says.good ? metrics::UpstreamOutcome::accept : says.heard ? metrics::UpstreamOutcome::reject : metrics::UpstreamOutcome::silence;
  server_->counted.radius_upstream[std::size_t(outcome)].add();
  if (!says.heard) {
    unheard_ = true;
    log(LogLevel::error, "no answer from any RADIUS server of radius.upstream: the password of '" + escaped(question.user, 253) + "' isn't checked");
  }
  if (std::holds_alternative<Secret>(question.about)) return on_password(says.good);
  eap_.on_judged(says.good, says.proof);
  after();
}

std::string EapPeer::place_of(const std::string& user) const {
  // strongSwan's is "192.0.2.7[4500]", whose port is anybody's choice.
  const std::string station = station_.substr(0, station_.find('['));
  return client_ + '\0' + (station.empty() ? user : station);
}

// By where it comes from, and by whose password it is. Guessing from many places slows down whoever uses that name, too, but not
// before ten mistakes.
EapPeer::Turn EapPeer::turn(const std::string& user) {
  const auto now = Backoff::Clock::now();
  const std::lock_guard lock(server_->mutex);
  const Turn out = take_turn(user, now, now + server_->eap_users.patience());
  if (out == Turn::later) server_->counted.eap_held_back.add();
  return out;
}

// With the server's mutex held. An attempt is under way from its turn until its outcome: those at the same time count as if they
// failed, so that nobody makes many before the first one is known to be wrong.
EapPeer::Turn EapPeer::take_turn(const std::string& user, Backoff::Clock::time_point now, Backoff::Clock::time_point until) {
  const std::string place = place_of(user);
  const bool crowded = server_->eap_places.crowded(place, now) || server_->eap_users.crowded(user, now);
  std::optional<std::chrono::milliseconds> wait;
  if (crowded) {
    wait = server_->eap_users.again();
  } else {
    const auto of_place = server_->eap_places.reserve(place, now);
    const auto of_user = server_->eap_users.reserve(user, now);
    if (of_place && of_user) wait = std::max(*of_place, *of_user);
  }
  if (!wait || now + *wait > until) {
    server_->counted.eap_turned_away.add();
    return Turn::refused;
  }
  if (wait->count() == 0) {
    charge(user);
    return Turn::now;
  }
  turn_timer_.expires_after(*wait);
  turn_timer_.async_wait(asio::bind_executor(strand_, [self = self(), user, until, crowded](error_code ec) {
    if (ec || self->gone_) return;
    Turn turn = Turn::now;
    {
      const std::lock_guard lock(self->server_->mutex);
      if (crowded) turn = self->take_turn(user, Backoff::Clock::now(), until);
      else self->charge(user);
    }
    if (turn == Turn::later) return;
    self->eap_.on_turn(turn == Turn::now);
    self->after();
  }));
  return Turn::later;
}

// With the server's mutex held, as discharge().
void EapPeer::charge(const std::string& user) {
  discharge();
  server_->eap_places.begin(place_of(user));
  server_->eap_users.begin(user);
  charged_ = user;
}

void EapPeer::discharge() {
  if (!charged_) return;
  server_->eap_places.end(place_of(*charged_));
  server_->eap_users.end(*charged_);
  charged_.reset();
}

void EapPeer::attempted(const std::string& user, bool good) {
  const auto now = Backoff::Clock::now();
  const std::string place = place_of(user);
  const std::lock_guard lock(server_->mutex);
  discharge();
  if (std::exchange(unheard_, false)) return;
  if (good) {
    server_->eap_places.succeeded(place);
    server_->eap_users.succeeded(user);
  } else {
    server_->eap_places.failed(place, now);
    server_->eap_users.failed(user, now);
  }
}

void EapPeer::told(Recommendation recommendation, pipeline::Evaluation evaluation) {
  whose_.session = session_->id();
  whose_.device = session_->device();
  whose_.groups = session_->groups();
  whose_.sure = session_->sure();
  const auto device = server_->state->device(whose_.device);
  whose_.known = device && *device;
  before_.reset();
  telling_ = recommendation;
  told_at_ = now_ms();
  SessionHost::told(recommendation, evaluation);
}

// This verdict takes the place of the one that this port was opened by, as soon as the gateway has its answer: until then that one
// is still there. Asked only of those whom the verdict concerns: who merely says that it is this device changes nothing.
// A VPN gateway gives each connection a port of its own and ends them by their name, which is this conversation's as well: to ask it
// now would end this one half way, and the endpoint would wait in vain. Accounting may say that name as the gateway understands it,
// so a certificate's subject is known by the identity.
Succession EapPeer::succeeds(const Admitted::Entry& e) {
  if (!request_ || e.gateway != request_->key.address || e.client != client_ || e.nas != request_->gateway) return Succession::none;
  const bool same_user = e.user == request_->user;
  if (same_user && (!e.station.empty() || e.port) && e.station == request_->station && e.port == request_->nas_port) {
    before_ = {e.number, telling_};
    return Succession::replaces;
  }
  const bool same_subject = e.identity_type == "certificate" && whose_.identity.type == e.identity_type && whose_.identity.name == e.identity;
  if (request_->client->profile != RadiusProfile::ipsec || (!same_user && !same_subject)) return Succession::none;
  beside_ = true;
  return Succession::beside;
}

// The answer that was to take its place didn't go out.
void EapPeer::take_back() {
  if (!before_) return;
  const Before before = *std::exchange(before_, std::nullopt);
  front_->dynamic().take_back(front_->settings(), {whose_.session, whose_.device, whose_.identity.name, whose_.identity.type, whose_.sure, before.verdict},
                              before.number);
}

// The gateway lets it in: from now on it may have to be cut off, also by a server that is started anew, so the answer waits for its
// record. false: nothing is noted, since of this gateway nothing would be heard of it any more, and nothing could be asked.
bool EapPeer::admit(Answering& last, Recommendation recommendation) {
  const RadiusRequest& request = last.request;
  if (request.client->dynamic_port == 0 && request.settings->config.accounting.empty() && !request.streamed) return false;
  Admitted::Entry e;
  e.gateway = request.key.address;
  e.client = client_;
  e.nas = request.gateway;
  e.nas_address = request.nas_address;
  e.port = request.nas_port;
  e.user = request.user;
  e.station = request.station;
  e.accounting = request.accounting;
  e.session = whose_.session;
  e.device = whose_.device;
  e.also = whose_.also;
  e.sure = whose_.sure;
  e.identity = whose_.identity.name;
  e.identity_type = whose_.identity.type;
  e.groups = whose_.groups;
  e.recommendation = recommendation;
  e.streamed = request.streamed;
  e.admitted = now_ms();
  e.until = lease_end();
  last.number = server_->admitted.note(std::move(e), [self = self()](bool kept) {
    asio::post(self->strand_, [self, kept] {
      if (self->gone_ || !self->answering_) return;
      Answering last_answer = std::move(*std::exchange(self->answering_, nullptr));
      if (!kept) {
        last_answer.good = false;
        last_answer.why = ": whom gateways let in can't be recorded";
      }
      self->finish(std::move(last_answer));
    });
  });
  return true;
}

// Of the verdict that lets it in, milliseconds since 1970; 0: it has none.
std::int64_t EapPeer::lease_end() {
  using std::chrono::milliseconds;
  if (lease_left_) return now_ms() + milliseconds(*lease_left_).count();
  const milliseconds lease = server_->config.lease;
  return lease.count() != 0 && told_at_ != 0 ? told_at_ + lease.count() : 0;
}

// Whether what the endpoint was told still holds: between that and the gateway's answer its device may have lost its trust.
bool EapPeer::holds(Recommendation verdict) const {
  if (lease_left_) {
    const auto lease = lease_of(whose_.identity);
    return lease && lease->recommendation == Recommendation::allow;
  }
  const bool allow = verdict == Recommendation::allow;
  // In monitor mode nobody is refused; and a claim is held to nothing that is known of the device.
  if (!settings_.enforce || whose_.device.empty() || (!allow && !whose_.sure)) return true;
  const auto device = server_->state->device(whose_.device);
  if (!device) return !allow;
  if (!*device) return !whose_.known;
  if (bars((*device)->state)) return !allow && held_to((*device)->state) == Recommendation::isolate;
  const auto& keys = (*device)->keys;
  return !allow || std::none_of(keys.begin(), keys.end(), [&](const DeviceKey& key) {
    return !committed_.key_pin.empty() && key.pin == committed_.key_pin && key.state == KeyState::revoked;
  });
}

// By the configuration that the conversation began with.
bool EapPeer::asks_for_certificate() {
  const std::string& by = radius_->config.client_ocsp;
  if (by.empty()) return false;
  auto question = eap_.tunnel().certificate_and_issuer();
  // One that the operator named itself has nobody above it to be asked.
  if (question && !*question) return false;
  const std::weak_ptr<EapPeer> weak = self();
  const auto answered = [weak, strand = strand_](Result<void> good) {
    auto shared = std::make_shared<Result<void>>(std::move(good));
    asio::post(strand, [weak, shared] {
      if (const auto peer = weak.lock()) peer->on_certificate(*shared);
    });
  };
  if (!question)
    answered(fail(std::move(question).error()));
  else if (!server_->status)
    answered(fail(Fault::environment, "no OCSP responder can be asked before a restart"));
  else
    server_->ask_status(by, {std::move((*question)->first), std::move((*question)->second), {}}, answered);
  return true;
}

void EapPeer::on_certificate(const Result<void>& good) {
  if (gone_) return;
  if (!good) log(LogLevel::warning, "the client's certificate is refused: " + good.error().text() + "; at " + address_ + " inside EAP-TTLS");
  eap_.on_certificate(good);
  after();
}

void EapPeer::on_password(bool good) {
  if (gone_) return;
  eap_.on_password(good);
  after();
}

void EapPeer::authenticated(bool good, const std::string& user, std::string_view method, std::string_view reason) {
  (good ? server_->counted.eap_authenticated : server_->counted.eap_refused).add();
  log(good ? LogLevel::info : LogLevel::warning,
      std::string(method) + " authentication of '" + escaped(user, 253) + "' at " + address_ + " inside EAP-TTLS, " + eap_.tunnel().version() +
          " with " + eap_.tunnel().cipher() + (good ? ": successful" : " failed: " + std::string(reason)));
}

CertificateNames EapPeer::certificate_of(const EapIdentity& identity) const {
  return identity.type == "certificate" ? eap_.tunnel().certificate_names() : CertificateNames();
}

void EapPeer::begin_assessment(const EapIdentity& identity) {
  clock_.begin();
  whose_.identity = identity;
  session_ = std::make_unique<Session>(*this, settings_, *server_->state, Peer{address_, identity.name, identity.type, certificate_of(identity), {}}, Carrier::pt_eap);
  log(LogLevel::info, "PT-EAP with " + address_ + ", identity '" + escaped(identity.name) + "' (" + identity.type + "), EAP identity '" +
                          shown_user(eap_.outer_identity()) + "'");
  begin_trace(eap_.tunnel().version(), eap_.tunnel().cipher(), identity.name, identity.type);
}

void EapPeer::deliver(Bytes batch) {
  clock_.enter(Doing::protocol);
  if (session_->ended()) return assessed(session_->concluded());
  session_->take_batch(batch);
}

// Where it has its verdict, it took note of it; anywhere else it has given up.
void EapPeer::acknowledged() {
  if (!session_->ended()) session_->on_peer_gone();
  assessed(session_->concluded());
}

void EapPeer::without_assessment(const EapIdentity& identity) {
  const std::string& mode = radius_->config.without_attestation;
  whose_.identity = identity;
  if (mode == "lease") {
    const auto lease = lease_of(identity);
    if (lease && lease->recommendation == Recommendation::allow) lease_left_ = lease->left;
    if (lease) {
      whose_.device = lease->device;
      whose_.also = lease->also;
      whose_.sure = true;
      if (const auto device = server_->state->device(lease->device); device && *device)
        whose_.groups = policy::groups_of(*settings_.policy, {policy::Standing::authenticated, lease->device, (*device)->product, identity.name, identity.type, certificate_of(identity), {}, now_ms(), {}});
    }
    log(LogLevel::info, "'" + escaped(identity.name) + "' at " + address_ + " by its lease: " +
                            (lease ? std::string(pipeline::name(lease->recommendation)) + ", device " + escaped(lease->device) +
                                         (lease->also.empty() ? "" : " or " + std::to_string(lease->also.size()) + " more of this identity") + ", " +
                                         std::to_string(lease->left.count()) + " s left"
                                   : std::string("none, isolated")));
    return assessed(lease ? lease->recommendation : Recommendation::isolate);
  }
  const bool isolate = mode == "isolate";
  log(LogLevel::warning, "'" + escaped(identity.name) + "' at " + address_ + " isn't assessed: its EAP client knows no PT-EAP, or isn't asked for it; " +
                             (isolate ? "isolated" : "refused"));
  assessed(isolate ? Recommendation::isolate : Recommendation::block);
}

std::optional<Leases::Lease> EapPeer::lease_of(const EapIdentity& identity) const {
  const std::chrono::seconds verdicts = server_->config.lease;
  const auto length = verdicts.count() != 0 ? std::min(radius_->config.lease, verdicts) : radius_->config.lease;
  return server_->leases.find({identity.name, identity.type}, length, server::now_ms(),
                              [&](const std::string& device, const std::string& key_pin) { return standing(device, key_pin, identity.name); });
}

// As of now: a key may have been revoked since, and only a device that is bound to the identity has its lease.
Leases::Standing EapPeer::standing(const std::string& device, const std::string& key_pin, const std::string& identity) const {
  const auto known = server_->state->device(device);
  if (!known) return Leases::Standing::bad;
  if (!*known) return Leases::Standing::gone;
  const auto& names = (*known)->identities;
  const auto& keys = (*known)->keys;
  const bool bound = std::find(names.begin(), names.end(), identity) != names.end();
  const bool trusted = std::any_of(keys.begin(), keys.end(), [&](const DeviceKey& key) { return key.pin == key_pin && key.state == KeyState::trusted; });
  return (*known)->enrolled && (*known)->state == DeviceState::trusted && bound && trusted && !key_pin.empty() ? Leases::Standing::good : Leases::Standing::bad;
}

void EapPeer::assessed(std::optional<Recommendation> verdict) {
  if (!admits(radius_->config, verdict) && verdict) verdict = Recommendation::block;
  verdict_.emplace(verdict);
}

ByteVector EapPeer::random_bytes_of(std::size_t count) { return random_bytes(count); }

}  // namespace gatehouse::server
