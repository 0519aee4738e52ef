// Whether the clock may say what has become old: retention by age waits for a day where the clock went ahead of time, so
// that a clock that was set wrong takes no record away before somebody sets it right. No clock in here.
#pragma once

#include <cstdint>
#include <optional>

namespace gatehouse::server {

class ClockWatch {
 public:
  static constexpr std::int64_t hour = 3'600'000, day = 24 * hour;
  struct Judgement {
    bool trusted = true;
    std::int64_t ahead = 0;  // milliseconds that it went ahead since the last look, where that is too much; 0: it didn't
  };
  // `clock`: milliseconds since 1970; `steady`: milliseconds of a clock that nobody sets.
  Judgement look(std::int64_t clock, std::int64_t steady) {
    Judgement out;
    if (last_)
      if (const std::int64_t ahead = (clock - last_->clock) - (steady - last_->steady); ahead > hour) {
        out.ahead = ahead;
        until_ = steady + day;
      }
    last_ = {clock, steady};
    out.trusted = steady >= until_;
    return out;
  }

 private:
  struct Reading {
    std::int64_t clock = 0, steady = 0;
  };
  std::optional<Reading> last_;
  std::int64_t until_ = INT64_MIN;
};

}  // namespace gatehouse::server
