#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <map>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "pipeline/replay/replay.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct ImaOptions {
  std::string file;
  bool json = false;
};

int run_ima(const ImaOptions& options) {
  const auto list = read_file(options.file, std::size_t(1) << 30);
  if (!list) return complain(list.error());
  const auto replay = pipeline::replay_ima(*list);
  if (!replay) return complain(Error(replay.error()).from(options.file));
  json::object pcrs;
  for (const auto& [bank, values] : replay->pcrs) {
    json::object registers;
    for (const auto& [pcr, value] : values) registers[std::to_string(pcr)] = value.hex();
    pcrs[name(bank)] = std::move(registers);
  }
  if (options.json) {
    json::object out;
    out["entries"] = replay->entries;
    out["violations"] = replay->violations;
    json::object templates;
    std::map<std::string, std::uint64_t> by_name;  // two names may read the same once they are escaped
    for (const auto& [name, count] : replay->templates) by_name[escaped(name)] += count;
    for (const auto& [name, count] : by_name) templates[name] = count;
    out["templates"] = std::move(templates);
    out["boot_aggregate"] = replay->boot_aggregate ? json::value(*replay->boot_aggregate) : json::value(nullptr);
    out["pcrs"] = std::move(pcrs);
    out["warnings"] = json::array(replay->warnings.begin(), replay->warnings.end());
    std::cout << json::serialize(out) << '\n';
    return flushed();
  }
  std::cout << replay->entries << " entries, " << replay->violations << " violations\n";
  if (replay->boot_aggregate) std::cout << "boot_aggregate " << *replay->boot_aggregate << '\n';
  for (const auto& [bank, values] : replay->pcrs)
    for (const auto& [pcr, value] : values) std::cout << name(bank) << ' ' << pcr << ' ' << value.hex() << '\n';
  for (const std::string& warning : replay->warnings) std::cerr << "gatehouse: warning: " << warning << '\n';
  return flushed();
}

}  // namespace

void add_ima(CLI::App& app, Run& run) {
  auto options = std::make_shared<ImaOptions>();
  CLI::App* const command = app.add_subcommand("ima", "Parse and replay a Linux IMA measurement list");
  command->add_option("FILE", options->file, "list, binary or ASCII")->required();
  command->add_flag("--json", options->json, "one JSON object on standard output");
  command->footer("Example:\n  gatehouse ima /sys/kernel/security/ima/binary_runtime_measurements --json");
  command->callback([options, &run] { run = [options] { return run_ima(*options); }; });
}

}  // namespace gatehouse::cli
