// The software of this machine and how it came there, kept between runs in a directory of its own.
//
//   GH_TRY(Inventory inventory, Inventory::open({.directory = "/var/lib/gatehouse-endpoint/inventory", .platform =
//   p})); GH_TRY(const auto looked, inventory.refresh(now));      // looks at the package managers, notes what changed
//   for (const SoftwareInstance& one : inventory.installed()) …
//   if (inventory.has_events_from(eid)) for (const SoftwareLogEvent& one : inventory.events_from(eid)) …
//   for (const std::string& tag : inventory.tags(identifier)) …
//
// Two processes may use one directory: each refresh() reads the log anew, under a lock. Not thread-safe.
#pragma once

#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "endpoint/inventory/event_log.h"
#include "endpoint/inventory/swid_tag.h"

namespace gatehouse::endpoint {

struct InventoryOptions {
  std::string directory;  // made with mode 0700 where there is none
  Platform platform;
  std::string dpkg_status = "/var/lib/dpkg/status";  // absent: no dpkg here
  // Where rpm keeps its database: none of these is there: rpm isn't looked at, also where its library is installed.
  std::vector<std::string> rpm_databases = {"/usr/lib/sysimage/rpm", "/var/lib/rpm"};
  std::vector<std::string> rpm_libraries = {std::begin(gatehouse::endpoint::rpm_libraries),
                                            std::end(gatehouse::endpoint::rpm_libraries)};
};

// What the wire has of an instance: source, identifier, record id; there is no locator, packages are all over the tree.
struct SoftwareInstance {
  std::uint8_t source = 0;
  std::uint32_t record_id = 0;
  std::string software_id;
};
struct SoftwareLogEvent {
  std::uint32_t eid = 0;
  std::int64_t time = 0;  // seconds since 1970
  LogAction action = LogAction::creation;
  SoftwareInstance instance;
};

// What a refresh found.
struct Refreshed {
  std::size_t events = 0;       // that were added
  bool new_epoch = false;       // the log was made anew: there was none, or it couldn't be read
  std::vector<Error> warnings;  // a damaged log, sources that couldn't be read, paragraphs that were skipped
};

class Inventory {
 public:
  static Result<Inventory> open(InventoryOptions options);
  Inventory(Inventory&&) = default;
  Inventory& operator=(Inventory&&) = default;

  // `now`: seconds since 1970. A source that can't be read, or that is gone with all its packages, is a warning and
  // stays as it was: a mistake must not look like the removal of everything. A log that is damaged is put aside as
  // `log.damaged`, and another epoch begins.
  Result<Refreshed> refresh(std::int64_t now);

  std::uint32_t epoch() const { return log_.epoch; }
  std::uint32_t last_eid() const { return log_.last_eid; }
  // By identifier.
  const std::vector<SoftwareInstance>& installed() const { return installed_; }
  // Events from `eid` (at least 1) on are complete; else only an inventory can be told.
  bool has_events_from(std::uint32_t eid) const { return eid >= log_.first_eid; }
  // By EID.
  std::vector<SoftwareLogEvent> events_from(std::uint32_t eid) const;
  // The tags of this identifier, each with its instance, the installed ones first: also of one that is no longer
  // installed, while the log knows it. Empty: not known.
  std::vector<std::pair<SoftwareInstance, std::string>> tags(std::string_view software_id) const;

 private:
  explicit Inventory(InventoryOptions options) : options_(std::move(options)) {}
  Result<void> load(Refreshed& out);
  Found look(std::int64_t now, Refreshed& out) const;
  void look_at_dpkg(Found& found, Refreshed& out) const;
  void look_at_rpm(Found& found, Refreshed& out) const;
  bool has_installed(std::uint8_t source) const;
  SoftwareInstance instance(const LoggedInstance& logged) const;
  void name_instances();
  std::string file() const { return options_.directory + "/log"; }

  InventoryOptions options_;
  EventLog log_;
  std::vector<SoftwareInstance> installed_;
  std::vector<std::pair<std::string, const LoggedInstance*>>
      named_;  // all of the log, by identifier, installed ones first
};

}  // namespace gatehouse::endpoint
