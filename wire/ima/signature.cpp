#include "wire/ima/signature.h"

namespace gatehouse::ima {
namespace {

constexpr std::string_view header_spec = "kernel signature_v2_hdr";
constexpr std::uint8_t type_signature = 3, type_verity = 6;

struct Row {
  std::uint8_t id;
  HashAlgorithm hash;
};
// Numbers of the kernel's hash_info.h.
constexpr Row hashes[] = {
    {2, HashAlgorithm::sha1}, {4, HashAlgorithm::sha256}, {5, HashAlgorithm::sha384}, {6, HashAlgorithm::sha512}};

std::uint8_t id_of(HashAlgorithm hash) {
  for (const Row& row : hashes)
    if (row.hash == hash) return row.id;
  return 0xFF;
}

}  // namespace

Result<Signature> parse_signature(Bytes field) {
  Reader r(field, header_spec);
  const auto start = r;
  Signature out;
  GH_TRY(const auto type, r.get<std::uint8_t>());
  GH_TRY(const auto version, r.get<std::uint8_t>());
  const bool file = type == type_signature && version == 2;
  out.verity = type == type_verity && version == 3;
  if (!file && !out.verity) return start.fail("not a signature of version 2, nor of an fs-verity digest");
  GH_TRY(const auto hash, r.get<std::uint8_t>());
  for (const Row& row : hashes)
    if (row.id == hash) out.hash = row.hash;
  GH_TRY(out.key_id, r.get<std::uint32_t>());
  const auto at_size = r;
  GH_TRY(const auto size, r.get<std::uint16_t>());
  if (size != r.remaining()) return at_size.fail("signature size contradicts the field's");
  out.value = r.rest();
  return out;
}

void append_signature(Writer& w, const Signature& s) {
  w.put(s.verity ? type_verity : type_signature);
  w.put(std::uint8_t(s.verity ? 3 : 2));
  w.put(s.hash ? id_of(*s.hash) : std::uint8_t{0xFF});
  w.put(s.key_id);
  w.put(std::uint16_t(s.value.size()));
  w.put_bytes(s.value);
}

ByteVector verity_file_id(HashAlgorithm hash, Bytes digest) {
  Writer w;
  w.put(type_verity);
  w.put(id_of(hash));
  w.put_bytes(digest);
  return std::move(w).take();
}

}  // namespace gatehouse::ima
