// The subcommands of `gatehouse`: each adds its options to the application and leaves in `run` what to do when it was
// chosen. `run` returns the exit code of the contract.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace CLI {
class App;
}

namespace gatehouse::cli {

using Run = std::function<int()>;

void add_eventlog(CLI::App& app, Run& run);
void add_ima(CLI::App& app, Run& run);
void add_verify(CLI::App& app, Run& run);
void add_refdb(CLI::App& app, Run& run);
void add_serve(CLI::App& app, Run& run);
void add_device(CLI::App& app, Run& run);
void add_session(CLI::App& app, Run& run);
void add_user(CLI::App& app, Run& run);
void add_policy(CLI::App& app, Run& run);

// Prints "gatehouse: <text>" on stderr and returns the exit code of the fault.
int complain(const Error& error);

}  // namespace gatehouse::cli
