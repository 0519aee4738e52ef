#include "refdb/ingest/file_hasher.h"

#include <algorithm>
#include <utility>

#include "base/hex.h"
#include "base/reader.h"
#include "base/release.h"
#include "refdb/ingest/inflate.h"
#include "refdb/ingest/limited_stream.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view magic = "~Module signature appended~\n";
constexpr std::size_t trailer = 12;  // struct module_signature
constexpr std::size_t held_back = max_module_signature_bytes + trailer + magic.size();
constexpr std::size_t max_warnings = 10;

constexpr std::pair<std::string_view, Compression> packed_names[] = {
    {".ko.xz", Compression::xz}, {".ko.zst", Compression::zstd}, {".ko.gz", Compression::gzip}};

std::optional<Compression> packed_as(std::string_view path) {
  for (const auto& [suffix, compression] : packed_names)
    if (path.ends_with(suffix)) return compression;
  return std::nullopt;
}

}  // namespace

bool is_packed_module(std::string_view path) { return packed_as(path).has_value(); }
bool is_kernel_module(std::string_view path) { return path.ends_with(".ko") || is_packed_module(path); }

std::optional<std::size_t> module_signature(Bytes tail) {
  if (tail.size() < trailer + magic.size() || !as_text(tail).ends_with(magic)) return std::nullopt;
  const std::size_t end = tail.size() - magic.size() - trailer;
  Reader r(tail.subspan(end, trailer), "kernel module_signature.h");
  const auto names = r.take(8);
  const auto size = r.get<std::uint32_t>();
  if (!names || !size) return std::nullopt;
  constexpr std::uint8_t pkcs7[8] = {0, 0, 2, 0, 0, 0, 0, 0};
  if (!std::ranges::equal(*names, std::as_bytes(std::span(pkcs7)))) return std::nullopt;
  // A kernel doesn't take a signature of nothing.
  if (*size == 0 || *size >= end || *size > max_module_signature_bytes) return std::nullopt;
  return end - *size;
}

void FileHasher::Unsigned::start() {
  hashers_.start();
  tail_.clear();
  hashed_ = 0;
}

void FileHasher::Unsigned::update(Bytes bytes) {
  tail_.insert(tail_.end(), bytes.begin(), bytes.end());
  // Not for each few bytes: what stays is moved.
  if (tail_.size() < 4 * held_back) return;
  const std::size_t known = tail_.size() - held_back;
  hashers_.update(Bytes(tail_).first(known));
  hashed_ += known;
  tail_.erase(tail_.begin(), tail_.begin() + std::ptrdiff_t(known));
}

std::optional<FileContent> FileHasher::Unsigned::finish() {
  const auto begin = module_signature(tail_);
  if (!begin) return std::nullopt;
  hashers_.update(Bytes(tail_).first(*begin));
  return FileContent{hashed_ + *begin, hashers_.finish()};
}

void FileHasher::start(std::string_view path) {
  hashers_.start();
  size_ = 0;
  path_ = path;
  form_ = path.ends_with(".ko") ? Form::plain : unpacks_ && packed_as(path) ? Form::packed : Form::other;
  if (form_ == Form::plain) unsigned_.start();
  packed_.clear();
}

void FileHasher::update(Bytes bytes) {
  hashers_.update(bytes);
  size_ += bytes.size();
  if (form_ == Form::plain) unsigned_.update(bytes);
  if (form_ == Form::packed && size_ <= limits_.module_bytes) packed_.insert(packed_.end(), bytes.begin(), bytes.end());
}

void FileHasher::finish(ReferenceFile& file) {
  if (const auto unpacked = finish_unpacked(file); !unpacked) warn(path_, unpacked.error());
}

Result<void> FileHasher::finish_unpacked(ReferenceFile& file) {
  file.size = size_;
  file.digests = hashers_.finish();
  file.further.clear();
  if (form_ == Form::plain) {
    if (auto content = unsigned_.finish()) file.further.push_back(*std::move(content));
  }
  if (form_ != Form::packed) return {};
  auto unpacked = unpack(file);
  release(packed_);
  if (!unpacked) file.further.clear();
  return unpacked;
}

void FileHasher::warn(std::string_view path, const Error& why) {
  if (warnings_.size() == max_warnings)
    ++more_warnings_;
  else
    warnings_.push_back(escaped(path, 200) + ": taken as it is, not unpacked: " + std::string(why.reason));
}

Result<void> FileHasher::unpack(ReferenceFile& file) {
  if (size_ > limits_.module_bytes) return fail(Fault::limit, "a module larger than allowed");
  // What isn't what its name says is no module, and is measured as it is.
  const auto compression = packed_as(path_);
  if (packed_.empty() || compression_of(packed_) != compression) return {};
  all_packed_ += packed_.size();
  const MemoryInput input(packed_);
  GH_TRY(const auto inflater, ConcatenatedInflater::open(input, 0, *compression));
  LimitedStream stream(*inflater, all_packed_, limits_, all_unpacked_);
  unpacked_.start();
  unsigned_.start();
  FileContent content;
  ByteVector buffer(std::size_t(1) << 18);
  for (;;) {
    const auto n = stream.read(buffer);
    all_unpacked_ = stream.total();
    if (!n) return std::unexpected(n.error());
    const Bytes piece = Bytes(buffer).first(*n);
    content.size += *n;
    if (content.size > limits_.module_bytes) return fail(Fault::limit, "a module larger than allowed");
    unpacked_.update(piece);
    unsigned_.update(piece);
    if (*n < buffer.size()) break;
  }
  content.digests = unpacked_.finish();
  file.further.push_back(std::move(content));
  if (auto without = unsigned_.finish()) file.further.push_back(*std::move(without));
  return {};
}

std::vector<std::string> FileHasher::take_warnings() {
  if (more_warnings_ != 0)
    warnings_.push_back(std::to_string(more_warnings_) + " more modules taken as they are, not unpacked");
  more_warnings_ = 0;
  return std::exchange(warnings_, {});
}

}  // namespace gatehouse::refdb
