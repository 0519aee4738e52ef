// A device's life cycle and what is recorded of it: who changed what, when and why; when it proved itself last.
//
//   pending ─▶ trusted ◀─▶ suspended        A device in any state but `trusted` gets no allow. `suspended` is for a time
//      │          │            │            (isolated, asked for nothing, keys stay), `revoked` is for a key or a device
//      ├──────────┼────────────┤            that can't be believed any longer (blocked, all keys revoked), `retired` for
//      ▼          ▼            ▼            a device that is gone (blocked, all keys revoked, not overdue).
//   revoked ──────────────▶ retired         Back to `trusted` from these two only by trusting a key by its name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "pipeline/verdict/verdict.h"

namespace gatehouse::server {

enum class DeviceState : std::uint8_t { pending, trusted, suspended, revoked, retired };
std::string_view name(DeviceState state);
std::optional<DeviceState> device_state(std::string_view name);
// Whether an operator may take a device from one to the other with a change of state alone.
bool may_become(DeviceState from, DeviceState to);
// No session of a device in this state gets more than `held_to()`, and none is asked for anything.
bool bars(DeviceState state);
pipeline::Recommendation held_to(DeviceState state);

// Who makes a change and why, as the operator says it: 1 to 256 and to 1,024 bytes of printable UTF-8 or nothing.
struct Author {
  std::string by, why;
  // The device's number of changes that the operator had before his eyes: with another one meanwhile the change is
  // refused (Fault::denied), so that of two operators at once the second one looks again.
  std::optional<std::uint64_t> expected = std::nullopt;
};

// One change of a device, in the words that are shown: `what` is "state trusted", "AK 3f… trusted", "baseline 2 approved".
struct HistoryEntry {
  std::uint64_t number = 0;  // from 1, per device; never used again
  std::int64_t time = 0;     // milliseconds since 1970
  DeviceState state = DeviceState::pending;  // afterwards
  std::string by, what, why;
  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};
inline constexpr std::size_t max_history = 1'000;  // of one device; the oldest go

// The last verdict of a session in which the device was proved by its key's quote.
struct Attested {
  std::int64_t time = 0;  // milliseconds since 1970: when the session was finished
  std::string session;
  pipeline::Recommendation recommendation = pipeline::Recommendation::none;
  // Of the store: under which time the end of its lease is looked for, up to that of the verdict; absent: it isn't.
  std::optional<std::int64_t> looked_for{};
  friend bool operator==(const Attested&, const Attested&) = default;
};

// A device whose verdict has outlived its lease.
struct Lapsed {
  std::string device;
  Attested last;
  bool ahead = false;  // the verdict is of a time that is yet to come: the clock was set back
};
// How far a verdict's time may lie ahead of the clock: what a clock is set back by when it is disciplined.
inline constexpr std::int64_t clock_tolerance_ms = 300'000;

// Whether a verdict of `time` holds at `now` under a lease of this length; neither a clock that was set back nor one
// that was set forward makes it hold longer than it would have.
constexpr bool lease_holds(std::int64_t time, std::int64_t lease_ms, std::int64_t now) {
  return time - now <= clock_tolerance_ms && now - time < lease_ms;
}

}  // namespace gatehouse::server
