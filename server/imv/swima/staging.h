// What an endpoint tells of its software, on its way to the state store: collected into chunks of bounded size, which
// the IMV hands to its host one by one. What waits here is never more than one batch of the endpoint brought.
//
//   staging.add(record);              // for each record that arrives
//   staging.close();                  // the answer is complete: what is being filled goes as it is
//   while (auto chunk = staging.next()) …
#pragma once

#include <optional>
#include <vector>

#include "server/state/software.h"

namespace gatehouse::server {

class SoftwareStaging {
 public:
  void add(SoftwareRecord installed);
  void add(SoftwareEvent event);
  void add(SoftwareTag tag);
  // What was added before is void: another answer takes its place.
  void restart_installed();
  void restart_events();  // and tags
  void close();
  // The oldest chunk that is full or closed; its session and device are left to the caller.
  std::optional<SoftwareChunk> next();
  // Forgets everything, also what next() gave.
  void clear() { *this = {}; }

  // Added since the last restart.
  std::uint64_t installed() const { return installed_; }
  std::uint64_t events() const { return events_; }

 private:
  void added(std::size_t bytes);
  std::vector<SoftwareChunk> ready_;
  SoftwareChunk open_;
  bool filling_ = false;   // open_ has something
  std::size_t bytes_ = 0;  // of open_
  std::uint64_t installed_ = 0, events_ = 0;
};

}  // namespace gatehouse::server
