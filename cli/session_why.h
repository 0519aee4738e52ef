// Why a session came to its verdict, in words for who runs the network: what was found, what it means, which entry of the
// policy made something of it, and what to do about it. From the verdict object and its record alone.
#pragma once

#include <boost/json.hpp>
#include <string>
#include <vector>

namespace gatehouse::cli {

// One reason, the weightiest first.
struct Reason {
  std::string what;                // "a file differs from its package: /usr/bin/ls"
  std::string meaning;             // why that counts; empty: `what` says it
  std::string check;               // code of docs/checks.md; empty: none
  std::string policy;              // the entry that asked for it; empty: it counts whatever the policy says
  std::vector<std::string> todo;   // commands and steps
};

struct Explanation {
  std::string verdict;             // one sentence
  std::vector<Reason> reasons;     // none: nothing spoke against it
  std::vector<std::string> notes;  // monitor mode, shadow policy, what is only reported
};

// `verdict`: as `session show --json` prints it.
Explanation explain(const boost::json::object& verdict);
std::string to_text(const Explanation& explanation);
boost::json::object to_json(const Explanation& explanation);

// What a check is about, as docs/checks.md says it; empty: no such check.
std::string_view meaning_of_check(std::string_view code);

}  // namespace gatehouse::cli
