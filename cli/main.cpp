#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <iostream>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"

namespace gatehouse::cli {

int complain(const Error& error) {
  std::fprintf(stderr, "gatehouse: %s\n", error.text().c_str());
  return exit_code(error.fault);
}

int flushed() {
  if (std::cout.flush()) return 0;
  return complain(fail_errno("can't write the result", "standard output").error());
}

Result<VerifyingKey> make_key_files(const std::string& file) {
  GH_TRY(const SigningKey key, SigningKey::generate());
  GH_CHECK(key.write_file(file));
  GH_CHECK(write_file_atomically(file + ".pub", as_bytes(key.verifying().pem())));
  return key.verifying();
}

CLI::Option* unsigned_only(CLI::Option* option) {
  return option->check([](const std::string& text) {
    return text.find_first_not_of("0123456789") == std::string::npos && !text.empty() ? std::string()
                                                                                      : "not a whole number: " + text;
  });
}

CLI::Option* not_empty(CLI::Option* option) {
  return option->check([](const std::string& text) { return std::string(text.empty() ? "is empty" : ""); });
}

namespace {

struct Command {
  void (*add)(CLI::App&, Run&);
};
// A subcommand is there when its file is part of the build (cli.cmake).
constexpr Command commands[] = {
#ifdef GATEHOUSE_CLI_SERVE
    {add_serve},
#endif
#ifdef GATEHOUSE_CLI_VERIFY
    {add_verify},
#endif
#ifdef GATEHOUSE_CLI_EVENTLOG
    {add_eventlog},
#endif
#ifdef GATEHOUSE_CLI_IMA
    {add_ima},
#endif
#ifdef GATEHOUSE_CLI_REFDB
    {add_refdb},
#endif
#ifdef GATEHOUSE_CLI_DEVICE
    {add_device},
#endif
#ifdef GATEHOUSE_CLI_SESSION
    {add_session},
#endif
#ifdef GATEHOUSE_CLI_AUDIT
    {add_audit},
#endif
#ifdef GATEHOUSE_CLI_BACKUP
    {add_backup},
    {add_restore},
#endif
#ifdef GATEHOUSE_CLI_TOP
    {add_top},
#endif
#ifdef GATEHOUSE_CLI_USER
    {add_user},
#endif
#ifdef GATEHOUSE_CLI_RADIUS
    {add_radius},
#endif
#ifdef GATEHOUSE_CLI_POLICY
    {add_policy},
#endif
#ifdef GATEHOUSE_CLI_TRACE
    {add_trace},
#endif
#ifdef GATEHOUSE_CLI_CAPACITY
    {add_capacity},
#endif
};

int run_command(int argc, char** argv) {
  CLI::App app{"Gatehouse verifies TPM attestations of endpoints and decides on their network access."};
  app.set_version_flag("--version", "gatehouse " GATEHOUSE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Example:\n  gatehouse verify --quote q.attest --signature q.sig --ak ak.pem --nonce 2f6d --ima list.bin "
      "--json\n\n"
      "Each subcommand has its own --help with an example. Exit codes: 0 done or allow, 1 negative answer,\n"
      "2 usage or configuration, 3 malformed input, 4 environment.");
  Run run;
  for (const Command& command : commands) command.add(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    // A word that nothing takes is a better hint than what is required and missing.
    if (const auto rest = app.remaining(true); !rest.empty() && e.get_exit_code() == int(CLI::ExitCodes::RequiredError)) {
      std::fprintf(stderr, "gatehouse: not expected: %s\nRun with --help for more information.\n", escaped(rest.front()).c_str());
      return 2;
    }
    return app.exit(e) == 0 ? 0 : 2;
  }
  return run ? run() : 2;
}

}  // namespace
}  // namespace gatehouse::cli

int main(int argc, char** argv) {
  try {
    return gatehouse::cli::run_command(argc, argv);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gatehouse: internal error: %s\n", e.what());
    return 4;
  }
}
