#include "server/tls/backoff.h"

#include <algorithm>

namespace gatehouse::server {

std::chrono::milliseconds Backoff::delay(unsigned count) const {
  if (count < limits_.free_failures) return {};
  const unsigned doublings = std::min(count - limits_.free_failures, 16U);
  return std::min(limits_.first * (1 << doublings), limits_.most);
}

std::optional<std::chrono::milliseconds> Backoff::reserve(const std::string& address, Clock::time_point now) {
  const auto at = failures_.find(address);
  if (at == failures_.end()) return std::chrono::milliseconds(0);
  Failures& f = at->second;
  if (now - f.last >= limits_.memory) {
    failures_.erase(at);
    return std::chrono::milliseconds(0);
  }
  const auto step = delay(f.count);
  if (step.count() == 0) return step;
  const Clock::time_point slot = std::max(f.next_slot, now + step);
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(slot - now);
  if (wait > limits_.patience) return std::nullopt;
  f.next_slot = slot + step;
  return wait;
}

bool Backoff::crowded(const std::string& address, Clock::time_point now) const {
  const auto under_way = under_way_.find(address);
  if (under_way == under_way_.end()) return false;
  const auto at = failures_.find(address);
  const unsigned failed = at != failures_.end() && now - at->second.last < limits_.memory ? at->second.count : 0;
  // Beyond these they follow each other at a distance anyway.
  if (failed >= limits_.free_failures) return false;
  return under_way->second >= limits_.free_failures - failed + limits_.at_once;
}

void Backoff::end(const std::string& address) {
  const auto at = under_way_.find(address);
  if (at != under_way_.end() && --at->second == 0) under_way_.erase(at);
}

void Backoff::failed(const std::string& address, Clock::time_point now) {
  if (!failures_.contains(address) && failures_.size() >= limits_.addresses)
    failures_.erase(std::min_element(failures_.begin(), failures_.end(),
                                     [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  Failures& f = failures_[address];
  if (f.count != 0 && now - f.last >= limits_.memory) f = {};
  ++f.count;
  f.last = now;
}

}  // namespace gatehouse::server
