#include "server/tls/radius_caller.h"

#include <sys/socket.h>

#include <array>
#include <boost/asio.hpp>

namespace gatehouse::server {

namespace asio = boost::asio;
using asio::ip::udp;
using boost::system::error_code;

IpAddress address_bytes(const asio::ip::address& address) {
  return address.is_v6() ? address.to_v6().to_bytes() : asio::ip::make_address_v6(asio::ip::v4_mapped, address.to_v4()).to_bytes();
}

namespace {

udp::endpoint endpoint_of(const Exchanges::Peer& peer) {
  const asio::ip::address_v6 address(peer.address);
  if (address.is_v4_mapped()) return {asio::ip::make_address_v4(asio::ip::v4_mapped, address), peer.port};
  return {address, peer.port};
}

}  // namespace

RadiusCaller::RadiusCaller(std::shared_ptr<Server::Impl> server)
    : server_(std::move(server)), strand_(asio::make_strand(server_->io)), v4_(strand_), v6_(strand_), timer_(strand_) {}

Result<std::shared_ptr<RadiusCaller>> RadiusCaller::start(std::shared_ptr<Server::Impl> server) {
  auto out = std::make_shared<RadiusCaller>(std::move(server));
  error_code ec;
  const auto open = [&](udp::socket& socket, udp protocol) {
    socket.open(protocol, ec);
    if (!ec) socket.native_non_blocking(true, ec);
    return !ec;
  };
  if (!open(out->v4_, udp::v4())) return fail(Error{Fault::environment, "no socket for RADIUS", {}, 0, {}, ec.message()});
  // There are machines without IPv6.
  const bool both = open(out->v6_, udp::v6());
  asio::post(out->strand_, [out, both] {
    out->await(out->v4_);
    if (both) out->await(out->v6_);
  });
  return out;
}

void RadiusCaller::ask(Exchanges::Request request, Done done) {
  asio::post(strand_, [self = shared_from_this(), request = std::move(request), done = std::move(done)]() mutable {
    const auto id = self->closed_ ? std::nullopt : self->exchanges_.begin(std::move(request), Exchanges::Clock::now());
    if (!id) return done({});
    self->waiting_.emplace(*id, std::move(done));
    self->go_on();
  });
}

void RadiusCaller::await(udp::socket& socket) {
  socket.async_wait(udp::socket::wait_read, [self = shared_from_this(), &socket](error_code ec) {
    if (ec || self->closed_) return;
    self->receive(socket);
    self->await(socket);
  });
}

void RadiusCaller::receive(udp::socket& socket) {
  std::array<std::byte, radius::max_packet + 1> buffer{};
  // What is left then comes next, after what else this strand has to do: who floods it keeps no deadline from being kept.
  constexpr unsigned at_once = 64;
  for (unsigned count = 0; count < at_once; ++count) {
    udp::endpoint from;
    sockaddr_storage sender{};
    socklen_t size = sizeof sender;
    const ssize_t n = ::recvfrom(socket.native_handle(), buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&sender), &size);
    if (n < 0) break;
    if (size > from.capacity()) continue;
    std::memcpy(from.data(), &sender, size);
    from.resize(size);
    const auto answered =
        exchanges_.receive({address_bytes(from.address()), from.port()}, Bytes(buffer.data(), std::size_t(n)), Exchanges::Clock::now());
    if (answered) end(*answered);
  }
  go_on();
}

void RadiusCaller::end(const Exchanges::End& ended) {
  const auto node = waiting_.extract(ended.id);
  if (!node.empty()) node.mapped()(ended.answer);
}

// Sends what has to go out, and waits for the next that has to.
void RadiusCaller::go_on() {
  for (const Exchanges::Datagram& one : exchanges_.to_send()) {
    const udp::endpoint to = endpoint_of(one.to);
    udp::socket& socket = to.address().is_v4() ? v4_ : v6_;
    // What can't be sent now is one that got lost.
    if (socket.is_open())
      (void)::sendto(socket.native_handle(), one.packet.data(), one.packet.size(), MSG_DONTWAIT, to.data(), socklen_t(to.size()));
  }
  const auto next = exchanges_.next();
  if (!next) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(*next);
  timer_.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->closed_) return;
    for (const Exchanges::End& one : self->exchanges_.expire(Exchanges::Clock::now())) self->end(one);
    self->go_on();
  });
}

void RadiusCaller::close() {
  asio::post(strand_, [self = shared_from_this()] {
    if (std::exchange(self->closed_, true)) return;
    error_code ignored;
    self->timer_.cancel();
    self->v4_.close(ignored);
    self->v6_.close(ignored);
    for (auto& [_, done] : std::exchange(self->waiting_, {})) done({});
  });
}

}  // namespace gatehouse::server
