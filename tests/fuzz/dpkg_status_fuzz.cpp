// libraries: gatehouse_endpoint_inventory
#include "endpoint/inventory/swid_tag.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto status = endpoint::parse_dpkg_status(Bytes(reinterpret_cast<const std::byte*>(data), size));
  if (!status) return 0;
  for (const endpoint::Package& one : status->packages) {
    GH_ASSERT(endpoint::acceptable_package_text(one.name) && endpoint::acceptable_package_text(one.version));
    const std::string tag = endpoint::swid_tag({}, one);
    GH_ASSERT(tag.find("tagId=\"") < 1023);
  }
  return 0;
}
