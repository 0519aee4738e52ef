// TLS without a socket, as a client: what EAP-TTLS carries. The server's certificate has to chain to the CA given and to name
// the server (RFC 5281 section 7.3), as with PT-TLS.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"

namespace gatehouse::endpoint {

struct TunnelOptions {
  std::string server_name;       // in its certificate's alternative names; empty: any name of the authorities'
  std::string ca;                // PEM; empty: the system's
  std::string certificate, key;  // PEM; empty: none
  bool legacy_server = false;    // as TransportOptions
  bool tls_12 = false;           // nothing newer
};

class TlsTunnel {
 public:
  static Result<std::unique_ptr<TlsTunnel>> make(const TunnelOptions& options);
  ~TlsTunnel();
  TlsTunnel(const TlsTunnel&) = delete;
  TlsTunnel& operator=(const TlsTunnel&) = delete;

  // The handshake as far as it goes; nothing to begin with. An error is final, and output() has the alert.
  Result<void> receive(Bytes tls);
  bool established() const;
  Result<ByteVector> read();
  Result<void> write(Bytes plaintext);
  ByteVector output();
  Result<Secret> keys() const;  // 128 bytes, as the server's (RFC 5281 section 8, RFC 9427 section 2.1)
  std::string description() const;

 private:
  struct State;
  explicit TlsTunnel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::endpoint
