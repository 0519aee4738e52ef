#include "server/radius/shared_cuts.h"

namespace gatehouse::server {

bool SharedCuts::take(const Name& name, std::uint64_t number, Clock::time_point now) {
  if (held_.contains(number)) return false;
  if (names_.size() >= most_) std::erase_if(names_, [&](const auto& one) { return one.second.waiting.empty() && now - one.second.last >= apart; });
  const auto at = names_.find(name);
  if (at == names_.end()) {
    if (names_.size() < most_) names_.emplace(name, Of{now, {}});
    return true;
  }
  Of& of = at->second;
  if ((now - of.last >= apart && of.waiting.empty()) || now == of.last || held_.size() >= most_) {
    of.last = now;
    return true;
  }
  of.waiting.insert(number);
  held_.emplace(number, name);
  return false;
}

void SharedCuts::forget(std::uint64_t number) {
  const auto at = held_.find(number);
  if (at == held_.end()) return;
  names_.at(at->second).waiting.erase(number);
  held_.erase(at);
}

std::vector<std::uint64_t> SharedCuts::due(Clock::time_point now) {
  std::vector<std::uint64_t> out;
  for (auto at = names_.begin(); at != names_.end();) {
    Of& of = at->second;
    if (now - of.last < apart) {
      ++at;
      continue;
    }
    if (of.waiting.empty()) {
      at = names_.erase(at);
      continue;
    }
    for (const std::uint64_t number : of.waiting) {
      out.push_back(number);
      held_.erase(number);
    }
    of.waiting.clear();
    of.last = now;
    ++at;
  }
  return out;
}

std::optional<SharedCuts::Clock::time_point> SharedCuts::next() const {
  std::optional<Clock::time_point> out;
  for (const auto& [_, of] : names_)
    if (!of.waiting.empty() && (!out || of.last + apart < *out)) out = of.last + apart;
  return out;
}

}  // namespace gatehouse::server
