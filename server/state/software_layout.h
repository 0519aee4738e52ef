// Keys and values of software as docs/formats/state.md lays them out. Pure functions.
//
// An instance's place is what follows the number in its key: source (1 byte), identifier, NUL, record id (4 bytes).
// An event's place: EID (4 bytes), an instance's place, action (1 byte).
#pragma once

#include <string>
#include <string_view>

#include "server/state/state.h"

namespace gatehouse::server::layout {

struct HeadValue {
  SoftwareHead head;
  std::uint64_t generation = 0;          // of the installed set
  std::uint64_t era = 0;                 // of the events: another one since the epoch changed or went back
  std::uint32_t events_from = 0;         // from this EID on every event of the era is kept
  std::uint64_t oldest_change = 0;       // 0: none is kept
  std::uint64_t changes = 0, ended = 0;  // how many are kept
};

struct InstalledValue {
  std::int64_t first_seen = 0, since = 0;
  std::uint32_t eid = 0;
  bool no_tag = false;
  std::string locator;
};
struct EndedValue {
  InstalledValue was;
  std::int64_t last_seen = 0, until = 0;
};
struct EventValue {
  std::int64_t time = 0;
  std::string locator;
};
struct ChangeValue {
  SoftwareChange change;
  std::uint64_t era = 0;                           // of its events
  std::uint32_t first_eid = 0, last_kept_eid = 0;  // 0, 0: it has no events
  std::uint64_t events = 0, ended = 0;             // how many it keeps
};
// What a session has staged; by numbers, so that nothing is looked for when it goes.
struct StagingValue {
  std::string device;
  std::uint64_t generation = 0;  // of its inventory, 0: none
  std::uint64_t pieces = 0;      // of its events and tags, 0: none
  std::uint64_t change = 0;      // of ended instances that wait for its result, 0: none
};

inline constexpr std::string_view counter_key = "g";
std::string head_key(std::string_view device);
std::string inventory_time_key(std::string_view device);
std::string installed_prefix(std::string_view device, std::uint64_t generation);
std::string ended_prefix(std::string_view device, std::uint64_t change);
std::string change_prefix(std::string_view device);
std::string change_key(std::string_view device, std::uint64_t change);
std::string event_prefix(std::string_view device, std::uint64_t era);
std::string staging_key(std::string_view session);
std::string staged_event_prefix(std::uint64_t pieces);
std::string staged_tag_prefix(std::uint64_t pieces);
std::string tag_prefix(std::string_view software_id);
std::string item_result_prefix(std::string_view device);
std::string item_result_key(std::string_view device, std::string_view policy);
// Of formats before 6: all results of an item, their key is followed by Device ID, NUL, item, NUL and time; and since when it
// isn't compliant.
inline constexpr char old_results_letter = 'r', old_failing_letter = 'I';
std::string old_failing_key(std::string_view device, std::string_view policy);

std::string place_of(const SoftwareRecord& record);
std::string place_of(const SoftwareEvent& event);
Result<SoftwareRecord> record_at(std::string_view place);  // without the locator
Result<SoftwareEvent> event_at(std::string_view place);    // without time and locator

std::string encode(const HeadValue& value);
std::string encode(const InstalledValue& value);
std::string encode(const EndedValue& value);
std::string encode(const EventValue& value);
std::string encode(const ChangeValue& value);
std::string encode(const StagingValue& value);
std::string encode(const StoredTag& value);
std::string encode(const StoredItemResult& value);
Result<HeadValue> decode_head(std::string_view value);
Result<InstalledValue> decode_installed(std::string_view value);
Result<EndedValue> decode_ended(std::string_view value);
Result<EventValue> decode_event(std::string_view value);
Result<ChangeValue> decode_change(std::string_view value);
Result<StagingValue> decode_staging(std::string_view value);
Result<StoredTag> decode_tag(std::string_view value);
Result<StoredItemResult> decode_item_result(std::string_view value);

}  // namespace gatehouse::server::layout
