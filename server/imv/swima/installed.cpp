#include "server/imv/swima/installed.h"

#include <algorithm>

namespace gatehouse::server {

void Changes::add(const SoftwareEvent& event) {
  if (list_.size() >= most) {
    left_out_ = true;
    return;
  }
  list_.push_back({event.eid, {event.record.source, event.record.software_id, event.record.record_id}, event.action});
}

// An EID is a set (spec part 1b §5.4): an instance created and deleted under one EID is where it was before.
void Installed::apply(const Changes& changes, std::uint32_t from, std::uint32_t last) {
  std::vector<Changes::Change> list;
  std::copy_if(changes.list_.begin(), changes.list_.end(), std::back_inserter(list),
               [&](const Changes::Change& c) { return c.eid > from && c.eid <= last; });
  std::sort(list.begin(), list.end());
  for (std::size_t first = 0, end = 0; first < list.size(); first = end) {
    bool created = false, deleted = false;
    for (; end < list.size() && list[end].eid == list[first].eid && list[end].instance == list[first].instance; ++end) {
      created = created || list[end].action == SoftwareAction::creation;
      deleted = deleted || list[end].action == SoftwareAction::deletion;
    }
    apply(list[first].instance, created, deleted);
  }
}

void Installed::apply(const Instance& instance, bool created, bool deleted) {
  if (created && deleted) return;
  if (!deleted) {
    instances_.insert(instance);
    return;
  }
  if (instances_.erase(instance) != 0) return;
  // An endpoint whose inventories and events number their records differently still names one instance.
  const auto& [source, identifier, record_id] = instance;
  const auto first = instances_.lower_bound(Instance{source, identifier, 0});
  const auto same = [&](auto at) {
    return at != instances_.end() && std::get<0>(*at) == source && std::get<1>(*at) == identifier;
  };
  if (same(first) && !same(std::next(first))) instances_.erase(first);
}

void Installed::each(const std::function<void(std::string_view identifier)>& visit) const {
  for (const Instance& one : instances_) visit(std::get<1>(one));
}

}  // namespace gatehouse::server
