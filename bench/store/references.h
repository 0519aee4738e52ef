// Synthetic references in the shape of Debian's main archive, up to 50,000,000 files and beyond, the same for the same
// seed: sizes of packages, lengths of paths, folders that packages share, how many files have an alias under a merged
// /usr. Contents don't repeat, as those of Debian now and then do: each digest costs its 32 bytes.
//
//   const References references({.files = 10'000'000, .seed = 1});
//   for (std::uint64_t n = 0; n < references.packages(); ++n) use(references.package(n));
//
// Measured on Debian 12 (886 packages, 134,882 files), what is imitated: 62 bytes a path, 19 of them its last part; 11
// files a folder; 8 files in the median package, 131 and 1,953 at the ninth tenth and the 99th hundredth; 36 % of the
// files below a folder that has an alias.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "refdb/store/builder.h"

namespace gatehouse::bench {

struct ReferenceShape {
  std::uint64_t files = 100'000;
  std::uint64_t seed = 1;
  bool every_file_has_an_alias = false;  // false: as in Debian
  unsigned packages_to_change = 0;       // of a thousand: those have another version and other contents
};

// Constant after it was made, safe for concurrent use.
class References {
 public:
  explicit References(ReferenceShape shape);
  std::uint64_t packages() const { return first_.size() - 1; }
  std::uint64_t files() const { return first_.back(); }
  // Files in the order of their paths, with SHA-256; an identity as of a package file.
  refdb::ReferencePackage package(std::uint64_t n) const;
  // The package's identity alone, for less.
  Digest identity(std::uint64_t n) const;

 private:
  bool changed(std::uint64_t n) const;
  const ReferenceShape shape_;
  std::vector<std::uint64_t> first_;  // file of each package, and the end
};

}  // namespace gatehouse::bench
