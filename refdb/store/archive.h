// The parts of an export's file. Internal to refdb/store; docs/formats/export.md has the layout.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/error.h"
#include "refdb/store/export_manifest.h"

namespace gatehouse::refdb {

inline constexpr std::string_view archive_magic = "GHREFDB1";
// Magic, the key's id, the signature, the manifest's size (4): then the manifest and the files.
inline constexpr std::size_t archive_head_bytes = 8 + 32 + 64 + 4;
// Files are read and written so many bytes at a time.
inline constexpr std::size_t archive_block = std::size_t(1) << 18;

// A generation's file of this name; REPOSITORIES is the store's own.
std::string exported_path(const std::string& store, const std::string& generation, const std::string& name);

// Name, size and digest of a file.
Result<ExportManifest::File> describe_file(const std::string& path, const std::string& name);

}  // namespace gatehouse::refdb
