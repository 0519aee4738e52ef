// Entries of a binary IMA list, made field by field (spec part 2 §7.2).
#pragma once

#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/writer.h"

namespace gatehouse::endpoint::test {

inline void put_field(Writer& w, Bytes field) {
  w.put_le(std::uint32_t(field.size()));
  w.put_bytes(field);
}
inline void append_entry(Writer& w, std::string_view name, const std::vector<ByteVector>& fields,
                         std::uint32_t pcr = 10, bool violation = false) {
  Writer data;
  for (const ByteVector& field : fields) put_field(data, field);
  w.put_le(pcr);
  const Digest hash = violation ? Digest::filled(20, std::byte{0}) : digest_of(HashAlgorithm::sha1, data.view());
  w.put_bytes(hash.view());
  put_field(w, as_bytes(name));
  put_field(w, data.view());
}
// d-ng of SHA-256; filled with NUL it is that of a violation.
inline ByteVector digest_field(char fill) {
  ByteVector out = to_vector(as_bytes(std::string_view("sha256:\0", 8)));
  out.insert(out.end(), 32, std::byte(fill));
  return out;
}
inline ByteVector name_field(std::string_view name) {
  ByteVector out = to_vector(as_bytes(name));
  out.push_back(std::byte{0});
  return out;
}

}  // namespace gatehouse::endpoint::test
