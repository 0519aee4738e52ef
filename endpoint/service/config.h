// The configuration of a command: a TOML file whose keys are the command's options with '_' for '-'. What stands on the
// command line counts more. Paths are relative to the file's folder.
//
//   server = "pdp.example.org:271"
//   certificate = "host.pem"
//   imc = ["os", "swima", "attestation"]
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace CLI {
class App;
}

namespace gatehouse::endpoint {

struct ConfigMistakes {
  std::vector<std::string> lines;  // "FILE:LINE: KEY: reason", all of them
  Fault fault = Fault::usage;      // environment: the file can't be read
};

// After the command line was parsed. `is_path`: whether an option names a file.
std::expected<void, ConfigMistakes> read_config(const std::string& file, CLI::App& app,
                                                bool (*is_path)(std::string_view option));

}  // namespace gatehouse::endpoint
