// `gatehouse radius`: whom gateways have let in by this server's word, and having them cut off.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "cli/state_access.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct RadiusOptions {
  StateOptionsOfCommand where;
  std::string device;
};

void print_connected(const json::object& one) {
  std::cout << shown(one, "device") << "  " << shown(one, "recommendation") << "  " << shown(one, "user") << "  " << shown(one, "station")
            << "  gateway " << shown(one, "gateway") << "  admitted " << shown(one, "admitted") << "  connected " << shown(one, "connected") << '\n';
}

int run_radius_list(const RadiusOptions& options) {
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  json::object request;
  request["command"] = "radius.list";
  if (!options.device.empty()) request["device"] = options.device;
  const auto asked = ask_pages(*access, std::move(request), "from", [&](const json::value& one) {
    if (options.where.json) std::cout << json::serialize(one) << '\n';
    else print_connected(one.as_object());
    return bool(std::cout);
  });
  if (!asked) return complain(asked.error());
  return flushed();
}

int run_disconnect(const RadiusOptions& options) {
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  json::object request;
  request["command"] = "radius.disconnect";
  request["device"] = options.device;
  const auto response = ask(*access, request);
  if (!response) return complain(response.error());
  if (options.where.json) std::cout << json::serialize(*response) << '\n';
  else std::cout << shown(*response, "asked") << " asked to cut " << options.device << " off\n";
  return flushed();
}

}  // namespace

void add_radius(CLI::App& app, Run& run) {
  const auto options = std::make_shared<RadiusOptions>();
  CLI::App* const group = app.add_subcommand("radius", "Endpoints that gateways have let in");
  group->require_subcommand(1);
  group->footer("Example:\n  gatehouse radius list --config /etc/gatehouse/gatehouse.toml");
  const auto command = [&](const char* name, const char* what, int (*body)(const RadiusOptions&), const char* example) {
    CLI::App* const out = group->add_subcommand(name, what);
    options->where.add_to(*out);
    out->footer(std::string("Example:\n  ") + example);
    out->callback([options, &run, body] { run = [options, body] { return body(*options); }; });
    return out;
  };
  auto* const list = command("list", "Who is connected by way of RADIUS, as far as gateways tell (accounting)", run_radius_list,
                             "gatehouse radius list --config gatehouse.toml --json");
  list->add_option("--device", options->device, "only this device");
  auto* const disconnect = command("disconnect", "Ask the gateways that let a device in to cut it off (RFC 5176)", run_disconnect,
                                   "gatehouse radius disconnect deb3a1… --config gatehouse.toml");
  not_empty(disconnect->add_option("DEVICE", options->device, "Device ID")->required());
}

}  // namespace gatehouse::cli
