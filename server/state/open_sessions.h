// The sessions that have begun and have no result yet. The store has a row of each for the case that this process ends
// (docs/formats/state.md, `o`); who looks for them while it lives finds them here, without a search through the marks that
// those rows leave. For safe concurrent use.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "server/state/state.h"

namespace gatehouse::server {

class OpenSessions {
 public:
  using Record = std::shared_ptr<const SessionRecord>;

  void add(Record record) {
    const std::lock_guard guard(mutex_);
    records_.insert_or_assign(record->intent.session, std::move(record));
  }
  void remove(const std::string& session) {
    const std::lock_guard guard(mutex_);
    records_.erase(session);
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
    for (const auto& [_, record] : records_)
      if (device.empty() || record->intent.device == device) out.push_back(record);
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Record, std::less<>> records_;  // guarded by mutex_
};

}  // namespace gatehouse::server
