#include "endpoint/inventory/swid_tag.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::endpoint {
namespace {

// Text of an attribute value. What XML 1.0 can't hold is written \xNN.
std::string attribute(std::string_view text) { return xml_escaped(escaped(text, max_package_text)); }

}  // namespace

std::string tag_id(const Platform& platform, const Package& package) {
  std::string os = platform.name + (platform.version.empty() ? "" : "_" + platform.version);
  std::replace(os.begin(), os.end(), ' ', '-');
  std::string version = package.version;
  std::replace(version.begin(), version.end(), ':', '~');
  std::replace(version.begin(), version.end(), '+', '~');
  return os + "-" + package.name + "-" + version;
}

std::string software_identifier(const Platform& platform, const Package& package) {
  return platform.regid + "__" + tag_id(platform, package);
}

std::string swid_tag(const Platform& platform, const Package& package) {
  return "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
         "<SoftwareIdentity tagId=\"" +
         attribute(tag_id(platform, package)) + "\" name=\"" + attribute(package.name) + "\" version=\"" +
         attribute(package.version) +
         "\" versionScheme=\"alphanumeric\" xml:lang=\"en\""
         " xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\">\n"
         "  <Entity name=\"" +
         attribute(platform.regid) + "\" regid=\"" + attribute(platform.regid) +
         "\" role=\"tagCreator\"/>\n"
         "  <Meta product=\"" +
         attribute(platform.name + (platform.version.empty() ? "" : " " + platform.version)) +
         "\"/>\n"
         "</SoftwareIdentity>\n";
}

}  // namespace gatehouse::endpoint
