// The TLS inside EAP-TTLS as its owner sees it: bytes of TLS in and out, no socket. Implemented by the shell, so that what
// decides knows no TLS library.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/error.h"
#include "base/secret.h"
#include "base/x509.h"
#include "server/eap/resumption.h"
#include "wire/ttls/ttls.h"

namespace gatehouse::server {

class EapTunnel {
 public:
  virtual ~EapTunnel() = default;
  // A whole message of the peer's; the handshake goes as far as it can. Errors are final, and what output() has then is an
  // alert for the peer.
  virtual Result<void> receive(const ttls::Reassembler::Message& tls) = 0;
  virtual bool established() const = 0;
  // All plaintext that has come.
  virtual Result<ByteVector> read() = 0;
  virtual Result<void> write(Bytes plaintext) = 0;
  // TLS for the peer; empty: there is nothing to say.
  virtual ByteVector output() = 0;
  // MSK and EMSK, 64 bytes each (RFC 5281 section 8; TLS 1.3: RFC 9427 section 2.1). Once it is established.
  virtual Result<Secret> keys() const = 0;
  // Subject of the client's verified certificate, escaped; empty: none.
  virtual std::string subject() const = 0;
  // That certificate and who issued it, in the path that was verified; nullopt: there is none, or it is one of the
  // configured authorities itself.
  using Issued = std::pair<Certificate, Certificate>;
  virtual Result<std::optional<Issued>> certificate_and_issuer() const { return std::nullopt; }
  // And what else that certificate says; nothing: none.
  virtual CertificateNames certificate_names() const { return {}; }
  // Who had authenticated in the session that this one resumes; null: it is a new one, or nobody's.
  virtual std::shared_ptr<Resumable> resumed() const { return nullptr; }
  // This session may be resumed as whoever this is. The client learns of it with what is written next.
  virtual void let_resume(const std::shared_ptr<Resumable>& /*as*/) {}
  virtual std::string version() const = 0;
  virtual std::string cipher() const = 0;
};

}  // namespace gatehouse::server
