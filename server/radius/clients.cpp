#include "server/radius/clients.h"

#include "server/state/passwords.h"

namespace gatehouse::server {

Result<std::shared_ptr<const RadiusClients>> RadiusClients::load(const RadiusConfig& config, std::vector<std::string>& warnings) {
  constexpr std::size_t shortest = 16, short_one = 22;  // RFC 2865 section 3
  auto out = std::make_shared<RadiusClients>();
  const auto read = [&](const std::string& file) -> Result<Secret> {
    GH_CHECK(check_private(file));
    GH_TRY(Secret secret, read_secret_file(file));
    if (secret.size() < shortest)
      return fail(Error{Fault::usage, "a shared secret has 16 characters or more", "RFC 2865 3", 0, file, {}});
    if (secret.size() < short_one) warnings.push_back("the shared secret in " + file + " is shorter than 22 characters");
    return secret;
  };
  for (const RadiusClientConfig& c : config.clients) {
    RadiusClient client;
    const bool by_certificate = !c.subject.empty();
    client.name = by_certificate ? c.subject : c.address;
    client.prefix = c.prefix;
    // TLS is what counts there (RFC 6614 section 2.3).
    if (by_certificate) client.secret = Secret(as_bytes("radsec"));
    if (!by_certificate) {
      GH_TRY(client.secret, read(c.secret_file));
    }
    client.keyed = std::make_unique<const HmacMd5>(client.secret.reveal());
    client.profile = c.profile;
    client.attestation = c.attestation;
    client.by_certificate = by_certificate;
    client.dynamic_on_connection = c.dynamic_on_connection;
    client.dynamic_port = c.dynamic_port;
    if (c.dynamic_port != 0) {
      GH_TRY(Secret secret, read(c.dynamic_secret_file.empty() ? c.secret_file : c.dynamic_secret_file));
      client.dynamic_secret = std::make_shared<const Secret>(std::move(secret));
    }
    out->by_name_[client.name] = out->clients_.size();
    if (by_certificate) out->by_subject_[client.name] = out->clients_.size();
    else out->by_prefix_[c.prefix.bits][c.prefix.address] = out->clients_.size();
    out->clients_.push_back(std::move(client));
  }
  return out;
}

const RadiusClient* RadiusClients::of_subject(std::string_view subject) const {
  const auto it = by_subject_.find(subject);
  return it == by_subject_.end() ? nullptr : &clients_[it->second];
}

const RadiusClient* RadiusClients::named(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &clients_[it->second];
}

const RadiusClient* RadiusClients::find(const IpAddress& address) const {
  for (const auto& [bits, clients] : by_prefix_)
    if (const auto it = clients.find(masked(address, bits)); it != clients.end()) return &clients_[it->second];
  return nullptr;
}

}  // namespace gatehouse::server
