// What a machine measured, written in each form that an endpoint sends it in, and what its TPM quotes of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pipeline/replay/replay.h"
#include "tests/pipeline_quote/signer.h"

namespace gatehouse::testing {

struct Attestation;

// A TPM's key, and what is known of it.
struct Ak {
  explicit Ak(Signer with) : signer(std::move(with)), key(signer.key()) {}
  Signer signer;
  PublicKey key;
};

// A list entry; a form that has no such thing leaves it out.
struct Entry {
  enum class Form : std::uint8_t { ng, sig, ngv2, buffer, legacy };
  enum class Claims : std::uint8_t { none, right, wrong };
  Form form = Form::ng;
  std::uint32_t pcr = 10;
  std::string name, algorithm;
  Digest digest;    // of the file
  ByteVector data;  // signature or buffer
  bool violation = false;
  bool extends_ones = false;    // the kernel took it for a violation, and the endpoint sends it as a file
  bool recorded_wrong = false;  // files: the recorded hash isn't that of the template data
  std::string told_name, told_algorithm;  // wire: what is said beside the template hash; empty: the truth
  Claims claims = Claims::none;           // wire: PCR values before and after

  static Entry file(std::string name, std::string algorithm, const Digest& digest) {
    Entry e;
    e.name = std::move(name);
    e.algorithm = std::move(algorithm);
    e.digest = digest;
    return e;
  }
};

// Kernel and firmware: extends PCRs and writes the evidence.
class Recorder {
 public:
  enum class Form : std::uint8_t { wire, binary, ascii };
  Recorder(HashAlgorithm bank, Form form);

  void add_event(std::uint32_t pcr, bool separator, const std::string& text, bool lie_of_pcr);
  void add(const Entry& entry);
  // Of PCRs 0 to 9 as they are now.
  Digest aggregate() const;
  // Of all that the quote selects.
  Digest composite() const;
  void give(Attestation& out);

 private:
  ByteVector template_data(const Entry& entry) const;
  void add_to_file(const Entry& entry, Bytes data);
  void add_to_wire(const Entry& entry, const Digest& before, const Digest& hash);
  void extend(std::uint32_t pcr, Bytes digest);

  HashAlgorithm bank_;
  Form form_;
  Hasher hasher_, sha1_;
  pipeline::Pcrs pcrs_;
  Writer log_, list_;
  std::vector<ByteVector> attributes_;
};

inline constexpr std::uint32_t quoted_pcrs = 0x07FF;  // 0 to 10

struct Quoted {
  HashAlgorithm bank = HashAlgorithm::sha256;
  ByteVector nonce;
  std::uint64_t clock = 0;
  Digest composite;
  bool absent = false, flip_in_signature = false;

  ByteVector attest() const;                   // TPMS_ATTEST
  ByteVector final_value(const Ak& ak) const;  // Simple Evidence Final
};

}  // namespace gatehouse::testing
