#include "endpoint/inventory/packages.h"

#include "base/file.h"
#include "endpoint/imc/os/os_imc.h"

namespace gatehouse::endpoint {

std::vector<InstalledPackage> dpkg_packages(const std::string& path) {
  std::vector<InstalledPackage> out;
  const auto file = read_file(path, max_status_bytes);
  if (!file) return out;
  auto status = parse_dpkg_status(*file);
  if (!status) return out;
  for (Package& one : status->packages) out.push_back({std::move(one.name), std::move(one.version)});
  return out;
}

}  // namespace gatehouse::endpoint
