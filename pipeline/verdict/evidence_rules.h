// What a policy says of evidence beyond references and baselines: rules for the firmware log (L6-L12, spec part 2 §6.8),
// for the IMA list (§7.5, §7.7, §7.8), and for what the references say of its files. Plain data, read once and never changed; sessions share it. Where several
// rules apply to a session, each restricts for itself, and what one of them vouches for (a signature, a buffer) is
// vouched for.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "base/public_key.h"

namespace gatehouse::pipeline {

// Digests in order, each once; of several algorithms, told apart by their length.
using DigestSet = std::vector<Digest>;

// "shim,4": the least generation of a component that the firmware's boot chain still accepts.
struct SbatGeneration {
  std::string component;
  std::uint32_t generation = 0;
};

// Words are NAME or NAME=VALUE; `*` stands for any characters. Names count as the kernel reads them: `-` is `_`.
struct CommandLineRule {
  std::vector<std::string> required, forbidden;
};

// A check without a list (or with false) isn't enforced.
struct FirmwareRules {
  bool secure_boot = false;               // L6
  std::optional<DigestSet> revoked;       // L7: SHA-256 of images and of certificates' DER, and of TBSCertificates
  std::optional<DigestSet> authorities;   // L8: SHA-256 of certificates' DER, or measured digests
  bool no_debug = false;                  // L9
  std::optional<DigestSet> boot_loaders;  // L10: measured digests
  std::optional<std::vector<SbatGeneration>> sbat;  // L11
  std::optional<CommandLineRule> command_line;      // L12

  bool enforced() const {
    return secure_boot || revoked || authorities || no_debug || boot_loaders || sbat || command_line;
  }
};

// A key that signs files.
struct SignatureKey {
  PublicKey key;
  std::uint32_t id = 0;            // last 4 bytes of the subject key identifier, big-endian
  std::vector<std::string> paths;  // patterns: for which files its signature counts; empty: for all
};

struct ImaRules {
  std::vector<SignatureKey> signature_keys;
  std::vector<std::string> require_signature;  // patterns of paths; an entry without an absolute path is meant by each
  std::map<std::string, DigestSet, std::less<>> buffers;  // event name -> digests that may be measured
  bool refuse_other_buffers = false;
  bool refuse_violations = false;
};

// What becomes of a file that the references don't know, that differs from them, that was written while it was measured,
// or that a newer version of its package supersedes.
enum class Treatment : std::uint8_t {
  unsaid,    // another rule says it, or it is as without rules
  accepted,  // ok
  reported,  // told, and it prevents nothing
  refused,   // failed; of one that differs: it stays so
};

// One entry of the list in [rules.NAME] `files`. Of those that fit a file, the first that says something of its state counts.
struct FileRule {
  std::vector<std::string> paths;     // patterns; empty: all
  std::vector<std::string> packages;  // patterns of the names of packages whose references the path has; empty: all
  Treatment unknown = Treatment::unsaid, differ = Treatment::unsaid, violated = Treatment::unsaid,
            superseded = Treatment::unsaid;
  std::int64_t superseded_after = 0;  // seconds for which the newer version has to be known
};

struct EvidenceRules {
  std::string name;
  std::string version;  // the first 16 digits of the SHA-256 of its content
  FirmwareRules firmware;
  ImaRules ima;
  std::vector<FileRule> files;
};
using EvidenceRulesPtr = std::shared_ptr<const EvidenceRules>;

}  // namespace gatehouse::pipeline
