// TLS without a socket, as a client: what EAP-TTLS carries. The server's certificate has to chain to the CA given and to name
// the server (RFC 5281 section 7.3), as with PT-TLS.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"

namespace gatehouse::endpoint {

// A session to resume with the same server (RFC 5281 section 7.4, RFC 8446 section 2.2), and to be kept for the next time. Of one
// configuration: whose certificate was verified then isn't looked at again. One tunnel at a time.
class KeptSession {
 public:
  KeptSession();
  ~KeptSession();
  KeptSession(const KeptSession&) = delete;
  KeptSession& operator=(const KeptSession&) = delete;
  bool empty() const;

 private:
  friend class TlsTunnel;
  struct State;
  std::unique_ptr<State> state_;
};

struct TunnelOptions {
  std::string server_name;       // in its certificate's alternative names; empty: any name of the authorities'
  std::string ca;                // PEM; empty: the system's
  std::string certificate, key;  // PEM; empty: none
  bool legacy_server = false;    // as TransportOptions
  bool tls_12 = false;           // nothing newer
  std::shared_ptr<KeptSession> session{};  // null: none is resumed, and none kept
};

class TlsTunnel {
 public:
  static Result<std::unique_ptr<TlsTunnel>> make(const TunnelOptions& options);
  // One of many with a context in common, which says whom to trust; of a client with this certificate, or none (null). What
  // is given is kept for as long as it is needed.
  static Result<std::unique_ptr<TlsTunnel>> make(SSL_CTX* context, X509* certificate, EVP_PKEY* key);
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
  // The server has taken up the session that was kept.
  bool resumed() const;

 private:
  struct State;
  explicit TlsTunnel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gatehouse::endpoint
