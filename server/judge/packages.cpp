#include "server/judge/packages.h"

#include <algorithm>
#include <set>
#include <utility>

namespace gatehouse::server {

std::string PackageCheck::Counts::text() const {
  std::string out = "processed " + std::to_string(total) + " packages: " + std::to_string(vulnerable) + " vulnerable, " +
                    std::to_string(blacklisted) + " blacklisted, " + std::to_string(ok) + " ok, " +
                    std::to_string(total - vulnerable - blacklisted - ok) + " unknown";
  constexpr std::size_t most = 16;  // in a sentence for people
  for (std::size_t i = 0; i < std::min(missing.size(), most); ++i) out += (i == 0 ? "; missing: " : ", ") + missing[i];
  if (missing.size() > most) out += " and " + std::to_string(missing.size() - most) + " more";
  return out;
}

void PackageCheck::Names::add(std::string_view name) {
  constexpr std::size_t most = 65'536;  // more than a message to the endpoint holds
  if (bytes + name.size() > most) {
    ++more;
    return;
  }
  bytes += name.size();
  list.emplace_back(name);
}

PackageCheck::PackageCheck(std::vector<const policy::WorkItem*> items, std::string product,
                           std::shared_ptr<const refdb::View> references)
    : product_(std::move(product)), scheme_(version_scheme(product_)), references_(std::move(references)) {
  for (const policy::WorkItem* item : items) {
    tallies_.push_back({item, {}});
    tallies_.back().counts.found.resize(item->packages->required().size());
  }
  // Packages of Android are the same whatever its version.
  if (product_.starts_with("Android ")) product_ = "Android";
}

bool PackageCheck::known(const patnc::Package& package) {
  if (references_ == nullptr || failure_) return false;
  auto found = references_->has_package(product_, package.name, package.version);
  if (!found) failure_ = std::move(found).error();
  return found.value_or(false);
}

void PackageCheck::judge(const patnc::Package& package) {
  if (tallies_.empty()) return;
  bool is_blacklisted = false, is_vulnerable = false;
  std::optional<bool> is_known;
  for (auto& [item, counts] : tallies_) {
    ++counts.total;
    item->packages->satisfied(package.name, package.version, scheme_, [&counts](std::size_t place) { counts.found[place] = true; });
    switch (item->packages->judge(package.name, package.version, scheme_)) {
      case policy::PackageState::blacklisted:
        ++counts.blacklisted;
        is_blacklisted = true;
        break;
      case policy::PackageState::vulnerable:
        ++counts.vulnerable;
        is_vulnerable = true;
        break;
      case policy::PackageState::unlisted:
        if (!is_known) is_known = known(package);
        if (*is_known) ++counts.ok;
        break;
    }
  }
  if (is_blacklisted)
    blacklisted_.add(package.name);
  else if (is_vulnerable)
    vulnerable_.add(package.name);
}

void PackageCheck::finish() {
  std::set<std::string> names;
  for (auto& [item, counts] : tallies_) {
    counts.missing.clear();
    std::size_t place = 0;
    for (const policy::PackageRule& rule : item->packages->required()) {
      if (counts.found[place++]) continue;
      counts.missing.push_back(rule.match == policy::PackageRule::Match::any ? rule.package : rule.text());
      names.insert(counts.missing.back());
    }
  }
  missing_ = {};
  for (const std::string& name : names) missing_.add(name);
}

const PackageCheck::Counts* PackageCheck::counts(const policy::WorkItem& item) const {
  const auto at = std::find_if(tallies_.begin(), tallies_.end(), [&](const Tally& t) { return t.item == &item; });
  return at != tallies_.end() ? &at->counts : nullptr;
}

bool PackageCheck::bad() const {
  return std::any_of(tallies_.begin(), tallies_.end(), [](const Tally& t) { return t.counts.bad(); });
}

}  // namespace gatehouse::server
