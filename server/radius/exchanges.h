// Requests that this server makes of other RADIUS servers and of gateways, sans I/O: identifiers, sending again until the answer
// comes, and which answer is believed (RFC 2865 section 3, RFC 5080 section 2.2.1, RFC 5176 section 3.5).
//
//   const auto id = exchanges.begin({gateway, secret, make, {2s, 4s, 8s}}, now);   // nullopt: too many are under way
//   for (const auto& datagram : exchanges.to_send()) send(datagram);
//   if (const auto end = exchanges.receive(from, datagram, now)) …                  // its answer
//   for (const auto& end : exchanges.expire(now)) …                                // none came
//
// A request keeps its identifier and its bytes for as long as it is sent again. 256 can be under way to one address and port; more
// wait their turn, for as long as their patience lasts: what a request holds is held no longer than that and its waits. Not to be
// used by two threads at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "server/config/address_prefix.h"
#include "wire/radius/radius.h"

namespace gatehouse::server {

class Exchanges {
 public:
  using Clock = std::chrono::steady_clock;
  using Id = std::uint64_t;
  struct Peer {
    IpAddress address{};
    std::uint16_t port = 0;
    friend auto operator<=>(const Peer&, const Peer&) = default;
  };
  struct Request {
    Peer to;
    std::shared_ptr<const Secret> secret;
    std::function<Result<ByteVector>(std::uint8_t identifier)> make;
    std::vector<std::chrono::milliseconds> waits;  // how long after each sending; one at least
    bool authenticated = false;                    // its answer needs a Message-Authenticator
    std::chrono::milliseconds patience = std::chrono::minutes(1);  // how long it may wait for an identifier
  };
  struct Datagram {
    Peer to;
    ByteVector packet;
  };
  struct End {
    Id id = 0;
    ByteVector answer;  // whole and believed; empty: none came
  };

  explicit Exchanges(std::size_t most = 65'536) : most_(most) {}

  // nullopt: as many as there may be.
  std::optional<Id> begin(Request request, Clock::time_point now);
  // What has to go out now, each once.
  std::vector<Datagram> to_send();
  // nullopt: it answers nothing that is under way, or isn't to be believed.
  std::optional<End> receive(const Peer& from, Bytes datagram, Clock::time_point now);
  // Sends again what has waited long enough, and gives up what has been sent often enough, or has waited too long for its turn.
  std::vector<End> expire(Clock::time_point now);
  // When expire() has something to do; nullopt: there is nothing under way.
  std::optional<Clock::time_point> next() const;
  std::size_t size() const { return active_.size() + waiting_for_.size(); }

 private:
  struct Active {
    Request request;
    std::uint8_t identifier = 0;
    radius::Authenticator authenticator{};
    ByteVector packet;
    std::size_t sent = 0;
    Clock::time_point due;
  };
  struct Free {
    std::set<std::uint8_t> used;
    std::uint8_t last = 0;
  };
  // Of one that waits for an identifier.
  struct Turn {
    Peer to;
    Clock::time_point due;
  };
  bool start(Id id, Request& request, Clock::time_point now);
  void send(Id id, Active& one, Clock::time_point now);
  void finish(std::map<Id, Active>::iterator at, Clock::time_point now);
  Request take_waiting(std::map<Id, Turn>::iterator at);

  const std::size_t most_;
  Id last_ = 0;
  std::map<Id, Active> active_;
  std::map<std::pair<Peer, std::uint8_t>, Id> by_identifier_;
  std::map<Peer, Free> identifiers_;
  std::set<std::pair<Clock::time_point, Id>> due_;  // of those that are under way, and of those that wait
  std::map<Peer, std::map<Id, Request>> waiting_;   // for an identifier, in their order; none is empty
  std::map<Id, Turn> waiting_for_;                  // those of all
  std::vector<Datagram> out_;
};

}  // namespace gatehouse::server
