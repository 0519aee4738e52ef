// A session's raw evidence as the state store keeps it: a head, and the pieces that it refers to. What is in them is the
// concern of server/evidence; here only equal pieces are one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace gatehouse::server {

inline constexpr std::size_t max_evidence_head = std::size_t(4) << 20;
inline constexpr std::size_t max_evidence_pieces = 1 << 20;                      // of one session
inline constexpr std::size_t max_evidence_piece = std::size_t(1) << 30;

struct EvidenceRecord {
  ByteVector head;
  std::vector<ByteVector> pieces;  // the head names them by their places
  // What bounds the memory of evidence that isn't on disk yet; let go with the record.
  std::shared_ptr<void> hold{};
};

// What all kept evidence takes.
struct EvidenceTotals {
  std::uint64_t sessions = 0;
  std::uint64_t pieces = 0;  // different ones
  std::uint64_t bytes = 0;   // of heads and pieces, compressed
};

}  // namespace gatehouse::server
