// Of `gatehouse device`: what its files share.
#pragma once

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cli/commands.h"
#include "cli/state_access.h"

namespace gatehouse::cli {

// Who makes a change, why, and on which knowledge.
struct AuthorOptions {
  std::string by, why;
  std::optional<std::uint64_t> expected;

  void add_to(CLI::App& command);
  // `by`: as given, else who called sudo, else the user that runs this.
  void put(boost::json::object& request) const;
};

// One request whose answer is one object, or its member `item`.
int run_one(const StateOptionsOfCommand& where, bool create, const boost::json::object& request,
            const std::function<void(const boost::json::object&)>& print);
int run_list(const StateOptionsOfCommand& where, const boost::json::object& request, const std::string& cursor,
             const std::function<void(const boost::json::object&)>& print);

void print_history(const boost::json::object& device);

// "90", "15m", "12h", "7d"; nullopt: it is none, or 0.
std::optional<std::uint64_t> seconds_of(std::string_view text);

void add_device_enrol(CLI::App& device, Run& run);
// To the subcommands device and device baseline.
void add_device_life(CLI::App& device, CLI::App& baseline, Run& run);

// An import record for each device of a CSV file: rows of one device that follow each other are its keys. `each` gets the
// line where it began; what a row lacks comes as its reason.
Result<void> csv_records(const std::string& text, const std::function<Result<void>(std::size_t, Result<boost::json::object>)>& each);
// The rows of one record, the header first where `out` is empty. Fault::usage for what CSV can't hold.
Result<void> append_csv(std::string& out, const boost::json::object& record);

// What the events of a difference are, from the kept firmware logs of the sessions that measured: puts `event_type`,
// `text` and in words `said` into each of `differences` where that is known.
void describe_differences(server::StateAccess& access, boost::json::object& diff);

}  // namespace gatehouse::cli
