// A change of firmware measurements, taken from one device to others of its model: what an update does to the event list
// of each PCR. So a whole group is approved by looking at one device, and an update that is announced beforehand raises
// no alarm. A change is exact: it says which digests go, where, and which take their place.
//
//   const BaselineChange change = change_between(approved, measured);
//   const std::optional<pipeline::Baseline> expected = apply(change, approved_of_another);   // nullopt: doesn't fit it
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "pipeline/graph/pipeline.h"

namespace gatehouse::server {

// A run of events of one PCR that differs: `before` (may be empty) gives way to `after` (may be empty).
struct BaselineHunk {
  std::uint32_t pcr = 0;
  std::uint32_t place = 0;      // index in the old list, for people and where nothing else tells the place
  std::uint32_t new_place = 0;  // index in the new list
  std::optional<Digest> behind;  // the event in front of it; nullopt: it begins the list
  std::vector<Digest> before, after;
  friend bool operator==(const BaselineHunk&, const BaselineHunk&) = default;
};

struct BaselineChange {
  HashAlgorithm bank = HashAlgorithm::sha256;
  std::vector<BaselineHunk> hunks;  // in order of PCR and place; empty: nothing changed
  friend bool operator==(const BaselineChange&, const BaselineChange&) = default;
};

// The shortest one in events; of lists too long for that (more than some thousand differing events), the differing
// middle is one hunk. Both are of one bank.
BaselineChange change_between(const pipeline::Baseline& before, const pipeline::Baseline& after);
// nullopt: a hunk's place isn't found, or is found twice. A hunk is looked for by what it takes away and the event in
// front of it, so that devices may differ elsewhere.
std::optional<pipeline::Baseline> apply(const BaselineChange& change, const pipeline::Baseline& to);

// Until `until` each device of the model whose firmware changes so has the changed baseline approved.
struct Announcement {
  std::uint64_t number = 0;  // from 1, per model; never used again while there is another of the model
  std::string model, device;  // `device`: it was taken from
  std::int64_t since = 0, until = 0;  // milliseconds since 1970
  std::string by, why;
  BaselineChange change;
  friend bool operator==(const Announcement&, const Announcement&) = default;
};

}  // namespace gatehouse::server
