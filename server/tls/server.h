// The I/O shell around the sans-I/O sessions: listeners, TLS, timers, signals, the evidence plane and the store behind
// one object. Completion handlers, one strand a peer; no protocol logic. Every wait has a deadline.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "server/config/config.h"

namespace gatehouse::server {

// How reference generations are opened; given by the program, so that the shell knows no store.
struct ReferenceSource {
  std::function<Result<std::shared_ptr<const refdb::View>>(const std::string&)> open;
  std::function<Result<std::uint64_t>(const std::string&)> current;
  // A stated generation, while the store has it. Null: a start goes by the current one, whatever is held back.
  std::function<Result<std::shared_ptr<const refdb::View>>(const std::string&, std::uint64_t)> stated{};
};

class Server {
 public:
  // Opens everything that the configuration names and listens. Errors name file, address or store.
  static Result<std::unique_ptr<Server>> start(Config config, ReferenceSource references);
  // The files and addresses that start() would use, without opening a store or a socket.
  static Result<void> check(const Config& config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Until SIGTERM or SIGINT (or stop()) and then until the sessions in flight have ended or the grace period is over.
  void run();
  void stop();
  // Port of the first listener (for port 0 in the configuration).
  std::uint16_t port() const;
  // Port of RADIUS; 0: there is none.
  std::uint16_t radius_port() const;
  // Further ports of RADIUS; 0: there is none.
  struct RadiusPorts {
    std::uint16_t accounting = 0, tcp = 0, tls = 0;
  };
  RadiusPorts radius_ports() const;
  // Port of the metrics; 0: there are none.
  std::uint16_t metrics_port() const;
  std::size_t connections() const;

  struct Impl;

 private:
  explicit Server(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace gatehouse::server
