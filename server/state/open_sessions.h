// The sessions that have begun and have no result yet. Their records are in a file for the case that this process ends
// (server/state/open_file.h); who looks for them while it lives finds them here. For safe concurrent use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/state/state.h"

namespace gatehouse::server {

class OpenSessions {
 public:
  using Record = std::shared_ptr<const SessionRecord>;

  // `place`: of its record in the file.
  void add(Record record, std::uint64_t place) {
    const std::lock_guard guard(mutex_);
    by_device_.insert_or_assign(Key{record->intent.device, record->intent.session}, record);
    std::string session = record->intent.session;
    records_.insert_or_assign(std::move(session), Open{std::move(record), place});
  }
  // The place of its record in the file; nothing: it isn't open.
  std::optional<std::uint64_t> remove(const std::string& session) {
    const std::lock_guard guard(mutex_);
    const auto at = records_.find(session);
    if (at == records_.end()) return std::nullopt;
    by_device_.erase(Key{at->second.record->intent.device, session});
    const std::uint64_t place = at->second.place;
    records_.erase(at);
    return place;
  }
  // Null: it isn't open.
  Record find(std::string_view session) const {
    const std::lock_guard guard(mutex_);
    const auto at = records_.find(session);
    return at == records_.end() ? nullptr : at->second.record;
  }
  std::size_t count() const {
    const std::lock_guard guard(mutex_);
    return records_.size();
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
  struct Open {
    Record record;
    std::uint64_t place = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, Open, std::less<>> records_;  // guarded by mutex_
  // Guarded by mutex_. Each refusal that is watched after a switch asks for one device's, and ten thousand may be open.
  std::map<Key, Record> by_device_;
};

}  // namespace gatehouse::server
