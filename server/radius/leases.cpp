#include "server/radius/leases.h"

#include <algorithm>

#include "server/state/life.h"

namespace gatehouse::server {
namespace {

using pipeline::Recommendation;

// The greater, the worse.
int rank(Recommendation r) {
  switch (r) {
    case Recommendation::allow: return 0;
    case Recommendation::isolate: return 1;
    case Recommendation::block: return 2;
    case Recommendation::none: return 3;
  }
  return 3;
}

}  // namespace

void Leases::note(const Identity& identity, const std::string& device, const std::string& key_pin, Recommendation recommendation,
                  std::int64_t now) {
  put(identity, device, key_pin, recommendation, now, false);
}

void Leases::recall(const Identity& identity, const std::string& device, const std::string& key_pin, Recommendation recommendation,
                    std::int64_t time) {
  put(identity, device, key_pin, recommendation, time, true);
}

void Leases::put(const Identity& identity, const std::string& device, const std::string& key_pin, Recommendation recommendation,
                 std::int64_t now, bool only_new) {
  if (identity.name.empty() || identity.type.empty() || device.empty()) return;
  const std::lock_guard lock(mutex_);
  auto at = entries_.find(identity);
  if (at == entries_.end()) {
    by_age_.push_back(identity);
    at = entries_.emplace(identity, Entry{{}, std::prev(by_age_.end())}).first;
  } else {
    by_age_.splice(by_age_.end(), by_age_, at->second.age);
  }
  auto& devices = at->second.devices;
  // One more than there may be stays, so that it is known that there are too many.
  if (devices.size() <= max_devices || devices.contains(device)) {
    const auto [place, is_new] = devices.try_emplace(device);
    Result& result = place->second;
    if (is_new || (!only_new && (result.time <= now || result.time - now > clock_tolerance_ms))) result = {recommendation, key_pin, now};
  }
  while (entries_.size() > most_) {
    entries_.erase(by_age_.front());
    by_age_.pop_front();
  }
}

std::optional<Leases::Lease> Leases::find(const Identity& identity, std::chrono::seconds length, std::int64_t now, const Judge& judge) const {
  std::map<std::string, Result> devices;
  {
    const std::lock_guard lock(mutex_);
    const auto at = entries_.find(identity);
    if (at == entries_.end()) return std::nullopt;
    devices = at->second.devices;
  }
  if (devices.size() > max_devices) return std::nullopt;
  std::optional<Lease> worst;
  std::vector<std::string> all;
  for (const auto& [device, result] : devices) {
    const Standing standing = judge(device, result.key_pin);
    if (standing == Standing::gone) continue;
    // After the clock was set back a verdict would hold longer than its length.
    if (result.time - now > clock_tolerance_ms) return std::nullopt;
    const auto left = length - std::chrono::floor<std::chrono::seconds>(std::chrono::milliseconds(now - result.time));
    if (left.count() <= 0 || standing != Standing::good) return std::nullopt;
    const bool worse = !worst || rank(result.recommendation) > rank(worst->recommendation);
    const auto least = worst ? std::min(worst->left, left) : left;
    if (worse) worst = Lease{result.recommendation, left, device, {}};
    worst->left = least;
    all.push_back(device);
  }
  if (!worst) return worst;
  std::erase(all, worst->device);
  worst->also = std::move(all);
  return worst;
}

std::size_t Leases::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace gatehouse::server
