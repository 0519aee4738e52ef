// The Scanner IMC, subtype Firewall (spec part 1b §1.7.6, §6.2): answers an Attribute Request for Port Filter with the
// ports on which this machine listens to others.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "endpoint/imc/imc.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::endpoint {

// Open ports in a table of the kernel's: /proc/net/tcp, tcp6, udp, udp6 (proc(5)). TCP sockets that listen and UDP
// sockets that aren't connected; those bound to a loopback address are left out. Lines that can't be read are skipped.
std::vector<patnc::PortFilterEntry> parse_socket_table(std::string_view table, std::uint8_t protocol);
// Of this machine, TCP first, each once, in ascending order; `folder` holds the four tables.
std::vector<patnc::PortFilterEntry> open_ports(const std::string& folder = "/proc/net");

class ScannerImc final : public Imc {
 public:
  using Ports = std::function<std::vector<patnc::PortFilterEntry>()>;
  explicit ScannerImc(Ports ports) : ports_(std::move(ports)) {}
  std::uint16_t id() const override { return 4; }
  std::uint32_t vendor() const override { return patnc::vendor_ietf; }
  std::uint32_t subtype() const override { return patnc::subtype_firewall; }
  bool greets() const override { return false; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer&) override { return {}; }
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

 private:
  Ports ports_;
};

}  // namespace gatehouse::endpoint
