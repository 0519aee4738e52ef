// The quote against our own replay: checks Q1-Q14 (spec part 2 §4.3). PCR values come from the measurements alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "pipeline/replay/replay.h"

namespace gatehouse::pipeline {

struct BootItem {
  std::uint32_t pcr = 0;
  Digest digest;  // in the session's bank; size 0: the log has none for it
};

// What a list extended into PCRs other than 10, in order: such a PCR may have been the firmware's before.
using OtherPcrs = std::map<std::uint32_t, std::vector<Digest>>;

struct QuoteInput {
  const Context& context;
  const Finish& finish;
  HashAlgorithm bank;
  const std::vector<BootItem>& boot;
  bool boot_given = false, ima_given = false;
  const std::optional<Digest>& ima;              // PCR 10 after the whole list
  const OtherPcrs& others;
  std::optional<std::uint8_t> log_locality;      // StartupLocality of a raw log
  bool raw_log = false;
};

struct QuoteResult {
  std::map<std::string, Status> checks;
  Verdict::Quote quote;
  std::vector<Finding> findings;
  std::vector<std::string> warnings;
  bool refused = false;     // a check failed that prevents allow
  bool untrusted = false;   // the attestation key isn't one to be believed (Q9)
  bool unbound = false;     // something couldn't be checked with what was given: no recommendation
  Pcrs pcrs;                // the replay that the quote was compared with
  std::uint8_t locality = 0;  // that PCR 0 started from in it
  std::optional<LastQuote> last;
};

QuoteResult verify_quote(const QuoteInput& input);

// PCRs after the firmware's events, PCR 0 started by `locality`.
Pcrs replay_boot(HashAlgorithm bank, const std::vector<BootItem>& boot, std::uint8_t locality);

// The bank that a raw quote selects, if it is one known bank.
std::optional<HashAlgorithm> bank_of(Bytes attest);

}  // namespace gatehouse::pipeline
