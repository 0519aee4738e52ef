// Rule checks on a full firmware log, L1-L14 (spec part 2 §6.8). Event data counts only where the digest is recomputed
// from it. L7, L8, L10, L11 and L12 compare with lists of a policy and are absent without one.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "pipeline/verdict/verdict.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::pipeline {

class LogChecks {
 public:
  explicit LogChecks(HashAlgorithm bank) : hasher_(bank) {}
  // Every event of the log in order.
  void see(const eventlog::Event& event, eventlog::Format format);
  // After the last event: adds the codes, and a finding for each that failed.
  void finish(std::map<std::string, Status>& checks, std::vector<Finding>& findings) const;
  // Whether some extended event lacks a digest for the bank (L13).
  bool lacks_bank() const { return without_bank_ != 0; }

 private:
  void fail(const char* code, const eventlog::Event& event, std::string reason);

  struct Failure {
    std::string code;
    std::uint64_t entry;
    std::uint32_t pcr;
    std::string reason;
  };
  Hasher hasher_;
  std::uint64_t index_ = 0, without_bank_ = 0;
  std::array<unsigned, 8> separators_{};
  bool pcr0_extended_ = false, locality_seen_ = false, spec_id_seen_ = false, debug_ = false;
  std::optional<bool> secure_boot_;
  std::vector<Failure> failures_;
};

}  // namespace gatehouse::pipeline
