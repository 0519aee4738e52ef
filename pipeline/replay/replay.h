// Replays: what a TPM's PCRs hold after a log. Nothing here trusts a value that came with the log except what the
// kernel or the firmware extended. (TPM 2.0 Part 1 §17; spec part 2 §6.2, §7.3-§7.5.)
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "wire/eventlog/eventlog.h"
#include "wire/ima/ima.h"

namespace gatehouse::pipeline {

using Pcrs = std::map<std::uint32_t, Digest>;

// Before the first extension: PCR 0 ends in the startup locality, PCRs 17-22 are all ones, the others zero.
Digest initial_pcr(HashAlgorithm bank, std::uint32_t pcr, std::uint8_t locality);

struct LogReplay {
  eventlog::Format format = eventlog::Format::sha1;
  std::uint64_t events = 0;           // every record, EV_NO_ACTION included
  std::uint64_t extended = 0;
  std::vector<std::string> banks;     // of the header, in order
  std::optional<std::uint8_t> startup_locality;
  std::vector<std::pair<HashAlgorithm, Pcrs>> pcrs;  // banks in the header's order that every extended event has
  std::vector<std::string> warnings;
};
// Both replays read the whole log before they hash anything, so that malformed input costs neither time nor memory.
Result<LogReplay> replay_eventlog(Bytes log);
// Every event in order, of a log that was replayed; `each` sees one at a time, and nothing is kept.
Result<void> for_each_event(Bytes log, const std::function<void(const eventlog::Event&)>& each);

struct ListReplay {
  std::uint64_t entries = 0, violations = 0;
  std::map<std::string, std::uint64_t> templates;  // names as recorded: any bytes
  std::optional<std::string> boot_aggregate;  // "sha256:<hex>", of the first entry of this name
  std::vector<std::pair<HashAlgorithm, Pcrs>> pcrs;  // sha1, sha256, sha384, sha512
  std::vector<std::string> warnings;
};
Result<ListReplay> replay_ima(Bytes list);

// The errors alone: whether a log or a list can be read to its end.
Result<void> check_eventlog(Bytes log);
Result<void> check_ima(Bytes list);

}  // namespace gatehouse::pipeline
