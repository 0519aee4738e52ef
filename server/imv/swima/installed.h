// What is installed after events: the set that is stored, and the events since then, as the state store will apply them
// with the session's result (server/state/software.cpp).
//
//   changes.add(event);                                             // as they come
//   Installed installed; installed.add(record); …                   // each that is stored
//   installed.apply(changes, head.last_eid, last_eid);
//   installed.each([&](std::string_view identifier) { … });
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "server/state/software.h"

namespace gatehouse::server {

// An instance as events and inventories name it.
using Instance = std::tuple<std::uint8_t, std::string, std::uint32_t>;  // source, identifier, record id

class Changes {
 public:
  // More than these aren't kept: an inventory says what is installed then.
  static constexpr std::size_t most = 20'000;

  void add(const SoftwareEvent& event);
  void clear() { *this = {}; }
  bool whole() const { return !left_out_; }

 private:
  friend class Installed;
  struct Change {
    std::uint32_t eid;
    Instance instance;
    SoftwareAction action;
    friend auto operator<=>(const Change&, const Change&) = default;
  };
  std::vector<Change> list_;
  bool left_out_ = false;
};

class Installed {
 public:
  static constexpr std::size_t most = 20'000;

  void add(const SoftwareRecord& record) { instances_.emplace(record.source, record.software_id, record.record_id); }
  std::size_t size() const { return instances_.size(); }
  // Events after `from` and up to `last`.
  void apply(const Changes& changes, std::uint32_t from, std::uint32_t last);
  void each(const std::function<void(std::string_view identifier)>& visit) const;

 private:
  void apply(const Instance& instance, bool created, bool deleted);
  std::set<Instance> instances_;
};

}  // namespace gatehouse::server
