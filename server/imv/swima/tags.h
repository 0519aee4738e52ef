// Which tags a session asks for: those of software whose tag isn't stored, in requests of bounded size and number. What
// is left over is asked for in a later session (spec part 1b §5.9).
//
//   tags.want(record.source, record.software_id);
//   for (std::vector<std::string_view> targets = tags.begin_request(room); !targets.empty(); …) {
//     … ask; for each record of the answer: tags.answered(record.identifier) …
//     for (const auto& [source, identifier] : tags.end_request()) …      // those that the endpoint left out
//   }
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "wire/swima/swima.h"

namespace gatehouse::server {

class TagRequests {
 public:
  static constexpr std::size_t most_in_request = 500;
  // Of a session.
  static constexpr std::size_t most_requests = 8, most_names = most_requests * most_in_request;
  static constexpr std::size_t most_bytes = std::size_t(1) << 20;  // of their names

  bool full() const { return wanted_.size() >= most_names || bytes_ >= most_bytes; }
  // An instance whose tag isn't stored; nothing happens when there are enough.
  void want(std::uint8_t source, std::string_view identifier);
  // The next identifiers to ask for, which with their lengths take at most `room` bytes; empty: that was all. They
  // live until end_request().
  std::vector<std::string_view> begin_request(std::size_t room);
  // A record of this identifier has come; false: it wasn't asked for.
  bool answered(std::string_view identifier);
  std::vector<std::pair<std::uint8_t, std::string>> end_request();

 private:
  using Names = std::map<std::string, std::set<std::uint8_t>, std::less<>>;  // the sources of each
  Names wanted_, asked_;
  std::set<std::string, std::less<>> answered_;
  std::size_t bytes_ = 0, requests_ = 0;
};

// Whether the tag that a record holds is the one that its identifier names. A tag of a data model that we don't know
// counts as such. Fault::denied: it is another's, else it can't be read.
Result<void> verify_tag(const swima::SoftwareRecord& record);

}  // namespace gatehouse::server
