// The RADIUS clients that may ask, with their secrets. Immutable; reload by loading again.
//
//   GH_TRY(const auto clients, RadiusClients::load(config));
//   if (const RadiusClient* client = clients->find(address)) …
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/md5.h"
#include "base/secret.h"
#include "server/config/radius.h"

namespace gatehouse::server {

struct RadiusClient {
  std::string name;  // its address or prefix as configured, or the subject of its certificate
  AddressPrefix prefix;
  Secret secret;
  std::unique_ptr<const HmacMd5> keyed;  // by the secret
  RadiusProfile profile = RadiusProfile::ipsec;
  bool attestation = true;
  bool by_certificate = false;
  bool dynamic_on_connection = false;            // it is asked on its connection, where there is one
  std::uint16_t dynamic_port = 0;                // 0: it isn't asked to cut anybody off
  std::shared_ptr<const Secret> dynamic_secret;  // there with the port
};

class RadiusClients {
 public:
  // Secrets have 16 bytes or more, and nobody else may read their files; shorter ones than 22 give a warning.
  static Result<std::shared_ptr<const RadiusClients>> load(const RadiusConfig& config, std::vector<std::string>& warnings);
  // The longest prefix that this address has; null: it may not ask.
  const RadiusClient* find(const IpAddress& address) const;
  // Over TLS, by the subject of its certificate; null: it may not ask.
  const RadiusClient* of_subject(std::string_view subject) const;
  const RadiusClient* named(std::string_view name) const;

 private:
  std::vector<RadiusClient> clients_;
  // By length, the longest first.
  std::map<unsigned, std::map<IpAddress, std::size_t>, std::greater<>> by_prefix_;
  std::map<std::string, std::size_t, std::less<>> by_subject_, by_name_;
};

}  // namespace gatehouse::server
