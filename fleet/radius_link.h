// An endpoint and its gateway: EAP-TTLS and PT-EAP over RADIUS, by a gateway's UDP socket. A network that loses requests and answers,
// and brings requests late, is made here.
#pragma once

#include <random>
#include <string>

#include "endpoint/client/eap_client.h"
#include "endpoint/client/radius_gateway.h"
#include "fleet/collectors.h"
#include "fleet/identity.h"
#include "fleet/link.h"
#include "fleet/radius_sockets.h"

namespace gatehouse::fleet {

class RadiusLink final : public Link {
 public:
  struct Config {
    RadiusSockets* sockets = nullptr;
    SSL_CTX* tls = nullptr;
    Bytes secret;
    std::string user;  // empty: the client certificate alone
    Bytes password;
    std::string product;
    std::int64_t clock_from = 0;   // milliseconds since 1970
    std::size_t fragment_size = 1'024;
    double loss = 0;               // share of the datagrams of each direction
    double late = 0;               // share of the requests of which a copy arrives after the next one
    std::chrono::duration<double> resend{2.0};  // seconds until a request is sent again, then 1.4 times that, and so on
  };
  // who: the socket knows it by. seed: of losses.
  RadiusLink(const Config& config, std::uint32_t who, const Identity& identity, std::shared_ptr<const Variant> variant, std::uint64_t seed);

  ~RadiusLink() override;

  // What came for it.
  State receive(Bytes datagram);

  State connect() override;
  State retry(std::shared_ptr<const Variant>) override;
  State proceed(std::size_t) override { return State::busy; }
  State idle() override { return State::ended; }
  void vanish() override { config_.sockets->leave(place_); }
  std::optional<std::chrono::steady_clock::time_point> again_at() const override { return again_at_; }
  State repeat() override;

  int fd() const override { return -1; }
  bool wants_to_write() const override { return false; }
  bool talking() const override { return client_ && !client_->description().empty(); }
  std::uint64_t bytes_sent() const override { return bytes_sent_; }
  std::uint64_t repeated() const override { return repeated_; }
  const std::optional<endpoint::Outcome>& outcome() const override { return outcome_; }
  const std::optional<Error>& error() const override { return error_; }

 private:
  State fail_with(Error error);
  State ask(Bytes eap);
  State take(const endpoint::RadiusGateway::Answer& answer);
  void send(Bytes datagram);
  bool happens(double share) { return share > 0 && std::uniform_real_distribution<double>(0, 1)(random_) < share; }
  void arm();

  const Config& config_;
  const std::uint32_t who_;
  const Identity& identity_;
  Collectors collectors_;
  std::mt19937_64 random_;
  std::optional<endpoint::EapClient> client_;
  std::optional<endpoint::RadiusGateway> gateway_;
  RadiusSockets::Place place_;
  ByteVector request_, late_;
  std::chrono::duration<double> wait_{};
  std::optional<std::chrono::steady_clock::time_point> again_at_;
  std::uint64_t bytes_sent_ = 0, repeated_ = 0;
  std::optional<endpoint::Outcome> outcome_;
  std::optional<Error> error_;
};

}  // namespace gatehouse::fleet
