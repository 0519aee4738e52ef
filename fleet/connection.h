// One endpoint's connection: TCP, TLS and the client's session over it, driven by readiness of its socket. Belongs to
// one thread.
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>

#include "base/descriptor.h"
#include "base/error.h"
#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"
#include "fleet/evidence.h"

namespace gatehouse::fleet {

struct FreeSsl {
  void operator()(SSL* p) const { SSL_free(p); }
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
  void operator()(X509* p) const { X509_free(p); }
  void operator()(EVP_PKEY* p) const { EVP_PKEY_free(p); }
};
using OwnedSsl = std::unique_ptr<SSL, FreeSsl>;

// What stays of an endpoint whether it is connected or not.
struct Identity {
  std::shared_ptr<const endpoint::SigningKey> ak;
  std::unique_ptr<X509, FreeSsl> certificate;
  std::unique_ptr<EVP_PKEY, FreeSsl> key;
};

class Connection {
 public:
  enum class State : std::uint8_t {
    busy,     // wait for what wants() says
    resting,  // the verdict is there, and the connection stays
    ended,    // error() says why, unless there is an outcome
  };
  struct Config {
    SSL_CTX* tls = nullptr;
    const sockaddr* address = nullptr;
    std::size_t address_size = 0;
    std::string host;  // to hold the certificate against; empty: it isn't
    std::string user;
    Bytes password;
    std::string product;
    std::int64_t clock_from = 0;  // milliseconds since 1970
    bool keep = false;
  };
  Connection(const Config& config, const Identity& identity, std::shared_ptr<const Variant> variant);

  // Starts to connect; or, where it rests, another assessment with this evidence.
  State connect();
  State retry(std::shared_ptr<const Variant> variant);
  // The socket is ready. `most` bytes at a time are read and written.
  State proceed(std::size_t most);
  // What comes back when the server speaks or hangs up meanwhile: resting, or ended.
  State idle();
  // As a machine that loses its power.
  void vanish();

  int fd() const { return fd_.get(); }
  bool wants_to_write() const { return connecting_ || wants_write_ || sent_ < out_.size(); }
  bool talking() const { return talking_; }  // the handshake is behind it
  std::uint64_t bytes_sent() const;
  const std::optional<endpoint::Outcome>& outcome() const { return session_->outcome(); }
  const std::optional<Error>& error() const { return error_; }

 private:
  State fail_with(std::string_view reason);
  State take(endpoint::Session::Step step);
  State flush(std::size_t most);
  State after();
  void set_up(std::shared_ptr<const Variant> variant);

  const Config& config_;
  const Identity& identity_;
  std::shared_ptr<const Variant> variant_;
  std::optional<endpoint::SoftwareTpm> tpm_;
  std::optional<endpoint::FixedEvidence> evidence_;
  std::optional<endpoint::OsImc> os_;
  std::optional<endpoint::AttestationImc> attestation_;
  std::optional<endpoint::Session> session_;
  Descriptor fd_;
  OwnedSsl ssl_;
  ByteVector out_;
  std::size_t sent_ = 0;
  bool connecting_ = false, talking_ = false, wants_write_ = false, ended_ = false;
  std::optional<Error> error_;
};

}  // namespace gatehouse::fleet
