// Files one after the other, as the contents of a generation and what an ingestion has staged hold them. Each path
// gives how much it shares with the one before. Where a package has further contents of a file, each is a row with the
// same path, behind the first. Internal to refdb/store; docs/formats/refdb.md has the layout.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "refdb/store/builder.h"
#include "refdb/view/view.h"

namespace gatehouse::refdb {

// A file. What it points to is its reader's, or that of who set it.
struct FileRow {
  std::string_view path;
  std::uint64_t size = 0;
  bool is_mutable = false;
  std::uint32_t package = 0;  // in a page of contents
  struct Content {
    HashAlgorithm algorithm;
    std::string_view digest;
  };
  static constexpr std::size_t most_digests = 8;  // as many as there are algorithms
  std::size_t digests = 0;
  std::array<Content, most_digests> contents{};  // so many of them

  std::string_view digest(HashAlgorithm algorithm) const {
    for (std::size_t i = 0; i < digests; ++i)
      if (contents[i].algorithm == algorithm) return contents[i].digest;
    return {};
  }
  // Adds the path, the digests and whether it may change.
  void copy_to(Reference& out) const;
  // What is hashed of it for the package's digest. Shape: text path, size (8), flags (1), and for each digest its
  // TPM_ALG_ID (2), length (1) and bytes.
  void append_logical(std::string& out) const;
  // The same from the flags on: two files have the same content when this is the same.
  void append_content(std::string& out) const;
};
// Of a reference file, whose digests are sorted and each of another algorithm.
void set_row(FileRow& row, const ReferenceFile& file);
// The row that follows it, of another content of the same file.
void set_content(FileRow& row, const FileContent& content);

// Appends rows to a string; the first says its package, and each after a change of it.
class FileWriter {
 public:
  // False: its path doesn't come after that of the one before.
  bool append(std::string& out, const FileRow& row);
  // The same of a row that was read, and followed there the one that was appended last: `bytes` are its own.
  void append_read(std::string& out, const FileRow& row, std::string_view bytes) {
    out += bytes;
    previous_ = row.path;
  }
  // The next row shares nothing with the one before.
  void restart() { *this = FileWriter(); }

 private:
  std::string previous_;
  std::uint32_t package_ = 0;
  bool first_ = true;
};

class FileReader {
 public:
  explicit FileReader(std::string_view rows) : rest_(rows) {}
  bool done() const { return rest_.empty(); }
  // The next one, until the one after; nullptr: there is none, or the rows are damaged.
  FileRow* next() {
    const char* const begin = rest_.data();
    if (!read()) return nullptr;
    bytes_ = {begin, rest_.data()};
    return &row_;
  }
  // Those of the row that came last.
  std::string_view bytes() const { return bytes_; }

 private:
  bool read();
  bool take(HashAlgorithm algorithm, std::size_t size);
  std::string_view rest_, bytes_;
  std::string path_;
  std::uint32_t package_ = 0;
  FileRow row_;
};

}  // namespace gatehouse::refdb
