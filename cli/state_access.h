// What `gatehouse device` and `gatehouse session` share: the options that name a state directory, and asking it.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <string>

#include "base/error.h"
#include "server/control/control.h"

namespace gatehouse::cli {

struct StateOptionsOfCommand {
  std::string state, config;
  bool json = false;

  void add_to(CLI::App& command);
  // `create`: where there is no store yet, one is made (commands that add).
  Result<server::StateAccess> open(bool create) const;
};

// Sends the request and reads the response.
Result<boost::json::object> ask(server::StateAccess& access, const boost::json::object& request);

// Follows "next" from page to page and calls `each` for every item until it returns false.
Result<void> ask_pages(server::StateAccess& access, boost::json::object request, std::string_view cursor,
                       const std::function<bool(const boost::json::value&)>& each);

// Text of a member, "-" where it is null or absent.
std::string shown(const boost::json::object& object, std::string_view member);

}  // namespace gatehouse::cli
