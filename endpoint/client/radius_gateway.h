// A gateway's part of RADIUS, as far as it carries EAP (RFC 3579; spec part 1a §3): requests are made, answers are believed or
// not. Sans I/O, but for the random authenticators. What a gateway would ask of its own for, an endpoint does here for itself,
// so that a server can be tried without a gateway.
//
//   RadiusGateway gateway({.secret = …, .user = "carol"});
//   GH_TRY(auto datagram, gateway.request(eap));           // send it, and again, until …
//   if (const auto answer = gateway.receive(datagram)) …   // … nullopt: that wasn't the answer
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "base/secret.h"
#include "wire/radius/radius.h"

namespace gatehouse::endpoint {

class RadiusGateway {
 public:
  struct Config {
    Secret secret;
    std::string user;                        // User-Name: the outer EAP identity
    std::string name = "gatehouse-endpoint";  // NAS-Identifier
    std::string station;                     // Calling-Station-Id; empty: not said
    std::optional<std::uint32_t> framed_mtu;
    std::string accounting;  // Acct-Session-Id; empty: not said
  };
  struct Answer {
    radius::Code code = radius::Code::access_reject;
    ByteVector eap;  // empty: there is none
    std::string filter_id, class_, reply_message;
    std::optional<std::uint32_t> session_timeout;
    std::string vlan;
    Secret msk;  // 64 bytes with Access-Accept, where both keys came
  };

  explicit RadiusGateway(Config config) : config_(std::move(config)) {}

  // An Access-Request with this EAP packet; empty: EAP-Start.
  Result<ByteVector> request(Bytes eap) { return request(eap, std::uint8_t(identifier_ + 1)); }
  // The same with this identifier, where others ask by the same socket.
  Result<ByteVector> request(Bytes eap, std::uint8_t identifier);
  std::optional<Answer> receive(Bytes datagram);

 private:
  Config config_;
  std::uint8_t identifier_ = 0;
  radius::Authenticator authenticator_{};
  ByteVector state_;
};

}  // namespace gatehouse::endpoint
