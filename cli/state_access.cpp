#include "cli/state_access.h"

#include <iostream>

#include "server/config/config.h"

namespace gatehouse::cli {

namespace json = boost::json;

void StateOptionsOfCommand::add_to(CLI::App& command) {
  auto* const by_state = command.add_option("--state", state, "state directory");
  auto* const by_config = command.add_option("--config", config, "the server's configuration, which names it");
  by_state->excludes(by_config);
  command.add_flag("--json", json, "JSON on standard output; a list prints one object a line");
}

Result<server::StateAccess> StateOptionsOfCommand::open(bool create) const {
  server::StateAccess::Place place{.state = state, .socket = {}, .create = create};
  if (!config.empty()) {
    const auto read = server::read_config(config);
    if (!read) {
      for (const std::string& line : read.error().lines) std::cerr << "gatehouse: " << line << '\n';
      return fail(Error{read.error().fault, "the configuration can't be used", {}, 0, config, {}});
    }
    place.state = read->state;
    place.socket = read->control_socket;
  }
  if (place.state.empty()) return fail(Fault::usage, "name the state with --state DIR or --config FILE");
  return server::StateAccess::open(place);
}

Result<json::object> ask(server::StateAccess& access, const json::object& request) {
  const std::string text = json::serialize(request);
  boost::system::error_code code;
  (void)json::parse(text, code);
  if (code) return fail(Fault::usage, "an argument isn't UTF-8");
  GH_TRY(const std::string response, access.ask(text));
  json::value value = json::parse(response, code);
  if (code || !value.is_object()) return fail(Fault::internal, "a response is a JSON object", "docs/formats/control.md");
  return std::move(value.get_object());
}

Result<void> ask_pages(server::StateAccess& access, json::object request, std::string_view cursor,
                       const std::function<bool(const json::value&)>& each) {
  for (;;) {
    GH_TRY(const json::object page, ask(access, request));
    const json::value* const items = page.if_contains("items");
    if (items == nullptr || !items->is_array())
      return fail(Fault::internal, "a list has items", "docs/formats/control.md");
    for (const json::value& one : items->get_array())
      if (!each(one)) return {};
    const json::value* const next = page.if_contains("next");
    if (next == nullptr) return {};
    request[cursor] = *next;
  }
}

std::string shown(const json::object& object, std::string_view member) {
  const json::value* const value = object.if_contains(member);
  if (value == nullptr || value->is_null()) return "-";
  if (value->is_string()) return value->get_string().empty() ? "-" : std::string(value->get_string());
  return json::serialize(*value);
}

}  // namespace gatehouse::cli
