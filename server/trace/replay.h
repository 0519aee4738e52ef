// A recorded conversation judged again by a session of today, in one process: the client's messages go in, what the
// session answers is compared with what the recorded server said. The state changes as a live session would change it.
//
//   GH_TRY(const auto recorded, trace::read_recording(folder));
//   const trace::Replayed r = trace::replay_blocking(recorded, {state, references, settings});
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "refdb/view/view.h"
#include "server/session/session.h"
#include "server/trace/recorder.h"
#include "server/trace/recording.h"

namespace gatehouse::trace {

// The first thing that the recorded server said otherwise than this one.
struct Difference {
  std::size_t batch = 0;   // as the index numbers it
  std::size_t offset = 0;  // of the message or attribute in the recorded batch
  std::string reason;
};

struct Replayed {
  std::string verdict;  // of the last assessment, one JSON object; empty: none came about
  std::optional<Difference> difference;
  std::string protocol_error;  // why the conversation ended in one; empty: it didn't
  std::vector<std::string> log;
};

struct Bench {
  server::State& state;
  std::shared_ptr<const refdb::View> references;
  server::Settings settings;     // `auth`, `banks` and `max_batch` come from the recording where it tells them
  unsigned threads = 0;          // of the evidence plane; 0: as many as the machine has
  Recorder* recorder = nullptr;  // records the replay
};

// Nonces and DH secrets are the recorded ones, so a recorded quote is as good as it was. The SASL exchange isn't
// repeated: the peer is who the recording says it was.
Result<Replayed> replay_blocking(const RecordedConversation& recorded, const Bench& bench);

// Compares batch by batch what must be equal: batch types, then messages and attributes with flags and values, in
// whatever order and grouping inside one batch. Not compared: PA-TNC message identifiers, who is addressed, and our DH
// public value.
std::optional<Difference> first_difference(const std::vector<std::pair<std::size_t, ByteVector>>& recorded,
                                           const std::vector<ByteVector>& ours);

}  // namespace gatehouse::trace
