// The sessions that have begun and have no result yet. The store has a row of each for the case that this process ends
// (docs/formats/state.md, `o`); who looks for them while it lives finds them here, without a search through the marks that
// those rows leave. For safe concurrent use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/state/state.h"

namespace gatehouse::server {

class OpenSessions {
 public:
  using Record = std::shared_ptr<const SessionRecord>;

  void add(Record record) {
    const std::lock_guard guard(mutex_);
    by_device_.insert_or_assign(Key{record->intent.device, record->intent.session}, record);
    records_.insert_or_assign(record->intent.session, std::move(record));
  }
  void remove(const std::string& session) {
    const std::lock_guard guard(mutex_);
    const auto at = records_.find(session);
    if (at == records_.end()) return;
    by_device_.erase(Key{at->second->intent.device, session});
    records_.erase(at);
  }
  // Null: it isn't open.
  Record find(std::string_view session) const {
    const std::lock_guard guard(mutex_);
    const auto at = records_.find(session);
    return at == records_.end() ? nullptr : at->second;
  }
  // Of one device; of all where it is empty. In no order.
  std::vector<Record> of(std::string_view device) const {
    std::vector<Record> out;
    const std::lock_guard guard(mutex_);
    auto at = by_device_.lower_bound(Key{std::string(device), {}});
    for (; at != by_device_.end() && (device.empty() || at->first.first == device); ++at) out.push_back(at->second);
    return out;
  }

 private:
  using Key = std::pair<std::string, std::string>;  // device, session
  mutable std::mutex mutex_;
  std::map<std::string, Record, std::less<>> records_;  // guarded by mutex_
  // Guarded by mutex_. Each refusal that is watched after a switch asks for one device's, and ten thousand may be open.
  std::map<Key, Record> by_device_;
};

}  // namespace gatehouse::server
