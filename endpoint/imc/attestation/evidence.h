// Evidence as it goes over the wire: Simple Component Evidence attributes made once from a firmware log or an IMA list,
// for one bank (spec part 2 §2.3, §2.4). Immutable and shared: a load generator makes it once an image.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

namespace gatehouse::endpoint {

inline constexpr std::uint32_t ima_pcr = 10;

struct Evidence {
  HashAlgorithm bank = HashAlgorithm::sha256;
  ByteVector attributes;              // complete attributes with their headers, one behind the other
  std::vector<std::size_t> ends;      // where each of them ends
  std::uint32_t pcrs = 0;             // bit p: PCR p was extended
  Digest ima_pcr;                     // IMA: PCR 10 after all entries
  std::vector<std::string> warnings;  // what was left out, and why

  std::size_t count() const { return ends.size(); }
  Bytes attribute(std::size_t i) const {
    const std::size_t begin = i == 0 ? 0 : ends[i - 1];
    return Bytes(attributes).subspan(begin, ends[i] - begin);
  }
};
using SharedEvidence = std::shared_ptr<const Evidence>;

struct EvidenceOptions {
  std::string time = "0000-00-00T00:00:00Z";  // measurement time of every item: the log's change time
  bool pcr_values = false;                    // PCR before and after each item, as strongSwan's pcr_info does
  std::uint8_t locality = 0;                  // start of PCR 0, for pcr_values
};

// Each event that extends a PCR and has a digest for the bank.
Result<SharedEvidence> firmware_evidence(Bytes log, HashAlgorithm bank, const EvidenceOptions& options);
// Each entry of PCR 10, whatever its template: the measurement is what the kernel extended, that is the template hash
// in the bank's algorithm, and for a violation all ones (spec part 2 §7.4, §7.5), so that every server's replay agrees
// with the quote. Entries of other PCRs can't be sent (§2.6 rule 3): they are left out with a warning, and so is their
// PCR.
Result<SharedEvidence> ima_evidence(Bytes list, HashAlgorithm bank, const EvidenceOptions& options);
// How many items, from the first, replay to this value of PCR 10; nullopt: no number of them does.
std::optional<std::size_t> items_matching(const Evidence& ima, const Digest& pcr10);
// EV_NO_ACTION StartupLocality of a log; nullopt: it has none, or isn't readable.
std::optional<std::uint8_t> startup_locality(Bytes log);
// RFC 3339 in UTC, 20 characters.
std::string measurement_time(std::int64_t seconds_since_1970);

struct SymlinkTarget {
  std::string link, target;
};

// Where an Attestation IMC takes evidence from.
class EvidenceSource {
 public:
  virtual ~EvidenceSource() = default;
  virtual Result<SharedEvidence> firmware(HashAlgorithm bank) = 0;
  // As the list is now; called again where it has grown under the quote.
  virtual Result<SharedEvidence> ima(HashAlgorithm bank) = 0;
  virtual std::optional<std::uint8_t> locality() = 0;
  virtual std::vector<SymlinkTarget> symlinks(std::string_view directory) = 0;
  // Of the raw-evidence extension: pts::raw::part_firmware_log and part_ima_list where the logs can be given as they
  // are, in attributes of together `room` bytes. A list that is near it isn't offered: it grows until it is sent.
  virtual std::uint16_t raw_parts(std::size_t room) { return (void)room, std::uint16_t{0}; }
  virtual Result<ByteVector> raw_firmware() { return fail(Fault::environment, "no raw firmware log"); }
  virtual Result<ByteVector> raw_ima() { return fail(Fault::environment, "no raw IMA list"); }
};

// Each direct child of `directory` that is a symbolic link to a directory (spec part 2 §1.16).
std::vector<SymlinkTarget> directory_symlinks(std::string_view directory);

// The kernel's lists, or files of the same form.
class FileEvidence final : public EvidenceSource {
 public:
  static constexpr const char* kernel_event_log = "/sys/kernel/security/tpm0/binary_bios_measurements";
  static constexpr const char* kernel_ima_list = "/sys/kernel/security/ima/binary_runtime_measurements";
  static constexpr std::size_t max_log = std::size_t(64) << 20, max_list = std::size_t(1) << 30;

  FileEvidence(std::string event_log, std::string ima_list, bool pcr_values = false)
      : event_log_(std::move(event_log)), ima_list_(std::move(ima_list)), pcr_values_(pcr_values) {}
  Result<SharedEvidence> firmware(HashAlgorithm bank) override;
  Result<SharedEvidence> ima(HashAlgorithm bank) override;
  std::optional<std::uint8_t> locality() override;
  std::vector<SymlinkTarget> symlinks(std::string_view directory) override { return directory_symlinks(directory); }
  std::uint16_t raw_parts(std::size_t room) override;
  Result<ByteVector> raw_firmware() override;
  Result<ByteVector> raw_ima() override;

 private:
  std::string event_log_, ima_list_;
  bool pcr_values_;
};

// Evidence that is there: for tests and fleets. Either may be null: asking for it then is an environment fault.
class FixedEvidence final : public EvidenceSource {
 public:
  FixedEvidence(SharedEvidence boot, SharedEvidence list, std::optional<std::uint8_t> start,
                std::vector<SymlinkTarget> links)
      : boot_(std::move(boot)), list_(std::move(list)), locality_(start), symlinks_(std::move(links)) {}
  Result<SharedEvidence> firmware(HashAlgorithm bank) override;
  Result<SharedEvidence> ima(HashAlgorithm bank) override;
  std::optional<std::uint8_t> locality() override { return locality_; }
  std::vector<SymlinkTarget> symlinks(std::string_view) override { return symlinks_; }
  // The logs themselves, besides; an empty one can't be given.
  void set_raw(ByteVector log, ByteVector list) { raw_log_ = std::move(log), raw_list_ = std::move(list); }
  std::uint16_t raw_parts(std::size_t room) override;
  Result<ByteVector> raw_firmware() override;
  Result<ByteVector> raw_ima() override;

 private:
  SharedEvidence boot_, list_;
  ByteVector raw_log_, raw_list_;
  std::optional<std::uint8_t> locality_;
  std::vector<SymlinkTarget> symlinks_;
};

}  // namespace gatehouse::endpoint
