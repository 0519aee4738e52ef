// An Attestation IMC written by hand over the codecs, beside the one of our endpoint: it answers what it is asked by
// default, and a test takes over where it wants another answer.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/key_agreement.h"
#include "tests/server_session/conversation.h"
#include "wire/patnc/segmentation.h"
#include "wire/pts/errors.h"
#include "wire/pts/raw_evidence.h"
#include "wire/pts/records.h"

namespace gatehouse::test {

inline constexpr std::uint32_t tcg = patnc::vendor_tcg;
inline constexpr std::size_t recorded_entries = 1732;  // of the recorded list, without its boot_aggregate

// A PA-TNC attribute of the PTS subtype, in either direction.
struct Pts {
  std::uint32_t vendor = patnc::vendor_tcg, type = 0;
  ByteVector value;
  std::uint8_t flags = 0;

  bool is(std::uint32_t v, std::uint32_t t) const { return vendor == v && type == t; }
};
using Said = std::vector<Pts>;
Pts pts_error(Writer&& value);  // a PA-TNC Error attribute
// The PA-TNC Error attributes among them: vendor, code, information.
struct HeardError {
  std::uint32_t vendor = 0, code = 0;
  ByteVector information;
};

struct HandOptions {
  std::string device_id;                      // empty: the AK's key id
  server::Peer peer{"127.0.0.1:1", "CN=test", "certificate", {}};
  std::size_t max_batch = 65'522;
  std::uint16_t raw_parts = 0;                // announced; 0: not at all
  std::uint8_t raw_version = 1;
  std::uint32_t raw_vendor = pts::raw::default_vendor;
  std::uint16_t capabilities = pts::capability_tpm | pts::capability_dh | pts::capability_verify;
  std::uint32_t ak_attributes = 0x00050072;   // in the AK's public area
  // By path; a directory's files by name. What isn't here is never answered.
  std::map<std::string, std::map<std::string, Digest>> files;
  std::map<std::string, std::vector<std::string>> metadata;
  // What is said instead of the default answer to one attribute; nullopt: the default.
  std::function<std::optional<Said>(const Pts& asked)> answer;
  // Changes what goes out in one batch.
  std::function<void(Said&)> change;
};

struct HandOutcome {
  std::optional<pipeline::Verdict> verdict;
  std::uint16_t recommendation = 0;  // PB-Access-Recommendation: 1 allowed, 2 denied, 3 quarantined
  std::vector<std::string> reasons;
  std::vector<Said> heard;           // by batch of the server
  std::vector<HeardError> errors;
  std::vector<std::string> lines;
  unsigned rounds = 0;

  bool asked(std::uint32_t vendor, std::uint32_t type) const;
  const Pts* find(std::uint32_t type) const;  // of vendor_tcg, the first
  bool logged(std::string_view text) const;
  const pipeline::ItemResult* item(std::string_view type, std::string_view argument = {}) const;
};

HandOutcome hold(World& world, const Machine& machine, const HandOptions& options = {});

// A policy of one group of everybody that asks for this ("FMEAS /usr/bin/x", "TPMRA B I").
server::policy::PolicyPtr asking_for(const std::vector<std::string>& items);
// TPM2B-less TPMT_PUBLIC of a P-256 signing key.
ByteVector public_area(const PublicKey& key, std::uint32_t attributes);

}  // namespace gatehouse::test
