// The verdict object of the contract: the same in `gatehouse verify`, in `session show` and in the result record.
// A verdict is a pure function of evidence, nonce, references, policy and the device's record: nothing here depends
// on time, thread count or the way in which the evidence was cut.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::pipeline {

// Numbers of TNC IF-IMV (spec part 2 §9.3).
enum class Recommendation : std::uint8_t { allow = 0, block = 1, isolate = 2, none = 3 };
enum class Evaluation : std::uint8_t { compliant = 0, minor = 1, major = 2, error = 3, unknown = 4 };
enum class Status : std::uint8_t { ok, unknown, differ, failed, absent };

std::string_view name(Recommendation);
std::string_view name(Evaluation);
std::string_view name(Status);

struct Counters {
  std::uint64_t processed = 0, ok = 0, unknown = 0, differ = 0, failed = 0, violations = 0;
};

struct Finding {
  std::string component;            // "ima", "boot", "quote", "device"
  std::optional<std::uint64_t> entry;  // from 0, boot_aggregate is 0
  std::optional<std::uint32_t> pcr;
  std::string path;                 // as claimed, escaped when printed
  Status status = Status::unknown;
  std::string reason;
  std::string package, version;     // of the references of the path, for differ
  std::vector<std::string> expected;   // "sha256:<hex>" of each reference
  std::string measured_template;    // "sha256:<hex>", the template hash that came
  std::string measured_file;        // "sha256:<hex>", the file's digest where the evidence has it
};

inline constexpr std::size_t max_findings = 10'000;
// Leaves max_findings of them in their order: a list entry that is only unknown goes before anything that is worse, so
// that no number of unknown files hides one that differs.
void cut_findings(std::vector<Finding>& findings);
inline bool only_unknown(const Finding& f) { return f.component == "ima" && f.status == Status::unknown; }

// What came of one thing that the policy asked for.
struct ItemResult {
  std::string type, argument;  // "TPMRA", "B I"
  Recommendation recommendation = Recommendation::none;
  Evaluation evaluation = Evaluation::unknown;
  std::string result;          // the sentence that operators' scripts read, as in spec part 1b §4.4
};

struct Verdict {
  std::string session, device, product;
  std::optional<std::uint64_t> generation;
  Recommendation recommendation = Recommendation::none;
  Evaluation evaluation = Evaluation::unknown;
  struct Quote {
    Status status = Status::absent;
    std::string scheme, hash;       // empty: absent
    std::string pcr_digest;         // hex of TPMS_QUOTE_INFO.pcrDigest
  } quote;
  bool boot_given = false, ima_given = false;
  Counters boot, ima;
  std::string summary;
  std::map<std::string, Status> checks;    // "Q1".."Q14", "L1".."L14": ok, failed or absent
  std::vector<Finding> findings;           // in order: quote and device first, then boot, then ima, by entry
  std::uint64_t findings_total = 0;
  std::vector<ItemResult> items;           // in the order of the work; none in `gatehouse verify`
  std::vector<std::string> warnings;
  std::vector<std::string> claims;         // what no signature covers, as the client said it
  std::map<std::string, std::map<std::uint32_t, std::string>> pcrs;  // our own replay: bank -> PCR -> hex
};

// One JSON object, members in the contract's order, no line break. Peer text is escaped as \xNN.
std::string to_json(const Verdict& verdict);
Result<Verdict> verdict_from_json(std::string_view text);  // of our own records
// "processed 1732 IMA file evidence measurements: ...; 136 BIOS evidence measurements are ok" (spec part 2 §8.1)
std::string summary_line(const Verdict& verdict);

}  // namespace gatehouse::pipeline
