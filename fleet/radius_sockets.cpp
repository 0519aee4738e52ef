#include "fleet/radius_sockets.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <optional>

#include "base/error.h"
#include "wire/radius/radius.h"

namespace gatehouse::fleet {

struct RadiusSockets::Socket {
  Descriptor fd;
  std::size_t conversations = 0;
  std::uint8_t last = 0;                               // identifier
  std::array<std::optional<std::uint32_t>, 256> who{};  // by identifier
  DatagramSender sender;
};

RadiusSockets::RadiusSockets(const sockaddr* server, std::size_t size, std::size_t per_gateway, int epoll)
    : server_(server, size), per_gateway_(per_gateway), epoll_(epoll) {
  GH_ASSERT(per_gateway >= 1 && per_gateway <= most_per_gateway);
}

RadiusSockets::~RadiusSockets() = default;

bool RadiusSockets::enter(Place& place) {
  if (roomy_.empty()) {
    auto one = std::make_shared<Socket>();
    one->fd = Descriptor(::socket(server_.as.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!one->fd || ::connect(one->fd.get(), &server_.as.any, server_.size) != 0) return false;
    enable_coalescing(one->fd.get());
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = mark | std::uint64_t(one->fd.get());
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, one->fd.get(), &event) != 0) return false;
    roomy_.insert(one->fd.get());
    sockets_.emplace(one->fd.get(), std::move(one));
  }
  place = {*roomy_.begin(), -1};
  if (++sockets_.at(place.fd)->conversations == per_gateway_) roomy_.erase(place.fd);
  return true;
}

void RadiusSockets::leave(Place& place) {
  if (place.fd < 0) return;
  const auto at = sockets_.find(place.fd);
  Socket& socket = *at->second;
  if (place.identifier >= 0) socket.who[std::size_t(place.identifier)].reset();
  roomy_.insert(place.fd);
  if (--socket.conversations == 0) {
    roomy_.erase(place.fd);
    sockets_.erase(at);
  }
  place = {};
}

std::uint8_t RadiusSockets::identify(Place& place, std::uint32_t who) {
  Socket& socket = *sockets_.at(place.fd);
  if (place.identifier >= 0) socket.who[std::size_t(place.identifier)].reset();
  while (socket.who[++socket.last]) {
  }
  socket.who[socket.last] = who;
  place.identifier = socket.last;
  return socket.last;
}

// What the kernel has no room for, or the server doesn't listen to, is lost.
void RadiusSockets::send(const Place& place, Bytes datagram) {
  const auto& socket = sockets_.at(place.fd);
  if (socket->sender.full()) socket->sender.send(place.fd);
  if (socket->sender.empty()) to_flush_.push_back(socket);
  socket->sender.add({}, to_vector(datagram));
}

void RadiusSockets::flush() {
  for (const auto& socket : to_flush_)
    if (!socket->sender.empty()) socket->sender.send(socket->fd.get());
  to_flush_.clear();
}

void RadiusSockets::receive(int fd, const std::function<void(std::uint32_t, Bytes)>& take) {
  const auto at = sockets_.find(fd);
  if (at == sockets_.end()) return;
  const std::shared_ptr<Socket> socket = at->second;  // its last conversation may end meanwhile
  const auto one = [&](Bytes datagram, const DatagramAddress&) {
    if (datagram.size() < radius::header_size) return;
    if (const auto who = socket->who[std::size_t(datagram[1])]) take(*who, datagram);
  };
  while (receiver_.receive(fd, one) == DatagramReceiver::at_once) {
  }
}

}  // namespace gatehouse::fleet
