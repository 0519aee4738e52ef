// What a verdict was made of: evidence, nonce, AK, baselines, policy, and what the other validators came to. Whoever has
// it and the references can judge again (again.h). On disk and in bundles it is docs/formats/evidence.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "server/judge/answers.h"
#include "server/judge/assembly.h"
#include "server/judge/software.h"
#include "server/policy/work_items.h"
#include "server/state/evidence.h"

namespace gatehouse::evidence {

namespace policy = server::policy;

// What went to the evidence plane.
struct Attestation {
  // `session`, `device`, `references` and `rules` are left out: the first two stand in Kept, the others follow from the
  // generation and the policy.
  pipeline::Context context;
  std::vector<pipeline::Segment> segments;
  pipeline::Finish finish;
};

// A work item's result as it was told.
struct Item {
  policy::Type type = policy::Type::deny;
  std::string argument;
  pipeline::Evaluation evaluation = pipeline::Evaluation::unknown;
  std::string result;  // of TPMRA empty: it follows from the attestation
};

// What a validator came to, before the policy made a recommendation of it.
struct Part {
  policy::Validator validator = policy::Validator::none;
  bool opinionated = false;     // it had work without an item
  policy::Assessment opinion;   // besides its items
  std::vector<Item> items;      // in the order in which they were finished
  server::Contribution more;
};

// What the endpoint said that items can be judged by again, also ones that it wasn't asked for.
struct Said {
  server::OsSettings settings;
  std::optional<ByteVector> packages;                // value of Installed Packages (RFC 5792 4.2.7)
  std::map<std::uint16_t, ByteVector> port_filters;  // values of Port Filter by collector (RFC 5792 4.2.6)
  // Of SWIDT; absent: it wasn't asked for, or its list couldn't be kept. The list, where there is one: each identifier of
  // an installed instance after its length (2 bytes), in ascending order.
  std::optional<server::SoftwareFacts> software;
  std::optional<ByteVector> software_list;
};

struct Kept {
  std::string session, device, product;  // as in the verdict object
  std::optional<std::uint64_t> generation;
  std::int64_t generation_made = 0;  // seconds since 1970; 0: not known
  bool other_product = false;
  policy::DeviceFacts facts;
  std::map<std::string, policy::PastResult> history;           // that the policy asked for, by item key
  std::shared_ptr<const policy::PolicySource> source;          // null: the built-in policy
  std::vector<Part> parts;
  Said said;
  std::optional<Attestation> attestation;
};

// Pieces are the segments, baselines, package list and policy: what is equal in many sessions. Moves what it can.
server::EvidenceRecord encode(Kept&& kept);
// Malformed, with the offset in the head or in the piece: bundles come from elsewhere.
Result<Kept> decode(Bytes head, std::vector<ByteVector> pieces);

}  // namespace gatehouse::evidence
