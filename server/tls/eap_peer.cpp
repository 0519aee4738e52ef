#include "server/tls/eap_peer.h"

#include <algorithm>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/post.hpp>

#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "server/radius/reply.h"
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
    : SessionHost(server, server->io.get_executor(), whereabouts(first), first.from.address().to_string()),
      front_(std::move(front)), id_(id), radius_(first.settings), client_(first.client->prefix),
      eap_(*this, first.client->attestation ? radius_->eap : radius_->eap_without_attestation, make_tls_tunnel(radius_->tls)), timer_(strand_), began_(std::chrono::steady_clock::now()) {
  settings_.auth = Auth::none;
  settings_.idle_deadline = radius_->config.idle_deadline;
  settings_.total_deadline = radius_->config.total_deadline;
  users_ = radius_->users;
}

EapPeer::~EapPeer() {
  asio::post(server_->own, [server = server_] { server->maybe_done(); });
}

void EapPeer::take(RadiusRequest request) {
  asio::post(strand_, [self = self(), request = std::move(request)]() mutable { self->go_on(std::move(request)); });
}

void EapPeer::cut() {
  asio::post(strand_, [self = self()] { self->end(); });
}

void EapPeer::go_on(RadiusRequest request) {
  if (gone_) return front_->drop(request, RadiusDrop::replayed);
  if (request.round != round_) return front_->drop(request, RadiusDrop::replayed);
  if (request_) return front_->drop(request, RadiusDrop::repeated);
  if (request.framed_mtu && *request.framed_mtu >= smallest_mtu) eap_.limit_fragments(*request.framed_mtu - link_header);
  const Result<void> taken = eap_.receive(request.eap);
  if (!taken) return front_->drop(request, RadiusDrop::eap);
  // The gateway has got the last answer, so nobody will ask for it again.
  if (last_) front_->forget(last_->first, last_->second);
  last_.reset();
  request_ = std::move(request);
  arm(radius_->config.idle_deadline);
  if (std::chrono::steady_clock::now() - began_ > radius_->config.total_deadline) {
    log(LogLevel::warning, "EAP conversation with " + address_ + " takes too long");
    const RadiusRequest last = *std::exchange(request_, std::nullopt);
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
  if (auto packet = eap_.take_packet()) conclude(*std::move(packet));
}

// Challenge, Accept or Reject.
void EapPeer::conclude(ByteVector packet) {
  const RadiusRequest request = *std::exchange(request_, std::nullopt);
  const auto answer = [&](radius::Code code) {
    radius::Builder out(code, request.key.identifier);
    out.add_eap(packet);
    return out;
  };
  if (!eap_.over()) {
    last_.emplace(request.key, request.authenticator);
    radius::Builder challenge = answer(radius::Code::access_challenge);
    challenge.add(radius::type::state, front_->state(id_, ++round_, request));
    return front_->answer(request, std::move(challenge));
  }
  const auto verdict = eap_.verdict();
  const RadiusConfig& config = request.settings->config;
  RadiusReply reply = verdict == Recommendation::allow     ? config.allow
                      : verdict == Recommendation::isolate ? config.isolate
                                                           : config.block;
  // A gateway may admit it for as long as the verdict holds.
  if (const std::chrono::seconds lease = server_->config.lease; admits(config, verdict) && lease.count() != 0 &&
                                                                 (reply.session_timeout.count() == 0 || reply.session_timeout > lease))
    reply.session_timeout = lease;
  // Not beyond the end of the lease.
  if (lease_left_ && (reply.session_timeout.count() == 0 || reply.session_timeout > *lease_left_)) reply.session_timeout = *lease_left_;
  const auto keys = eap_.keys();
  const bool good = admits(config, verdict) && keys;
  const std::string why = eap_.failure().empty() ? "" : ": " + std::string(eap_.failure());
  log(good ? LogLevel::info : LogLevel::warning,
      std::string(good ? "Access-Accept" : "Access-Reject") + " for '" + escaped(eap_.outer_identity()) + "' at " + address_ + ": " +
          (verdict ? std::string(pipeline::name(*verdict)) : "no verdict") + why + (eap_.failure_detail().empty() ? "" : ": " + eap_.failure_detail()));
  radius::Builder out = answer(good ? radius::Code::access_accept : radius::Code::access_reject);
  if (good) {
    std::uint16_t salt = 0;
    fill_random(std::as_writable_bytes(std::span(&salt, 1)));
    append_accept(out, reply, request.client->profile, keys->reveal().first(msk_size), salt, {}, request.authenticator,
                  request.client->secret.reveal());
  } else {
    append_reject(out, reply);
  }
  front_->answer(request, std::move(out));
  end();
}

void EapPeer::arm(std::chrono::milliseconds from_now) {
  timer_.expires_after(from_now);
  timer_.async_wait(asio::bind_executor(strand_, [self = self(), deadline = ++deadline_](error_code ec) {
    if (!ec && !self->gone_ && deadline == self->deadline_) self->expire();
  }));
}

void EapPeer::set_deadline(std::chrono::milliseconds from_now) { arm(from_now); }

// Nobody asks any more, or we can't answer in time.
void EapPeer::expire() {
  const bool ours = request_.has_value();
  if (session_ && !session_->ended()) {
    clock_.enter(Doing::protocol);
    session_->on_deadline();
    if (ours) {
      arm(radius_->config.idle_deadline);
      return after();
    }
  }
  server_->counted.eap_expired.add();
  if (!session_) log(LogLevel::info, "EAP conversation of '" + escaped(eap_.outer_identity()) + "' at " + address_ + " was left");
  end();
}

void EapPeer::end() {
  if (gone_) return;
  gone_ = true;
  clock_.enter(Doing::closing);
  timer_.cancel();
  room_timer_.cancel();
  if (request_) front_->drop(*std::exchange(request_, std::nullopt), RadiusDrop::load);
  if (session_ && !session_->ended()) session_->on_peer_gone();
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
  check_password(std::move(user), std::move(password));
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

void EapPeer::begin_assessment(const EapIdentity& identity) {
  clock_.begin();
  session_ = std::make_unique<Session>(*this, settings_, *server_->state, Peer{address_, identity.name, identity.type, {}}, Carrier::pt_eap);
  log(LogLevel::info, "PT-EAP with " + address_ + ", identity '" + escaped(identity.name) + "' (" + identity.type + "), EAP identity '" +
                          escaped(eap_.outer_identity()) + "'");
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
  if (mode == "lease") {
    const std::chrono::seconds verdicts = server_->config.lease;
    const auto length = verdicts.count() != 0 ? std::min(radius_->config.lease, verdicts) : radius_->config.lease;
    const auto lease = server_->leases.find({identity.name, identity.type}, length, server::now_ms(),
                                            [&](const std::string& device, const std::string& key_pin) { return standing(device, key_pin, identity.name); });
    if (lease && lease->recommendation == Recommendation::allow) lease_left_ = lease->left;
    log(LogLevel::info, "'" + escaped(identity.name) + "' at " + address_ + " by its lease: " +
                            (lease ? std::string(pipeline::name(lease->recommendation)) + ", device " + escaped(lease->device) + ", " +
                                         std::to_string(lease->left.count()) + " s left"
                                   : std::string("none, isolated")));
    return assessed(lease ? lease->recommendation : Recommendation::isolate);
  }
  const bool isolate = mode == "isolate";
  log(LogLevel::warning, "'" + escaped(identity.name) + "' at " + address_ + " isn't assessed: its EAP client knows no PT-EAP, or isn't asked for it; " +
                             (isolate ? "isolated" : "refused"));
  assessed(isolate ? Recommendation::isolate : Recommendation::block);
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
