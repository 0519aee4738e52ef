// Rule checks on a full firmware log, L1-L14 (spec part 2 §6.8). Event data counts only where the digest is recomputed
// from it; event types are the log's claim, so a rule that a relabelled event could escape looks at the digest too.
// L7, L8, L10, L11 and L12 compare with lists of a policy (firmware_rules.h) and are absent without one; L2 is the
// quote's (Q7).
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "pipeline/verdict/firmware_rules.h"
#include "pipeline/verdict/verdict.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::pipeline {

class LogChecks {
 public:
  explicit LogChecks(HashAlgorithm bank, std::vector<EvidenceRulesPtr> rules = {});
  // Every event of the log in order.
  void see(const eventlog::Event& event, eventlog::Format format);
  // After the last event: adds the codes, and a finding for each failure; returns how many findings were left out.
  std::uint64_t finish(std::map<std::string, Status>& checks, std::vector<Finding>& findings) const;

 private:
  void fail(const char* code, const eventlog::Event& event, std::string reason);
  void see_no_action(const eventlog::Event& event, std::string_view data);
  void see_order(const eventlog::Event& event, std::optional<bool> bound);
  void see_secure_boot(const eventlog::Event& event, std::optional<bool> bound);

  struct Failure {
    std::string code;
    std::uint64_t entry;
    std::uint32_t pcr;
    std::string reason;
  };
  Hasher hasher_;
  FirmwareRuleChecks rules_;
  DigestSet separator_digests_;                                         // 00000000 and FFFFFFFF
  std::vector<std::pair<Digest, std::string_view>> forbidden_actions_;  // L9
  std::uint64_t index_ = 0, without_bank_ = 0;
  std::array<unsigned, 8> separators_{};
  bool pcr0_extended_ = false, locality_seen_ = false, spec_id_seen_ = false;
  bool secure_boot_seen_ = false, platform_key_ = false;
  std::map<std::string, Status> failed_;   // every code that failed, whether or not its failures are listed
  std::vector<Failure> failures_;          // the first ones
  std::uint64_t left_out_ = 0;
};

}  // namespace gatehouse::pipeline
