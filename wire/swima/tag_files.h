// The files that a SWID tag of 2015 (ISO/IEC 19770-2, NIST IR 8060) says its software is made of, with their hashes:
// references, as good as where the tag comes from. The tag's signature isn't checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hash.h"

namespace gatehouse::swima {

inline constexpr std::size_t max_file_tag_bytes = std::size_t(64) << 20;

struct TagFile {
  std::string path;  // absolute, as it is composed of Directory and File; not canonical
  std::uint64_t size = 0;
  bool is_mutable = false;                                // n8060:mutable
  std::vector<std::pair<HashAlgorithm, Digest>> digests;  // at least one
};

struct TagFiles {
  std::string name, version;  // of the software; either may be empty
  std::vector<TagFile> files;
  std::size_t left_out = 0;  // files with a relative path, or without a hash of a known algorithm
};

// From Payload alone: Evidence is what somebody found, not what was made. A hash is an attribute "hash" whose
// namespace names the algorithm. Malformed: a hash that isn't one of its algorithm, a path of more than 4,096 bytes.
Result<TagFiles> parse_tag_files(Bytes tag);

}  // namespace gatehouse::swima
