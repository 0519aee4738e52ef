#include "server/state/pieces.h"

#include <zstd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "base/digest_memo.h"
#include "server/state/codec.h"
#include "server/state/layout.h"

namespace gatehouse::server {
namespace {

constexpr int level = 1;  // a third of the size for an eighth of the time of the default
constexpr std::size_t smallest = 64;
constexpr std::uint8_t as_it_is = 0, zstd = 1, zstd_around = 2;

template <class T, T* (*make)(), std::size_t (*end)(T*)>
struct Context {
  T* context = make();
  Context() = default;
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { end(context); }
};
using Compressor = Context<ZSTD_CCtx, ZSTD_createCCtx, ZSTD_freeCCtx>;
using Decompressor = Context<ZSTD_DCtx, ZSTD_createDCtx, ZSTD_freeDCtx>;

// A frame says how large its content is, too: nothing is reserved that it won't fill.
bool has_frame_of(Bytes frame, std::uint64_t size) { return ZSTD_getFrameContentSize(frame.data(), frame.size()) == size; }
bool decompress_frame(Bytes frame, std::span<std::byte> out) {
  return ZSTD_decompress(out.data(), out.size(), frame.data(), frame.size()) == out.size();
}

}  // namespace

struct Dictionary::Impl {
  ZSTD_CDict* compressing;
  ZSTD_DDict* decompressing;
};

// Of text: it doesn't begin as one of zstd's own dictionaries.
Dictionary::Dictionary(Bytes common) : impl_(new Impl{ZSTD_createCDict(common.data(), common.size(), level), ZSTD_createDDict(common.data(), common.size())}) {}
Dictionary::~Dictionary() {
  ZSTD_freeCDict(impl_->compressing);
  ZSTD_freeDDict(impl_->decompressing);
}

bool append_frame(std::string& out, Bytes content, const Dictionary* dictionary) {
  thread_local const Compressor compressor;
  if (compressor.context == nullptr || (dictionary != nullptr && dictionary->impl_->compressing == nullptr)) return false;
  const std::size_t before = out.size();
  bool good = false;
  out.resize_and_overwrite(before + ZSTD_compressBound(content.size()), [&](char* to, std::size_t room) {
    const std::size_t size = dictionary != nullptr
                                 ? ZSTD_compress_usingCDict(compressor.context, to + before, room - before, content.data(), content.size(), dictionary->impl_->compressing)
                                 : ZSTD_compressCCtx(compressor.context, to + before, room - before, content.data(), content.size(), level);
    good = ZSTD_isError(size) == 0 && size < content.size();
    return before + (good ? size : 0);
  });
  return good;
}

Result<void> decompress_frame_into(std::string& out, Bytes frame, std::size_t most, const Dictionary* dictionary) {
  thread_local const Decompressor decompressor;
  const unsigned long long size = ZSTD_getFrameContentSize(frame.data(), frame.size());
  const auto damaged = [] { return fail(Fault::malformed, "compressed content is damaged", layout::document); };
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > most) return damaged();
  if (decompressor.context == nullptr || (dictionary != nullptr && dictionary->impl_->decompressing == nullptr)) return damaged();
  bool good = false;
  out.resize_and_overwrite(std::size_t(size), [&](char* to, std::size_t room) {
    const std::size_t got = dictionary != nullptr ? ZSTD_decompress_usingDDict(decompressor.context, to, room, frame.data(), frame.size(), dictionary->impl_->decompressing)
                                                  : ZSTD_decompressDCtx(decompressor.context, to, room, frame.data(), frame.size());
    good = got == room;
    return good ? room : 0;
  });
  if (!good) return damaged();
  return {};
}

std::shared_ptr<const std::string> CommonFrames::of(Bytes content, bool& again) {
  const Fingerprint print = fingerprint_(content);
  if (auto found = find(print)) {
    again = true;
    return found;
  }
  std::string frame;
  if (!append_frame(frame, content)) return nullptr;
  frame.shrink_to_fit();
  auto made = std::make_shared<const std::string>(std::move(frame));
  const std::lock_guard lock(mutex_);
  keep(print, made);
  return made;
}

std::shared_ptr<const std::string> CommonFrames::find(const Fingerprint& print) {
  const std::lock_guard lock(mutex_);
  if (const auto at = recent_.find(print); at != recent_.end()) return at->second;
  const auto at = earlier_.find(print);
  if (at == earlier_.end()) return nullptr;
  auto found = at->second;
  keep(print, found);
  return found;
}

void CommonFrames::keep(const Fingerprint& print, const std::shared_ptr<const std::string>& frame) {
  if (bytes_ >= most) {
    earlier_ = std::move(recent_);
    recent_ = {};
    bytes_ = 0;
  }
  if (recent_.emplace(print, frame).second) bytes_ += frame->size();
}

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
