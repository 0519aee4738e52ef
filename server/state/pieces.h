// Kept evidence on its way into the store and out of it: hashed and compressed where it was handed over, so that the
// writing thread only counts (docs/formats/state.md).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fingerprint.h"
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
// frames, one inside the other's content, of formats before 8), content (docs/formats/state.md).
std::string compressed(Bytes content);
Result<ByteVector> decompressed(std::string_view value, std::size_t most);

// Bytes that content has in common with other content, for frames that are made and read with them. A few KiB: more costs each
// frame more than it saves. Safe for concurrent use.
class Dictionary {
 public:
  explicit Dictionary(Bytes common);
  ~Dictionary();
  Dictionary(const Dictionary&) = delete;
  Dictionary& operator=(const Dictionary&) = delete;

 private:
  friend bool append_frame(std::string& out, Bytes content, const Dictionary* dictionary);
  friend Result<void> decompress_frame_into(std::string& out, Bytes frame, std::size_t most, const Dictionary* dictionary);
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Appends a zstd frame; false, and nothing appended, where there is none that is shorter.
bool append_frame(std::string& out, Bytes content, const Dictionary* dictionary = nullptr);
// Of a frame whose content is at most so large.
Result<void> decompress_frame_into(std::string& out, Bytes frame, std::size_t most, const Dictionary* dictionary = nullptr);

// Frames of content that came before, by its fingerprint. Hostile content that never comes again pushes others out, and costs
// what it costs without. Safe for concurrent use.
class CommonFrames {
 public:
  // Null: the content has no frame that is shorter. `again`: it came before.
  std::shared_ptr<const std::string> of(Bytes content, bool& again);

 private:
  using Known = std::unordered_map<Fingerprint, std::shared_ptr<const std::string>, FingerprintHash>;
  static constexpr std::size_t most = 4 << 20;  // bytes of frames in each of both

  std::shared_ptr<const std::string> find(const Fingerprint& print);
  void keep(const Fingerprint& print, const std::shared_ptr<const std::string>& frame);

  const Fingerprinter fingerprint_;
  std::mutex mutex_;
  Known recent_, earlier_;  // guarded by mutex_: when `recent_` is full, it is what was earlier
  std::size_t bytes_ = 0;   // guarded by mutex_: of the frames in recent_
};

}  // namespace gatehouse::server
