// Before a policy or a reference generation is switched to: what would be said by it of devices that are allowed, from
// evidence that is kept of them. The safety stop holds the switch back where it would refuse too many (docs/operations.md).
//
//   const RehearsalCounts counts = rehearse({state, {policy, view, pipeline}, {policy, next_view, other_pipeline}, limits}, stop);
//   if (counts.too_many(percent, devices)) hold();
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <stop_token>
#include <string>

#include "pipeline/graph/pipeline.h"
#include "server/policy/policy.h"
#include "server/state/state.h"

namespace gatehouse::server {

struct RehearsalLimits {
  std::size_t sessions = 1000;     // judged again at most, one of each device
  std::chrono::seconds time{60};   // then what is judged by then counts
};

struct RehearsalCounts {
  std::size_t devices = 0;  // that are allowed, and of which the new side says something
  std::size_t refused = 0;  // of these, by the new side
  std::size_t untold = 0;   // its policy asks what they weren't asked, and doesn't refuse them for what they were
  std::size_t failed = 0;   // their evidence can't be judged
  bool in_time = true;
  std::string first;        // device that would be refused
  bool too_many(unsigned percent, std::size_t least_devices) const {
    return devices >= least_devices && refused * 100 > devices * percent;
  }
};

struct Rehearsal {
  // What is judged by. A pipeline caches the answers of one view at a time: other references than the live sessions' want
  // one of their own.
  struct Side {
    policy::PolicyPtr policy;
    std::shared_ptr<const refdb::View> references;
    pipeline::Pipeline& pipeline;
  };
  const State& state;
  Side in_force, next;
  RehearsalLimits limits;
};

// The newest session of each device that was allowed and whose evidence is kept, one after another, so that live sessions
// lose at most one processor's time to it. A device counts if it proved in that session which one it is, and if what is in
// force still allows it by the same evidence. Blocks; ends soon after a stop is asked for.
RehearsalCounts rehearse(const Rehearsal& what, const std::stop_token& stop);

// Whether the session was this device's, and nobody's who claims to be it. `quoted`: its quote verified.
bool proved(const State& state, const SessionIntent& of, bool quoted);

}  // namespace gatehouse::server
