#include "server/policy/ports.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace gatehouse::server::policy {
namespace {

std::optional<std::uint16_t> port(std::string_view text) {
  std::uint16_t out = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || code != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace

Result<PortSet> PortSet::parse(std::string_view text) {
  constexpr std::string_view spec = "spec part 1b 7.2";
  PortSet out;
  std::size_t at = 0;
  while ((at = text.find_first_not_of(' ', at)) != text.npos) {
    const std::string_view item = text.substr(at, text.find(' ', at) - at);
    const auto hyphen = item.find('-');
    const auto first = port(item.substr(0, hyphen));
    const auto last = hyphen == item.npos ? first : port(item.substr(hyphen + 1));
    if (!first || !last)
      return fail(Fault::usage, "wants ports from 0 to 65535 and ranges, such as \"22 80-90\"", spec, at);
    if (*first > *last) return fail(Fault::usage, "a range begins above its end", spec, at);
    out.ranges_.push_back({*first, *last});
    at += item.size();
  }
  std::sort(out.ranges_.begin(), out.ranges_.end(),
            [](const Range& a, const Range& b) { return std::pair(a.first, a.last) < std::pair(b.first, b.last); });
  std::vector<Range> joined;
  for (const Range& range : out.ranges_) {
    if (!joined.empty() && range.first <= joined.back().last + 1U)
      joined.back().last = std::max(joined.back().last, range.last);
    else
      joined.push_back(range);
  }
  out.ranges_ = std::move(joined);
  return out;
}

bool PortSet::contains(std::uint16_t number) const {
  const auto at = std::partition_point(ranges_.begin(), ranges_.end(), [&](const Range& r) { return r.last < number; });
  return at != ranges_.end() && at->first <= number;
}

std::string PortSet::text() const {
  std::string out;
  for (const Range& range : ranges_) {
    if (!out.empty()) out += ' ';
    out += std::to_string(range.first);
    if (range.last != range.first) out += '-' + std::to_string(range.last);
  }
  return out;
}

}  // namespace gatehouse::server::policy
