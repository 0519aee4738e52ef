// What a policy's rules make of what the references say of files ([rules.NAME] `files`, docs/policy.md). One object a
// session; many threads may use it.
//
// A rule that is kinder than none is for files whose name is proved: the endpoint may claim any name for a violation and,
// over PA-TNC, for a template hash that isn't known, so rules with paths or packages only refuse those.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/verdict/evidence_rules.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::pipeline {

struct ImaItem;

class FileRuleChecks {
 public:
  FileRuleChecks() = default;
  // `now_ms`: of the session, milliseconds since 1970.
  FileRuleChecks(std::vector<EvidenceRulesPtr> rules, std::int64_t now_ms);

  bool empty() const { return rules_.empty(); }
  // Whether it matters if this file, whose content is a reference's, is superseded.
  bool asks_superseded(std::string_view path) const;
  // From the status that everything else came to, to the one that counts. `finding` has the reason and the package.
  void judge(const ImaItem& item, Status& status, Finding& finding) const;
  // The same of a violation of which all that is known is the claimed name.
  Status violation(std::string_view claimed, Status status) const;

  // A file with a reference's content: since when a newer version of its package is known, in seconds since 1970.
  struct Age {
    std::string_view package;
    std::int64_t since = 0;
  };
  // Refused, or reported: what it is to be called; nullopt: nothing is said of it.
  struct Verdict {
    Treatment treatment = Treatment::unsaid;
    const EvidenceRules* rules = nullptr;
  };
  Verdict superseded(std::string_view path, const Age& age) const;

 private:
  struct Asked {
    std::string_view path, package;
    bool proved = false;  // the name is
  };
  template <class Says>
  Verdict strictest(const Asked& asked, Says says) const;

  std::vector<EvidenceRulesPtr> rules_;  // those that have any
  std::int64_t now_ = 0;                 // seconds
};

}  // namespace gatehouse::pipeline
