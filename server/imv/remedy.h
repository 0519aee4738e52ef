// What an endpoint is told to mend, as text for people (spec part 1b §4.7).
//
//   const Remedy remedies[] = {{"Blacklisted Software Packages", "Dangerous software packages were found",
//                               "Please remove the following software packages:", {"telnetd"}}};
//   remedy_text(remedies, RemedyForm::plain, 4096);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::server {

struct Remedy {
  std::string_view title, description;  // in the endpoint's language
  std::string_view header;              // of the items; empty where there are none
  std::vector<std::string> items{};     // may hold a peer's text
  std::size_t more = 0;                 // items besides these, for which there was no room
};

// plain: "title\n  description\n  header\n    item", blocks joined by one newline. xml: what strongSwan's Android client
// shows. Neither ends in a newline.
enum class RemedyForm : std::uint8_t { plain, xml };

// Items that would make it longer than `limit` bytes are counted in the place of the last: "... (+12)". Titles,
// descriptions and headers are never left out.
std::string remedy_text(std::span<const Remedy> remedies, RemedyForm form, std::size_t limit);

}  // namespace gatehouse::server
