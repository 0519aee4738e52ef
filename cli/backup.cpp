#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/hex.h"
#include "cli/commands.h"
#include "cli/state_access.h"
#include "server/state/state.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct BackupCommand {
  StateOptionsOfCommand where;
  std::string folder;
};
struct RestoreCommand {
  std::string folder, state;
  bool check = false, json = false;
};

int told(const json::object& made, bool as_json, std::string_view what) {
  if (as_json)
    std::cout << json::serialize(made) << '\n';
  else
    std::cout << what << ' ' << shown(made, "folder") << ": " << made.at("files").to_number<std::uint64_t>() << " files, "
              << made.at("bytes").to_number<std::uint64_t>() << " bytes\n";
  return flushed();
}

int run_backup(const BackupCommand& o) {
  std::error_code code;
  // Its maker may be the server, which has another working directory.
  const std::string folder = std::filesystem::absolute(o.folder, code).lexically_normal().string();
  auto access = o.where.open(false);
  if (!access) return complain(access.error());
  const auto made = ask(*access, {{"command", "backup"}, {"folder", folder}});
  if (!made) return complain(made.error());
  return told(*made, o.where.json, "backup in");
}

int run_restore(const RestoreCommand& o) {
  const auto done = o.check ? server::check_backup(o.folder) : server::restore_backup(o.folder, o.state);
  if (!done) return complain(done.error());
  if (!o.check) {
    // It opens, or it was no backup of ours.
    const auto opened = server::State::open({.path = o.state});
    if (!opened) return complain(opened.error());
    if (const auto noted = (*opened)->note_restore_blocking(); !noted) return complain(noted.error());
  }
  return told({{"folder", escaped(done->folder)}, {"files", done->files}, {"bytes", done->bytes}}, o.json, o.check ? "whole:" : "restored from");
}

}  // namespace

void add_backup(CLI::App& app, Run& run) {
  const auto o = std::make_shared<BackupCommand>();
  CLI::App* const command = app.add_subcommand("backup", "Copy the state store into a new folder, beside a running server too");
  o->where.add_to(*command);
  not_empty(command->add_option("FOLDER", o->folder, "made by this; with a running server it is the server that makes it")->required());
  command->footer("Example:\n  gatehouse backup --config /etc/gatehouse/gatehouse.toml /var/lib/gatehouse/backup-1\n\n"
                  "The copy is whole at one moment; sessions go on meanwhile. On the disk of the state store it takes no room to\n"
                  "begin with: copy it to another one. SHA256SUMS in it is written last (sha256sum -c).");
  command->callback([o, &run] { run = [o] { return run_backup(*o); }; });
}

void add_restore(CLI::App& app, Run& run) {
  const auto o = std::make_shared<RestoreCommand>();
  CLI::App* const command = app.add_subcommand("restore", "Make a state directory of a backup, whose files are checked");
  not_empty(command->add_option("FOLDER", o->folder, "what gatehouse backup made")->required());
  auto* const state = not_empty(command->add_option("--state", o->state, "state directory to make; it must not exist, or be empty"));
  auto* const check = command->add_flag("--check", o->check, "only check the backup's files");
  state->excludes(check);
  command->add_flag("--json", o->json, "one JSON object on standard output");
  command->footer("Example:\n  gatehouse restore /mnt/backups/gatehouse-1 --state /var/lib/gatehouse/state\n\n"
                  "Keys that were revoked and baselines that were approved after the backup are as they were before: do that\n"
                  "again before endpoints come. Exit codes: 0 done, 2 the place isn't empty, 3 not a whole backup (the file is\n"
                  "named), 4 it can't be read or written.");
  command->callback([o, &run] {
    run = [o] {
      if (o->state.empty() && !o->check) return complain(Error{Fault::usage, "name the place with --state DIR", {}, 0, {}, {}});
      return run_restore(*o);
    };
  });
}

}  // namespace gatehouse::cli
