// The RADIUS front end: sockets, who may ask, what comes twice, and which conversation a request belongs to. What a request
// asks for is the business of the conversation (eap_peer.h), on a strand of its own.
//
//   datagram ─ parse ─ client by address ─ Message-Authenticator ─ seen before? ─ State ─▶ EapPeer::take()
//                                                                                          └─▶ answer()
#pragma once

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "server/eap/eap_server.h"
#include "server/radius/admitted.h"
#include "server/radius/answer_cache.h"
#include "server/radius/clients.h"
#include "server/radius/crowd.h"
#include "server/radius/state_cookie.h"
#include "server/radius/stream_room.h"
#include "server/state/passwords.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

class EapPeer;
class RadiusCaller;
class RadiusDynamic;
class RadiusStream;

// Another RADIUS server, resolved.
struct UpstreamServer {
  std::string name;  // ADDRESS:PORT
  IpAddress address{};
  std::uint16_t port = 0;
  std::shared_ptr<const Secret> secret;
};

// What SIGHUP replaces; conversations keep what they began with.
struct RadiusSettings {
  RadiusConfig config;
  std::shared_ptr<const RadiusClients> clients;
  std::shared_ptr<const TlsContext> tls;
  std::shared_ptr<const TlsContext> gateways;     // of connections over TLS; null: there are none
  std::vector<UpstreamServer> upstream;           // in order of preference
  std::shared_ptr<const UserFile> users;          // null: none
  std::shared_ptr<const PasswordFile> passwords;  // null: none
  EapServer::Config eap;
  EapServer::Config eap_without_attestation;

  static Result<std::shared_ptr<const RadiusSettings>> load(const Config& config);
};

// An Access-Request that is authentic and new.
struct RadiusRequest {
  std::shared_ptr<const RadiusSettings> settings;  // of whose clients `client` is one
  const RadiusClient* client = nullptr;
  AnswerCache::Key key;
  radius::Authenticator authenticator{};
  boost::asio::ip::udp::endpoint from;
  std::vector<ByteVector> proxy_states;
  ByteVector eap;  // empty: EAP-Start
  std::optional<std::uint32_t> framed_mtu;
  std::string user, station, gateway;  // User-Name, Calling-Station-Id, NAS-Identifier; as they came
  std::string accounting;              // Acct-Session-Id
  ByteVector nas_address;              // NAS-IP-Address or NAS-IPv6-Address
  std::optional<std::uint32_t> nas_port;
  std::weak_ptr<RadiusStream> stream;  // that it came on, where it isn't UDP
  bool streamed = false;
  // Its State, of this conversation if it is one of this server's; nullopt: a conversation begins.
  std::optional<StateCookies::Cookie> state;

  // One comes with each packet, and its memory goes to the next.
  struct Recycle {
    void operator()(RadiusRequest* request) const;
  };
  using Pointer = std::unique_ptr<RadiusRequest, Recycle>;
  static Pointer make();
};

class RadiusFront : public std::enable_shared_from_this<RadiusFront> {
 public:
  // Listens. Errors name the address or the file.
  static Result<std::shared_ptr<RadiusFront>> start(std::shared_ptr<Server::Impl> server, std::shared_ptr<const RadiusSettings> settings);
  void reload(std::shared_ptr<const RadiusSettings> settings);

  // Builds, sends and remembers the answer: `answer` has everything but Proxy-State.
  void answer(const RadiusRequest& request, radius::Builder answer);
  // It isn't answered, and the gateway may send it again.
  void drop(const RadiusRequest& request, metrics::RadiusDrop why);
  // The answer to this one has arrived.
  void forget(const AnswerCache::Key& key, const radius::Authenticator& authenticator) { cache_.forget(key, authenticator); }
  StateCookies::Cookie state(std::uint64_t conversation, std::uint32_t round, const RadiusRequest& request) const;
  // Of its State; nullopt: this client wasn't given that.
  std::optional<std::uint32_t> round(const RadiusRequest& request) const;
  // Its State is forged, of another run of the program, or of a conversation that is over (spec part 1a §3.3).
  void refuse_unknown(const RadiusRequest& request);
  // The conversation is over.
  void remove(std::uint64_t conversation);

  // What has come on a connection; false: it has to be closed (RFC 6613 section 2.6.4).
  bool take(const std::shared_ptr<RadiusStream>& stream, Bytes packet);
  // Whether this connection's peer may ask at all.
  bool admits(const RadiusStream& stream) const;
  // By its certificate or its first authentic packet; false: there is no place for it (any more).
  bool proved(const RadiusStream& stream);
  void stream_gone(StreamRoom::Id stream);

  // The connection on which this client, or of several the gateway of this address, can be asked now; null: there is none.
  std::shared_ptr<RadiusStream> stream_of(const RadiusClient& client, const IpAddress& gateway) const;

  std::shared_ptr<const RadiusSettings> settings() const;
  const std::shared_ptr<RadiusCaller>& caller() const { return caller_; }
  // Of the servers that know passwords, the one that answered last.
  std::size_t upstream() const { return upstream_; }
  void prefer_upstream(std::size_t which) { upstream_ = which; }
  RadiusDynamic& dynamic() const { return *dynamic_; }

  // No new conversations from now on; close() once conversations() is 0 or must not matter.
  void drain() { draining_ = true; }
  void cut();
  void close();
  std::size_t conversations() const { return count_; }
  // idle: the share of the processors' time that nobody used lately. From time to time.
  void look(double idle);
  std::uint16_t port() const { return port_; }
  // 0: there is none.
  std::uint16_t accounting_port() const { return accounting_port_; }
  std::uint16_t tcp_port() const { return tcp_port_; }
  std::uint16_t tls_port() const { return tls_port_; }

  explicit RadiusFront(std::shared_ptr<Server::Impl> server);
  ~RadiusFront();
  RadiusFront(const RadiusFront&) = delete;
  RadiusFront& operator=(const RadiusFront&) = delete;

 private:
  struct Socket;
  class Outbox;
  struct Listener;
  Result<void> listen(const std::string& where, unsigned count, bool accounting);
  Result<void> listen_stream(const std::string& where, bool tls);
  void accept(Listener& listener);
  void await(Socket& socket);
  void receive(Socket& socket);
  // A request that is read and, but for accounting, not yet known to be authentic.
  struct Arrived {
    RadiusRequest::Pointer request;
    radius::Packet packet;
  };
  std::optional<Arrived> read(Socket& socket, const std::shared_ptr<const RadiusSettings>& settings, Bytes datagram, const boost::asio::ip::udp::endpoint& from);
  std::optional<Arrived> read(RadiusRequest::Pointer request, Bytes packet, bool access, bool accounting, std::vector<radius::Attribute> room = {});
  void take_authentic(Socket& socket, std::vector<Arrived>& arrived);
  // An authentic one. `access`: where it came is asked for access, too.
  void take(Arrived& arrived, bool access);
  void account(const RadiusRequest& request, const radius::Packet& packet);
  std::optional<Admitted::Entry> recall(std::string_view session) const;
  void access(RadiusRequest::Pointer request, const radius::Packet& packet);
  void send(const RadiusRequest& request, ByteVector packet);
  void note_drop(metrics::RadiusDrop why, const boost::asio::ip::udp::endpoint& from);
  std::shared_ptr<EapPeer> find(std::uint64_t conversation);
  std::shared_ptr<EapPeer> begin(const RadiusRequest& request);

  const std::shared_ptr<Server::Impl> server_;
  const StateCookies cookies_;
  AnswerCache cache_;
  std::vector<std::unique_ptr<Socket>> sockets_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::shared_ptr<RadiusCaller> caller_;
  std::shared_ptr<RadiusDynamic> dynamic_;
  std::uint16_t port_ = 0, accounting_port_ = 0, tcp_port_ = 0, tls_port_ = 0;
  std::atomic<std::size_t> upstream_{0};
  std::atomic<bool> draining_{false}, closed_{false};
  std::atomic<std::size_t> count_{0};
  Crowd crowd_;
  mutable std::mutex mutex_;
  std::shared_ptr<const RadiusSettings> settings_;                          // guarded by mutex_
  std::unordered_map<std::uint64_t, std::shared_ptr<EapPeer>> peers_;       // guarded by mutex_
  std::map<std::string, std::size_t> per_client_;                           // guarded by mutex_: by the client's name
  StreamRoom room_;                                                         // guarded by mutex_
  struct Connected {
    std::weak_ptr<RadiusStream> stream;
    std::string client;  // of the configuration; empty: it has proved nothing yet
    IpAddress address{};
  };
  std::map<StreamRoom::Id, Connected> streams_;                             // guarded by mutex_: those that have a place
  struct Told {
    std::size_t count = 0;
    std::chrono::steady_clock::time_point last{};
  };
  std::array<Told, metrics::radius_drop_names.size()> told_;                // guarded by mutex_
};

}  // namespace gatehouse::server
