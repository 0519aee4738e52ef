// Attestations drawn at random: lists of a few entries to a few thousand with files that the references know, don't know
// or know otherwise, violations, contradictions, signatures and lies; firmware that is approved or isn't; quotes that
// hold or don't; as files or as PA-TNC attributes, in three banks, cut off or not. What an attestation is follows from
// seed and number; keys are new in each process.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "tests/pipeline_graph/fake_view.h"
#include "tests/randomised/evidence.h"

namespace gatehouse::testing {

using Random = std::mt19937_64;

struct Attestation {
  std::uint64_t number = 0;
  pipeline::Context context;  // all but its references
  pipeline::Finish finish;
  bool raw = false;
  ByteVector log, list;  // raw: files
  pipeline::Format list_format = pipeline::Format::ima_binary;
  std::vector<ByteVector> attributes;  // not raw: PA-TNC attributes, in order
  // Something in it can't be read, or is more than is allowed. On the wire an error names its place in a message: such
  // attributes come one a message, always.
  bool refused = false;
  std::vector<std::string_view> traits;  // what was drawn, for a tally
  std::size_t entries = 0;               // of the list
};

// Segments of it, cut anywhere. Those of one file, and all from the wire, stay in their order.
std::vector<pipeline::Segment> cut(const Attestation& attestation, Random& random);
// As few as there can be.
std::vector<pipeline::Segment> whole(const Attestation& attestation);

// References, keys and firmware that all attestations of a seed share. Safe for concurrent use.
class AttestedWorld {
 public:
  explicit AttestedWorld(std::uint64_t seed);
  Attestation attestation(std::uint64_t number) const;
  std::shared_ptr<const refdb::View> references() const { return references_; }

 private:
  friend class Draw;
  struct File {
    std::string path;
    std::vector<std::pair<HashAlgorithm, Digest>> digests;
    bool is_mutable = false;
  };
  struct SignedFile {
    std::string path;
    Digest digest;  // SHA-256
    ByteVector signature;
  };
  const std::uint64_t seed_;
  std::shared_ptr<const refdb::View> references_;
  std::vector<File> files_;
  std::vector<SignedFile> signed_files_;
  std::vector<Ak> keys_, strangers_;
  // Of each, none or one is a session's.
  std::vector<pipeline::EvidenceRulesPtr> rules_;
};

}  // namespace gatehouse::testing
