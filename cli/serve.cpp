#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/hex.h"
#include "base/log.h"
#include "cli/commands.h"
#include "refdb/store/open.h"
#include "server/config/config.h"
#include "server/tls/server.h"

namespace gatehouse::cli {
namespace {

struct ServeOptions {
  std::string config, trace, log_format = "text", log_level = "info";
  bool check = false;
};

int run_serve(const ServeOptions& o) {
  auto config = server::read_config(o.config);
  if (!config) {
    for (const std::string& line : config.error().lines) std::fprintf(stderr, "%s\n", line.c_str());
    return exit_code(config.error().fault);
  }
  if (!o.trace.empty()) config->trace = o.trace;
  if (o.check) {
    if (const auto good = server::Server::check(*config); !good) return complain(good.error());
    std::fprintf(stderr, "%s: good\n", escaped(o.config).c_str());
    return 0;
  }
  log::configure(o.log_level == "debug" ? log::Level::debug : o.log_level == "warning" ? log::Level::warning : log::Level::info,
                 o.log_format == "json" ? LogFormat::json : LogFormat::text);
  auto server = server::Server::start(std::move(*config), {[](const std::string& path) { return refdb::open_view(path); },
                                                           [](const std::string& path) { return refdb::current_generation(path); },
                                                           [](const std::string& path, std::uint64_t generation) { return refdb::open_view(path, generation); }});
  if (!server) return complain(server.error());
  (*server)->run();
  return 0;
}

}  // namespace

void add_serve(CLI::App& app, Run& run) {
  auto o = std::make_shared<ServeOptions>();
  CLI::App* const command = app.add_subcommand("serve", "Run the policy decision point in the foreground");
  command->add_option("--config", o->config, "configuration file (TOML)")->required();
  command->add_flag("--check", o->check,
                    "validate the configuration, and the certificates and user files that it names, and exit");
  command->add_option("--log-format", o->log_format, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->add_option("--log-level", o->log_level, "debug, info or warning")->check(CLI::IsMember({"debug", "info", "warning"}));
  not_empty(command->add_option("--trace", o->trace,
                                "write each session's conversation into a folder below DIR (docs/formats/trace.md); it "
                                "holds what the endpoint said of itself"))
      ->type_name("DIR");
  command->footer("Example:\n  gatehouse serve --config /etc/gatehouse/gatehouse.toml\n\n"
                  "SIGTERM ends it after the sessions in flight; SIGHUP reads certificates, users and references again.");
  command->callback([o, &run] { run = [o] { return run_serve(*o); }; });
}

}  // namespace gatehouse::cli
