// gatehouse audit: that results are as they were when they were told.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "cli/state_access.h"
#include "server/state/audit.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;
constexpr std::size_t max_key_file = std::size_t(1) << 30;
// What is asked of the server in one request; each says everything of all before it, so the newest are enough.
constexpr std::size_t max_checkpoints = 10'000;

struct AuditOptions {
  StateOptionsOfCommand where;
  std::string checkpoints, key, file;
};

int run_audit_key(const AuditOptions& o) {
  const auto made = make_key_files(o.file);
  if (!made) return complain(made.error());
  if (o.where.json)
    std::cout << json::serialize(json::object{{"key", escaped(o.file)}, {"public", escaped(o.file + ".pub")}, {"id", made->id().hex()}}) << '\n';
  else
    std::cout << "key " << made->id().hex() << ": " << escaped(o.file) << " is the server's, " << escaped(o.file) << ".pub the auditor's\n";
  return flushed();
}

void print_audit(const json::object& report) {
  std::cout << "log " << shown(report, "log") << ": " << report.at("size") << " entries since " << shown(report, "since") << ", root "
            << shown(report, "root") << '\n'
            << report.at("records") << " records as they were logged, " << report.at("retired") << " retired, " << report.at("open")
            << " sessions without a result yet\n"
            << report.at("checkpoints") << " checkpoints agree";
  if (report.at("unproved") != 0) std::cout << ", " << report.at("unproved") << " lie where retention has left too little to prove them";
  std::cout << '\n';
  for (const json::value& one : report.at("restores").as_array()) {
    const json::object& restore = one.as_object();
    std::cout << "restored from a backup " << shown(restore, "time") << ", at entry " << restore.at("entry");
    if (restore.at("lost") != 0) std::cout << ": at least " << restore.at("lost") << " entries, which checkpoints vouch for, were lost by it";
    std::cout << '\n';
  }
  for (const json::value& one : report.at("problems").as_array()) {
    const json::object& problem = one.as_object();
    std::cout << shown(problem, "what") << ": ";
    if (!problem.at("entry").is_null()) std::cout << "entry " << problem.at("entry") << ": ";
    if (!problem.at("session").is_null()) std::cout << "session " << shown(problem, "session") << ": ";
    std::cout << shown(problem, "text") << '\n';
  }
  std::cout << (report.at("problems_total") == 0 ? "nothing was changed, removed or put in between" : "the log does NOT hold") << '\n';
}

int run_audit_verify(const AuditOptions& o) {
  json::object request{{"command", "audit.verify"}};
  if (!o.checkpoints.empty()) {
    const auto key = VerifyingKey::read_file(o.key);
    if (!key) return complain(key.error());
    const auto text = read_file(o.checkpoints, max_key_file);
    if (!text) return complain(text.error());
    auto read = server::read_checkpoints(as_text(*text), *key);
    if (!read) return complain(std::move(read).error().from(o.checkpoints));
    json::array list;
    const std::size_t first = read->size() > max_checkpoints ? read->size() - max_checkpoints : 0;
    for (std::size_t i = first; i < read->size(); ++i) {
      const server::AuditCheckpoint& c = (*read)[i];
      list.push_back({{"log", c.log}, {"size", c.size}, {"root", c.root.hex()}, {"time", c.time}});
    }
    request["checkpoints"] = std::move(list);
  }
  auto access = o.where.open(false);
  if (!access) return complain(access.error());
  const auto report = ask(*access, request);
  if (!report) return complain(report.error());
  if (o.where.json)
    std::cout << json::serialize(*report) << '\n';
  else
    print_audit(*report);
  const int code = flushed();
  return code != 0 ? code : report->at("problems_total") == 0 ? 0 : 1;
}

}  // namespace

void add_audit(CLI::App& app, Run& run) {
  CLI::App* const audit = app.add_subcommand("audit", "That results are as they were when they were told");
  audit->require_subcommand(1);
  audit->footer("Example:\n  gatehouse audit verify --config /etc/gatehouse/gatehouse.toml --checkpoints checkpoints --key audit.key.pub");
  const auto o = std::make_shared<AuditOptions>();
  CLI::App* const verify = audit->add_subcommand("verify", "Hold every record against the audit log, and the log against signed checkpoints");
  o->where.add_to(*verify);
  auto* const checkpoints = not_empty(verify->add_option("--checkpoints", o->checkpoints, "file that the server appended to, as it was kept elsewhere"));
  auto* const key = not_empty(verify->add_option("--key", o->key, "public key of the checkpoints, PEM"));
  checkpoints->needs(key);
  key->needs(checkpoints);
  verify->footer("Example:\n  gatehouse audit verify --config /etc/gatehouse/gatehouse.toml --checkpoints checkpoints --key audit.key.pub\n\n"
                 "Without checkpoints it says whether records and log agree; who has changed both can be found only by a checkpoint\n"
                 "that was out of his reach. Exit codes: 0 it holds, 1 something was changed, removed or put in between, or a signature\n"
                 "isn't the key's, 3 a file or the log is malformed, 4 it can't be read.");
  verify->callback([o, &run] { run = [o] { return run_audit_verify(*o); }; });
  CLI::App* const make = audit->add_subcommand("key", "Make a key that checkpoints are signed with: FILE is the server's, FILE.pub the auditor's");
  not_empty(make->add_option("FILE", o->file, "a new file")->required());
  make->add_flag("--json", o->where.json, "one JSON object on standard output");
  make->footer("Example:\n  gatehouse audit key /etc/gatehouse/audit.key");
  make->callback([o, &run] { run = [o] { return run_audit_key(*o); }; });
}

}  // namespace gatehouse::cli
