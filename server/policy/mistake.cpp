#include "server/policy/mistake.h"

#include <algorithm>

namespace gatehouse::server::policy {
namespace {

// How many bytes have to be put in, taken out or exchanged (Levenshtein).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      corner = above;
    }
  }
  return row[b.size()];
}

}  // namespace

std::string unknown_key(std::string_view key, const std::vector<std::string_view>& known) {
  constexpr std::size_t longest = 64;  // of a slip of ours; a key may be as long as the file
  std::string_view nearest;
  std::size_t least = std::min<std::size_t>(3, (key.size() + 2) / 3);
  if (key.size() <= longest)
    for (const std::string_view one : known)
      if (const std::size_t d = distance(key, one); d <= least && (nearest.empty() || d < least)) {
        nearest = one;
        least = d;
      }
  if (!nearest.empty()) return "unknown key: did you mean \"" + std::string(nearest) + "\"?";
  std::string all;
  for (const std::string_view one : known) (all += all.empty() ? "" : ", ") += one;
  return "unknown key: there are " + all;
}

}  // namespace gatehouse::server::policy
