#include "refdb/ingest/tar.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <cerrno>

#include "base/hex.h"

namespace gatehouse::refdb {

struct TarReader::State {
  Stream& stream;
  ByteVector buffer = ByteVector(std::size_t(64) << 10);
  std::optional<Error> failed{};  // of the stream, which libarchive can't hand on
  archive* a = nullptr;
  bool opened = false, ended = false;  // the archive; the member
  std::uint64_t left = 0;              // of the member's content

  static la_ssize_t read(archive* a, void* data, const void** out) {
    auto& self = *static_cast<State*>(data);
    auto n = self.stream.read(self.buffer);
    if (!n) {
      self.failed = std::move(n).error();
      archive_set_error(a, EIO, "the archive's stream failed");
      return -1;
    }
    *out = self.buffer.data();
    return la_ssize_t(*n);
  }
};

TarReader::TarReader(Stream& stream) : state_(std::make_unique<State>(State{stream})) {
  state_->a = archive_read_new();
  GH_ASSERT(state_->a != nullptr);
  archive_read_support_format_tar(state_->a);
}

TarReader::~TarReader() { archive_read_free(state_->a); }

std::unexpected<Error> TarReader::bad() {
  if (state_->failed) return fail(*state_->failed);
  const char* const text = archive_error_string(state_->a);
  return fail(Error{Fault::malformed,
                    "can't read the tar archive",
                    "tar(5)",
                    std::size_t(state_->stream.offset()),
                    {},
                    text != nullptr ? escaped(text, 200) : ""});
}

Result<std::optional<TarMember>> TarReader::next() {
  if (!std::exchange(state_->opened, true)) {
    if (archive_read_open(state_->a, state_.get(), nullptr, State::read, nullptr) != ARCHIVE_OK) return bad();
  }
  archive_entry* entry = nullptr;
  const int rc = archive_read_next_header(state_->a, &entry);
  if (rc == ARCHIVE_EOF && !state_->failed) return std::nullopt;
  if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN) return bad();
  TarMember out;
  const char* const path = archive_entry_pathname(entry);
  if (path == nullptr)
    return fail(
        Error{Fault::malformed, "a member without a name", "tar(5)", std::size_t(state_->stream.offset()), {}, {}});
  out.path = path;
  const char* const target = archive_entry_hardlink(entry);
  const char* const symlink = archive_entry_symlink(entry);
  if (target != nullptr || symlink != nullptr) out.link_target = target != nullptr ? target : symlink;
  out.kind = target != nullptr                           ? TarMember::Kind::hard_link
             : archive_entry_filetype(entry) == AE_IFREG ? TarMember::Kind::regular
             : archive_entry_filetype(entry) == AE_IFDIR ? TarMember::Kind::folder
             : archive_entry_filetype(entry) == AE_IFLNK ? TarMember::Kind::symlink
                                                         : TarMember::Kind::other;
  out.size = std::uint64_t(std::max<la_int64_t>(archive_entry_size(entry), 0));
  state_->left = out.size;
  state_->ended = false;
  out.is_sparse = archive_entry_sparse_count(entry) != 0;
  return std::optional(std::move(out));
}

Result<std::size_t> TarReader::read(std::span<std::byte> out) {
  // libarchive isn't asked again after its end: it would give a last hole then, and another time.
  const la_ssize_t n = state_->ended || out.empty() ? 0 : archive_read_data(state_->a, out.data(), out.size());
  if (n < 0) return bad();
  if (n != 0) {
    state_->left -= std::min<std::uint64_t>(state_->left, std::uint64_t(n));
    return std::size_t(n);
  }
  state_->ended = true;
  const std::size_t hole = std::size_t(std::min<std::uint64_t>(state_->left, out.size()));
  std::ranges::fill(out.first(hole), std::byte{0});
  state_->left -= hole;
  return hole;
}

std::uint64_t TarReader::taken() const {
  return std::uint64_t(std::max<la_int64_t>(archive_filter_bytes(state_->a, -1), 0));
}

}  // namespace gatehouse::refdb
