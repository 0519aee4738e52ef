#include "server/state/pieces.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "base/digest_memo.h"
#include "base/fingerprint.h"
#include "server/state/codec.h"
#include "server/state/layout.h"

namespace gatehouse::server {
namespace {

constexpr int level = 1;  // a third of the size for an eighth of the time of the default
constexpr std::size_t smallest = 64;
constexpr std::uint8_t as_it_is = 0, zstd = 1, zstd_around = 2;
// Of what is compressed by itself, to be found again: less isn't worth a frame, and more would push out too much.
constexpr std::size_t smallest_common = 2'048, largest_common = 256 << 10;

struct Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  Compressor() = default;
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  ~Compressor() { ZSTD_freeCCtx(context); }
};

// Appends a frame; false, and nothing appended, where there is none that is shorter.
bool append_frame(std::string& out, Bytes content) {
  thread_local const Compressor compressor;
  if (compressor.context == nullptr) return false;
  const std::size_t before = out.size();
  bool good = false;
  out.resize_and_overwrite(before + ZSTD_compressBound(content.size()), [&](char* to, std::size_t room) {
    const std::size_t size = ZSTD_compressCCtx(compressor.context, to + before, room - before, content.data(), content.size(), level);
    good = ZSTD_isError(size) == 0 && size < content.size();
    return before + (good ? size : 0);
  });
  return good;
}

// Frames of content that came before, by its fingerprint. Hostile content that never comes again pushes others out, and costs
// what it costs without.
class Frames {
 public:
  // Null: the content has no frame that is shorter.
  std::shared_ptr<const std::string> of(Bytes content) {
    const Fingerprint print = fingerprint_(content);
    if (auto found = find(print)) return found;
    std::string frame;
    if (!append_frame(frame, content)) return nullptr;
    frame.shrink_to_fit();
    auto made = std::make_shared<const std::string>(std::move(frame));
    const std::lock_guard lock(mutex_);
    keep(print, made);
    return made;
  }

 private:
  using Known = std::unordered_map<Fingerprint, std::shared_ptr<const std::string>, FingerprintHash>;
  static constexpr std::size_t most = 4 << 20;  // bytes of frames in each of both

  std::shared_ptr<const std::string> find(const Fingerprint& print) {
    const std::lock_guard lock(mutex_);
    if (const auto at = recent_.find(print); at != recent_.end()) return at->second;
    const auto at = earlier_.find(print);
    if (at == earlier_.end()) return nullptr;
    auto found = at->second;
    keep(print, found);
    return found;
  }
  void keep(const Fingerprint& print, const std::shared_ptr<const std::string>& frame) {
    if (bytes_ >= most) {
      earlier_ = std::move(recent_);
      recent_ = {};
      bytes_ = 0;
    }
    if (recent_.emplace(print, frame).second) bytes_ += frame->size();
  }

  const Fingerprinter fingerprint_;
  std::mutex mutex_;
  Known recent_, earlier_;  // guarded by mutex_: when `recent_` is full, it is what was earlier
  std::size_t bytes_ = 0;   // guarded by mutex_: of the frames in recent_
};

// A frame says how large its content is, too: nothing is reserved that it won't fill.
bool has_frame_of(Bytes frame, std::uint64_t size) { return ZSTD_getFrameContentSize(frame.data(), frame.size()) == size; }
bool decompress_frame(Bytes frame, std::span<std::byte> out) {
  return ZSTD_decompress(out.data(), out.size(), frame.data(), frame.size()) == out.size();
}

}  // namespace

std::string compressed(Bytes content) {
  Writer w;
  w.put(std::uint64_t(content.size()));
  w.put(zstd);
  std::string out = layout::taken(std::move(w));
  if (content.size() >= smallest && append_frame(out, content)) {
    out.shrink_to_fit();
    return out;
  }
  out.back() = char(as_it_is);
  return out.append(as_text(content));
}

std::string compressed_around(Bytes content, Bytes common) {
  if (common.size() < smallest_common || common.size() > largest_common) return compressed(content);
  const auto at = std::size_t(common.data() - content.data());
  static Frames frames;
  const auto inner = frames.of(common);
  if (!inner) return compressed(content);
  std::string rest;
  rest.reserve(content.size() - common.size());
  rest.append(as_text(content.first(at))).append(as_text(content.subspan(at + common.size())));
  Writer w;
  w.put(std::uint64_t(content.size()));
  w.put(zstd_around);
  w.put(std::uint64_t(rest.size()));
  w.put(std::uint64_t(at));
  const auto outer_size = w.reserve<std::uint64_t>();
  std::string out;
  out.reserve(w.size() + ZSTD_compressBound(rest.size()) + inner->size());
  out.append(as_text(w.view()));
  if (!append_frame(out, as_bytes(rest))) return compressed(content);
  w.fill(outer_size, std::uint64_t(out.size() - w.size()));
  out.replace(0, w.size(), as_text(w.view()));
  return out.append(*inner);
}

Result<ByteVector> decompressed(std::string_view value, std::size_t most) {
  Reader r(as_bytes(value), layout::document);
  GH_TRY(const auto size, r.get<std::uint64_t>());
  GH_TRY(const auto method, r.get<std::uint8_t>());
  if (size > most) return r.fail(Fault::limit, "compressed content is larger than it may be");
  if (method == as_it_is) {
    if (r.remaining() != size) return r.fail("compressed content of another size than it says");
    return to_vector(r.rest());
  }
  if (method != zstd && method != zstd_around) return r.fail("compressed content in an unknown form");
  std::uint64_t around = size, at = size, outer_size = r.remaining();
  if (method == zstd_around) {
    GH_TRY(around, r.get<std::uint64_t>());
    GH_TRY(at, r.get<std::uint64_t>());
    GH_TRY(outer_size, r.get<std::uint64_t>());
    if (around > size || at > around) return r.fail("compressed content of another size than it says");
  }
  GH_TRY(const Bytes outer, r.take(std::size_t(outer_size)));
  const Bytes inner = r.rest();
  if (!has_frame_of(outer, around) || (method == zstd_around && !has_frame_of(inner, size - around)))
    return r.fail("compressed content of another size than it says");
  ByteVector out(std::size_t(size), std::byte{0});
  const std::span<std::byte> room(out);
  bool good = decompress_frame(outer, room.first(std::size_t(around)));
  if (method == zstd_around) {
    std::copy_backward(out.begin() + std::ptrdiff_t(at), out.begin() + std::ptrdiff_t(around), out.end());
    good = good && decompress_frame(inner, room.subspan(std::size_t(at), std::size_t(size - around)));
  }
  if (!good) return r.fail("compressed content is damaged");
  return out;
}

std::size_t PackedEvidence::bytes() const {
  std::size_t all = head.size() + order.size() * 32;
  for (const Piece& piece : pieces) all += piece.stored.size();
  return all;
}

Result<std::shared_ptr<const PackedEvidence>> pack(const StoreView& view, std::shared_ptr<const EvidenceRecord> record) {
  if (record->head.size() > max_evidence_head || record->pieces.size() > max_evidence_pieces)
    return fail(Fault::limit, "more evidence than is kept of a session");
  auto out = std::make_shared<PackedEvidence>();
  out->record = record;
  out->head = compressed(record->head);
  // What a device sends is mostly what it sent before.
  static DigestMemo digests;
  std::set<Digest> known;
  for (std::size_t place = 0; place < record->pieces.size(); ++place) {
    const Bytes content = record->pieces[place];
    if (content.size() > max_evidence_piece) return fail(Fault::limit, "more evidence than is kept of a session");
    const Digest id = out->order.emplace_back(digests.sha256(content));
    if (!known.insert(id).second) continue;
    GH_TRY(const auto there, view.read(layout::piece_count_key(id)));
    out->pieces.push_back({id, there ? std::string() : compressed(content), place});
  }
  return std::shared_ptr<const PackedEvidence>(std::move(out));
}

}  // namespace gatehouse::server
