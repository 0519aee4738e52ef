// The safety stop: after a switch of the policy or of the reference generation it watches how many of the devices that were
// allowed before are refused now, and says when there are more than the operator wants. Sans I/O; calls from one thread at
// a time.
//
//   SwitchGuard guard({.share = 0.1, .devices = 20, .watch = 1h});
//   guard.begin(now);
//   if (guard.note(device, now, was_allowed, refused)) undo();
//
// Each device counts once, with its first result after the switch, so that one that comes back again and again moves
// nothing. A device that was refused before says nothing of the switch; nor does one that nobody enrolled: strangers
// could otherwise have a stricter policy undone.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>

namespace gatehouse::server {

class SwitchGuard {
 public:
  using Clock = std::chrono::steady_clock;
  struct Limits {
    double share = 0;         // of the devices that were allowed before; 0: nothing is watched
    std::size_t devices = 20;  // that have to have come before the share counts
    std::chrono::seconds watch{3600};
  };
  struct Counts {
    std::size_t devices = 0, refused = 0;  // allowed before; and of these, refused now
  };

  explicit SwitchGuard(Limits limits) : limits_(limits) {}

  // A switch; one while another is watched begins anew for both.
  void begin(Clock::time_point now) {
    seen_.clear();
    counts_ = {};
    until_ = now + limits_.watch;
    watching_ = limits_.share > 0;
  }
  void end() {
    seen_ = {};
    watching_ = false;
  }
  // Whether the time is over; the switch stands then.
  bool over(Clock::time_point now) const { return watching_ && now >= until_; }
  bool watching() const { return watching_; }
  // Whether a result of this device would be its first.
  bool awaits(std::string_view device, Clock::time_point now) const {
    return watching_ && now < until_ && !device.empty() && !seen_.contains(std::string(device));
  }
  const Counts& counts() const { return counts_; }

  // The first result of a device after the switch; `was_allowed`: by what was in force before. True: the share is
  // exceeded, and nothing is watched any longer.
  bool note(std::string_view device, Clock::time_point now, bool was_allowed, bool refused) {
    if (!awaits(device, now) || seen_.size() >= most) return false;
    seen_.emplace(device);
    if (!was_allowed) return false;
    ++counts_.devices;
    counts_.refused += refused ? 1 : 0;
    if (counts_.devices < limits_.devices || double(counts_.refused) <= limits_.share * double(counts_.devices)) return false;
    end();
    return true;
  }

 private:
  static constexpr std::size_t most = 1'000'000;  // devices: memory is bounded
  const Limits limits_;
  bool watching_ = false;
  Clock::time_point until_{};
  std::unordered_set<std::string> seen_;
  Counts counts_;
};

}  // namespace gatehouse::server
