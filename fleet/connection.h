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
#include "fleet/collectors.h"
#include "fleet/identity.h"
#include "fleet/link.h"

namespace gatehouse::fleet {

using OwnedSsl = std::unique_ptr<SSL, FreeSsl>;

class Connection final : public Link {
 public:
  struct Config {
    SSL_CTX* tls = nullptr;
    const sockaddr* address = nullptr;
    std::size_t address_size = 0;
    std::string host;  // to hold the certificate against; empty: it isn't
    std::string user;
    Bytes password;
    SaltedOnce* salted = nullptr;  // of this password
    std::string product;
    std::int64_t clock_from = 0;  // milliseconds since 1970
    bool keep = false;
  };
  Connection(const Config& config, const Identity& identity, std::shared_ptr<const Variant> variant);

  State connect() override;
  State retry(std::shared_ptr<const Variant> variant) override;
  State proceed(std::size_t most) override;
  State idle() override;
  void vanish() override;

  int fd() const override { return fd_.get(); }
  bool wants_to_write() const override { return connecting_ || wants_write_ || sent_ < out_.size(); }
  bool talking() const override { return talking_; }
  std::uint64_t bytes_sent() const override;
  const std::optional<endpoint::Outcome>& outcome() const override { return session_->outcome(); }
  const std::optional<Error>& error() const override { return error_; }

 private:
  State fail_with(std::string_view reason);
  State take(endpoint::Session::Step step, std::size_t most);
  State flush(std::size_t most);
  State after();

  const Config& config_;
  const Identity& identity_;
  Collectors collectors_;
  std::optional<endpoint::Session> session_;
  Descriptor fd_;
  OwnedSsl ssl_;
  ByteVector out_;
  std::size_t sent_ = 0;
  bool connecting_ = false, talking_ = false, wants_write_ = false, ended_ = false;
  std::optional<Error> error_;
};

}  // namespace gatehouse::fleet
