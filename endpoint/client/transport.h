// TLS to the server, blocking, with a deadline on every wait.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace gatehouse::endpoint {

struct TransportOptions {
  std::string host, port;
  std::string ca;                     // PEM; empty: the system's
  std::string certificate, key;       // PEM; empty: none
  std::chrono::seconds timeout{120};  // of one wait
  // strongSwan's TLS 1.2 server sends no secure-renegotiation indication: needed for it only.
  bool legacy_server = false;
};

class Transport {
 public:
  static Result<Transport> connect(const TransportOptions& options);
  Transport(Transport&&) noexcept;
  ~Transport();
  Result<void> write(Bytes bytes);
  // At least one byte; empty: the server has closed.
  Result<ByteVector> read();
  void close();

 private:
  struct State;
  explicit Transport(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::endpoint
