// The value of security.ima that an IMA list carries in its `sig` field (kernel security/integrity/integrity.h,
// signature_v2_hdr; spec part 2 §7.8). Big-endian:
//
//   type u8 | version u8 | hash u8 | key id u32 | size u16 | signature
#pragma once

#include <cstdint>
#include <optional>

#include "base/hash.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::ima {

struct Signature {
  bool verity = false;  // type 6, version 3: over the kernel's file id with an fs-verity digest; else type 3, version 2
  std::optional<HashAlgorithm> hash;  // nullopt: a number that no signature of ours is made with
  std::uint32_t key_id = 0;           // last 4 bytes of the signing certificate's subject key identifier
  Bytes value;                        // RSA PKCS #1 v1.5, or ECDSA as DER; borrowed
};
// Other types (digests, EVM) and versions are malformed here; so are sizes that contradict the field's.
Result<Signature> parse_signature(Bytes field);
void append_signature(Writer& w, const Signature& signature);
// What a signature with `verity` is made over: type, hash and digest (kernel ima_file_id).
ByteVector verity_file_id(HashAlgorithm hash, Bytes digest);

}  // namespace gatehouse::ima
