#include "server/policy/policy.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <sstream>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "cli/kept.h"
#include "cli/policy_import.h"
#include "refdb/ingest/decoders.h"
#include "refdb/ingest/input.h"
#include "server/control/control.h"
#include "server/evidence/again.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;
namespace policy = server::policy;

struct PolicyOptions {
  std::string file;
  bool json = false;
};

json::array array_of(const std::vector<policy::Mistake>& mistakes) {
  json::array out;
  for (const policy::Mistake& m : mistakes) {
    json::object one;
    one["file"] = m.file;
    one["line"] = m.line;
    one["key"] = m.key;
    one["reason"] = m.reason;
    out.push_back(std::move(one));
  }
  return out;
}

int run_check(const PolicyOptions& options) {
  const auto read = policy::read_policy(options.file);
  if (!read && read.error().unreadable) return complain(*read.error().unreadable);
  if (!read)
    for (const policy::Mistake& m : read.error().list) std::cerr << m.text() << '\n';
  else
    for (const std::string& warning : (*read)->warnings) std::cerr << "warning: " << warning << '\n';
  if (options.json) {
    json::object out;
    out["file"] = options.file;
    out["valid"] = read.has_value();
    out["version"] = read ? json::value((*read)->version()) : json::value(nullptr);
    out["groups"] = read ? (*read)->groups.size() : 0;
    out["mistakes"] = read ? json::array() : array_of(read.error().list);
    json::array warnings;
    if (read)
      for (const std::string& warning : (*read)->warnings) warnings.emplace_back(warning);
    out["warnings"] = std::move(warnings);
    std::cout << json::serialize(out) << '\n';
  } else if (read) {
    std::cout << options.file << ": policy " << (*read)->version() << ", " << (*read)->groups.size()
              << " groups, no mistakes\n";
  }
  if (!std::cout.flush()) return 4;
  return read ? 0 : 2;
}

// --- the versions that were in force, and the safety stop

int print_policy(const Result<json::object>& answer, bool as_json, const std::function<void(const json::object&)>& in_words) {
  if (!answer) return complain(answer.error());
  if (as_json)
    std::cout << json::serialize(*answer) << '\n';
  else
    in_words(*answer);
  return flushed();
}

Result<json::object> asked(const StateOptionsOfCommand& where, const json::object& request) {
  GH_TRY(auto access, where.open(false));
  return ask(access, request);
}

int run_policy_list(const StateOptionsOfCommand& where) {
  return print_policy(asked(where, {{"command", "policy.list"}}), where.json, [](const json::object& answer) {
    for (const json::value& one : answer.at("items").as_array()) {
      const json::object& policy = one.as_object();
      std::cout << shown(policy, "number") << "  " << shown(policy, "version") << "  " << shown(policy, "since") << "  "
                << escaped(shown(policy, "file"), 1024) << '\n';
    }
  });
}

int run_policy_show(const StateOptionsOfCommand& where, const std::string& which) {
  return print_policy(asked(where, {{"command", "policy.show"}, {"policy", which}}), where.json,
               [](const json::object& answer) { std::cout << shown(answer, "text"); });
}

int run_status(const StateOptionsOfCommand& where) {
  bool held = false;
  const auto answer = asked(where, {{"command", "policy.status"}});
  if (answer) held = !answer->at("held").is_null();
  const int code = print_policy(answer, where.json, [](const json::object& status) {
    if (status.at("running").as_bool()) {
      const json::object& change = status.at("switch").as_object();
      std::cout << "policy " << shown(status, "policy") << ", number " << shown(status, "number") << "; reference generation "
                << shown(status, "generation") << (status.at("enforced").as_bool() ? "\n" : "; monitor mode\n");
      if (change.at("watching").as_bool() || shown(change, "devices") != "0")
        std::cout << "since the last switch: " << shown(change, "refused") << " of " << shown(change, "devices")
                  << " devices that were allowed before are refused" << (change.at("watching").as_bool() ? "; it is being watched\n" : "\n");
      if (!status.at("rehearsing").is_null())
        std::cout << "policy " << shown(status, "rehearsing") << " is being rehearsed by kept evidence\n";
      if (!status.at("rehearsing_generation").is_null())
        std::cout << "reference generation " << shown(status, "rehearsing_generation") << " is being rehearsed by kept evidence\n";
      if (!status.at("alarm").is_null()) std::cout << "alarm: " << shown(status, "alarm") << '\n';
    } else {
      std::cout << "no server is running on this state directory\n";
    }
    const json::object* const stopped = status.at("held").if_object();
    if (stopped == nullptr) return;
    if (!stopped->at("policy").is_null()) std::cout << "held back: policy " << shown(*stopped, "policy") << '\n';
    if (!stopped->at("generation").is_null()) std::cout << "held back: reference generation " << shown(*stopped, "generation") << '\n';
    std::cout << "  since " << shown(*stopped, "since") << ": " << shown(*stopped, "why") << '\n';
  });
  return code != 0 ? code : held ? 1 : 0;
}

int run_release(const StateOptionsOfCommand& where) {
  return print_policy(asked(where, {{"command", "policy.release"}}), where.json,
               [](const json::object&) { std::cout << "released\n"; });
}

// --- strongTNC's groups

struct Import {
  std::string file;
  bool no_sandbox = false;
};

int run_policy_import(const Import& o) {
  constexpr std::string_view strongtnc = "strongtnc:";
  if (!o.file.starts_with(strongtnc))
    return complain(Error{Fault::usage, "wants strongtnc:FILE, strongTNC's SQLite database", {}, 0, o.file, {}});
  const auto listing = refdb::read_strongtnc(o.file.substr(strongtnc.size()), !o.no_sandbox);
  if (!listing) return complain(listing.error());
  if (listing->groups.empty()) {
    std::cerr << "gatehouse: " << escaped(o.file) << ": there are no groups\n";
    return 1;
  }
  std::vector<std::string> left_out;
  const std::string text = policy_text(listing->groups, o.file, left_out);
  std::cout << text;
  for (const std::string& one : left_out) std::cerr << "gatehouse: " << escaped(o.file) << ": left out: " << escaped(one) << '\n';
  // A cycle of parents, more items than there may be: for the operator to decide.
  const auto read = policy::parse_policy(text, "policy", [](const std::string&) -> Result<std::string> { return std::string(); });
  if (!read)
    for (const policy::Mistake& m : read.error().list) std::cerr << "gatehouse: to be mended: line " << m.line << ": " << m.key << ": " << m.reason << '\n';
  if (const int code = flushed(); code != 0) return code;
  return read && left_out.empty() ? 0 : 1;
}

struct Test {
  StateOptionsOfCommand where;
  std::string policy, sessions, refdb;
  std::optional<std::uint64_t> generation;  // in the place of each session's own
};

// The newest sessions with evidence, or those that a file names.
Result<std::vector<std::string>> sessions_of(const Test& o, server::StateAccess& access, std::uint64_t& without) {
  std::vector<std::string> out;
  const bool number = !o.sessions.empty() && o.sessions.find_first_not_of("0123456789") == std::string::npos && o.sessions.size() < 10;
  if (!number) {
    GH_TRY(const ByteVector bytes, read_file(o.sessions == "-" ? "/dev/stdin" : o.sessions, std::size_t(64) << 20));
    std::istringstream lines{std::string(as_text(bytes))};
    for (std::string line; std::getline(lines, line);) {
      while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
      if (!line.empty() && line.front() != '#') out.push_back(line);
    }
    return out;
  }
  const std::size_t most = std::stoul(o.sessions);
  json::object request{{"command", "session.list"}, {"limit", 100}};
  if (most == 0) return out;
  GH_CHECK(ask_pages(access, request, "from", [&](const json::value& one) {
    const json::object* const verdict = one.if_object();
    if (verdict == nullptr) return true;
    const json::value* const record = verdict->if_contains("record");
    if (record == nullptr || !record->is_object() || shown(record->get_object(), "state") != "complete") return true;
    if (shown(record->get_object(), "evidence") != "true") {
      ++without;
      return true;
    }
    out.push_back(shown(*verdict, "session"));
    return out.size() < most;
  }));
  return out;
}

// What is judged beside the reading of the next ones, so that neither processor waits.
class Rejudging {
 public:
  struct Done {
    std::string session;
    std::string recorded;  // the verdict as it is recorded
    Result<evidence::Again> again;
  };
  Rejudging(pipeline::Pipeline& pipeline, policy::PolicyPtr policy) : pipeline_(pipeline), policy_(std::move(policy)) {}

  void start(std::string session, std::string recorded, std::shared_ptr<const evidence::Kept> kept,
             std::shared_ptr<const refdb::View> references) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return under_way_ < most_at_once; });
    ++under_way_;
    lock.unlock();
    evidence::judge_again(std::move(kept), policy_, std::move(references), pipeline_, nullptr,
                          [this, session = std::move(session), recorded = std::move(recorded)](Result<evidence::Again> again) {
                            const std::lock_guard guard(mutex_);
                            done_.push_back({session, recorded, std::move(again)});
                            --under_way_;
                            changed_.notify_all();
                          });
  }
  // What is done by now; with `all`, waits for everything.
  std::vector<Done> take(bool all) {
    std::unique_lock lock(mutex_);
    if (all) changed_.wait(lock, [&] { return under_way_ == 0; });
    return std::exchange(done_, {});
  }

 private:
  static constexpr std::size_t most_at_once = 16;
  pipeline::Pipeline& pipeline_;
  const policy::PolicyPtr policy_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t under_way_ = 0;  // guarded by mutex_
  std::vector<Done> done_;     // guarded by mutex_
};

json::array texts(const std::vector<std::string>& all) {
  json::array out;
  for (const std::string& one : all) out.emplace_back(escaped(one, 4096));
  return out;
}

struct Tally {
  std::uint64_t judged = 0, same = 0, flipped = 0, unanswered = 0, failed = 0;
};

// One session. Printed where something is to be said of it.
void tell(const Rejudging::Done& done, bool as_json, Tally& tally) {
  const auto recorded = pipeline::verdict_from_json(done.recorded);
  json::object line;
  line["session"] = done.session;
  if (!done.again || !recorded) {
    ++tally.failed;
    const Error& e = done.again ? recorded.error() : done.again.error();
    std::cerr << "gatehouse: policy test: session " << escaped(done.session) << ": " << e.text() << '\n';
    return;
  }
  const evidence::Again& again = *done.again;
  ++tally.judged;
  const bool flips = again.verdict.recommendation != recorded->recommendation;
  if (!again.unanswered.empty())
    ++tally.unanswered;
  else
    ++(flips ? tally.flipped : tally.same);
  if (!flips && again.unanswered.empty()) return;
  const std::vector<std::string> why = flips ? evidence::differences(*recorded, again.verdict) : std::vector<std::string>();
  if (as_json) {
    line["device"] = escaped(again.verdict.device, 1024);
    line["before"] = name(recorded->recommendation);
    line["after"] = name(again.verdict.recommendation);
    line["flips"] = flips;
    line["differences"] = texts(why);
    line["unanswered"] = texts(again.unanswered);
    std::cout << json::serialize(line) << '\n';
    return;
  }
  std::cout << done.session << "  " << escaped(again.verdict.device, 256) << "  " << name(recorded->recommendation);
  if (flips) std::cout << " -> " << name(again.verdict.recommendation);
  std::cout << '\n';
  for (const std::string& one : why) std::cout << "    " << escaped(one, 4096) << '\n';
  for (const std::string& one : again.unanswered) std::cout << "    can't be told: " << escaped(one, 4096) << '\n';
}

Result<int> test(const Test& o) {
  auto read = policy::read_policy(o.policy);
  if (!read && read.error().unreadable) return std::unexpected(*read.error().unreadable);
  if (!read) {
    for (const policy::Mistake& m : read.error().list) std::cerr << m.text() << '\n';
    return 2;
  }
  GH_TRY(auto access, o.where.open(false));
  GH_TRY(const std::string refdb, refdb_of(o.refdb, o.where));
  Generations generations(refdb);
  std::uint64_t without = 0;
  GH_TRY(const std::vector<std::string> sessions, sessions_of(o, access, without));
  Tally tally;
  pipeline::Pipeline pipeline;
  Rejudging work(pipeline, *read);
  const auto tell_all = [&](bool all) {
    for (const Rejudging::Done& done : work.take(all)) tell(done, o.where.json, tally);
  };
  std::optional<Error> usage;
  for (const std::string& session : sessions) {
    const auto begin = [&]() -> Result<void> {
      GH_TRY(KeptSession one, fetch_kept(access, session));
      GH_TRY(auto kept, decode(one));
      auto references = o.generation ? generations.of(*kept, *o.generation) : generations.of(*kept);
      if (!references && references.error().fault == Fault::usage) usage = references.error();
      if (!references) return std::unexpected(std::move(references).error());
      work.start(session, std::move(one.verdict), std::move(kept), std::move(*references));
      return {};
    }();
    if (usage) break;
    if (!begin && begin.error().reason == server::no_evidence_kept) {
      ++without;
    } else if (!begin) {
      ++tally.failed;
      std::cerr << "gatehouse: policy test: session " << escaped(session) << ": " << begin.error().text() << '\n';
    }
    tell_all(false);
    if (!std::cout) break;
  }
  tell_all(true);
  if (usage) return std::unexpected(*usage);
  if (o.where.json) {
    json::object sum;
    sum["policy"] = (*read)->version();
    sum["judged"] = tally.judged;
    sum["same"] = tally.same;
    sum["flipped"] = tally.flipped;
    sum["unanswered"] = tally.unanswered;
    sum["without_evidence"] = without;
    sum["failed"] = tally.failed;
    std::cout << json::serialize(sum) << '\n';
  } else {
    std::cout << "policy " << (*read)->version() << ": " << tally.judged << " sessions judged again: " << tally.same << " the same, "
              << tally.flipped << " flip, " << tally.unanswered << " can't be told; " << without << " without evidence";
    if (tally.failed != 0) std::cout << ", " << tally.failed << " failed";
    std::cout << '\n';
  }
  if (const int code = flushed(); code != 0) return code;
  if (tally.failed != 0) return exit_code(Fault::environment);
  return tally.flipped == 0 ? 0 : 1;
}

}  // namespace

void add_policy(CLI::App& app, Run& run) {
  const auto options = std::make_shared<PolicyOptions>();
  CLI::App* const group = app.add_subcommand("policy", "What devices are asked for, and what follows (policy.toml)");
  group->require_subcommand(1);
  group->footer("Example:\n  gatehouse policy check policy.toml");
  CLI::App* const check =
      group->add_subcommand("check", "Name every mistake of a policy file as FILE:LINE: KEY: reason");
  check->add_option("FILE", options->file, "policy file")->required();
  check->add_flag("--json", options->json, "one JSON object on standard output");
  check->footer(
      "Example:\n  gatehouse policy check policy.toml\nExit codes: 0 no mistake, 2 mistakes, 4 the file can't be "
      "read.");
  check->callback([options, &run] { run = [options] { return run_check(*options); }; });

  const auto of_state = [&](const char* name, const char* description, auto body) {
    const auto where = std::make_shared<StateOptionsOfCommand>();
    CLI::App* const command = group->add_subcommand(name, description);
    where->add_to(*command);
    command->callback([where, body, &run] { run = [where, body] { return body(*where); }; });
    return command;
  };
  of_state("list", "The versions that were ever in force, with their numbers", run_policy_list)
      ->footer("Example:\n  gatehouse policy list --config gatehouse.toml");
  const auto which = std::make_shared<std::string>();
  CLI::App* const show = of_state("show", "The text of a version that was in force",
                                  [which](const StateOptionsOfCommand& where) { return run_policy_show(where, *which); });
  not_empty(show->add_option("POLICY", *which, "its number or its version"))->required();
  show->footer("Example:\n  gatehouse policy show 3 --config gatehouse.toml >policy.toml");
  of_state("status", "What is in force, and what the safety stop made of the last switch", run_status)
      ->footer("Example:\n  gatehouse policy status --config gatehouse.toml\nExit codes: 0, or 1 while something is held back.");
  of_state("release", "Let in what the safety stop holds back", run_release)
      ->footer("Example:\n  gatehouse policy release --config gatehouse.toml");

  const auto imported = std::make_shared<Import>();
  CLI::App* const import = group->add_subcommand("import", "Write strongTNC's groups and enforcements as a policy file");
  not_empty(import->add_option("FILE", imported->file, "strongtnc:FILE, its SQLite database"))->required();
  import->add_flag("--no-sandbox", imported->no_sandbox, "read the database in this process, where others can't be confined");
  import->footer(
      "Example:\n  gatehouse policy import strongtnc:/etc/pts/config.db >policy.toml\n"
      "Exit codes: 0, or 1 where something was left out or has to be mended by hand.");
  import->callback([imported, &run] { run = [imported] { return run_policy_import(*imported); }; });

  const auto what_if = std::make_shared<Test>();
  CLI::App* const tested =
      group->add_subcommand("test", "Judge kept evidence by another policy: which verdicts would flip, and why");
  what_if->where.add_to(*tested);
  not_empty(tested->add_option("--policy", what_if->policy, "the policy to try"))->required();
  not_empty(tested->add_option("--sessions", what_if->sessions, "how many of the newest with evidence, or a file with a session id a line (-: standard input)"))
      ->required();
  not_empty(tested->add_option("--refdb", what_if->refdb, "reference store that they were judged by (default: the configuration's)"));
  tested->add_option("--generation", what_if->generation, "judge by this generation of it, in place of each session's own: what new references would refuse")
      ->type_name("N");
  tested->footer(
      "Example:\n  gatehouse policy test --policy next.toml --sessions 1000 --config gatehouse.toml\n"
      "  gatehouse policy test --policy policy.toml --generation 42 --sessions 1000 --config gatehouse.toml\n"
      "Exit codes: 0 none flips, 1 some do, 2 mistakes of the policy, 4 some couldn't be judged.");
  tested->callback([what_if, &run] {
    run = [what_if] {
      const auto code = test(*what_if);
      return code ? *code : complain(code.error());
    };
  });
}

}  // namespace gatehouse::cli
