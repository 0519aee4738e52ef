#include "server/tls/radius_front.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio.hpp>
#include <thread>

#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "server/config/listen_address.h"
#include "server/tls/eap_peer.h"
#include "wire/eap/eap.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;
using metrics::RadiusDrop;
using namespace std::chrono_literals;

namespace {

// Of packets that get no answer, the log tells how many there were in so long.
constexpr auto drops_interval = 10s;
// Datagrams that are taken from the kernel at once.
constexpr unsigned at_once = 16;
constexpr int receive_buffer = 4 << 20;

IpAddress bytes_of(const asio::ip::address& address) {
  return address.is_v6() ? address.to_v6().to_bytes() : asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()).to_bytes();
}

std::string text(const udp::endpoint& from) { return from.address().to_string() + ":" + std::to_string(from.port()); }

std::string_view what(RadiusDrop why) {
  switch (why) {
    case RadiusDrop::client: return "no client of this address";
    case RadiusDrop::malformed: return "malformed";
    case RadiusDrop::unauthenticated: return "Message-Authenticator missing or wrong: another secret, or none of this client's";
    case RadiusDrop::code: return "nothing that is served here";
    case RadiusDrop::repeated: return "it is being worked on";
    case RadiusDrop::replayed: return "of an earlier round";
    case RadiusDrop::eap: return "its EAP packet doesn't answer what was asked";
    case RadiusDrop::limit: return "as many conversations as there may be";
    case RadiusDrop::load: return "the server is behind, or stops";
  }
  return "";
}

}  // namespace

struct RadiusFront::Socket {
  explicit Socket(asio::io_context& io) : socket(asio::make_strand(io)) {}
  udp::socket socket;
  std::uint8_t number = 0;
  std::array<std::array<std::byte, radius::max_packet + 1>, at_once> buffers{};
};

RadiusFront::RadiusFront(std::shared_ptr<Server::Impl> server) : server_(std::move(server)) {}
RadiusFront::~RadiusFront() = default;

Result<std::shared_ptr<const RadiusSettings>> RadiusSettings::load(const Config& config) {
  auto out = std::make_shared<RadiusSettings>();
  const RadiusConfig& c = out->config = config.radius;
  std::vector<std::string> warnings;
  GH_TRY(out->clients, RadiusClients::load(c, warnings));
  for (const std::string& warning : warnings) log::write(log::Level::warning, {}, warning);
  Config tls = config;
  tls.certificate = c.certificate;
  tls.key = c.key;
  tls.client_ca = c.tls_client_auth == "none" ? std::string() : c.client_ca;
  tls.client_crl = c.client_crl;
  tls.auth = c.tls_client_auth == "required" ? Auth::tls : Auth::tls_or_sasl;
  GH_TRY(out->tls, TlsContext::make(tls));
  if (!c.users.empty()) {
    GH_TRY(UserFile users, UserFile::load(c.users));
    out->users = std::make_shared<const UserFile>(std::move(users));
  }
  if (!c.passwords.empty()) {
    GH_TRY(PasswordFile passwords, PasswordFile::load(c.passwords));
    out->passwords = std::make_shared<const PasswordFile>(std::move(passwords));
  }
  for (const std::string& method : c.methods) {
    if (method == "pap") out->eap.inner.pap = true;
    else out->eap.inner.methods.push_back(method == "md5" ? eap::type::md5_challenge : method == "gtc" ? eap::type::gtc : eap::type::mschap_v2);
    if (method == "md5" && !out->passwords->all_clear())
      log::write(log::Level::warning, {}, c.passwords + " has users of whom only the NT hash is kept: they can't use EAP-MD5");
  }
  out->eap.certificate = c.tls_client_auth == "none"       ? EapServer::Certificate::none
                         : c.tls_client_auth == "optional" ? EapServer::Certificate::optional
                                                           : EapServer::Certificate::required;
  out->eap.fragment_size = c.fragment_size;
  out->eap_without_attestation = out->eap;
  out->eap_without_attestation.inner.assess = false;
  return out;
}

Result<std::shared_ptr<RadiusFront>> RadiusFront::start(std::shared_ptr<Server::Impl> server, std::shared_ptr<const RadiusSettings> settings) {
  auto out = std::make_shared<RadiusFront>(std::move(server));
  out->settings_ = settings;
  const Config& config = out->server_->config;
  unsigned count = settings->config.sockets;
  if (count == 0) count = config.threads != 0 ? std::min(config.threads, 64U) : std::clamp(std::thread::hardware_concurrency(), 1U, 64U);
  for (const std::string& where : settings->config.listen) GH_CHECK(out->listen(where, count));
  for (const auto& socket : out->sockets_)
    asio::post(socket->socket.get_executor(), [out, one = socket.get()] { out->await(*one); });
  return out;
}

// Several sockets of one address: the kernel deals the senders out among them.
Result<void> RadiusFront::listen(const std::string& where, unsigned count) {
  const auto parsed = parse_listen_address(where);
  error_code ec;
  const auto address = asio::ip::make_address(parsed ? parsed->host : std::string(), ec);
  if (!parsed || ec) return fail(Error{Fault::usage, "not an ADDRESS:PORT to listen on", {}, 0, where, {}});
  udp::endpoint endpoint(address, parsed->port);
  for (unsigned i = 0; i < count; ++i) {
    auto one = std::make_unique<Socket>(server_->io);
    const int on = 1;
    one->socket.open(endpoint.protocol(), ec);
    if (!ec && ::setsockopt(one->socket.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ec = error_code(errno, asio::error::get_system_category());
    error_code ignored;
    one->socket.set_option(asio::socket_base::receive_buffer_size(receive_buffer), ignored);
    if (!ec) one->socket.bind(endpoint, ec);
    if (!ec) one->socket.native_non_blocking(true, ec);
    if (ec) return fail(Error{Fault::environment, "can't listen for RADIUS", {}, 0, where, ec.message()});
    endpoint.port(one->socket.local_endpoint().port());
    one->number = std::uint8_t(sockets_.size());
    sockets_.push_back(std::move(one));
  }
  if (port_ == 0) port_ = endpoint.port();
  log::write(log::Level::info, {}, "RADIUS listening on " + where.substr(0, where.rfind(':')) + ":" + std::to_string(endpoint.port()));
  return {};
}

void RadiusFront::reload(std::shared_ptr<const RadiusSettings> settings) {
  const std::lock_guard lock(mutex_);
  settings_ = std::move(settings);
}

void RadiusFront::await(Socket& socket) {
  socket.socket.async_wait(udp::socket::wait_read, [self = shared_from_this(), &socket](error_code ec) {
    if (ec || self->closed_) return;
    self->receive(socket);
    self->await(socket);
  });
}

void RadiusFront::receive(Socket& socket) {
  std::array<mmsghdr, at_once> messages{};
  std::array<iovec, at_once> pieces{};
  std::array<sockaddr_storage, at_once> senders{};
  for (unsigned i = 0; i < at_once; ++i) {
    pieces[i] = {socket.buffers[i].data(), socket.buffers[i].size()};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = &senders[i];
    messages[i].msg_hdr.msg_namelen = sizeof senders[i];
  }
  const int n = ::recvmmsg(socket.socket.native_handle(), messages.data(), at_once, MSG_DONTWAIT, nullptr);
  for (int i = 0; i < n; ++i) {
    const auto at = std::size_t(i);
    udp::endpoint from;
    if (messages[at].msg_hdr.msg_namelen > from.capacity()) continue;
    std::memcpy(from.data(), &senders[at], messages[at].msg_hdr.msg_namelen);
    from.resize(messages[at].msg_hdr.msg_namelen);
    take(socket, Bytes(socket.buffers[at].data(), messages[at].msg_len), from);
  }
}

void RadiusFront::take(Socket& socket, Bytes datagram, const udp::endpoint& from) {
  RadiusRequest request;
  {
    const std::lock_guard lock(mutex_);
    request.settings = settings_;
  }
  const IpAddress address = bytes_of(from.address());
  request.client = request.settings->clients->find(address);
  if (request.client == nullptr) return note_drop(RadiusDrop::client, from);
  const auto packet = radius::parse_packet(datagram);
  if (!packet) return note_drop(RadiusDrop::malformed, from);
  if (packet->code != radius::Code::access_request && packet->code != radius::Code::status_server) return note_drop(RadiusDrop::code, from);
  const Bytes secret = request.client->secret.reveal();
  if (!radius::authentic_request(*packet, secret)) return note_drop(RadiusDrop::unauthenticated, from);
  request.key = {address, from.port(), socket.number, packet->identifier};
  request.authenticator = packet->authenticator;
  request.from = from;
  for (const radius::Attribute& a : packet->attributes)
    if (a.type == radius::type::proxy_state) request.proxy_states.push_back(to_vector(a.value));
  if (packet->code == radius::Code::status_server) {
    server_->counted.radius_status_requests.add();
    // RFC 5997 section 4.2: nothing but that we are there. Never remembered, never of a conversation.
    auto alive = radius::Builder(radius::Code::access_accept, packet->identifier).finish_answer(packet->authenticator, secret);
    if (alive) send(request, *alive);
    return;
  }
  const auto seen = cache_.take(request.key, packet->authenticator, AnswerCache::Clock::now());
  if (std::holds_alternative<AnswerCache::AtWork>(seen)) return note_drop(RadiusDrop::repeated, from);
  if (const auto* answered = std::get_if<AnswerCache::Answered>(&seen)) {
    server_->counted.radius_repeated.add();
    return send(request, answered->packet);
  }
  access(std::move(request), *packet);
}

// New and authentic.
void RadiusFront::access(RadiusRequest request, const radius::Packet& packet) {
  server_->counted.radius_access_requests.add();
  auto eap = radius::eap_message(packet);
  if (!eap) return drop(request, RadiusDrop::malformed);
  if (!*eap) {
    // PAP or CHAP without a tunnel: nothing that could prove a state.
    radius::Builder answer(radius::Code::access_reject, request.key.identifier);
    return this->answer(request, std::move(answer));
  }
  request.eap = **std::move(eap);
  request.framed_mtu = packet.number(radius::type::framed_mtu);
  request.user = packet.text(radius::type::user_name);
  request.station = packet.text(radius::type::calling_station_id);
  request.gateway = packet.text(radius::type::nas_identifier);
  const auto state = packet.find(radius::type::state);
  if (!state) {
    if (draining_ || server_->behind) return drop(request, RadiusDrop::load);
    const auto peer = begin(request);
    if (!peer) return drop(request, RadiusDrop::limit);
    return peer->take(std::move(request));
  }
  const auto place = cookies_.open(*state, request.key.address, request.client->secret.reveal());
  const auto peer = place ? find(place->conversation) : nullptr;
  if (!peer) return refuse_unknown(request);
  request.round = place->round;
  peer->take(std::move(request));
}

// Forged, of another run of the program, or of a conversation that is over (spec part 1a §3.3).
void RadiusFront::refuse_unknown(const RadiusRequest& request) {
  radius::Builder answer(radius::Code::access_reject, request.key.identifier);
  const auto packet = eap::parse_packet(request.eap);
  answer.add_eap(eap::failure(packet ? packet->identifier : std::uint8_t{0}));
  this->answer(request, std::move(answer));
}

std::shared_ptr<EapPeer> RadiusFront::find(std::uint64_t conversation) {
  const std::lock_guard lock(mutex_);
  const auto at = peers_.find(conversation);
  return at == peers_.end() ? nullptr : at->second;
}

std::shared_ptr<EapPeer> RadiusFront::begin(const RadiusRequest& request) {
  std::uint64_t id = 0;
  fill_random(std::as_writable_bytes(std::span(&id, 1)));
  {
    const std::lock_guard lock(mutex_);
    std::size_t& of_client = per_client_[request.client->prefix];
    if (peers_.size() >= request.settings->config.max_conversations || of_client >= request.settings->config.max_conversations_per_client ||
        peers_.contains(id))
      return nullptr;
    ++of_client;
    ++count_;
    peers_.emplace(id, nullptr);  // its place, while it is made
  }
  auto peer = std::make_shared<EapPeer>(shared_from_this(), server_, id, request);
  server_->counted.eap_conversations.add();
  const std::lock_guard lock(mutex_);
  peers_[id] = peer;
  return peer;
}

void RadiusFront::remove(std::uint64_t conversation) {
  std::shared_ptr<EapPeer> gone;  // may end here, and not with the mutex held
  {
    const std::lock_guard lock(mutex_);
    const auto at = peers_.find(conversation);
    if (at == peers_.end()) return;
    gone = std::move(at->second);
    peers_.erase(at);
    const auto of_client = per_client_.find(gone->client());
    if (--of_client->second == 0) per_client_.erase(of_client);
    --count_;
  }
  asio::post(server_->own, [server = server_] { server->maybe_done(); });
}

void RadiusFront::cut() {
  std::vector<std::shared_ptr<EapPeer>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [_, peer] : peers_)
      if (peer) all.push_back(peer);
  }
  for (const auto& peer : all) peer->cut();
}

void RadiusFront::close() {
  if (closed_.exchange(true)) return;
  for (const auto& socket : sockets_)
    asio::post(socket->socket.get_executor(), [self = shared_from_this(), one = socket.get()] {
      // The descriptor stays until nobody can send any more.
      error_code ignored;
      one->socket.cancel(ignored);
    });
}

ByteVector RadiusFront::state(std::uint64_t conversation, std::uint32_t round, const RadiusRequest& request) const {
  return cookies_.seal({conversation, round}, request.key.address, request.client->secret.reveal());
}

void RadiusFront::answer(const RadiusRequest& request, radius::Builder answer) {
  for (const ByteVector& proxy : request.proxy_states) answer.add(radius::type::proxy_state, proxy);
  const auto packet = std::move(answer).finish_answer(request.authenticator, request.client->secret.reveal());
  if (!packet) {
    log::write(log::Level::error, {}, "RADIUS answer to " + text(request.from) + ": " + packet.error().text());
    cache_.forget(request.key, request.authenticator);
    return;
  }
  switch (radius::Code(std::uint8_t(packet->front()))) {
    case radius::Code::access_accept: server_->counted.radius_accepts.add(); break;
    case radius::Code::access_challenge: server_->counted.radius_challenges.add(); break;
    default: server_->counted.radius_rejects.add(); break;
  }
  cache_.answer(request.key, request.authenticator, *packet);
  send(request, *packet);
}

void RadiusFront::drop(const RadiusRequest& request, RadiusDrop why) {
  cache_.forget(request.key, request.authenticator);
  note_drop(why, request.from);
}

// From any thread: sending doesn't wait, and a datagram that the kernel has no room for is one that got lost.
void RadiusFront::send(const RadiusRequest& request, Bytes packet) {
  if (closed_) return;
  Socket& socket = *sockets_[request.key.socket];
  (void)::sendto(socket.socket.native_handle(), packet.data(), packet.size(), MSG_DONTWAIT, request.from.data(), socklen_t(request.from.size()));
}

void RadiusFront::note_drop(RadiusDrop why, const udp::endpoint& from) {
  server_->counted.radius_dropped[std::size_t(why)].add();
  std::size_t many = 0;
  {
    const std::lock_guard lock(mutex_);
    Told& told = told_[std::size_t(why)];
    ++told.count;
    const auto now = std::chrono::steady_clock::now();
    if (why == RadiusDrop::repeated || (told.last != decltype(told.last){} && now - told.last < drops_interval)) return;
    told.last = now;
    many = std::exchange(told.count, 0);
  }
  log::write(log::Level::warning, {}, "RADIUS packet of " + text(from) + " dropped: " + std::string(what(why)) +
                                          (many > 1 ? "; with it " + std::to_string(many) + " since this was last said" : ""));
}

}  // namespace gatehouse::server
