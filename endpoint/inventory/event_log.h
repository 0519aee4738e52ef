// The endpoint's log of what was installed and removed (RFC 8412 section 3.5), kept in one file between runs
// (docs/formats/endpoint-inventory.md). Pure functions: endpoint/inventory/inventory.h reads and writes the file.
//
// An instance is a package in one version, from its installation to its removal. It has a record id of its own, which
// no other instance gets in this epoch. What one look at the package managers finds changed is one transaction: all its
// events have the same EID. An upgrade is the deletion of one instance and the creation of another.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "endpoint/inventory/packages.h"

namespace gatehouse::endpoint {

inline constexpr std::size_t max_logged_events = 100'000;  // beyond, the oldest transactions go; the newest one stays
inline constexpr std::size_t max_log_bytes = std::size_t(256) << 20;

struct LoggedInstance {
  std::uint32_t record_id = 0;
  bool installed = false;
  Package package;
  friend bool operator==(const LoggedInstance&, const LoggedInstance&) = default;
};

enum class LogAction : std::uint8_t { creation = 1, deletion = 2, alteration = 3 };  // the values of the wire

struct LoggedEvent {
  std::uint32_t eid = 0;
  std::int64_t time = 0;  // seconds since 1970
  std::uint32_t record_id = 0;
  LogAction action = LogAction::creation;
  friend bool operator==(const LoggedEvent&, const LoggedEvent&) = default;
};

struct EventLog {
  std::uint32_t epoch = 0;      // 31 random bits, not 0
  std::uint32_t first_eid = 1;  // from this one on every event is here
  std::uint32_t last_eid = 0;   // 0: nothing was ever found
  std::uint32_t next_record_id = 1;
  std::vector<LoggedInstance> instances;  // by record id; what isn't installed stays while an event names it
  std::vector<LoggedEvent> events;        // by EID, and within one by record id
  friend bool operator==(const EventLog&, const EventLog&) = default;

  // Null: no event and no installed package has this id.
  const LoggedInstance* instance(std::uint32_t record_id) const;
};

// Another epoch than `last`.
std::uint32_t new_epoch(std::uint32_t last = 0);
EventLog new_event_log(std::uint32_t epoch);

// What a look at the package managers found. Sources that couldn't be looked at aren't named, and stay as they were.
struct Found {
  std::vector<std::uint8_t> sources;
  std::vector<Package> packages;  // of these sources, in any order; the same twice counts once
  std::int64_t time = 0;          // seconds since 1970; events never go back in time
};

// Adds one transaction, where anything changed. Where EIDs or record ids run out, the log begins anew in another epoch.
// Returns the number of events.
std::size_t update(EventLog& log, Found found);

// Malformed whatever the log's rules don't allow, at its offset.
Result<EventLog> parse_event_log(Bytes file);
ByteVector serialize(const EventLog& log);

}  // namespace gatehouse::endpoint
