// L7, L8, L10, L11 and L12 of a policy's rules over a firmware log (spec part 2 §6.6, §6.8). Nothing here believes an
// event's type or its label: a variable or a text counts where the digest is recomputed from it, and what can't be
// recomputed fails the rules that it might concern. What a log of this kind can't show is said in docs/policy.md.
#pragma once

#include <string>
#include <vector>

#include "base/hash.h"
#include "pipeline/verdict/evidence_rules.h"
#include "wire/eventlog/eventlog.h"

namespace gatehouse::pipeline {

struct Breach {
  const char* code;
  std::string reason;
};

// Codes of L6-L12 that a rule makes a condition of allow; L6 and L9 among them aren't judged by FirmwareRuleChecks.
std::vector<const char*> enforced_codes(const std::vector<EvidenceRulesPtr>& rules);

class FirmwareRuleChecks {
 public:
  FirmwareRuleChecks(HashAlgorithm bank, std::vector<EvidenceRulesPtr> rules);
  // Every event that extends, in order; what it breaks.
  std::vector<Breach> see(const eventlog::Event& event);
  // What is missing in the whole log.
  std::vector<Breach> finish() const;
  const std::vector<const char*>& enforced() const { return enforced_; }  // as above

 private:
  struct Rule {
    EvidenceRulesPtr rules;
    CommandLineRule command_line;  // as the kernel reads names
  };
  struct Text {  // of PCR 8 or 12
    std::string text;
    bool command_line = false;            // it is one by its label or its form
    std::size_t end = std::string::npos;  // what is behind it isn't read
  };

  void see_secure_boot(const eventlog::Event& event, std::vector<Breach>& out);
  void see_database(const eventlog::UefiVariable& variable, std::vector<Breach>& out);
  void see_shim(const eventlog::UefiVariable& variable, std::vector<Breach>& out);
  void see_authority(const Digest& digest, const eventlog::UefiVariable* variable, std::vector<Breach>& out);
  void see_boot_loader(const Digest& digest, std::vector<Breach>& out);
  void see_command(const eventlog::Event& event, std::vector<Breach>& out);
  std::optional<Text> command_text(const eventlog::Event& event, Bytes measured);
  std::optional<Bytes> recomputed(const eventlog::Event& event, Bytes measured);

  Hasher hasher_;
  std::vector<const char*> enforced_;
  std::vector<Rule> rules_;
  DigestSet harmless_;                         // what firmware measures into PCR 4 besides images
  bool separator_ = false, database_ = false;  // of PCR 7: seen
  bool revocations_ = false, sbat_ = false, boot_loader_ = false, command_line_ = false;  // seen
};

}  // namespace gatehouse::pipeline
