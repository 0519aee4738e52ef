// TLS 1.3 or 1.2 to the server over TCP, blocking, with a deadline on every wait and on each assessment. The server's
// certificate must chain to the CA given and name the host (RFC 6876 3.4.2.1; spec part 1a §1.8).
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/scram.h"
#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::endpoint {

struct TransportOptions {
  std::string host, port;
  std::string ca;                       // PEM; empty: the system's
  std::string certificate, key;         // PEM; empty: none
  std::chrono::seconds timeout{120};    // of one wait
  std::chrono::seconds deadline{600};   // of everything, from connect() or start_over() on
  // strongSwan's TLS 1.2 server sends no secure-renegotiation indication: for it alone.
  bool legacy_server = false;
  // Readable: every wait ends with an error, but for those of finish(). Not closed here; -1: none.
  int stop_fd = -1;
};

class Transport {
 public:
  // Every failure is Fault::environment and names the server or the file.
  static Result<Transport> connect(const TransportOptions& options);
  Transport(Transport&&) noexcept;
  ~Transport();

  Result<void> write(Bytes bytes);
  // At least one byte; empty: the server has closed.
  Result<ByteVector> read();
  // As read(), but without deadline: nullopt where nothing came until this time, or `wake_fd` or the stop's is
  // readable. The kernel looks after a connection on which nothing is said (TCP keep-alive).
  Result<std::optional<ByteVector>> read_until(std::chrono::steady_clock::time_point until, int wake_fd);
  // Another assessment: the deadline counts from now.
  void start_over();
  // These bytes, close_notify, then what the server still sends until it closes, for at most this long: closing a
  // socket with unread bytes would reset the connection and might take our last batch with it.
  void finish(Bytes last = {}, std::chrono::seconds patience = std::chrono::seconds(5));
  // What SCRAM binds to: tls-exporter (RFC 9266), with TLS 1.2 tls-unique (RFC 5929). Empty with TLS 1.2 where the server knows no
  // extended master secret (RFC 7627), without which it isn't safe.
  ChannelBinding channel_binding() const;
  // "TLSv1.3 TLS_AES_256_GCM_SHA384"
  std::string description() const;

 private:
  struct State;
  explicit Transport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::endpoint
