// A session in one file, for whoever has neither the state nor the references (docs/formats/evidence.md): evidence and all
// that its verdict depends on, what the reference generation answers to it, and the verdict as it was recorded.
//
//   GH_TRY(const Bundle bundle, read_bundle(bytes));
//   auto again = judge_again_blocking(…, std::make_shared<AnswersView>(bundle.answers), pipeline);
//   if (pipeline::to_json(again->verdict) != bundle.verdict) …
#pragma once

#include <string>

#include "server/evidence/answers.h"
#include "server/evidence/kept.h"

namespace gatehouse::evidence {

inline constexpr std::string_view bundle_magic = "gatehouse-bundle 1\n";

struct Bundle {
  std::string verdict;  // one JSON object, as it was recorded
  std::string record;   // one JSON object: who, when and from where, for people; nothing is judged by it
  server::EvidenceRecord evidence;
  Answers answers;
};

ByteVector append_bundle(const Bundle& bundle);
// Malformed with its offset; a bundle that was changed on its way doesn't have the digest that it ends in.
Result<Bundle> read_bundle(Bytes bytes);

}  // namespace gatehouse::evidence
