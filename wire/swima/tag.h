// What a SWID tag (ISO/IEC 19770-2) says of its own identity, so that a tag can be held against the software identifier
// that it came for (RFC 8412; spec part 1b §5.9). No XML library: wire/swima/xml.h says what is read
// and what isn't.
//
//   GH_TRY(const auto identity, swima::parse_tag_identity(record.record, swima::TagFormat::iso_2015));
//   if (identity.identifier() != record.identifier) …
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "wire/swima/swima.h"

namespace gatehouse::swima {

inline constexpr std::size_t max_tag_bytes = std::size_t(4) << 20;

// Data models of PEN 0.
enum class TagFormat : std::uint8_t { iso_2015 = 0, iso_2009 = 1 };
// That of a record, where it is one of these.
std::optional<TagFormat> tag_format(const SoftwareRecord& record);

struct TagIdentity {
  std::string creator;  // regid of the tag's creator
  std::string tag_id;
  std::string identifier() const { return creator + "__" + tag_id; }
  bool operator==(const TagIdentity&) const = default;
};
// 2015: the root's tagId, and the regid of the Entity among its children whose role has tagCreator.
// 2009: unique_id and tag_creator_regid in the root's software_id.
// Fault::limit: too large or too deep. Offsets count from the tag's first byte.
Result<TagIdentity> parse_tag_identity(Bytes tag, TagFormat format);

}  // namespace gatehouse::swima
