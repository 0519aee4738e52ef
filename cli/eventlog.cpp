#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "base/file.h"
#include "base/hex.h"
#include "cli/commands.h"
#include "pipeline/replay/replay.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct EventlogOptions {
  std::string file;
  bool events = false, json = false;
};

// Decoded data of the types whose layout is known; a layout that doesn't hold is left out, the digests count.
json::object decoded(const eventlog::Event& event) {
  json::object out;
  switch (event.type) {
    case 0x80000001:
    case 0x80000002:
    case 0x8000000C:
    case 0x800000E0:
      if (const auto variable = eventlog::parse_uefi_variable(event.data)) {
        out["guid"] = variable->guid;
        out["variable"] = escaped(variable->name);
        out["data"] = to_hex(variable->data);
      }
      break;
    case 0x05:
    case 0x80000007:
    case 0x0D:
    case 0x12: {
      std::string_view text = as_text(event.data);
      while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
      out["text"] = escaped(text);
      break;
    }
    case eventlog::ev_separator:
      out["value"] = to_hex(event.data);
      break;
    case 0x08:
      out["text"] = escaped(eventlog::utf16_to_utf8(event.data));
      break;
    default:
      break;
  }
  return out;
}

json::object event_row(const eventlog::Event& event) {
  json::object row;
  row["offset"] = event.offset;
  row["pcr"] = event.pcr;
  row["type"] = eventlog::event_type_name(event.type);
  json::object digests;
  for (const eventlog::EventDigest& d : event.digests) {
    const auto algorithm = hash_algorithm(d.bank);
    digests[eventlog::Bank{d.bank, 0, algorithm}.name()] = to_hex(d.value);
  }
  row["digests"] = std::move(digests);
  row["size"] = event.data.size();
  if (json::object data = decoded(event); !data.empty()) row["data"] = std::move(data);
  return row;
}

// A log was replayed before its events are listed, so it can be read. The list of a large log is many times its size:
// rows go out one by one.
void print_events(Bytes log, std::string_view between) {
  std::string_view separator;
  const auto listed = pipeline::for_each_event(log, [&](const eventlog::Event& event) {
    std::cout << separator << json::serialize(event_row(event));
    separator = between;
  });
  GH_ASSERT(listed.has_value());
}

int run_eventlog(const EventlogOptions& options) {
  const auto log = read_file(options.file, std::size_t(1) << 30);
  if (!log) return complain(log.error());
  const auto replay = pipeline::replay_eventlog(*log);
  if (!replay) return complain(Error(replay.error()).from(options.file));
  json::object out;
  out["format"] = replay->format == eventlog::Format::crypto_agile ? "crypto-agile" : "sha1";
  out["events"] = replay->events;
  out["banks"] = json::array(replay->banks.begin(), replay->banks.end());
  out["startup_locality"] = replay->startup_locality ? json::value(int(*replay->startup_locality)) : json::value(nullptr);
  json::object pcrs;
  for (const auto& [bank, values] : replay->pcrs) {
    json::object registers;
    for (const auto& [pcr, value] : values) registers[std::to_string(pcr)] = value.hex();
    pcrs[name(bank)] = std::move(registers);
  }
  out["pcrs"] = std::move(pcrs);
  out["warnings"] = json::array(replay->warnings.begin(), replay->warnings.end());
  if (options.json) {
    std::string text = json::serialize(out);
    if (options.events) {
      text.back() = ',';
      std::cout << text << "\"list\":[";
      print_events(*log, ",");
      text = "]}";
    }
    std::cout << text << '\n';
    return flushed();
  }
  std::cout << "format " << (replay->format == eventlog::Format::crypto_agile ? "crypto-agile" : "sha1") << ", "
            << replay->events << " events, " << replay->extended << " extended\n";
  for (const auto& [bank, values] : replay->pcrs)
    for (const auto& [pcr, value] : values) std::cout << name(bank) << ' ' << pcr << ' ' << value.hex() << '\n';
  if (options.events) {
    print_events(*log, "\n");
    std::cout << '\n';
  }
  for (const std::string& warning : replay->warnings) std::cerr << "gatehouse: warning: " << warning << '\n';
  return flushed();
}

}  // namespace

void add_eventlog(CLI::App& app, Run& run) {
  auto options = std::make_shared<EventlogOptions>();
  CLI::App* const command = app.add_subcommand("eventlog", "Parse and replay a TCG firmware event log");
  command->add_option("FILE", options->file, "event log (TCG 1.2 or crypto-agile)")->required();
  command->add_flag("--events", options->events, "list every event with its decoded data");
  command->add_flag("--json", options->json, "one JSON object on standard output");
  command->footer("Example:\n  gatehouse eventlog /sys/kernel/security/tpm0/binary_bios_measurements --json");
  command->callback([options, &run] { run = [options] { return run_eventlog(*options); }; });
}

}  // namespace gatehouse::cli
