#include "endpoint/imc/attestation/raw_list.h"

#include <algorithm>
#include <array>
#include <functional>

#include "endpoint/tpm/tpm.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t piece_bytes = 65'536;

// Each entry with the offset behind it, until `each` says false or the list can't be parsed any further. Where an entry
// ends shows when the next begins.
void for_entries(Bytes list, const std::function<bool(const ima::Entry& entry)>& begin,
                 const std::function<bool(std::size_t end)>& end) {
  ima::Cursor cursor(ima::form_of(list));
  std::size_t fed = 0;
  bool open = false;
  for (;;) {
    const auto entry = cursor.next();
    if (!entry) return;
    if (*entry != nullptr) {
      if (open && !end((*entry)->offset)) return;
      open = true;
      if (!begin(**entry)) return;
      continue;
    }
    if (fed == list.size()) break;
    const std::size_t size = std::min(piece_bytes, list.size() - fed);
    cursor.feed(list.subspan(fed, size));
    fed += size;
    if (fed == list.size()) cursor.end();
  }
  if (open) end(list.size());
}

Digest reset_value(HashAlgorithm bank, std::uint32_t pcr) {
  return Digest::filled(digest_size(bank), pcr >= 17 && pcr <= 22 ? std::byte{0xFF} : std::byte{0});
}

// One way in which a kernel may have extended the bank.
class Replay {
 public:
  Replay(HashAlgorithm bank, bool padded) : hasher_(bank), padded_(padded) {}

  void extend(const ima::Entry& entry) {
    const std::size_t size = digest_size(hasher_.algorithm());
    Digest digest = Digest::filled(size, std::byte{0xFF});
    if (!entry.violation()) {
      if (padded_ || hasher_.algorithm() == HashAlgorithm::sha1) {
        digest = Digest::filled(size, std::byte{0});
        std::copy_n(entry.recorded_hash.begin(), std::min(size, entry.recorded_hash.size()), digest.bytes.begin());
      } else {
        digest = hasher_(entry.template_data);
      }
    }
    const auto at = values_.try_emplace(entry.pcr, reset_value(hasher_.algorithm(), entry.pcr)).first;
    hasher_.extend(at->second, digest.view());
  }
  bool leads_to(const PcrValues& quoted) const {
    for (const auto& [pcr, value] : values_)
      if (!quoted.contains(pcr)) return false;
    return std::all_of(quoted.begin(), quoted.end(), [&](const auto& value) {
      const auto at = values_.find(value.first);
      return value.second == (at == values_.end() ? reset_value(hasher_.algorithm(), value.first) : at->second);
    });
  }

 private:
  Hasher hasher_;
  bool padded_;
  PcrValues values_;
};

}  // namespace

std::uint32_t event_log_pcrs(Bytes log, HashAlgorithm bank) {
  eventlog::Cursor cursor;
  cursor.feed(log);
  cursor.end();
  std::uint32_t out = 0;
  for (;;) {
    const auto event = cursor.next();
    if (!event || *event == nullptr) return out;
    if ((*event)->extends() && (*event)->pcr < pcr_count && (*event)->digest(bank) != nullptr)
      out |= 1U << (*event)->pcr;
  }
}

std::uint32_t ima_list_pcrs(Bytes list) {
  std::uint32_t out = 0;
  for_entries(
      list,
      [&](const ima::Entry& entry) {
        if (entry.pcr < pcr_count) out |= 1U << entry.pcr;
        return true;
      },
      [](std::size_t) { return true; });
  return out;
}

std::optional<ListPrefix> matching_prefix(Bytes list, HashAlgorithm bank, const PcrValues& quoted) {
  std::array<Replay, 2> ways{Replay(bank, false), Replay(bank, true)};
  std::optional<ListPrefix> found;
  std::uint64_t entries = 0;
  bool matches = false;
  for_entries(
      list,
      [&](const ima::Entry& entry) {
        ++entries;
        matches = false;
        for (Replay& way : ways) {
          way.extend(entry);
          matches = way.leads_to(quoted) || matches;
        }
        return true;
      },
      [&](std::size_t end) {
        if (matches) found = ListPrefix{entries, end};
        return !matches;
      });
  return found;
}

std::optional<std::size_t> prefix_bytes(Bytes list, std::uint64_t wanted) {
  if (wanted == 0) return 0;
  std::optional<std::size_t> out;
  std::uint64_t entries = 0;
  for_entries(
      list,
      [&](const ima::Entry&) {
        ++entries;
        return true;
      },
      [&](std::size_t end) {
        if (entries == wanted) out = end;
        return !out;
      });
  return out;
}

}  // namespace gatehouse::endpoint
