// What the state store keeps of a device's software (RFC 8412; spec part 1b §5.9): the installed set, how it came
// about, and the tags that were told. All of it is the endpoint's claim: no quote covers it.
//
//   GH_TRY(const auto head, state->software_head(device));             // events after head->last_eid, or an inventory?
//   state->stage_software({.session = s, .device = d, .installed = …}, [](Result<void> on_disk) { … });  // per segment
//   result.software = SoftwareUpdate{.epoch = e, .last_eid = n, .inventory = true};
//   state->commit_result(result, …);                                   // all that was staged counts, or nothing
//   GH_TRY(const auto page, state->software_at(device, time, 500));
//
// Staged software is on disk under its session and nobody sees it. It goes when its session's result is committed
// (applied, where the result says so), with drop_software, and when the store is opened after a crash. Only what an
// enrolled device claims is kept, and applied only where the session proved the device: its quote verified, or the
// authenticated identity is one that the device is bound to. Otherwise staging and update have no effect.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace gatehouse::server {

inline constexpr std::size_t max_software_text = 4096;  // of an identifier and of a locator
inline constexpr std::size_t max_tag_bytes = std::size_t(4) << 20;
inline constexpr std::size_t max_chunk_items = 4096;                  // of one stage_software
inline constexpr std::size_t max_chunk_bytes = std::size_t(8) << 20;  // at least one tag fits

// The values of the wire (RFC 8412 section 5.7).
enum class SoftwareAction : std::uint8_t { creation = 1, deletion = 2, alteration = 3 };
std::string_view name(SoftwareAction action);

// One installed instance. The three first members tell instances of a device apart.
struct SoftwareRecord {
  std::uint8_t source = 0;  // Source Identification Number: the endpoint's
  std::string software_id;  // "strongswan.org__Debian_12-x86_64-dpkg-1.21.23": 1 to 4,096 bytes without NUL
  std::uint32_t record_id = 0;
  std::string locator;  // "file:///usr/bin", empty: unknown; no part of its name
  friend bool operator==(const SoftwareRecord&, const SoftwareRecord&) = default;
};

struct SoftwareEvent {
  std::uint32_t eid = 0;
  std::int64_t time = 0;  // milliseconds since 1970 by the endpoint's clock
  SoftwareAction action = SoftwareAction::creation;
  SoftwareRecord record;
  friend bool operator==(const SoftwareEvent&, const SoftwareEvent&) = default;
};

struct SoftwareTag {
  std::string software_id;
  std::uint8_t source = 0;       // of the instance it was asked for
  std::uint32_t data_model = 0;  // PEN in the upper 24 bits, type in the lower 8; 0: ISO/IEC 19770-2:2015
  ByteVector content;            // empty: the endpoint was asked and has none
};

// A piece of an answer. Pieces of one session add up, in any order and with repetitions.
struct SoftwareChunk {
  std::string session, device;
  bool restart_installed = false;  // what was staged of the inventory before is void: a new answer begins
  bool restart_events = false;
  std::vector<SoftwareRecord> installed;
  std::vector<SoftwareEvent> events;
  std::vector<SoftwareTag> tags;
};

// What a session's result does with what was staged.
struct SoftwareUpdate {
  std::uint32_t epoch = 0;
  std::uint32_t last_eid = 0;  // of an inventory the Last EID; of events the Last Consulted EID
  // The staged inventory, which may be empty, replaces the installed set.
  bool inventory = false;
  // The staged events are applied; of another epoch than the head's, or of one that went back, or beside an inventory,
  // they are only kept, and without an inventory the set isn't complete any longer.
  bool events = false;
  // How many records and events were staged, each counted as often as it was, since the last restart. Where it was
  // less, the update has no effect.
  std::uint64_t staged_installed = 0, staged_events = 0;
};

// What is known of a device's software.
struct SoftwareHead {
  std::uint32_t epoch = 0, last_eid = 0;
  std::int64_t time = 0;  // milliseconds since 1970: when it was last told
  std::string session;
  bool complete = false;        // an inventory of this epoch and every event since; else ask for an inventory
  std::uint64_t installed = 0;  // how many
  std::uint64_t events = 0;     // how many are kept
};

// An instance and when it was there. `since` and `until` are the endpoint's claims where events told them, held within
// the two sessions between which they must lie; else the times of sessions.
struct InstalledSoftware {
  SoftwareRecord record;
  std::int64_t first_seen = 0, last_seen = 0;  // sessions that told of it, milliseconds since 1970
  std::int64_t since = 0;
  std::optional<std::int64_t> until;  // absent: still installed, as far as is known
  std::uint32_t eid = 0;              // of the event that created or altered it, 0: an inventory
  bool no_tag = false;                // the endpoint was asked for its tag and had none
};

// A place in a list; opaque.
using SoftwareCursor = std::string;
struct SoftwarePage {
  std::vector<InstalledSoftware> software;  // what is installed still, by source and identifier, then what isn't
  SoftwareCursor next;                      // empty: that was all
};

// What a session changed.
struct SoftwareChange {
  std::int64_t time = 0;
  std::string session;
  bool inventory = false, events = false;  // what it brought
  bool first = false, epoch_changed = false, rolled_back = false;
  std::uint32_t epoch = 0, last_eid = 0, previous_epoch = 0, previous_eid = 0;
  std::uint64_t added = 0, removed = 0, altered = 0;
  std::uint64_t not_kept = 0;  // events and ended instances beyond the bounds
  // Events that contradict what was told before under the same EID, or that lie beyond the last EID: not applied.
  std::uint64_t inconsistent = 0;
  std::vector<SoftwareEvent> examples;  // of them, at most 32
};

// One line of a history: a change, or one of its events or removals, which follow it.
struct SoftwareHistoryItem {
  enum class Kind : std::uint8_t { change, event, removal } kind = Kind::change;
  SoftwareChange change;      // kind change
  SoftwareEvent event;        // kind event
  InstalledSoftware removed;  // kind removal: an inventory didn't have it any longer
};
struct SoftwareHistoryPage {
  std::vector<SoftwareHistoryItem> items;
  SoftwareCursor next;
};

struct StoredTag {
  std::uint32_t data_model = 0;
  std::int64_t first_seen = 0;
  std::string device;  // that brought it first
  ByteVector content;
};

}  // namespace gatehouse::server
