// Durations and times of the week as a policy writes them.
//
//   duration("1d12h")                             // 36 hours
//   TimeSpans spans; spans.add("Mon-Fri 07:00-19:00 +01:00"); spans.holds(now)
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gatehouse::server::policy {

// Whole numbers of w, d, h, m, s, larger units first; at most ten years.
std::optional<std::chrono::seconds> duration(std::string_view text);

// "2026-12-03T10:00:00Z"; `ms`: milliseconds since 1970.
std::string time_text(std::int64_t ms);

class TimeSpans {
 public:
  // "Mon-Fri 07:00-19:00", "Sat,Sun 00:00-24:00", "* 22:00-06:00" (into the next day), in UTC or by an offset from it
  // behind: "Mon-Fri 07:00-19:00 +01:00". Or once: "2026-12-01T20:00Z/2026-12-02T04:00Z" (offsets as in RFC 3339). Times
  // begin with the first minute and end before the last. A malformed error says what would be right.
  Result<void> add(std::string_view text);
  bool empty() const { return week_.empty() && once_.empty(); }
  // `now`: milliseconds since 1970.
  bool holds(std::int64_t now) const;
  const std::vector<std::string>& texts() const { return texts_; }  // as they were added

 private:
  struct Span {
    std::int64_t from = 0, to = 0;  // minutes: of a week from Monday 00:00 UTC, or since 1970
  };
  std::vector<Span> week_, once_;
  std::vector<std::string> texts_;
};

inline constexpr std::size_t max_time_spans = 256;  // of one group

}  // namespace gatehouse::server::policy
