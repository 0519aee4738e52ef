// Installed packages against the policy's rules and the reference store (spec part 1b §4.5).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "refdb/view/view.h"
#include "server/policy/work_items.h"
#include "wire/patnc/attributes.h"

namespace gatehouse::server {

// One list of packages, judged for each work item while it comes. Nothing of it counts before the list is complete.
class PackageCheck {
 public:
  struct Counts {
    std::uint64_t total = 0, vulnerable = 0, blacklisted = 0, ok = 0;
    std::vector<bool> found;           // by place in the rules' required()
    std::vector<std::string> missing;  // once the list is complete: "auditd >= 1:3.0.9-1"
    bool bad() const { return vulnerable + blacklisted != 0 || !missing.empty(); }
    // "processed 880 packages: 1 vulnerable, 1 blacklisted, 1 ok, 877 unknown", and where some are missing
    // "; missing: auditd, aide >= 0.18"
    std::string text() const;
  };
  // Names of packages that some item's rules don't want, as far as there is room for them.
  struct Names {
    std::vector<std::string> list;
    std::size_t bytes = 0, more = 0;
    void add(std::string_view name);
  };

  // The items are of type PCKGS; `references` may be null: then no version is known.
  PackageCheck(std::vector<const policy::WorkItem*> items, std::string product,
               std::shared_ptr<const refdb::View> references);

  void judge(const patnc::Package& package);
  // The list is complete.
  void finish();
  bool empty() const { return tallies_.empty(); }  // nobody asked
  // Where the list was judged for this item.
  const Counts* counts(const policy::WorkItem& item) const;
  bool bad() const;
  // The store couldn't be read: no count means anything.
  const std::optional<Error>& failure() const { return failure_; }
  const Names& blacklisted() const { return blacklisted_; }
  const Names& vulnerable() const { return vulnerable_; }
  const Names& missing() const { return missing_; }  // of all items

 private:
  struct Tally {
    const policy::WorkItem* item;
    Counts counts;
  };
  bool known(const patnc::Package& package);

  std::vector<Tally> tallies_;
  std::string product_;
  VersionScheme scheme_;
  std::shared_ptr<const refdb::View> references_;
  std::optional<Error> failure_;
  Names blacklisted_, vulnerable_, missing_;
};

}  // namespace gatehouse::server
