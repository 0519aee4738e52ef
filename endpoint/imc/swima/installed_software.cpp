#include "endpoint/imc/swima/installed_software.h"

#include <algorithm>

#include "endpoint/imc/attestation/evidence.h"

namespace gatehouse::endpoint {
namespace {

// ISO/IEC 19770-2:2015; packages are all over the tree, so there is no locator.
swima::SoftwareRecord record_of(const SoftwareInstance& one, std::string_view tag = {}) {
  swima::SoftwareRecord out;
  out.record_id = one.record_id;
  out.source = one.source;
  out.identifier = one.software_id;
  out.record = as_bytes(tag);
  return out;
}

std::string tag_of(const Inventory& inventory, const SoftwareInstance& one) {
  for (auto& [instance, tag] : inventory.tags(one.software_id))
    if (instance.record_id == one.record_id) return std::move(tag);
  return {};
}

}  // namespace

Result<void> InstalledSoftware::refresh() {
  GH_TRY(Refreshed looked, inventory_.refresh(now_()));
  warnings_ = std::move(looked.warnings);
  return {};
}

std::vector<SoftwareSource::Source> InstalledSoftware::sources() const {
  return {{source_dpkg, "dpkg"}, {source_rpm, "rpm"}};
}

void InstalledSoftware::installed(swima::Content content, const Each& each) const {
  for (const SoftwareInstance& one : inventory_.installed()) {
    const std::string tag = content == swima::Content::records ? tag_of(inventory_, one) : std::string();
    if (!each(record_of(one, tag))) return;
  }
}

// Several architectures of a package share an identifier: all that are installed, else what was there last.
void InstalledSoftware::records_of(std::string_view identifier, const Each& each) const {
  const auto known = inventory_.tags(identifier);
  const auto& installed = inventory_.installed();
  bool any = false;
  for (const auto& [one, tag] : known) {
    const auto same = [&](const SoftwareInstance& other) { return other.record_id == one.record_id; };
    const auto from = std::lower_bound(installed.begin(), installed.end(), identifier,
                                       [](const SoftwareInstance& a, std::string_view b) { return a.software_id < b; });
    const auto to = std::find_if(from, installed.end(),
                                 [&](const SoftwareInstance& other) { return other.software_id != identifier; });
    if (std::none_of(from, to, same)) continue;
    any = true;
    if (!each(record_of(one, tag))) return;
  }
  if (!any && !known.empty()) each(record_of(known.back().first, known.back().second));
}

void InstalledSoftware::events(std::uint32_t from, swima::Content content, const EachEvent& each) const {
  for (const SoftwareLogEvent& one : inventory_.events_from(from)) {
    const std::string time = measurement_time(one.time);
    const std::string tag = content == swima::Content::records ? tag_of(inventory_, one.instance) : std::string();
    if (!each({one.eid, time, swima::Action(one.action), record_of(one.instance, tag)})) return;
  }
}

}  // namespace gatehouse::endpoint
