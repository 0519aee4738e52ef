// What a policy's rules make of IMA entries beyond the references (spec part 2 §7.5, §7.7, §7.8): signatures, measured
// buffers, violations. One object a session; many threads may use it.
//
// A signature covers a file's content, not its name: it says ok where the references say nothing, and never outdoes a
// reference of the path that differs, else any signed file would do in any other's place.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/lookup/verdict_cache.h"
#include "pipeline/verdict/evidence_rules.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::pipeline {

struct ImaItem;

// Signatures that verified, by key, digest and signature: a fleet runs the same files. Those that don't verify aren't
// kept, so what an endpoint makes up crowds nothing out.
class SignatureCache {
 public:
  explicit SignatureCache(std::size_t slots = 1 << 16) : valid_(slots) {}
  bool knows(const Digest& key) {
    const bool found = valid_.find(key, any) != nullptr;
    (found ? hits_ : misses_).fetch_add(1, std::memory_order_relaxed);
    return found;
  }
  void insert(const Digest& key) { valid_.insert(key, {}, any); }
  // How often a signature was known, and how often it wasn't: next to verifying one, counting costs nothing.
  std::uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  std::uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }

 private:
  struct Nothing {};
  static bool any(const Nothing&) { return true; }
  InsertOnlyTable<Nothing> valid_;
  std::atomic<std::uint64_t> hits_{0}, misses_{0};
};

class ImaRuleChecks {
 public:
  // Signed entries of a list that are verified; those behind them count as unsigned. It bounds what a list full of
  // signatures costs, and doesn't depend on the order in which batches are judged.
  static constexpr std::uint64_t max_signed_entries = 65'536;

  ImaRuleChecks() = default;
  ImaRuleChecks(std::vector<EvidenceRulesPtr> rules, std::shared_ptr<SignatureCache> cache);

  // Whether any rule may refuse a file that the references know.
  bool may_refuse() const { return may_refuse_; }
  // Whether any rule looks at signatures.
  bool wants_signatures() const { return wants_signatures_; }
  // From the references' status of an entry to the one that counts.
  void judge(const ImaItem& item, Status& status, Finding& finding) const;
  // What a violation is.
  Status violation() const;

 private:
  // Why there is no valid signature; empty: there is one.
  std::string_view why_unsigned(const ImaItem& item) const;

  std::vector<EvidenceRulesPtr> rules_;
  std::shared_ptr<SignatureCache> cache_;  // null: every signature is verified
  bool wants_signatures_ = false, may_refuse_ = false;
};

}  // namespace gatehouse::pipeline
