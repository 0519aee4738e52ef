// TLS of the PT-TLS listener: 1.3 preferred, 1.2 with forward secrecy and AEAD; client certificates judged by chain,
// dates, purpose and revocation list. (Spec part 1a §1.8.)
#pragma once

#include <openssl/safestack.h>
#include <openssl/types.h>
#include <openssl/x509.h>

#include <chrono>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/scram.h"
#include "base/x509.h"
#include "server/config/config.h"

namespace gatehouse::server {

class TlsSessions;
class VerifiedPaths;

class TlsContext {
 public:
  // `resumption`: for how long after an authentication its session may be resumed; 0: never.
  static Result<std::shared_ptr<const TlsContext>> make(const Config& config, std::chrono::seconds resumption = {});
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;
  SSL_CTX* native() const { return context_; }
  // Null: none may be resumed.
  TlsSessions* sessions() const { return sessions_.get(); }
  // Null: no client is asked for a certificate.
  const VerifiedPaths* paths() const { return paths_.get(); }

 private:
  TlsContext();
  SSL_CTX* context_ = nullptr;
  std::unique_ptr<TlsSessions> sessions_;
  std::unique_ptr<VerifiedPaths> paths_;
};

// Subject of the verified client certificate, escaped; empty: none was given.
std::string peer_subject(SSL* ssl);
// What else that certificate says; nothing: none was given, or it wasn't verified.
CertificateNames peer_certificate_names(SSL* ssl);
// That certificate, DER; empty: none, or it wasn't verified.
ByteVector peer_certificate(SSL* ssl);
// Who issued it, DER, in the path that was verified; empty: none was given, or it is itself one of the configured authorities.
ByteVector peer_issuer(SSL* ssl);
// Whether this certificate of a client's would be taken now. `path`: what it was verified by, from itself on; may be null.
bool still_verifies(SSL_CTX* context, X509* certificate, STACK_OF(X509)* path);
// Why the client's certificate was refused in the handshake: whose, and what is wrong with it; empty: it wasn't.
std::string refused_certificate(SSL* ssl);
// What SCRAM may bind to: tls-exporter (RFC 9266), with TLS 1.2 tls-unique (RFC 5929). Empty with TLS 1.2 where the client knows no
// extended master secret (RFC 7627), without which it isn't safe.
ChannelBinding channel_binding(SSL* ssl);
// What TLS says of the last error, without secrets.
std::string tls_error();

}  // namespace gatehouse::server
