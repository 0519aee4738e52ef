#include "server/policy/policy.h"

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "cli/commands.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;
namespace policy = server::policy;

struct Options {
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

int run_check(const Options& options) {
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

}  // namespace

void add_policy(CLI::App& app, Run& run) {
  const auto options = std::make_shared<Options>();
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
}

}  // namespace gatehouse::cli
