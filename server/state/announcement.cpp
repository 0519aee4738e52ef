#include "server/state/announcement.h"

#include <algorithm>
#include <map>
#include <span>

namespace gatehouse::server {
namespace {

using Events = std::span<const Digest>;

// Cells of the table of common subsequences: 4 bytes each, so 16 MiB at most.
constexpr std::size_t max_cells = std::size_t(4) << 20;

// lengths[i * (m + 1) + j]: of the longest common subsequence of a from i and b from j.
std::vector<std::uint32_t> common_lengths(Events a, Events b) {
  const std::size_t width = b.size() + 1;
  std::vector<std::uint32_t> out((a.size() + 1) * width);
  for (std::size_t i = a.size(); i-- > 0;)
    for (std::size_t j = b.size(); j-- > 0;)
      out[i * width + j] = a[i] == b[j] ? out[(i + 1) * width + j + 1] + 1
                                        : std::max(out[(i + 1) * width + j], out[i * width + j + 1]);
  return out;
}

void add_hunk(std::vector<BaselineHunk>& hunks, std::uint32_t pcr, Events old_list, Events new_list, std::size_t from,
              std::size_t to, std::size_t new_from, std::size_t new_to) {
  if (from == to && new_from == new_to) return;
  BaselineHunk hunk{.pcr = pcr, .place = std::uint32_t(from), .new_place = std::uint32_t(new_from), .behind = std::nullopt, .before = {}, .after = {}};
  if (from != 0) hunk.behind = old_list[from - 1];
  hunk.before.assign(old_list.begin() + std::ptrdiff_t(from), old_list.begin() + std::ptrdiff_t(to));
  hunk.after.assign(new_list.begin() + std::ptrdiff_t(new_from), new_list.begin() + std::ptrdiff_t(new_to));
  hunks.push_back(std::move(hunk));
}

void compare(std::vector<BaselineHunk>& hunks, std::uint32_t pcr, Events old_list, Events new_list) {
  std::size_t head = 0, tail = 0;
  const std::size_t shorter = std::min(old_list.size(), new_list.size());
  while (head < shorter && old_list[head] == new_list[head]) ++head;
  while (tail < shorter - head && old_list[old_list.size() - 1 - tail] == new_list[new_list.size() - 1 - tail]) ++tail;
  const Events a = old_list.subspan(head, old_list.size() - head - tail), b = new_list.subspan(head, new_list.size() - head - tail);
  if (a.size() + 1 > max_cells / (b.size() + 1))
    return add_hunk(hunks, pcr, old_list, new_list, head, head + a.size(), head, head + b.size());
  const auto lengths = common_lengths(a, b);
  const std::size_t width = b.size() + 1;
  std::size_t i = 0, j = 0, from = 0, new_from = 0;
  while (i < a.size() && j < b.size()) {
    if (a[i] == b[j]) {
      add_hunk(hunks, pcr, old_list, new_list, head + from, head + i, head + new_from, head + j);
      from = ++i;
      new_from = ++j;
    } else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) {
      ++i;
    } else {
      ++j;
    }
  }
  add_hunk(hunks, pcr, old_list, new_list, head + from, head + a.size(), head + new_from, head + b.size());
}

// Whether the hunk takes away what is at `place`.
bool fits(const BaselineHunk& hunk, Events list, std::size_t place, bool with_front) {
  if (place > list.size() || hunk.before.size() > list.size() - place) return false;
  if (!std::equal(hunk.before.begin(), hunk.before.end(), list.begin() + std::ptrdiff_t(place))) return false;
  if (!with_front) return true;
  return hunk.behind ? place != 0 && list[place - 1] == *hunk.behind : place == 0;
}

// Where it is in the list, from `from` on.
std::optional<std::size_t> place_of(const BaselineHunk& hunk, Events list, std::size_t from) {
  for (const bool with_front : {true, false}) {
    if (!with_front && hunk.before.empty()) return std::nullopt;  // anywhere would do
    std::optional<std::size_t> found;
    bool several = false;
    for (std::size_t place = from; place <= list.size(); ++place) {
      if (!fits(hunk, list, place, with_front)) continue;
      several = found.has_value();
      if (several) break;
      found = place;
    }
    if (several) return hunk.place >= from && fits(hunk, list, hunk.place, with_front) ? std::optional<std::size_t>(hunk.place) : std::nullopt;
    if (found) return found;
  }
  return std::nullopt;
}

}  // namespace

BaselineChange change_between(const pipeline::Baseline& before, const pipeline::Baseline& after) {
  std::map<std::uint32_t, std::pair<Events, Events>> pcrs;
  for (const auto& [pcr, digests] : before.events) pcrs[pcr].first = digests;
  for (const auto& [pcr, digests] : after.events) pcrs[pcr].second = digests;
  BaselineChange out{.bank = after.bank, .hunks = {}};
  for (const auto& [pcr, both] : pcrs) compare(out.hunks, pcr, both.first, both.second);
  return out;
}

std::optional<pipeline::Baseline> apply(const BaselineChange& change, const pipeline::Baseline& to) {
  if (to.bank != change.bank) return std::nullopt;
  std::map<std::uint32_t, std::vector<Digest>> pcrs(to.events.begin(), to.events.end());
  for (std::size_t first = 0; first < change.hunks.size();) {
    const std::uint32_t pcr = change.hunks[first].pcr;
    std::vector<Digest>& list = pcrs[pcr];
    const std::vector<Digest> old = list;
    list.clear();
    std::size_t taken = 0;
    for (; first < change.hunks.size() && change.hunks[first].pcr == pcr; ++first) {
      const BaselineHunk& hunk = change.hunks[first];
      const auto place = place_of(hunk, old, taken);
      if (!place) return std::nullopt;
      list.insert(list.end(), old.begin() + std::ptrdiff_t(taken), old.begin() + std::ptrdiff_t(*place));
      list.insert(list.end(), hunk.after.begin(), hunk.after.end());
      taken = *place + hunk.before.size();
    }
    list.insert(list.end(), old.begin() + std::ptrdiff_t(taken), old.end());
  }
  pipeline::Baseline out{.bank = to.bank, .events = {}};
  for (auto& [pcr, digests] : pcrs)
    if (!digests.empty()) out.events.emplace_back(pcr, std::move(digests));
  return out;
}

}  // namespace gatehouse::server
