// Kept evidence on its way into the store and out of it: hashed and compressed where it was handed over, so that the
// writing thread only counts (docs/formats/state.md).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/hash.h"
#include "server/state/evidence.h"
#include "server/state/store.h"

namespace gatehouse::server {

// One session's evidence, ready to be written.
struct PackedEvidence {
  struct Piece {
    Digest id;           // SHA-256 of its content
    std::string stored;  // its value; empty: it was there when it was packed
    std::size_t place = 0;  // in the record
  };
  std::shared_ptr<const EvidenceRecord> record;
  std::string head;              // compressed
  std::vector<Digest> order;     // of all pieces, by place
  std::vector<Piece> pieces;     // each different one once
  std::size_t bytes() const;
};

// Reads what is there already; nothing else of the store.
Result<std::shared_ptr<const PackedEvidence>> pack(const StoreView& view, std::shared_ptr<const EvidenceRecord> record);

// zstd, or as it is where that is no longer: an original size (8 bytes), a form (1 byte; 0: as it is, 1: zstd, 2: two zstd
// frames, one inside the other's content), content (docs/formats/state.md).
std::string compressed(Bytes content);
// The same where `common`, bytes of `content`, comes in other content, too: it is compressed once, and its frame kept, within
// bounds. Safe for concurrent use.
std::string compressed_around(Bytes content, Bytes common);
Result<ByteVector> decompressed(std::string_view value, std::size_t most);

}  // namespace gatehouse::server
