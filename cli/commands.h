// The subcommands of `gatehouse`: each adds its options to the application and leaves in `run` what to do when it was
// chosen. `run` returns the exit code of the contract.
#pragma once

#include <functional>
#include <string>

#include "base/ed25519.h"
#include "base/error.h"

namespace CLI {
class App;
class Option;
}

namespace gatehouse::cli {

using Run = std::function<int()>;

void add_eventlog(CLI::App& app, Run& run);
void add_ima(CLI::App& app, Run& run);
void add_verify(CLI::App& app, Run& run);
void add_refdb(CLI::App& app, Run& run);
void add_refdb_transfer(CLI::App& refdb, Run& run);  // to the subcommand refdb
void add_serve(CLI::App& app, Run& run);
void add_device(CLI::App& app, Run& run);
void add_session(CLI::App& app, Run& run);
void add_audit(CLI::App& app, Run& run);
void add_backup(CLI::App& app, Run& run);
void add_restore(CLI::App& app, Run& run);
void add_top(CLI::App& app, Run& run);
void add_user(CLI::App& app, Run& run);
void add_radius(CLI::App& app, Run& run);
void add_policy(CLI::App& app, Run& run);
void add_trace(CLI::App& app, Run& run);
void add_capacity(CLI::App& app, Run& run);

// Prints "gatehouse: <text>" on stderr and returns the exit code of the fault.
int complain(const Error& error);
// After the last word on standard output: 0, or a complaint and 4 where it couldn't be written (a full disk).
int flushed();
// A new Ed25519 key: FILE, which its owner alone can read, and FILE.pub.
Result<VerifyingKey> make_key_files(const std::string& file);
// A whole number without a sign: CLI11 2.3 reads "-1" as 2^64 - 1.
CLI::Option* unsigned_only(CLI::Option* option);
// An option or argument that is given has a value: an empty one is a variable that wasn't set.
CLI::Option* not_empty(CLI::Option* option);

}  // namespace gatehouse::cli
