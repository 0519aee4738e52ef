// RADIUS over UDP from this server to others: gateways that are to cut somebody off, servers that know passwords. The sockets, the
// clock and the strand around Exchanges.
//
//   caller->ask({.to = {address, 3799}, .secret = secret, .make = …, .waits = {2s, 4s, 8s}}, [](ByteVector answer) { … });
#pragma once

#include <boost/asio/ip/udp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <unordered_map>

#include "server/radius/exchanges.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

IpAddress address_bytes(const boost::asio::ip::address& address);

class RadiusCaller : public std::enable_shared_from_this<RadiusCaller> {
 public:
  // With the whole answer, which is believed; empty: none came. On a thread of the server's, no lock held.
  using Done = std::function<void(ByteVector answer)>;

  static Result<std::shared_ptr<RadiusCaller>> start(std::shared_ptr<Server::Impl> server);
  // Any thread. Where there is no room for more, it ends at once without an answer.
  void ask(Exchanges::Request request, Done done);
  // Whatever is under way ends without an answer.
  void close();

  explicit RadiusCaller(std::shared_ptr<Server::Impl> server);

 private:
  using Udp = boost::asio::ip::udp;
  void await(Udp::socket& socket);
  void receive(Udp::socket& socket);
  void go_on();
  void end(const Exchanges::End& end);

  const std::shared_ptr<Server::Impl> server_;
  boost::asio::strand<boost::asio::io_context::executor_type> strand_;
  Udp::socket v4_, v6_;
  boost::asio::steady_timer timer_;
  Exchanges exchanges_;                                  // on the strand, as the rest is
  std::unordered_map<Exchanges::Id, Done> waiting_;
  bool closed_ = false;
};

}  // namespace gatehouse::server
