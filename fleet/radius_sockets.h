// The UDP sockets of one thread's gateways. By one of them there go as many conversations as a gateway is to have; each request has
// an identifier that no other one of its socket has (RFC 2865 section 3), by which its answer finds back. What is said in one turn
// leaves together.
//
//   RadiusSockets sockets(address, size, 16, epoll);
//   RadiusSockets::Place place;
//   if (sockets.enter(place)) …                      // this conversation goes by the socket of place
//   const std::uint8_t identifier = sockets.identify(place, who);
//   sockets.send(place, request);
//   sockets.flush();                                  // at the end of the turn
//   sockets.receive(fd, [](std::uint32_t who, Bytes answer) { … });   // epoll said so
//   sockets.leave(place);
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "base/datagrams.h"
#include "base/descriptor.h"

namespace gatehouse::fleet {

class RadiusSockets {
 public:
  // Beyond, identifiers would come round again while answers of their last requests may still be under way.
  static constexpr std::size_t most_per_gateway = 128;
  // Events of the sockets have `mark | descriptor` for their data.
  static constexpr std::uint64_t mark = std::uint64_t(1) << 63;

  RadiusSockets(const sockaddr* server, std::size_t size, std::size_t per_gateway, int epoll);
  ~RadiusSockets();
  RadiusSockets(const RadiusSockets&) = delete;
  RadiusSockets& operator=(const RadiusSockets&) = delete;

  struct Place {
    int fd = -1;
    int identifier = -1;  // of the request that is outstanding
  };
  // False: there is no socket; errno says why.
  bool enter(Place& place);
  void leave(Place& place);
  std::uint8_t identify(Place& place, std::uint32_t who);
  void send(const Place& place, Bytes datagram);
  void flush();
  void receive(int fd, const std::function<void(std::uint32_t, Bytes)>& take);

 private:
  struct Socket;
  const DatagramAddress server_;
  const std::size_t per_gateway_;
  const int epoll_;
  std::map<int, std::shared_ptr<Socket>> sockets_;  // by descriptor
  std::set<int> roomy_;                             // those that have room
  std::vector<std::shared_ptr<Socket>> to_flush_;
  DatagramReceiver receiver_;
};

}  // namespace gatehouse::fleet
