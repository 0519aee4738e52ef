// Files of an image while it is read: by their canonical paths, of which the last content holds.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "refdb/store/builder.h"

namespace gatehouse::refdb {

inline std::vector<ReferenceFile> with_paths(std::map<std::string, ReferenceFile>&& files) {
  std::vector<ReferenceFile> out;
  out.reserve(files.size());
  for (auto& [path, file] : files) {
    file.path = path;
    out.push_back(std::move(file));
  }
  return out;
}

}  // namespace gatehouse::refdb
