// What an export says that it holds: a text that is signed, in one form only, so that what can be read is byte for byte
// what is written of it. docs/formats/export.md has the layout. Knows nothing of files and keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::refdb {

// Of the repositories that were taken, beside a generation's own files.
inline constexpr std::string_view repositories_name = "REPOSITORIES";

struct ExportManifest {
  static constexpr std::size_t most_bytes = std::size_t(16) << 20, most_files = 100'000;
  static constexpr std::uint64_t most_file_bytes = std::uint64_t(1) << 40;

  struct File {
    std::string name;  // REPOSITORIES, CURRENT, IDENTITY, MANIFEST-NUMBER, NUMBER.sst: nothing else
    std::uint64_t size = 0;
    Digest sha256;
    bool in_base = false;  // not in the export: a table of the generation that it is over
    friend bool operator==(const File&, const File&) = default;
  };
  // A generation as the exporter numbers it, and its content digest.
  struct Base {
    std::uint64_t generation = 0;
    Digest content;
    friend bool operator==(const Base&, const Base&) = default;
  };

  std::uint64_t generation = 0;
  std::int64_t made = 0;                        // when it was signed: microseconds since 1970
  Digest content;                               // content digest
  std::uint64_t packages = 0, files_known = 0;  // of the generation
  std::optional<Base> base;                     // absent: the export is whole
  std::vector<File> files;                      // by name, but for REPOSITORIES, which comes first

  std::uint64_t bytes() const;  // of the files that are in the export
  friend bool operator==(const ExportManifest&, const ExportManifest&) = default;
};

std::string append_manifest(const ExportManifest& manifest);
// Malformed, with its offset, is whatever append_manifest() doesn't write.
Result<ExportManifest> parse_manifest(std::string_view text);

// Which export a generation came from, or which one was taken last from a key: a line of the files IMPORT and IMPORTS.
struct ImportRecord {
  Digest key;  // VerifyingKey::id()
  std::int64_t made = 0;
  std::uint64_t generation = 0;  // as the exporter numbers it
  Digest content, manifest;      // content digest; SHA-256 of the manifest
  friend bool operator==(const ImportRecord&, const ImportRecord&) = default;
};
std::string append_record(const ImportRecord& record);
// All lines.
Result<std::vector<ImportRecord>> parse_records(std::string_view text);

}  // namespace gatehouse::refdb
