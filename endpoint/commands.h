// The subcommands of gatehouse-endpoint; each adds itself with its options and example, and runs when it was named.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace CLI {
class App;
}

namespace gatehouse::endpoint {

class Command {
 public:
  virtual ~Command() = default;
  virtual CLI::App* app() const = 0;
  virtual int run() = 0;
};
std::unique_ptr<Command> attest_command(CLI::App& app);
std::unique_ptr<Command> enrol_command(CLI::App& app);
std::unique_ptr<Command> provision_command(CLI::App& app);
std::unique_ptr<Command> run_command(CLI::App& app);

// On stderr; the exit code of the fault.
int complain(const Error& error);
// A JSON string with its quotes; bytes that aren't printable UTF-8 are escaped.
std::string json(std::string_view text);
std::string json(const std::vector<std::string>& list);
// Writes to stdout; 4 where that fails, else `code`.
int print(const std::string& text, int code);

}  // namespace gatehouse::endpoint
