// What an operator wrote that can't stand.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace gatehouse::server::policy {

struct Mistake {
  std::string file;
  std::size_t line = 0;  // from 1; 0: the file as a whole
  std::string key;       // "groups.servers.ask.ports"; "toml" where the file isn't TOML
  std::string reason;    // says what would be right
  std::string text() const { return file + ":" + std::to_string(line) + ": " + key + ": " + reason; }
};

// "unknown key: did you mean \"ask\"?", or all that there are.
std::string unknown_key(std::string_view key, const std::vector<std::string_view>& known);

// All of one reading, by file and line; never empty of both.
struct Mistakes {
  std::vector<Mistake> list;
  std::optional<Error> unreadable;  // the file can't be read at all: nothing was checked
};

}  // namespace gatehouse::server::policy
