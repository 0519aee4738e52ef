#include "server/policy/times.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace gatehouse::server::policy {
namespace {

constexpr std::int64_t day = 24 * 60, week = 7 * day;  // minutes
constexpr std::string_view wants =
    "wants times such as \"Mon-Fri 07:00-19:00\", \"Sat,Sun 00:00-24:00 +01:00\" or \"2026-12-01T20:00Z/2026-12-02T04:00Z\"";

std::unexpected<Error> refuse() { return fail(Fault::malformed, wants); }

// Exactly so many digits, taken from the front.
std::optional<int> digits(std::string_view& text, std::size_t count) {
  int out = 0;
  if (text.size() < count) return std::nullopt;
  for (const char c : text.substr(0, count)) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + (c - '0');
  }
  text.remove_prefix(count);
  return out;
}
bool take(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// "07:00", up to 24:00: minutes.
std::optional<std::int64_t> clock_time(std::string_view& text) {
  const auto hours = digits(text, 2);
  if (!hours || !take(text, ':')) return std::nullopt;
  const auto minutes = digits(text, 2);
  if (!minutes || *minutes > 59 || *hours > 24 || (*hours == 24 && *minutes != 0)) return std::nullopt;
  return std::int64_t(*hours) * 60 + *minutes;
}

// "+01:00", "Z": minutes.
std::optional<std::int64_t> offset(std::string_view& text) {
  if (take(text, 'Z')) return 0;
  const bool behind = !text.empty() && text.front() == '-';
  if (!take(text, '+') && !take(text, '-')) return std::nullopt;
  const auto at = clock_time(text);
  if (!at || *at > 14 * 60) return std::nullopt;
  return behind ? -*at : *at;
}

// "Mon", from 0.
std::optional<int> weekday(std::string_view& text) {
  constexpr std::string_view names[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
  for (int i = 0; i < 7; ++i)
    if (text.starts_with(names[i])) {
      text.remove_prefix(3);
      return i;
    }
  return std::nullopt;
}

// "2026-12-01T20:00Z": minutes since 1970.
std::optional<std::int64_t> moment(std::string_view& text) {
  const auto year = digits(text, 4);
  if (!year || !take(text, '-')) return std::nullopt;
  const auto month = digits(text, 2);
  if (!month || !take(text, '-')) return std::nullopt;
  const auto of_month = digits(text, 2);
  if (!of_month || !take(text, 'T')) return std::nullopt;
  const auto at = clock_time(text);
  if (!at) return std::nullopt;
  const auto zone = offset(text);
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(unsigned(*month)),
                                         std::chrono::day(unsigned(*of_month))};
  if (!zone || !date.ok()) return std::nullopt;
  return std::int64_t(std::chrono::sys_days(date).time_since_epoch().count()) * day + *at - *zone;
}

}  // namespace

std::optional<std::chrono::seconds> duration(std::string_view text) {
  constexpr std::pair<char, std::int64_t> units[] = {{'w', 604'800}, {'d', 86'400}, {'h', 3'600}, {'m', 60}, {'s', 1}};
  constexpr std::int64_t most = std::int64_t(3'660) * 86'400;
  std::int64_t total = 0;
  std::size_t unit = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::uint32_t count = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (code != std::errc() || end == text.data() + text.size()) return std::nullopt;
    while (unit < std::size(units) && units[unit].first != *end) ++unit;
    if (unit == std::size(units)) return std::nullopt;
    total += std::int64_t(count) * units[unit].second;
    if (total > most) return std::nullopt;
    ++unit;
    text.remove_prefix(std::size_t(end - text.data()) + 1);
  }
  return std::chrono::seconds(total);
}

std::string time_text(std::int64_t ms) {
  const std::chrono::sys_seconds at{std::chrono::seconds(ms / 1000)};
  const auto midnight = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(midnight);
  const std::chrono::hh_mm_ss clock(at - midnight);
  char text[64];
  (void)std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02dZ", int(date.year()), unsigned(date.month()),
                      unsigned(date.day()), int(clock.hours().count()), int(clock.minutes().count()), int(clock.seconds().count()));
  return text;
}

Result<void> TimeSpans::add(std::string_view text) {
  const std::string_view whole = text;
  if (texts_.size() == max_time_spans) return fail(Fault::limit, "more than 256 times");
  if (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    const auto from = moment(text);
    if (!from || !take(text, '/')) return refuse();
    const auto to = moment(text);
    if (!to || !text.empty()) return refuse();
    if (*to <= *from) return fail(Fault::malformed, "ends before it begins");
    once_.push_back({*from, *to});
    texts_.emplace_back(whole);
    return {};
  }
  std::vector<bool> days(7, false);
  if (take(text, '*')) {
    days.assign(7, true);
  } else {
    do {
      const auto first = weekday(text);
      if (!first) return refuse();
      int last = *first;
      if (take(text, '-')) {
        const auto named = weekday(text);
        if (!named) return refuse();
        last = *named;
      }
      for (int d = *first;; d = (d + 1) % 7) {
        days[std::size_t(d)] = true;
        if (d == last) break;
      }
    } while (take(text, ','));
  }
  if (!take(text, ' ')) return refuse();
  const auto from = clock_time(text);
  if (!from || *from == day || !take(text, '-')) return refuse();
  const auto to = clock_time(text);
  if (!to || *to == *from) return refuse();
  std::int64_t zone = 0;
  if (take(text, ' ')) {
    const auto named = offset(text);
    if (!named) return refuse();
    zone = *named;
  }
  if (!text.empty()) return refuse();
  const std::int64_t length = *to > *from ? *to - *from : *to + day - *from;
  for (int d = 0; d < 7; ++d) {
    if (!days[std::size_t(d)]) continue;
    const std::int64_t begin = ((d * day + *from - zone) % week + week) % week;
    week_.push_back({begin, begin + length});
  }
  texts_.emplace_back(whole);
  return {};
}

bool TimeSpans::holds(std::int64_t now) const {
  const std::int64_t minute = now >= 0 ? now / 60'000 : 0;
  const auto in = [](const std::vector<Span>& spans, std::int64_t at) {
    return std::any_of(spans.begin(), spans.end(), [&](const Span& s) { return at >= s.from && at < s.to; });
  };
  const std::int64_t of_week = (minute + 3 * day) % week;  // 1970 began on a Thursday
  return in(once_, minute) || in(week_, of_week) || in(week_, of_week + week);
}

}  // namespace gatehouse::server::policy
