// How a package is named in SWIMA, and the tag that describes it. The name is the one that strongSwan's collectors give
// (spec part 1b §5.1, recorded in tests/data/interop), so that a device keeps its software's names whatever client it
// runs:
//
//   strongswan.org__Debian_12-x86_64-libaudit-common-1~3.0.9-1      for libaudit-common 1:3.0.9-1
#pragma once

#include <string>

#include "endpoint/inventory/packages.h"

namespace gatehouse::endpoint {

struct Platform {
  std::string regid = "strongswan.org";  // of the tag creator, as references name it
  std::string name = "Unknown";          // "Debian"
  std::string version;                   // "12 x86_64"
};

// "Debian_12-x86_64-libaudit-common-1~3.0.9-1". In a package's version ':' and '+' become '~'; in the platform's a
// blank becomes '-'.
std::string tag_id(const Platform& platform, const Package& package);
// regid, "__", tag id.
std::string software_identifier(const Platform& platform, const Package& package);

// ISO/IEC 19770-2:2015, UTF-8: identity, tag creator and the version as the package manager writes it. tagId and regid
// are within the first 1,023 bytes, tagId first.
std::string swid_tag(const Platform& platform, const Package& package);

}  // namespace gatehouse::endpoint
