#include "server/evidence/bundle.h"

#include "server/evidence/fields.h"

namespace gatehouse::evidence {
namespace {

using fields::document;
constexpr std::size_t digest_bytes = 32;

void put_long(Writer& w, Bytes bytes) {
  w.put(std::uint64_t(bytes.size()));
  w.put_bytes(bytes);
}
Result<Bytes> get_long(Reader& r) {
  GH_TRY(const auto size, r.get<std::uint64_t>());
  if (size > r.remaining()) return r.fail("truncated");
  return r.take(std::size_t(size));
}

}  // namespace

ByteVector append_bundle(const Bundle& b) {
  Writer w;
  w.put_text(bundle_magic);
  put_long(w, as_bytes(b.verdict));
  put_long(w, as_bytes(b.record));
  put_long(w, b.evidence.head);
  w.put(std::uint32_t(b.evidence.pieces.size()));
  for (const ByteVector& piece : b.evidence.pieces) put_long(w, piece);
  put_long(w, encode(b.answers));
  const Digest digest = digest_of(HashAlgorithm::sha256, w.view());
  w.put_bytes(digest.view());
  return std::move(w).take();
}

Result<Bundle> read_bundle(Bytes bytes) {
  Reader r(bytes, document);
  const auto magic = r.take(bundle_magic.size());
  if (!magic || as_text(*magic) != bundle_magic) return Reader(bytes, document).fail("not a bundle, or one of another version");
  if (r.remaining() < digest_bytes) return r.fail("truncated");
  GH_TRY(Reader content, r.sub(r.remaining() - digest_bytes));
  GH_TRY(const Bytes told, r.take(digest_bytes));
  if (!equal(digest_of(HashAlgorithm::sha256, bytes.first(bytes.size() - digest_bytes)).view(), told))
    return content.fail("the bundle was changed: its digest is another one");
  Bundle out;
  GH_TRY(const Bytes verdict, get_long(content));
  out.verdict = as_text(verdict);
  GH_TRY(const Bytes record, get_long(content));
  out.record = as_text(record);
  GH_TRY(const Bytes head, get_long(content));
  out.evidence.head = to_vector(head);
  GH_TRY(const auto pieces, content.get<std::uint32_t>());
  if (pieces > content.remaining() / 8) return content.fail("more than there are bytes for");
  for (std::uint32_t i = 0; i < pieces; ++i) {
    GH_TRY(const Bytes piece, get_long(content));
    out.evidence.pieces.push_back(to_vector(piece));
  }
  GH_TRY(const Bytes answers, get_long(content));
  GH_TRY(out.answers, decode_answers(answers));
  GH_CHECK(content.finish());
  return out;
}

}  // namespace gatehouse::evidence
