// Findings of list entries between their look-up and the verdict: an entry that nobody knows takes some hundred bytes here,
// and more than six hundred as a Finding. Sessions wait half way for their endpoints, thousands at a time, and runs of
// evidence are kept with what they came to.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::pipeline {

// Why nearly all unknown entries are unknown: these take one byte.
inline constexpr std::string_view no_reference = "no reference of this path";
inline constexpr std::string_view no_reference_in_algorithm = "no reference of this path in the entry's algorithm";

// In the order in which they were added.
class PackedFindings {
 public:
  // Borrows.
  struct Entry {
    std::uint64_t index = 0;  // in the list
    std::uint32_t pcr = 0;
    Status status = Status::unknown;
    std::string_view path, reason, package, version;
    std::span<const std::string> expected;
    Bytes measured_template;                  // digest in the session's bank; empty: none
    std::string_view measured_algorithm;      // of the next
    Bytes measured_file;                      // digest; empty: none
  };
  void add(const Entry& entry);

  // Enough to tell which of them a verdict has room for.
  class Packed {
   public:
    std::uint64_t index() const { return index_; }
    bool only_unknown() const { return status_ == Status::unknown; }
    std::size_t cost() const { return cost_; }  // as below

   private:
    friend class PackedFindings;
    std::uint64_t index_ = 0;
    Status status_ = Status::unknown;
    std::size_t cost_ = 0;
    bool more_ = false;
    Bytes whole_, rest_;
  };
  // While nothing is added.
  std::vector<Packed> all() const;
  // Of another one's.
  void add(const Packed& packed);

  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  // Bytes that they add to a verdict object, roughly.
  std::size_t cost() const { return cost_; }
  // Of memory.
  std::size_t bytes() const { return bytes_.capacity(); }
  // Nothing more is added.
  void shrink() { bytes_.shrink_to_fit(); }

  // As a verdict has them, behind those that are in `out`.
  void spell(HashAlgorithm bank, std::vector<Finding>& out) const;

 private:
  ByteVector bytes_;
  std::size_t count_ = 0, cost_ = 0;
};

}  // namespace gatehouse::pipeline
