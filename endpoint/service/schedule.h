// When an endpoint that stays connected is assessed again, and when it connects again. Pure: the time and random
// numbers come from the caller.
//
//   Schedule schedule(config, now);
//   schedule.assessed(now, random);        // each time that a verdict came
//   schedule.asked(now);                   // a signal
//   schedule.software_touched(now);        // a package manager wrote
//   wait until schedule.next(); switch (schedule.due(now)) …
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

namespace gatehouse::endpoint {

using Time = std::chrono::steady_clock::time_point;

class Schedule {
 public:
  struct Config {
    std::chrono::seconds interval{3600};
    // Package managers write their status many times in a run: how long it has to be quiet before it is looked at, and
    // after how long it is looked at in any case.
    std::chrono::seconds settle{10}, patience{120};
    // What a server takes of CRETRY, with something to spare: a burst, and then one each `spacing` (spec part 1a §7).
    unsigned burst = 4;
    std::chrono::seconds spacing{11};
  };
  enum class Due : std::uint8_t {
    nothing,
    look,      // whether software has changed; then software_changed() or software_unchanged()
    interval,  // another assessment, and why
    software,
    request,
  };

  Schedule(const Config& config, Time now) : config_(config), last_retry_(now) {}

  // The verdict is there. `random`: 0 to 1. The next is due after 0.9 to 1.1 intervals, so that a fleet which was
  // started at once spreads.
  void assessed(Time now, double random) {
    const auto interval = std::chrono::duration<double>(config_.interval) * (0.9 + 0.2 * random);
    regular_ = now + std::chrono::ceil<std::chrono::milliseconds>(interval);
  }
  void asked() { request_ = true; }
  void software_touched(Time now) {
    if (!touched_) touched_ = now;
    look_ = std::min(now + config_.settle, *touched_ + config_.patience);
  }
  // The look is done.
  void software_unchanged() { look_.reset(), touched_.reset(); }
  void software_changed() {
    software_unchanged();
    software_ = true;
  }
  // An assessment of ours (CRETRY) begins: what asked for one is answered by it.
  void begun(Time now) {
    refill(now);
    if (used_ == 0) last_retry_ = now;
    ++used_;
    request_ = software_ = false;
  }
  // The server's does: ours would only repeat it.
  void begun_by_server() { request_ = software_ = false; }

  Due due(Time now) {
    if (look_ && now >= *look_) return Due::look;
    refill(now);
    if (used_ >= config_.burst) return Due::nothing;
    if (request_) return Due::request;
    if (software_) return Due::software;
    return regular_ && now >= *regular_ ? Due::interval : Due::nothing;
  }
  // When due() is to be asked again at the latest; not before `now`.
  Time next(Time now) const {
    Time out = now + std::chrono::hours(24);
    if (look_) out = std::min(out, *look_);
    const bool spent = used_ >= config_.burst;
    const Time allowed = spent ? last_retry_ + config_.spacing : now;
    if (request_ || software_)
      out = std::min(out, allowed);
    else if (regular_)
      out = std::min(out, std::max(*regular_, allowed));
    return std::max(out, now);
  }
  std::optional<Time> regular() const { return regular_; }

 private:
  void refill(Time now) {
    const auto earned = (now - last_retry_) / config_.spacing;
    if (earned <= 0 || used_ == 0) return;
    used_ -= unsigned(std::min<std::int64_t>(used_, earned));
    last_retry_ += earned * config_.spacing;
  }
  Config config_;
  std::optional<Time> regular_, look_, touched_;
  bool request_ = false, software_ = false;
  unsigned used_ = 0;
  Time last_retry_;
};

// Exponential, from `least` to `most`, each time between half and all of it.
class Backoff {
 public:
  Backoff(std::chrono::seconds least, std::chrono::seconds most) : least_(least), most_(std::max(least, most)) {}
  // `random`: 0 to 1.
  std::chrono::milliseconds next(double random) {
    const std::chrono::milliseconds whole =
        std::min<std::chrono::milliseconds>(least_ * (std::int64_t{1} << doublings_), most_);
    if (whole < most_) ++doublings_;
    return std::chrono::ceil<std::chrono::milliseconds>(std::chrono::duration<double, std::milli>(whole) *
                                                        (0.5 + 0.5 * random));
  }
  // It went well.
  void reset() { doublings_ = 0; }

 private:
  std::chrono::seconds least_, most_;
  unsigned doublings_ = 0;
};

}  // namespace gatehouse::endpoint
