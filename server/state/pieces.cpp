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
constexpr std::uint8_t as_it_is = 0, zstd = 1;

struct Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  Compressor() = default;
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;
  ~Compressor() { ZSTD_freeCCtx(context); }
};

}  // namespace

std::string compressed(Bytes content) {
  Writer w;
  w.put(std::uint64_t(content.size()));
  const std::size_t header = w.size() + 1;
  if (content.size() >= smallest) {
    thread_local const Compressor compressor;
    std::string out(header + ZSTD_compressBound(content.size()), '\0');
    const std::size_t size = compressor.context == nullptr
                                 ? content.size()
                                 : ZSTD_compressCCtx(compressor.context, out.data() + header, out.size() - header,
                                                     content.data(), content.size(), level);
    if (ZSTD_isError(size) == 0 && size < content.size()) {
      w.put(zstd);
      std::copy_n(as_text(w.view()).begin(), header, out.begin());
      out.resize(header + size);
      out.shrink_to_fit();
      return out;
    }
  }
  w.put(as_it_is);
  w.put_bytes(content);
  return layout::taken(std::move(w));
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
  if (method != zstd) return r.fail("compressed content in an unknown form");
  // The frame says how large it is, too: nothing is reserved that it won't fill.
  if (ZSTD_getFrameContentSize(r.rest().data(), r.remaining()) != size) return r.fail("compressed content of another size than it says");
  ByteVector out(std::size_t(size), std::byte{0});
  const std::size_t got = ZSTD_decompress(out.data(), out.size(), r.rest().data(), r.remaining());
  if (ZSTD_isError(got) != 0 || got != out.size()) return r.fail("compressed content is damaged");
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
