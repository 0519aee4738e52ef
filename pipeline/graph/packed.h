// What a session knows of firmware while it waits for its endpoint, packed: half of a Digest is room for longer ones, and
// thousands of sessions may wait at a time.
#pragma once

#include <vector>

#include "pipeline/graph/pipeline.h"
#include "pipeline/quote/quote.h"

namespace gatehouse::pipeline {

class PackedBoot {
 public:
  std::size_t size() const { return count_; }
  void add(const BootItem& item);
  void add(const PackedBoot& others);
  // Where the next one will be, and those from there on.
  struct Mark {
    std::size_t count = 0, bytes = 0;
  };
  Mark end() const { return {count_, bytes_.size()}; }
  PackedBoot behind(const Mark& mark) const;
  std::vector<BootItem> unpacked() const;
  Bytes packed() const { return bytes_; }
  // Of memory.
  std::size_t bytes() const { return bytes_.capacity(); }
  // Few more are added, if any.
  void shrink() { bytes_.shrink_to_fit(); }

 private:
  ByteVector bytes_;  // of each the PCR, a byte; the digest's size, a byte; the digest
  std::size_t count_ = 0;
};

class PackedBaseline {
 public:
  explicit PackedBaseline(const Baseline& baseline);
  HashAlgorithm bank() const { return bank_; }
  Baseline unpacked() const;
  // Whether it is that of these measurements.
  bool is_of(const PackedBoot& boot) const;

 private:
  HashAlgorithm bank_;
  ByteVector bytes_;  // for each PCR its number and how many digests, 4 bytes each; of each digest the size, a byte, and it
};

}  // namespace gatehouse::pipeline
