// The Operating System IMC (spec part 1b §4.1): tells product, versions, last boot and Device ID without being asked, and
// again when asked by Attribute Request.
#pragma once

#include <string>

#include "endpoint/imc/imc.h"

namespace gatehouse::endpoint {

struct OsInfo {
  std::string name = "Unknown";     // "Debian"
  std::string version;              // "12 x86_64"
  std::uint32_t product_vendor = 0;  // enterprise number
  std::uint32_t major = 0, minor = 0;
  std::string last_boot = "0000-00-00T00:00:00Z";
  std::uint32_t forwarding = 2;      // 0 no, 1 yes, 2 unknown
  std::uint32_t default_password = 0;
  std::string device_id;             // empty: not sent
};

// What the name says of the vendor and the version of its numbers.
std::uint32_t product_vendor(std::string_view name);
void set_version(OsInfo& info, std::string version);
// /etc/os-release, uname(2), /proc/uptime and /proc/sys/net/ipv4/ip_forward of this machine; what isn't there stays unknown.
OsInfo read_os_info();

class OsImc final : public Imc {
 public:
  explicit OsImc(OsInfo info) : info_(std::move(info)) {}
  std::uint16_t id() const override { return 1; }
  std::uint32_t vendor() const override { return patnc::vendor_ietf; }
  std::uint32_t subtype() const override { return patnc::subtype_operating_system; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer& out) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

 private:
  Result<void> tell(std::uint32_t vendor, std::uint32_t type, Packer& out) const;
  OsInfo info_;
};

}  // namespace gatehouse::endpoint
