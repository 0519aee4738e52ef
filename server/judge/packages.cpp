#include "server/judge/packages.h"

#include <algorithm>
#include <utility>

namespace gatehouse::server {

std::string PackageCheck::Counts::text() const {
  return "processed " + std::to_string(total) + " packages: " + std::to_string(vulnerable) + " vulnerable, " +
         std::to_string(blacklisted) + " blacklisted, " + std::to_string(ok) + " ok, " +
         std::to_string(total - vulnerable - blacklisted - ok) + " unknown";
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
  for (const policy::WorkItem* item : items) tallies_.push_back({item, {}});
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

const PackageCheck::Counts* PackageCheck::counts(const policy::WorkItem& item) const {
  const auto at = std::find_if(tallies_.begin(), tallies_.end(), [&](const Tally& t) { return t.item == &item; });
  return at != tallies_.end() ? &at->counts : nullptr;
}

bool PackageCheck::bad() const {
  return std::any_of(tallies_.begin(), tallies_.end(), [](const Tally& t) { return t.counts.bad(); });
}

}  // namespace gatehouse::server
