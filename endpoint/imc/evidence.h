// What the endpoint measures of itself: the kernel's lists, as Simple Component Evidence (spec part 2 §2.3, §2.4).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "endpoint/tpm/device.h"
#include "wire/pts/pts.h"

namespace gatehouse::endpoint {

// Where the lists come from. The IMA list is read again when the TPM's PCR 10 is ahead of it.
struct Sources {
  std::function<Result<ByteVector>()> eventlog;
  std::function<Result<ByteVector>()> ima;
};
// The kernel's files, or those given.
Sources files(const std::string& eventlog, const std::string& ima);
inline constexpr const char* kernel_eventlog = "/sys/kernel/security/tpm0/binary_bios_measurements";
inline constexpr const char* kernel_ima = "/sys/kernel/security/ima/binary_runtime_measurements";

struct Measurement {
  std::uint32_t pcr = 0;
  Digest value;     // what was extended
  std::string uri;  // IMA: "sha256:/usr/bin/ls"; empty: firmware
};

class EvidenceSet {
 public:
  EvidenceSet(Sources sources, HashAlgorithm bank) : sources_(std::move(sources)), bank_(bank) {}
  Result<void> collect(bool boot, bool ima);
  // PCRs that the measurements went into.
  std::uint32_t touched() const;
  // Whether the quote's digest is that of what was collected; reads the list once more if it isn't, because the kernel
  // goes on measuring while it is read, and cuts it where the digest fits (spec part 2 §7.10).
  Result<void> match(std::uint32_t selected, HashAlgorithm hash, Bytes pcr_digest);
  const std::vector<Measurement>& boot() const { return boot_; }
  const std::vector<Measurement>& ima() const { return ima_; }
  // StartupLocality of the firmware log.
  std::optional<std::uint8_t> locality() const { return locality_; }

 private:
  Result<void> read_ima(std::vector<Measurement>& out) const;
  bool fits(const std::map<std::uint32_t, Digest>& boot, const Digest& pcr10, std::uint32_t selected, Hasher& composite, Bytes digest) const;

  Sources sources_;
  HashAlgorithm bank_;
  std::vector<Measurement> boot_, ima_;
  std::optional<std::uint8_t> locality_;
};

}  // namespace gatehouse::endpoint
