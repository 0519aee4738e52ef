// The Operating System IMC (spec part 1b §4.1): tells product, versions, last boot and Device ID without being asked,
// and again when asked by Attribute Request; installed packages and settings only when asked.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "endpoint/imc/imc.h"

namespace gatehouse::endpoint {

struct OsInfo {
  std::string name = "Unknown";      // "Debian"
  std::string version;               // "12 x86_64"
  std::uint32_t product_vendor = 0;  // enterprise number
  std::uint32_t major = 0, minor = 0;
  std::string last_boot = "0000-00-00T00:00:00Z";
  std::uint32_t forwarding = 2;  // 0 no, 1 yes, 2 unknown
  std::uint32_t default_password = 0;
  std::string device_id;  // empty: not sent
};

// What the name says of the vendor and the version of its numbers.
std::uint32_t product_vendor(std::string_view name);
void set_version(OsInfo& info, std::string version);
// /etc/os-release, uname(2), /proc/uptime and /proc/sys/net/ipv4/ip_forward of this machine; what isn't there stays
// unknown.
OsInfo read_os_info();

struct InstalledPackage {
  std::string name, version;
};

// Where the collector looks when it is asked; what isn't set isn't answered.
struct OsSources {
  std::function<std::vector<InstalledPackage>()> packages;
  std::function<std::optional<ByteVector>(std::string_view name)> setting;  // read_setting() of settings.h
  bool push = true;  // false: says nothing unasked, as strongSwan's push_info = no
};

// Packages of dpkg's status file, as dpkg-query lists them; none where it can't be read.
std::vector<InstalledPackage> dpkg_packages(const std::string& status = "/var/lib/dpkg/status");

class OsImc final : public Imc {
 public:
  explicit OsImc(OsInfo info, OsSources sources = {}) : info_(std::move(info)), sources_(std::move(sources)) {}
  std::uint16_t id() const override { return 1; }
  std::uint32_t vendor() const override { return patnc::vendor_ietf; }
  std::uint32_t subtype() const override { return patnc::subtype_operating_system; }
  patnc::Supported supported() const override;
  Result<void> begin(Packer& out) override;
  Result<void> receive(const patnc::Attribute& attribute, Packer& out) override;

 private:
  Result<void> answer(const patnc::Attribute& request, Packer& out) const;
  Result<void> tell(std::uint32_t vendor, std::uint32_t type, Packer& out) const;
  Result<void> tell_packages(Packer& out) const;
  Result<void> tell_settings(const patnc::Attribute& request, Packer& out) const;
  OsInfo info_;
  OsSources sources_;
};

}  // namespace gatehouse::endpoint
