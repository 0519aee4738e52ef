// Where a SWIMA collector takes software and its history from. What is behind it may be this machine
// (installed_software.h), a recording, or made up.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/swima/swima.h"

namespace gatehouse::endpoint {

class SoftwareSource {
 public:
  // Called for one after the other; what a record's views show lasts for the call. False: that is enough.
  using Each = std::function<bool(const swima::SoftwareRecord&)>;
  using EachEvent = std::function<bool(const swima::Event&)>;
  struct Source {
    std::uint8_t number = 0;  // Source Identification Number
    std::string metadata;     // UTF-8
  };

  virtual ~SoftwareSource() = default;

  // Looks anew. Everything below tells of the moment of the latest look.
  virtual Result<void> refresh() = 0;
  virtual std::uint32_t epoch() const = 0;
  virtual std::uint32_t last_eid() const = 0;                 // 0: no events recorded
  virtual bool has_events_from(std::uint32_t eid) const = 0;  // all of them; eid is at least 1
  virtual std::vector<Source> sources() const = 0;
  // Everything installed. Records are empty where identifiers are enough.
  virtual void installed(swima::Content content, const Each& each) const = 0;
  // The records of one identifier: of what is installed, else of what was, as long as that is known.
  virtual void records_of(std::string_view identifier, const Each& each) const = 0;
  // By EID, from this one on.
  virtual void events(std::uint32_t from, swima::Content content, const EachEvent& each) const = 0;
};

}  // namespace gatehouse::endpoint
