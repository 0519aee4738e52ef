// Port lists of policy, as operators write them: "22 80-90".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gatehouse::server::policy {

// Ordered, without overlaps.
class PortSet {
 public:
  struct Range {
    std::uint16_t first, last;  // both belong to it
    friend bool operator==(const Range&, const Range&) = default;
  };

  // Ports 0 to 65535 and ranges of them, separated by blanks; an empty text is the empty set. Fault::usage, at the
  // offset of the item that is wrong.
  static Result<PortSet> parse(std::string_view text);

  bool contains(std::uint16_t port) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<Range>& ranges() const { return ranges_; }
  // One text for one set: "22 80-90".
  std::string text() const;
  friend bool operator==(const PortSet&, const PortSet&) = default;

 private:
  std::vector<Range> ranges_;
};

}  // namespace gatehouse::server::policy
