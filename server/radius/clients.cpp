#include "server/radius/clients.h"

#include "server/state/passwords.h"

namespace gatehouse::server {

Result<std::shared_ptr<const RadiusClients>> RadiusClients::load(const RadiusConfig& config, std::vector<std::string>& warnings) {
  constexpr std::size_t shortest = 16, short_one = 22;  // RFC 2865 section 3
  auto out = std::make_shared<RadiusClients>();
  for (const RadiusClientConfig& c : config.clients) {
    GH_CHECK(check_private(c.secret_file));
    GH_TRY(Secret secret, read_secret_file(c.secret_file));
    if (secret.size() < shortest)
      return fail(Error{Fault::usage, "a shared secret has 16 characters or more", "RFC 2865 3", 0, c.secret_file, {}});
    if (secret.size() < short_one)
      warnings.push_back("the shared secret in " + c.secret_file + " is shorter than 22 characters");
    out->by_prefix_[c.prefix.bits][c.prefix.address] = out->clients_.size();
    out->clients_.push_back({c.address, c.prefix, std::move(secret), c.profile, c.attestation});
  }
  return out;
}

const RadiusClient* RadiusClients::find(const IpAddress& address) const {
  for (const auto& [bits, clients] : by_prefix_)
    if (const auto it = clients.find(masked(address, bits)); it != clients.end()) return &clients_[it->second];
  return nullptr;
}

}  // namespace gatehouse::server
