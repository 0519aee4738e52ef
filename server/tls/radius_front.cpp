#include "server/tls/radius_front.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio.hpp>
#include <thread>

#include "base/datagrams.h"
#include "base/hash.h"
#include "base/hex.h"
#include "base/log.h"
#include "server/config/listen_address.h"
#include "server/radius/user_name.h"
#include "server/tls/eap_peer.h"
#include "server/tls/radius_caller.h"
#include "server/tls/radius_dynamic.h"
#include "server/tls/radius_stream.h"
#include "wire/radius/accounting.h"
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
constexpr int receive_buffer = 4 << 20;

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

// Those that have proved nothing have places of their own, so that they take nobody's.
StreamRoom::Limits limits(const RadiusConfig& config) {
  return {config.max_connections, config.max_connections_per_address, std::clamp<std::size_t>(config.max_connections / 4, 16, 256)};
}

}  // namespace

struct RadiusFront::Socket {
  explicit Socket(asio::io_context& io) : socket(asio::make_strand(io)) {}
  udp::socket socket;
  std::uint8_t number = 0;
  bool accounting = false;  // what it is for
  DatagramReceiver receiver;
  DatagramSender sender;
  // While something is being received: kept for the next time.
  std::vector<Arrived> arrived;
  std::vector<std::vector<radius::Attribute>> rooms;  // for attributes
  std::vector<radius::CheckedRequest> checked;
  struct Answer {
    udp::endpoint to;
    AnswerCache::Key key;
    radius::Authenticator authenticator{};
  };
  std::vector<Answer> answers;  // that leave together
  std::vector<radius::UnsealedAnswer> unsealed;  // of answers
};

// Answers that this thread makes while it takes what came on a socket: they are sealed and leave together.
class RadiusFront::Outbox {
 public:
  // `settings`: whose secrets are there for as long as it is.
  Outbox(AnswerCache& cache, Socket& socket, const RadiusSettings& settings) : cache_(cache), socket_(socket), settings_(settings) { current = this; }
  ~Outbox() {
    current = nullptr;
    send();
  }
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  // Of this thread and this request's socket; null: there is none.
  static Outbox* of(const RadiusRequest& request) {
    return current != nullptr && !request.streamed && current->socket_.number == request.key.socket ? current : nullptr;
  }

  bool seals(const RadiusRequest& request) const { return request.settings.get() == &settings_; }
  // Only what it seals.
  void add_unsealed(const RadiusRequest& request, ByteVector packet) {
    socket_.answers.push_back({request.from, request.key, request.authenticator});
    socket_.unsealed.push_back({std::move(packet), request.client->secret.reveal(), request.client->keyed.get()});
    if (socket_.answers.size() == DatagramSender::most) send();
  }
  void add(const udp::endpoint& to, ByteVector packet) {
    if (socket_.sender.full()) socket_.sender.send(socket_.socket.native_handle());
    socket_.sender.add(DatagramAddress(to.data(), to.size()), std::move(packet));
  }

 private:
  void send() {
    radius::seal_answers(socket_.unsealed);
    // First they are remembered: what is sent again meets them.
    if (!socket_.answers.empty()) {
      AnswerCache::Answers answers(cache_);
      for (std::size_t i = 0; i < socket_.answers.size(); ++i) answers.add(socket_.answers[i].key, socket_.answers[i].authenticator, socket_.unsealed[i].packet);
    }
    for (std::size_t i = 0; i < socket_.answers.size(); ++i) add(socket_.answers[i].to, std::move(socket_.unsealed[i].packet));
    socket_.answers.clear();
    socket_.unsealed.clear();
    if (!socket_.sender.empty()) socket_.sender.send(socket_.socket.native_handle());
  }

  static thread_local Outbox* current;
  AnswerCache& cache_;
  Socket& socket_;
  const RadiusSettings& settings_;
};
thread_local RadiusFront::Outbox* RadiusFront::Outbox::current = nullptr;

struct RadiusFront::Listener {
  explicit Listener(asio::io_context& io) : acceptor(asio::make_strand(io)), pause(acceptor.get_executor()) {}
  asio::ip::tcp::acceptor acceptor;
  asio::steady_timer pause;
  bool tls = false;
};

namespace {
// Of a thread. As many as may arrive at one time.
constexpr std::size_t most_spare = 64;
std::vector<std::unique_ptr<RadiusRequest>>& spare_requests() {
  static thread_local std::vector<std::unique_ptr<RadiusRequest>> spare;
  return spare;
}
}  // namespace

RadiusRequest::Pointer RadiusRequest::make() {
  auto& spare = spare_requests();
  if (spare.empty()) return Pointer(new RadiusRequest);
  Pointer out(spare.back().release());
  spare.pop_back();
  return out;
}

void RadiusRequest::Recycle::operator()(RadiusRequest* request) const {
  std::unique_ptr<RadiusRequest> one(request);
  auto& spare = spare_requests();
  if (spare.size() >= most_spare) return;
  ByteVector eap = std::move(one->eap);
  eap.clear();
  *one = RadiusRequest();
  one->eap = std::move(eap);
  spare.push_back(std::move(one));
}

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
  GH_TRY(out->tls, TlsContext::make(tls, c.resumption));
  if (!c.listen_tls.empty()) {
    // Gateways have authorities of their own: an endpoint's certificate makes nobody a gateway.
    tls.client_ca = c.gateway_ca;
    tls.client_crl = c.gateway_crl;
    tls.auth = Auth::tls;
    GH_TRY(out->gateways, TlsContext::make(tls));
  }
  for (const RadiusUpstream& u : c.upstream) {
    const auto where = parse_listen_address(u.address);
    const auto address = parse_prefix(where ? where->host : std::string());
    if (!where || !address || address->bits != 128 || where->port == 0)
      return fail(Error{Fault::usage, "not an ADDRESS:PORT of a RADIUS server", {}, 0, u.address, {}});
    GH_CHECK(check_private(u.secret_file));
    GH_TRY(Secret secret, read_secret_file(u.secret_file));
    out->upstream.push_back({u.address, address->address, where->port, std::make_shared<const Secret>(std::move(secret))});
  }
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
    if (method == "md5" && out->passwords && !out->passwords->all_clear())
      log::write(log::Level::warning, {}, c.passwords + " has users of whom only the NT hash is kept: they can't use EAP-MD5");
  }
  out->eap.certificate = c.tls_client_auth == "none"       ? EapServer::Certificate::none
                         : c.tls_client_auth == "optional" ? EapServer::Certificate::optional
                                                           : EapServer::Certificate::required;
  out->eap.fragment_size = c.fragment_size;
  out->eap.inner.tnc = c.eap_tnc;
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
  GH_TRY(out->caller_, RadiusCaller::start(out->server_));
  out->dynamic_ = std::make_shared<RadiusDynamic>(out->server_, out->caller_);
  for (const std::string& where : settings->config.listen) GH_CHECK(out->listen(where, count, false));
  for (const std::string& where : settings->config.accounting) GH_CHECK(out->listen(where, 1, true));
  for (const std::string& where : settings->config.listen_tcp) GH_CHECK(out->listen_stream(where, false));
  for (const std::string& where : settings->config.listen_tls) GH_CHECK(out->listen_stream(where, true));
  for (const auto& listener : out->listeners_)
    asio::post(listener->acceptor.get_executor(), [out, one = listener.get()] { out->accept(*one); });
  for (const auto& socket : out->sockets_)
    asio::post(socket->socket.get_executor(), [out, one = socket.get()] { out->await(*one); });
  return out;
}

// Several sockets of one address: the kernel deals the senders out among them.
Result<void> RadiusFront::listen(const std::string& where, unsigned count, bool accounting) {
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
    if (!ec) enable_coalescing(one->socket.native_handle());
    if (ec) return fail(Error{Fault::environment, "can't listen for RADIUS", {}, 0, where, ec.message()});
    endpoint.port(one->socket.local_endpoint().port());
    one->number = std::uint8_t(sockets_.size());
    one->accounting = accounting;
    sockets_.push_back(std::move(one));
  }
  std::uint16_t& first = accounting ? accounting_port_ : port_;
  if (first == 0) first = endpoint.port();
  log::write(log::Level::info, {}, std::string(accounting ? "RADIUS accounting" : "RADIUS") + " listening on " + where.substr(0, where.rfind(':')) + ":" + std::to_string(endpoint.port()));
  return {};
}

Result<void> RadiusFront::listen_stream(const std::string& where, bool tls) {
  const auto parsed = parse_listen_address(where);
  error_code ec;
  const auto address = asio::ip::make_address(parsed ? parsed->host : std::string(), ec);
  if (!parsed || ec) return fail(Error{Fault::usage, "not an ADDRESS:PORT to listen on", {}, 0, where, {}});
  const asio::ip::tcp::endpoint endpoint(address, parsed->port);
  auto one = std::make_unique<Listener>(server_->io);
  one->tls = tls;
  one->acceptor.open(endpoint.protocol(), ec);
  if (!ec) one->acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true), ec);
  if (!ec) one->acceptor.bind(endpoint, ec);
  if (!ec) one->acceptor.listen(1024, ec);
  if (ec) return fail(Error{Fault::environment, "can't listen for RADIUS", {}, 0, where, ec.message()});
  const std::uint16_t port = one->acceptor.local_endpoint().port();
  std::uint16_t& first = tls ? tls_port_ : tcp_port_;
  if (first == 0) first = port;
  log::write(log::Level::info, {}, std::string(tls ? "RADIUS over TLS" : "RADIUS over TCP") + " listening on " + where.substr(0, where.rfind(':')) + ":" + std::to_string(port));
  listeners_.push_back(std::move(one));
  return {};
}

void RadiusFront::accept(Listener& listener) {
  listener.acceptor.async_accept(asio::make_strand(server_->io), [self = shared_from_this(), &listener](error_code ec, asio::ip::tcp::socket socket) {
    if (self->closed_) return;
    if (ec) {
      listener.pause.expires_after(100ms);
      return listener.pause.async_wait([self, &listener](error_code stopped) {
        if (!stopped && !self->closed_) self->accept(listener);
      });
    }
    self->accept(listener);
    const auto settings = self->settings();
    error_code gone;
    const auto peer = socket.remote_endpoint(gone);
    if (gone) return;
    // By certificate it is known later whose it is. A configuration that was read since may know of no TLS any more.
    const IpAddress from = address_bytes(peer.address());
    const bool known = listener.tls ? settings->gateways != nullptr : settings->clients->find(from) != nullptr;
    std::optional<StreamRoom::Taken> taken;
    std::shared_ptr<RadiusStream> ends;
    if (known && !self->draining_) {
      const std::lock_guard lock(self->mutex_);
      taken = self->room_.take(from, limits(settings->config));
      if (taken && taken->gives_way)
        if (const auto node = self->streams_.extract(*taken->gives_way); !node.empty()) ends = node.mapped().stream.lock();
    }
    if (ends) ends->close("it makes room for another one, having proved nothing");
    if (!taken) {
      self->server_->counted.radius_connections_refused.add();
      return self->note_drop(known ? RadiusDrop::limit : RadiusDrop::client, {peer.address(), peer.port()});
    }
    socket.set_option(asio::ip::tcp::no_delay(true), gone);
    socket.set_option(asio::socket_base::keep_alive(true), gone);
    self->server_->counted.radius_connections.add();
    const auto stream = std::make_shared<RadiusStream>(self, taken->id, std::move(socket), peer, listener.tls ? settings->gateways : nullptr,
                                                       settings->config.connect_deadline);
    {
      const std::lock_guard lock(self->mutex_);
      self->streams_.emplace(taken->id, Connected{stream, {}, from});
    }
    stream->begin();
  });
}

bool RadiusFront::proved(const RadiusStream& stream) {
  const auto settings = this->settings();
  const RadiusClient* const client = stream.secured() ? settings->clients->of_subject(stream.subject()) : settings->clients->find(address_bytes(stream.peer().address()));
  {
    const std::lock_guard lock(mutex_);
    const auto at = streams_.find(stream.id());
    if (client == nullptr || at == streams_.end() || !room_.prove(stream.id(), limits(settings->config))) {
      server_->counted.radius_connections_refused.add();
      return false;
    }
    at->second.client = client->name;
  }
  dynamic_->connected(client->name);
  return true;
}

// The newest one: older ones may be dead without a word.
std::shared_ptr<RadiusStream> RadiusFront::stream_of(const RadiusClient& client, const IpAddress& gateway) const {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<RadiusStream> out;
  IpAddress found{};
  bool several = false;
  for (auto at = streams_.rbegin(); at != streams_.rend(); ++at) {
    const Connected& one = at->second;
    const bool same = one.address == gateway;
    // A certificate is its client's, wherever it comes from; an address of a prefix is one gateway of many.
    if (one.client != client.name || (!same && !client.by_certificate)) continue;
    auto stream = one.stream.lock();
    if (!stream) continue;
    if (same) return stream;
    // Of several with one certificate it isn't known which one has it.
    if (out && one.address != found) several = true;
    if (!out) found = one.address;
    if (!out) out = std::move(stream);
  }
  return several ? nullptr : out;
}

void RadiusFront::stream_gone(StreamRoom::Id stream) {
  {
    const std::lock_guard lock(mutex_);
    room_.leave(stream);
    streams_.erase(stream);
  }
  asio::post(server_->own, [server = server_] { server->maybe_done(); });
}

std::shared_ptr<const RadiusSettings> RadiusFront::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

bool RadiusFront::admits(const RadiusStream& stream) const {
  const auto current = settings();
  return stream.secured() ? current->clients->of_subject(stream.subject()) != nullptr
                          : current->clients->find(address_bytes(stream.peer().address())) != nullptr;
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

// What has come, and what comes while that is worked on; not without end, since this thread has others to serve, too. What is
// answered at once goes out together.
void RadiusFront::receive(Socket& socket) {
  constexpr std::size_t enough = 64;
  const auto settings = this->settings();
  const int fd = socket.socket.native_handle();
  Outbox outbox(cache_, socket, *settings);
  std::vector<Arrived>& arrived = socket.arrived;
  for (std::size_t taken = 0; taken < enough;) {
    const unsigned count = socket.receiver.receive(fd, [&](Bytes datagram, const DatagramAddress& address) {
      ++taken;
      udp::endpoint from;
      if (address.size > from.capacity()) return;
      std::memcpy(from.data(), &address.as, address.size);
      from.resize(address.size);
      if (auto one = read(socket, settings, datagram.first(std::min(datagram.size(), radius::max_packet + 1)), from)) arrived.push_back(*std::move(one));
      if (arrived.size() == enough) take_authentic(socket, arrived);
    });
    take_authentic(socket, arrived);
    if (count == 0) return;
  }
}

// In their order; none is left.
void RadiusFront::take_authentic(Socket& socket, std::vector<Arrived>& arrived) {
  std::vector<radius::CheckedRequest>& checked = socket.checked;
  for (const Arrived& one : arrived)
    if (one.packet.code != radius::Code::accounting_request) checked.push_back({&one.packet, one.request->client->keyed.get()});
  radius::check_requests(checked);
  auto next = checked.begin();
  for (Arrived& one : arrived) {
    if (one.packet.code != radius::Code::accounting_request && !next++->authentic) note_drop(RadiusDrop::unauthenticated, one.request->from);
    else take(one, !socket.accounting);
    socket.rooms.push_back(std::move(one.packet.attributes));
  }
  arrived.clear();
  checked.clear();
}

std::optional<RadiusFront::Arrived> RadiusFront::read(Socket& socket, const std::shared_ptr<const RadiusSettings>& settings, Bytes datagram,
                                                      const udp::endpoint& from) {
  auto request = RadiusRequest::make();
  request->settings = settings;
  request->key.address = address_bytes(from.address());
  request->key.port = from.port();
  request->key.socket = socket.number;
  request->from = from;
  request->client = settings->clients->find(request->key.address);
  std::vector<radius::Attribute> room;
  if (!socket.rooms.empty()) {
    room = std::move(socket.rooms.back());
    socket.rooms.pop_back();
  }
  return read(std::move(request), datagram, !socket.accounting, socket.accounting, std::move(room));
}

bool RadiusFront::take(const std::shared_ptr<RadiusStream>& stream, Bytes packet) {
  // A connection is told apart from datagrams, and from others by its port.
  constexpr std::uint8_t of_tcp = 254, of_tls = 255;
  auto request = RadiusRequest::make();
  request->settings = settings();
  const auto& peer = stream->peer();
  request->key.address = address_bytes(peer.address());
  request->key.port = peer.port();
  request->key.socket = stream->secured() ? of_tls : of_tcp;
  request->from = {peer.address(), peer.port()};
  request->client = stream->secured() ? request->settings->clients->of_subject(stream->subject()) : request->settings->clients->find(request->key.address);
  request->stream = stream;
  request->streamed = true;
  auto arrived = read(std::move(request), packet, true, true);
  if (!arrived) return false;
  if (arrived->packet.code != radius::Code::accounting_request && !radius::authentic_request(arrived->packet, *arrived->request->client->keyed)) {
    note_drop(RadiusDrop::unauthenticated, arrived->request->from);
    return false;
  }
  take(*arrived, true);
  return true;
}

std::optional<RadiusFront::Arrived> RadiusFront::read(RadiusRequest::Pointer request, Bytes bytes, bool access, bool accounting, std::vector<radius::Attribute> room) {
  const auto drop = [&](RadiusDrop why) {
    note_drop(why, request->from);
    return std::nullopt;
  };
  if (request->client == nullptr) return drop(RadiusDrop::client);
  auto packet = radius::parse_packet(bytes, std::move(room));
  if (!packet) return drop(RadiusDrop::malformed);
  const bool status = packet->code == radius::Code::status_server, told = packet->code == radius::Code::accounting_request;
  if (!status && !(access && packet->code == radius::Code::access_request) && !(accounting && told)) return drop(RadiusDrop::code);
  if (told && !radius::authentic_accounting(*packet, request->client->secret.reveal())) return drop(RadiusDrop::unauthenticated);
  return Arrived{std::move(request), *std::move(packet)};
}

void RadiusFront::take(Arrived& arrived, bool access) {
  auto& request = arrived.request;
  const radius::Packet* const packet = &arrived.packet;
  const udp::endpoint from = request->from;
  request->key.identifier = packet->identifier;
  request->authenticator = packet->authenticator;
  if (packet->code == radius::Code::accounting_request) return account(*request, *packet);
  for (const radius::Attribute& a : packet->attributes)
    if (a.type == radius::type::proxy_state) request->proxy_states.push_back(to_vector(a.value));
  if (packet->code == radius::Code::status_server) {
    server_->counted.radius_status_requests.add();
    // RFC 5997 section 4.2: nothing but that we are there. Never remembered, never of a conversation.
    const auto code = access ? radius::Code::access_accept : radius::Code::accounting_response;
    auto alive = radius::Builder(code, packet->identifier).finish_answer(packet->authenticator, request->client->secret.reveal());
    if (alive) send(*request, *std::move(alive));
    return;
  }
  auto seen = cache_.take(request->key, packet->authenticator, AnswerCache::Clock::now());
  if (std::holds_alternative<AnswerCache::AtWork>(seen)) {
    return note_drop(RadiusDrop::repeated, from);
  }
  if (auto* answered = std::get_if<AnswerCache::Answered>(&seen)) {
    server_->counted.radius_repeated.add();
    return send(*request, std::move(answered->packet));
  }
  this->access(std::move(request), *packet);
}

// Taken note of; a repeated one changes nothing, so it is answered like the first.
void RadiusFront::account(const RadiusRequest& request, const radius::Packet& packet) {
  const auto told = radius::parse_accounting(packet);
  if (!told) return note_drop(RadiusDrop::malformed, request.from);
  using radius::AcctStatus;
  const std::size_t kind = told->status == AcctStatus::start ? 0 : told->status == AcctStatus::interim ? 1 : told->status == AcctStatus::stop ? 2 : 3;
  server_->counted.radius_accounting[kind].add();
  server_->admitted.account(request.key.address, request.client->name, *told, now_ms(), [this](std::string_view session) { return recall(session); });
  if (log::enabled(log::Level::debug))
    log::write(log::Level::debug, {}, "RADIUS accounting of " + text(request.from) + ": " + std::string(metrics::accounting_kind_names[kind]) + ", user '" +
                                          shown_user(told->user) + "', session '" + escaped(told->session, 64) + "'");
  auto response = radius::accounting_response(packet, request.client->secret.reveal());
  if (response) send(request, *std::move(response));
}

// Of a session that another run of the program has told of.
std::optional<Admitted::Entry> RadiusFront::recall(std::string_view session) const {
  const auto record = server_->state->session(session);
  if (!record || !*record || (*record)->state != SessionState::complete) return std::nullopt;
  const SessionRecord& s = **record;
  Admitted::Entry out;
  out.session = s.intent.session;
  out.device = s.intent.device;
  out.identity = s.intent.identity;
  out.identity_type = s.intent.identity_type;
  if (const auto verdict = pipeline::verdict_from_json(s.verdict)) out.recommendation = verdict->recommendation;
  return out;
}

// New and authentic.
void RadiusFront::access(RadiusRequest::Pointer request, const radius::Packet& packet) {
  server_->counted.radius_access_requests.add();
  const auto tunnelled = radius::eap_message(packet, request->eap);
  if (!tunnelled) return drop(*request, RadiusDrop::malformed);
  if (!*tunnelled) {
    // PAP or CHAP without a tunnel: nothing that could prove a state.
    radius::Builder answer(radius::Code::access_reject, request->key.identifier);
    return this->answer(*request, std::move(answer));
  }
  std::optional<Bytes> state;
  Bytes address;
  // The first of each counts.
  const auto text = [](std::string& to, Bytes value) {
    if (to.empty()) to = as_text(value);
  };
  const auto number = [](std::optional<std::uint32_t>& to, Bytes value) {
    if (!to && value.size() == 4) to = *Reader(value, "RFC 2865 5").get<std::uint32_t>();
  };
  for (const auto& [type, value] : packet.attributes) {
    switch (type) {
      case radius::type::state:
        if (!state) state = value;
        break;
      case radius::type::framed_mtu: number(request->framed_mtu, value); break;
      case radius::type::nas_port: number(request->nas_port, value); break;
      case radius::type::user_name: text(request->user, value); break;
      case radius::type::calling_station_id: text(request->station, value); break;
      case radius::type::nas_identifier: text(request->gateway, value); break;
      case radius::type::acct_session_id: text(request->accounting, value); break;
      case radius::type::nas_ip_address: address = value; break;
      case radius::type::nas_ipv6_address:
        if (address.empty()) address = value;
        break;
      default: break;
    }
  }
  request->nas_address = to_vector(address);
  if (!state) {
    if (draining_ || server_->behind || !crowd_.admits(count_)) return drop(*request, RadiusDrop::load);
    const auto peer = begin(*request);
    if (!peer) return drop(*request, RadiusDrop::limit);
    return peer->take(std::move(request));
  }
  // Whether it is authentic is for the conversation to see, which knows what it gave last.
  const auto conversation = StateCookies::conversation(*state);
  const auto peer = conversation ? find(*conversation) : nullptr;
  if (!peer) return refuse_unknown(*request);
  std::copy(state->begin(), state->end(), request->state.emplace().begin());
  peer->take(std::move(request));
}

std::optional<std::uint32_t> RadiusFront::round(const RadiusRequest& request) const {
  const auto place = cookies_.open(*request.state, request.key.address, request.client->secret.reveal());
  if (!place) return std::nullopt;
  return place->round;
}

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
    std::size_t& of_client = per_client_[request.client->name];
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

void RadiusFront::look(double idle) {
  const std::size_t processors = std::max(1U, std::thread::hardware_concurrency());
  crowd_.look(idle, count_, settings()->config.conversations_per_processor * processors);
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
  for (const auto& listener : listeners_)
    asio::post(listener->acceptor.get_executor(), [self = shared_from_this(), one = listener.get()] {
      error_code ignored;
      one->acceptor.close(ignored);
      one->pause.cancel();
    });
  dynamic_->close();
  caller_->close();
  std::vector<std::shared_ptr<RadiusStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [_, one] : streams_)
      if (auto stream = one.stream.lock()) streams.push_back(std::move(stream));
  }
  for (const auto& stream : streams) stream->close("the server stops");
}

StateCookies::Cookie RadiusFront::state(std::uint64_t conversation, std::uint32_t round, const RadiusRequest& request) const {
  return cookies_.seal({conversation, round}, request.key.address, request.client->secret.reveal());
}

void RadiusFront::answer(const RadiusRequest& request, radius::Builder answer) {
  for (const ByteVector& proxy : request.proxy_states) answer.add(radius::type::proxy_state, proxy);
  auto packet = std::move(answer).finish_unsealed(request.authenticator);
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
  if (Outbox* const outbox = Outbox::of(request); outbox != nullptr && outbox->seals(request)) return outbox->add_unsealed(request, *std::move(packet));
  radius::UnsealedAnswer one{*std::move(packet), request.client->secret.reveal(), request.client->keyed.get()};
  radius::seal_answers({&one, 1});
  cache_.answer(request.key, request.authenticator, one.packet);
  send(request, std::move(one.packet));
}

void RadiusFront::drop(const RadiusRequest& request, RadiusDrop why) {
  cache_.forget(request.key, request.authenticator);
  note_drop(why, request.from);
}

// From any thread: sending doesn't wait, and a datagram that the kernel has no room for is one that got lost.
void RadiusFront::send(const RadiusRequest& request, ByteVector packet) {
  if (closed_) return;
  if (request.streamed) {
    if (const auto stream = request.stream.lock()) stream->send(std::move(packet));
    return;
  }
  if (Outbox* const outbox = Outbox::of(request)) return outbox->add(request.from, std::move(packet));
  const int socket = sockets_[request.key.socket]->socket.native_handle();
  (void)::sendto(socket, packet.data(), packet.size(), MSG_DONTWAIT, request.from.data(), socklen_t(request.from.size()));
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
