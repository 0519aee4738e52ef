// One peer's connection as the server's own doings see it. What it does between its socket and its session is in
// connection.cpp.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <set>
#include <string>

#include "server/metrics/session_clock.h"
#include "server/tls/admission.h"
#include "server/tls/server.h"

namespace gatehouse::server {

// All from any thread.
class Connection {
 public:
  virtual ~Connection() = default;
  // On its strand: where the peer has waited, its part of the handshake is there.
  virtual void begin() = 0;
  // Others wait for its place, and it has had its time.
  virtual void give_way() = 0;
  // The server stops: what is between assessments ends now, an assessment when its verdict is told.
  virtual void drain() = 0;
  // Whether the session here was asked for another assessment, told on the strand.
  virtual void reassess(std::string device, std::function<void(bool)> done) = 0;
  // The same for whichever of several devices it is; nobody is told.
  virtual void reassess_any(std::shared_ptr<const std::set<std::string>> devices) = 0;
  virtual void cut() = 0;
  virtual metrics::Doing doing_now() const = 0;
};

// `address`: with its port; `host`: without. The connection keeps the server, and is known to its admission as `id` until
// it is gone.
std::shared_ptr<Connection> make_connection(std::shared_ptr<Server::Impl> server, Admission::Id id,
                                            boost::asio::ip::tcp::socket socket, std::string address, std::string host);

}  // namespace gatehouse::server
