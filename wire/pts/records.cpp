#include "wire/pts/records.h"

#include <algorithm>

namespace gatehouse::pts {
namespace {

constexpr std::uint8_t directory_flag = 0x80;
constexpr std::string_view spec = "spec part 2 1.13";

Result<std::string_view> text(Reader& r, std::size_t size) {
  const auto start = r;
  GH_TRY(const Bytes bytes, r.take(size));
  const std::string_view out = as_text(bytes);
  if (const std::size_t nul = out.find('\0'); nul != std::string_view::npos) {
    Reader at = start;
    GH_CHECK(at.skip(nul));
    return at.fail("NUL in a path");
  }
  return out;
}

// A name with its size in front; false: it isn't complete.
Result<bool> take_name(Reader& r, std::string_view& out) {
  if (r.remaining() < 2) return false;
  GH_TRY(const auto size, r.get<std::uint16_t>());
  if (r.remaining() < size) return false;
  GH_TRY(out, text(r, size));
  return true;
}

// Heads and records; false: more bytes are needed.
Result<bool> take(Reader& r, FileMeasurementHead& v) {
  if (r.remaining() < 12) return false;
  GH_TRY(v.count, r.get<std::uint64_t>());
  GH_TRY(v.request_id, r.get<std::uint16_t>());
  const auto at_size = r;
  GH_TRY(v.digest_size, r.get<std::uint16_t>());
  constexpr std::uint16_t sizes[] = {20, 32, 48, 64};
  if (std::find(std::begin(sizes), std::end(sizes), v.digest_size) == std::end(sizes) &&
      (v.digest_size != 0 || v.count != 0))
    return at_size.fail("measurement length of no PTS hash algorithm");
  return true;
}
Result<bool> take(Reader& r, const FileMeasurementHead& head, FileMeasurement& v) {
  if (r.remaining() < head.digest_size) return false;
  GH_TRY(v.digest, r.take(head.digest_size));
  return take_name(r, v.name);
}

Result<bool> take(Reader& r, FileMetadataHead& v) {
  if (r.remaining() < 8) return false;
  GH_TRY(v.count, r.get<std::uint64_t>());
  return true;
}
Result<bool> take(Reader& r, const FileMetadataHead&, FileMetadata& v) {
  if (r.remaining() < 2) return false;
  const auto start = r;
  GH_TRY(const auto length, r.get<std::uint16_t>());
  if (length < file_metadata_size) return start.fail("entry shorter than file metadata");
  if (r.remaining() < std::size_t(length) - 2) return false;
  GH_TRY(const auto type, r.get<std::uint8_t>());
  v.type = FileType(type);
  GH_CHECK(r.skip(1));
  for (std::uint64_t* field : {&v.size, &v.created, &v.modified, &v.accessed, &v.owner, &v.group}) {
    GH_TRY(*field, r.get<std::uint64_t>());
  }
  GH_TRY(v.name, text(r, length - file_metadata_size));
  return true;
}

Result<bool> take(Reader& r, SymlinkHead& v) {
  if (r.remaining() < 4) return false;
  GH_TRY(v.count, r.get<std::uint32_t>());
  return true;
}
Result<bool> take(Reader& r, const SymlinkHead&, Symlink& v) {
  GH_TRY(const bool complete, take_name(r, v.link));
  if (!complete) return false;
  return take_name(r, v.target);
}

}  // namespace

Result<FileMeasurementRequest> parse_file_measurement_request(Reader& r) {
  if (r.remaining() < 8) return r.fail("Request File Measurement shorter than 8 bytes");
  FileMeasurementRequest v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  v.directory = (flags & directory_flag) != 0;
  GH_CHECK(r.skip(1));
  GH_TRY(v.id, r.get<std::uint16_t>());
  GH_TRY(v.delimiter, r.get<std::uint32_t>());
  GH_TRY(v.path, text(r, r.remaining()));
  return v;
}
void append_file_measurement_request(Writer& w, const FileMeasurementRequest& v) {
  w.put(std::uint8_t(v.directory ? directory_flag : 0));
  w.put(std::uint8_t{0});
  w.put(v.id);
  w.put(v.delimiter);
  w.put_text(v.path);
}

Result<FileMetadataRequest> parse_file_metadata_request(Reader& r) {
  if (r.remaining() < 4) return r.fail("Request File Metadata shorter than 4 bytes");
  FileMetadataRequest v;
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  v.directory = (flags & directory_flag) != 0;
  GH_TRY(v.delimiter, r.get<std::uint8_t>());
  GH_CHECK(r.skip(2));
  GH_TRY(v.path, text(r, r.remaining()));
  return v;
}
void append_file_metadata_request(Writer& w, const FileMetadataRequest& v) {
  w.put(std::uint8_t(v.directory ? directory_flag : 0));
  w.put(v.delimiter);
  w.put(std::uint16_t{0});
  w.put_text(v.path);
}

void append_file_measurement_head(Writer& w, const FileMeasurementHead& v) {
  w.put(v.count);
  w.put(v.request_id);
  w.put(v.digest_size);
}
void append_file_measurement(Writer& w, const FileMeasurement& v) {
  GH_ASSERT(v.name.size() <= 0xFFFF);
  w.put_bytes(v.digest);
  w.put(std::uint16_t(v.name.size()));
  w.put_text(v.name);
}

void append_file_metadata_head(Writer& w, const FileMetadataHead& v) { w.put(v.count); }
void append_file_metadata(Writer& w, const FileMetadata& v) {
  GH_ASSERT(v.name.size() <= 0xFFFF - file_metadata_size);
  w.put(std::uint16_t(file_metadata_size + v.name.size()));
  w.put(std::uint8_t(v.type));
  w.put(std::uint8_t{0});
  for (const std::uint64_t field : {v.size, v.created, v.modified, v.accessed, v.owner, v.group}) w.put(field);
  w.put_text(v.name);
}

template <class Head, class Record>
void RecordCursor<Head, Record>::feed(Bytes piece) {
  buffer_.erase(buffer_.begin(), buffer_.begin() + std::ptrdiff_t(at_));
  discarded_ += at_;
  at_ = 0;
  buffer_.insert(buffer_.end(), piece.begin(), piece.end());
}

template <class Head, class Record>
Result<const Record*> RecordCursor<Head, Record>::next() {
  Reader r(Bytes(buffer_).subspan(at_), spec, base_ + discarded_ + at_);
  const auto start = r;
  const auto read = [&] { at_ = buffer_.size() - r.remaining(); };
  if (!head_) {
    Head head;
    GH_TRY(const bool complete, take(r, head));
    if (!complete && ended_) return start.fail("value shorter than its head");
    if (!complete) return nullptr;
    head_ = head;
    read();
  }
  if (read_ == head_->count) {
    GH_CHECK(r.finish());
    return nullptr;
  }
  const auto at_record = r;
  record_ = {};
  GH_TRY(const bool complete, take(r, *head_, record_));
  if (!complete && ended_) return at_record.fail("fewer records than announced");
  if (!complete) return nullptr;
  read();
  ++read_;
  return &record_;
}

template class RecordCursor<FileMeasurementHead, FileMeasurement>;
template class RecordCursor<FileMetadataHead, FileMetadata>;
template class RecordCursor<SymlinkHead, Symlink>;

}  // namespace gatehouse::pts
