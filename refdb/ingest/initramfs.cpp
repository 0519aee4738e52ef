// Images of an initial RAM file system: cpio archives one after the other, each plain or compressed in its own way,
// with zeros between them (kernel Documentation/driver-api/early-userspace/buffer-format.rst, init/initramfs.c).
#include <algorithm>
#include <array>
#include <map>

#include "base/hex.h"
#include "refdb/alias/alias.h"
#include "refdb/ingest/cpio.h"
#include "refdb/ingest/file_hasher.h"
#include "refdb/ingest/files.h"
#include "refdb/ingest/inflate.h"
#include "refdb/ingest/ingest.h"
#include "refdb/ingest/limited_stream.h"

namespace gatehouse::refdb {
namespace {

constexpr std::string_view spec = "kernel init/initramfs.c";
constexpr std::size_t max_parts = 4096;

// A stream whose next bytes can be looked at.
class PeekedStream final : public Stream {
  static constexpr std::size_t ahead = 4096;

 public:
  explicit PeekedStream(Stream& stream) : stream_(stream) {}
  Result<std::size_t> read(std::span<std::byte> out) override {
    const std::size_t n = std::min(out.size(), held_);
    std::copy_n(peeked_.begin(), n, out.begin());
    std::copy(peeked_.begin() + std::ptrdiff_t(n), peeked_.begin() + std::ptrdiff_t(held_), peeked_.begin());
    held_ -= n;
    if (n == out.size()) return n;
    GH_TRY(const std::size_t more, stream_.read(out.subspan(n)));
    return n + more;
  }
  std::uint64_t offset() const override { return stream_.offset() - (plain_ ? held_ : 0); }
  // Some of what comes next, at least six bytes; fewer only at the end.
  Result<Bytes> peek() {
    GH_TRY(const std::size_t n, stream_.read(std::span(peeked_).subspan(held_)));
    held_ += n;
    return Bytes(peeked_).first(held_);
  }
  // Zeros that come next, also many.
  Result<void> skip_zeros() {
    for (;;) {
      GH_TRY(const Bytes next, peek());
      const auto zeros =
          std::size_t(std::ranges::find_if(next, [](std::byte b) { return b != std::byte{0}; }) - next.begin());
      if (zeros == 0) return {};
      std::array<std::byte, ahead> skipped;
      GH_CHECK(read(std::span(skipped).first(zeros)));
    }
  }
  // The stream is the input itself: what was peeked at is still to be taken.
  void set_plain() { plain_ = true; }

 private:
  Stream& stream_;
  std::array<std::byte, ahead> peeked_{};
  std::size_t held_ = 0;
  bool plain_ = false;
};

class ImageReader {
 public:
  ImageReader(const Input& input, const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits)
      : input_(input), limits_(limits), hasher_(algorithms, limits) {}

  Result<void> read() {
    std::uint64_t at = 0;
    for (std::size_t parts = 0; at < input_.size(); ++parts) {
      if (parts > max_parts) return fail(Fault::limit, "more archives than allowed", spec, std::size_t(at));
      GH_TRY(at, part(at));
    }
    if (!any_archive_) return fail(Fault::malformed, "no cpio archive in the image", spec);
    return {};
  }

  std::vector<ReferenceFile> take_files() { return with_paths(std::move(files_)); }
  std::vector<std::string> take_warnings() { return hasher_.take_warnings(); }

 private:
  struct Links {
    std::vector<std::string> waiting;
    std::optional<ReferenceFile> content;
  };

  // What begins at `at`; returns where it ended.
  Result<std::uint64_t> part(std::uint64_t at) {
    PlainStream plain(input_, at);
    PeekedStream peeked(plain);
    peeked.set_plain();
    GH_CHECK(peeked.skip_zeros());
    at = peeked.offset();
    GH_TRY(const Bytes head, peeked.peek());
    if (head.empty()) return at;
    if (as_text(head).starts_with("07070")) {
      LimitedStream limited(peeked, input_.size(), limits_, expanded_);
      GH_CHECK(archive(limited));
      expanded_ = limited.total();
      return peeked.offset();
    }
    const auto compression = compression_of(head);
    if (!compression)
      return fail(Fault::malformed, "neither a cpio archive nor a known compression", spec, std::size_t(at));
    GH_TRY(const auto inflater,
           ConcatenatedInflater::open(input_, at, *compression, ConcatenatedInflater::Behind::anything));
    LimitedStream limited(*inflater, input_.size(), limits_, expanded_);
    GH_CHECK(compressed(limited));
    expanded_ = limited.total();
    return inflater->offset();
  }

  // Archives inside one compressed part, to its end.
  Result<void> compressed(Stream& stream) {
    PeekedStream peeked(stream);
    for (std::size_t archives = 0;; ++archives) {
      if (archives > max_parts)
        return fail(Fault::limit, "more archives than allowed", spec, std::size_t(stream.offset()));
      GH_CHECK(peeked.skip_zeros());
      GH_TRY(const Bytes head, peeked.peek());
      if (head.empty()) return {};
      if (!as_text(head).starts_with("07070"))
        return fail(Fault::malformed, "no cpio archive in the compressed data", spec, std::size_t(stream.offset()));
      GH_CHECK(archive(peeked));
    }
  }

  Result<void> archive(Stream& stream) {
    any_archive_ = true;
    std::map<std::pair<std::uint64_t, std::uint64_t>, Links> links;  // an archive's inodes are its own
    CpioReader cpio(stream);
    for (;;) {
      GH_TRY(const auto member, cpio.next());
      if (!member) break;
      if (member->entry) return fail(Fault::malformed, "not a cpio member", spec, std::size_t(stream.offset()));
      const auto path = canonical_path(member->name);
      const bool regular = member->is_regular();
      if (!path && regular)
        return fail(Error{Fault::malformed,
                          "a member with an unusable path",
                          spec,
                          std::size_t(stream.offset()),
                          {},
                          escaped(member->name, 200)});
      // Something else takes the place of a file that came before; a folder doesn't.
      if (!regular) {
        if (path && (member->mode & 0170000) != 0040000) files_.erase(*path);
        continue;
      }
      GH_CHECK(take(cpio, *member, *path, stream, links));
    }
    // Names of an empty file.
    for (auto& [_, set] : links) {
      hasher_.start({});
      ReferenceFile empty;
      hasher_.finish(empty);
      for (const std::string& path : set.waiting) GH_CHECK(keep(path, empty, stream));
    }
    return {};
  }

  Result<void> take(CpioReader& cpio, const CpioMember& member, const std::string& path, const Stream& stream,
                    std::map<std::pair<std::uint64_t, std::uint64_t>, Links>& all) {
    Links* const links = member.links > 1 ? &all[{member.device, member.file}] : nullptr;
    if (links != nullptr && member.size == 0) {
      if (links->content) return keep(path, *links->content, stream);
      links->waiting.push_back(path);
      return {};
    }
    ReferenceFile file;
    hasher_.start(path);
    for (;;) {
      GH_TRY(const std::size_t n, cpio.read(buffer_));
      if (n == 0) break;
      file.size += n;
      if (file.size > limits_.file_bytes)
        return fail(Fault::limit, "the image expands to more than allowed", spec, std::size_t(stream.offset()));
      hasher_.update(Bytes(buffer_).first(n));
    }
    hasher_.finish(file);
    GH_CHECK(keep(path, file, stream));
    if (links == nullptr) return {};
    for (const std::string& other : std::exchange(links->waiting, {})) GH_CHECK(keep(other, file, stream));
    links->content = file;
    return {};
  }

  // The last of a path is the one that the kernel leaves.
  Result<void> keep(const std::string& path, const ReferenceFile& file, const Stream& stream) {
    const bool is_new = files_.insert_or_assign(path, file).second;
    if (is_new) paths_ += path.size();
    if (files_.size() > limits_.files)
      return fail(Fault::limit, "more files than allowed", spec, std::size_t(stream.offset()));
    if (paths_ > limits_.path_bytes)
      return fail(Fault::limit, "longer paths than allowed", spec, std::size_t(stream.offset()));
    return {};
  }

  const Input& input_;
  const IngestLimits limits_;
  FileHasher hasher_;
  std::map<std::string, ReferenceFile> files_;
  std::uint64_t paths_ = 0, expanded_ = 0;
  bool any_archive_ = false;
  ByteVector buffer_ = ByteVector(std::size_t(1) << 18);
};

}  // namespace

Result<ReferencePackage> read_initramfs(const Input& image, const std::string& name,
                                        const std::vector<HashAlgorithm>& algorithms, const IngestLimits& limits) {
  ImageReader reader(image, algorithms, limits);
  if (auto read = reader.read(); !read) return fail(std::move(read).error().from(name));
  ReferencePackage out;
  out.source = "initramfs:" + name;
  out.files = reader.take_files();
  out.warnings = reader.take_warnings();
  return out;
}

}  // namespace gatehouse::refdb
