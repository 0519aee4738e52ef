// PTS attributes that ask for files and list them, and the ITA-HSR symlinks as they arrive in segments (spec part 2
// §1.13, §1.14, §1.16). Big-endian. A cursor is fed the attribute's value in pieces cut anywhere and yields one record
// at a time; it holds no more than the pieces that weren't read yet and one incomplete record:
//
//   FileMeasurementCursor files(patnc::attribute_header_size);
//   files.feed(piece);
//   if (last) files.end();
//   for (;;) {
//     GH_TRY(const FileMeasurement* file, files.next());
//     if (file == nullptr) break;  // files.remaining() to follow
//     ...
//   }
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/reader.h"
#include "base/writer.h"
#include "wire/pts/pts.h"

namespace gatehouse::pts {

// §1.13. The delimiter is a UTF-32 code point; which one is legal is the collector's to judge (error code 10).
inline constexpr std::uint32_t delimiter_slash = 0x2F, delimiter_backslash = 0x5C;
struct FileMeasurementRequest {
  bool directory = false;  // the directory's files, not the path itself
  std::uint16_t id = 0;
  std::uint32_t delimiter = delimiter_slash;
  std::string_view path;  // no NUL: an error at its offset
};
Result<FileMeasurementRequest> parse_file_measurement_request(Reader& r);
void append_file_measurement_request(Writer& w, const FileMeasurementRequest& v);

// §1.14
struct FileMetadataRequest {
  bool directory = false;
  std::uint8_t delimiter = delimiter_slash;
  std::string_view path;
};
Result<FileMetadataRequest> parse_file_metadata_request(Reader& r);
void append_file_metadata_request(Writer& w, const FileMetadataRequest& v);

// File Measurement: count (8), request id (2), digest size (2), then for each file the digest, name size (2), name.
struct FileMeasurementHead {
  std::uint64_t count = 0;
  std::uint16_t request_id = 0;
  std::uint16_t digest_size = 0;  // 20, 32, 48 or 64; 0 without files
};
struct FileMeasurement {
  Bytes digest;
  std::string_view name;
};
void append_file_measurement_head(Writer& w, const FileMeasurementHead& v);
void append_file_measurement(Writer& w, const FileMeasurement& v);

// Unix-Style File Metadata: count (8), then for each file 52 bytes and its name.
enum class FileType : std::uint8_t {
  other = 0,
  fifo = 1,
  character_device = 2,
  directory = 4,
  block_device = 6,
  regular = 8,
  symlink = 10,
  socket = 12
};
struct FileMetadataHead {
  std::uint64_t count = 0;
};
struct FileMetadata {
  FileType type = FileType::other;  // as it came: may be a value without a name
  std::uint64_t size = 0;
  std::uint64_t created = 0, modified = 0, accessed = 0;  // seconds since 1970
  std::uint64_t owner = 0, group = 0;
  std::string_view name;
};
inline constexpr std::size_t file_metadata_size = 52;  // of an entry without its name
void append_file_metadata_head(Writer& w, const FileMetadataHead& v);
void append_file_metadata(Writer& w, const FileMetadata& v);  // a name of at most 65,483 bytes

// Symlinks: count (4), then for each two paths with their sizes (2).
struct SymlinkHead {
  std::uint64_t count = 0;
};

// Malformed: a value that ends in its head (at the value's first byte), a record that ends too soon (at its first
// byte), a NUL in a name (at the NUL), bytes after the last record (at the first). After an error the cursor is of no
// more use.
template <class Head, class Record>
class RecordCursor {
 public:
  // `base`: what the value's first byte is counted as in errors; attribute_header_size for a segmented attribute.
  explicit RecordCursor(std::size_t base) : base_(base) {}

  void feed(Bytes piece);  // ends the life of the record before
  void end() { ended_ = true; }
  const std::optional<Head>& head() const { return head_; }  // read by next()
  std::uint64_t remaining() const { return head_ ? head_->count - read_ : 0; }
  // The next complete record, valid until the next call of any member; nullptr: more bytes are needed, or that was all.
  Result<const Record*> next();

 private:
  std::size_t base_;
  std::size_t at_ = 0, discarded_ = 0;
  bool ended_ = false;
  std::optional<Head> head_;
  std::uint64_t read_ = 0;
  Record record_;
  ByteVector buffer_;
};

using FileMeasurementCursor = RecordCursor<FileMeasurementHead, FileMeasurement>;
using FileMetadataCursor = RecordCursor<FileMetadataHead, FileMetadata>;
using SymlinkCursor = RecordCursor<SymlinkHead, Symlink>;
extern template class RecordCursor<FileMeasurementHead, FileMeasurement>;
extern template class RecordCursor<FileMetadataHead, FileMetadata>;
extern template class RecordCursor<SymlinkHead, Symlink>;

}  // namespace gatehouse::pts
