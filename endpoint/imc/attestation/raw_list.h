// What the collector has to know of logs that it sends as they are: which PCRs they extend, and how far a list leads to
// the PCRs that were quoted (spec part 2 §7.10). A log that can't be parsed is sent all the same: what is in it is the
// server's to judge.
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "base/hash.h"

namespace gatehouse::endpoint {

using PcrValues = std::map<std::uint32_t, Digest>;

// Bit p: an event, an entry, extends PCR p of this bank; as far as the log can be parsed.
std::uint32_t event_log_pcrs(Bytes log, HashAlgorithm bank);
std::uint32_t ima_list_pcrs(Bytes list);

struct ListPrefix {
  std::uint64_t entries = 0;
  std::size_t bytes = 0;
};
// The shortest prefix, of at least one entry, that extends no other PCRs than these and whose replay gives all these
// values: template hashes in the bank's algorithm, or as kernels before 5.8 extend them.
std::optional<ListPrefix> matching_prefix(Bytes list, HashAlgorithm bank, const PcrValues& quoted);
// The size of the list's first `entries` entries; nullopt: it has fewer.
std::optional<std::size_t> prefix_bytes(Bytes list, std::uint64_t entries);

}  // namespace gatehouse::endpoint
