// Of `gatehouse device`: states, history, leases, export, and firmware changes of a model.
#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>

#include "base/base64.h"
#include "base/csv.h"
#include "base/hex.h"
#include "base/public_key.h"
#include "cli/device_life.h"
#include "server/config/config.h"

namespace gatehouse::cli {

namespace json = boost::json;

namespace {

struct LifeOptions {
  StateOptionsOfCommand where;
  AuthorOptions author;
  std::string device, model, product, until, format = "jsonl", lease;
  std::vector<std::string> identities;
  bool any_identity = false;
  std::optional<std::uint64_t> number;
  std::size_t last = 1000;
};

json::object about_device(const LifeOptions& options, std::string_view command) {
  json::object request;
  request["command"] = command;
  request["device"] = options.device;
  return request;
}

std::string user_name() {
  if (const char* const sudo = std::getenv("SUDO_USER"); sudo != nullptr && *sudo != '\0') return sudo;
  char buffer[4096];
  passwd entry{}, *found = nullptr;
  if (::getpwuid_r(::getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr) return found->pw_name;
  return "uid " + std::to_string(::getuid());
}

void print_state(const json::object& device) {
  std::cout << shown(device, "device") << " is " << shown(device, "state") << '\n';
}

int run_state(const LifeOptions& options, const char* state) {
  json::object request = about_device(options, "device.state");
  request["state"] = state;
  options.author.put(request);
  return run_one(options.where, false, request, print_state);
}

int run_set(const LifeOptions& options) {
  json::object request = about_device(options, "device.set");
  if (!options.product.empty()) request["product"] = options.product;
  if (!options.model.empty()) request["model"] = options.model == "none" ? "" : options.model;
  if (options.any_identity)
    request["identities"] = json::array();
  else if (!options.identities.empty())
    request["identities"] = json::array(options.identities.begin(), options.identities.end());
  options.author.put(request);
  return run_one(options.where, false, request, [](const json::object& device) {
    std::cout << shown(device, "device") << "  product " << shown(device, "product") << "  model " << shown(device, "model") << '\n';
    if (const json::value* const identities = device.if_contains("identities"); identities && identities->is_array())
      for (const json::value& one : identities->get_array())
        if (one.is_string()) std::cout << "  identity " << std::string_view(one.get_string()) << '\n';
  });
}

void print_entry(const json::object& entry) {
  std::cout << shown(entry, "time") << "  " << shown(entry, "by") << "  " << shown(entry, "what");
  if (shown(entry, "why") != "-") std::cout << "  (" << shown(entry, "why") << ')';
  std::cout << '\n';
}

int run_history(const LifeOptions& options) {
  json::object request = about_device(options, "device.history");
  request["limit"] = options.last;
  return run_list(options.where, request, "after", print_entry);
}

int run_overdue(const LifeOptions& options) {
  std::uint64_t lease = std::uint64_t(server::Config().lease.count());
  if (!options.lease.empty()) {
    const auto given = seconds_of(options.lease);
    if (!given) return complain(Error{Fault::usage, "--lease is a time such as 12h, 90m or 7d", {}, 0, options.lease, {}});
    lease = *given;
  } else if (!options.where.config.empty()) {
    if (const auto config = server::read_config(options.where.config)) lease = std::uint64_t(config->lease.count());
  }
  json::object request;
  request["command"] = "device.overdue";
  request["lease_seconds"] = lease;
  bool any = false;
  const int code = run_list(options.where, request, "after", [&](const json::object& one) {
    any = true;
    std::cout << shown(one, "device") << "  since " << shown(one, "due");
    const json::value* const last = one.if_contains("attested");
    if (last && last->is_object())
      std::cout << "  last " << shown(last->get_object(), "recommendation") << " in session " << shown(last->get_object(), "session") << " at "
                << shown(last->get_object(), "time");
    else
      std::cout << "  never attested";
    std::cout << '\n';
  });
  if (code == 0 && !any && !options.where.json) std::cout << "no device is overdue\n";
  return code == 0 ? flushed() : code;
}

int run_device_export(const LifeOptions& options) {
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  json::object request;
  request["command"] = "device.export";
  std::string out;
  Result<void> written{};
  const auto done = ask_pages(*access, request, "after", [&](const json::value& one) {
    const json::object* const record = one.if_object();
    if (record == nullptr) return true;
    if (options.format == "csv") {
      written = append_csv(out, *record);
      if (!written) return false;
    } else {
      out = json::serialize(*record) + "\n";
    }
    std::cout << out;
    out = " ";  // not the first row any longer
    return bool(std::cout);
  });
  if (!done) return complain(done.error());
  if (!written) return complain(written.error());
  return flushed();
}

void print_announcement(const json::object& one) {
  std::cout << "model " << shown(one, "model") << " number " << shown(one, "number") << "  from " << shown(one, "device") << "  until "
            << shown(one, "until") << (shown(one, "open") == "true" ? "" : " (over)") << "  by " << shown(one, "by");
  if (shown(one, "why") != "-") std::cout << "  (" << shown(one, "why") << ')';
  std::cout << '\n';
  if (const json::value* const words = one.if_contains("summary"); words && words->is_array())
    for (const json::value& line : words->get_array())
      if (line.is_string()) std::cout << "  " << std::string_view(line.get_string()) << '\n';
}

int run_announce(const LifeOptions& options) {
  json::object request = about_device(options, "baseline.announce");
  if (options.number) request["number"] = *options.number;
  request["until"] = options.until;
  options.author.put(request);
  return run_one(options.where, false, request, print_announcement);
}

int run_announcements(const LifeOptions& options) {
  json::object request;
  request["command"] = "baseline.announcements";
  if (!options.model.empty()) request["model"] = options.model;
  return run_list(options.where, request, "after", print_announcement);
}

int run_withdraw(const LifeOptions& options) {
  json::object request;
  request["command"] = "baseline.withdraw";
  request["model"] = options.model;
  request["number"] = *options.number;
  return run_one(options.where, false, request, [](const json::object&) { std::cout << "withdrawn\n"; });
}

// --- CSV

constexpr std::string_view columns[] = {"device", "product", "model", "state", "trust", "identities", "ak", "key_state"};

std::string member_text(const json::object& object, std::string_view member) {
  const json::value* const value = object.if_contains(member);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

std::unexpected<Error> wrong_row(std::string_view reason, std::string detail = {}) {
  return fail(Error{Fault::usage, reason, {}, 0, {}, std::move(detail)});
}

bool names_a_key(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A key id, PEM, or the base64 of it without its frame.
void put_ak(json::object& key, const std::string& text) {
  if (names_a_key(text))
    key["key_id"] = text;
  else if (text.starts_with("-----BEGIN"))
    key["ak"] = text;
  else
    key["ak"] = "-----BEGIN PUBLIC KEY-----\n" + text + "\n-----END PUBLIC KEY-----\n";
}

// One row, added to the record of its device.
Result<void> put_row(json::object& record, const std::vector<std::string>& header, const std::vector<std::string>& row) {
  if (row.size() != header.size())
    return wrong_row("a row has as many fields as the header", std::to_string(row.size()) + " instead of " + std::to_string(header.size()));
  json::object key;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::string& column = header[i];
    const std::string& value = row[i];
    if (value.empty()) continue;
    if (column == "ak") {
      put_ak(key, value);
    } else if (column == "key_state") {
      key["state"] = value;
    } else if (column == "trust") {
      if (value != "true" && value != "false") return wrong_row("trust is true or false", escaped(value, 64));
      if (value == "true") record["trust"] = true;
    } else if (column == "identities") {
      json::array list;
      for (std::size_t from = 0; from <= value.size();) {
        const std::size_t to = std::min(value.find(';', from), value.size());
        if (to != from) list.emplace_back(value.substr(from, to - from));
        from = to + 1;
      }
      record["identities"] = std::move(list);
    } else {
      record[column] = value;
    }
  }
  if (!key.contains("ak") && !key.contains("key_id")) {
    if (key.contains("state")) return wrong_row("a key_state without an ak");
    return {};
  }
  if (!key.contains("state")) key["state"] = record.contains("trust") ? "trusted" : "pending";
  json::value& keys = record["keys"];
  if (!keys.is_array()) keys = json::array();
  keys.get_array().push_back(std::move(key));
  return {};
}

}  // namespace

std::optional<std::uint64_t> seconds_of(std::string_view text) {
  std::uint64_t unit = 1;
  if (!text.empty())
    switch (text.back()) {
      case 's': unit = 1, text.remove_suffix(1); break;
      case 'm': unit = 60, text.remove_suffix(1); break;
      case 'h': unit = 3600, text.remove_suffix(1); break;
      case 'd': unit = 86'400, text.remove_suffix(1); break;
      default: break;
    }
  if (text.empty() || text.size() > 9) return std::nullopt;
  std::uint64_t out = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + std::uint64_t(c - '0');
  }
  return out == 0 ? std::nullopt : std::optional(out * unit);
}

void AuthorOptions::add_to(CLI::App& command) {
  command.add_option("--why", why, "reason, recorded with the change");
  command.add_option("--by", by, "who makes the change; default: who called sudo, else the user");
  unsigned_only(command.add_option("--if-changes", expected, "only if this is the device's number of changes (`device show`): nobody else was faster"));
}

void AuthorOptions::put(json::object& request) const {
  request["by"] = by.empty() ? user_name() : by;
  if (!why.empty()) request["why"] = why;
  if (expected) request["expect"] = *expected;
}

int run_one(const StateOptionsOfCommand& where, bool create, const json::object& request,
            const std::function<void(const json::object&)>& print) {
  auto access = where.open(create);
  if (!access) return complain(access.error());
  const auto response = ask(*access, request);
  if (!response) return complain(response.error());
  const json::value* const inner = response->if_contains("item");
  const json::object& shown_object = inner && inner->is_object() ? inner->get_object() : *response;
  if (where.json)
    std::cout << json::serialize(shown_object) << '\n';
  else
    print(shown_object);
  return flushed();
}

int run_list(const StateOptionsOfCommand& where, const json::object& request, const std::string& cursor,
             const std::function<void(const json::object&)>& print) {
  auto access = where.open(false);
  if (!access) return complain(access.error());
  const auto done = ask_pages(*access, request, cursor, [&](const json::value& one) {
    if (where.json)
      std::cout << json::serialize(one) << '\n';
    else if (const json::object* const object = one.if_object())
      print(*object);
    return bool(std::cout);
  });
  if (!done) return complain(done.error());
  return flushed();
}

void print_history(const json::object& device) {
  const json::value* const history = device.if_contains("history");
  if (history == nullptr || !history->is_array()) return;
  for (const json::value& one : history->get_array())
    if (const json::object* const entry = one.if_object()) std::cout << "  ", print_entry(*entry);
}

Result<void> csv_records(const std::string& text, const std::function<Result<void>(std::size_t, Result<json::object>)>& each) {
  CsvReader rows(text);
  GH_TRY(const auto header, rows.next());
  if (!header) return {};
  for (const std::string& column : *header)
    if (std::find(std::begin(columns), std::end(columns), column) == std::end(columns))
      return wrong_row("a column is one of device, product, model, state, trust, identities, ak, key_state", escaped(column, 64));
  const auto device_column = std::find(header->begin(), header->end(), "device");
  if (device_column == header->end()) return wrong_row("there is no column device");
  const std::size_t place = std::size_t(device_column - header->begin());
  json::object record;
  std::size_t began = 0;
  Result<void> good{};
  const auto give = [&]() -> Result<void> {
    if (began == 0) return {};
    return good ? each(began, std::move(record)) : each(began, fail(good.error()));
  };
  for (;;) {
    GH_TRY(const auto row, rows.next());
    if (!row) return give();
    const std::string device = place < row->size() ? (*row)[place] : std::string();
    if (began == 0 || device.empty() || device != member_text(record, "device")) {
      GH_CHECK(give());
      record = json::object();
      began = rows.line();
      good = {};
    }
    if (good) good = put_row(record, *header, *row);
    if (good && device.empty()) good = wrong_row("a row without a device");
  }
}

Result<void> append_csv(std::string& out, const json::object& record) {
  if (out.empty()) append_csv_row(out, std::vector<std::string>(std::begin(columns), std::end(columns)));
  if (out == " ") out.clear();
  std::string identities;
  if (const json::value* const list = record.if_contains("identities"); list && list->is_array())
    for (const json::value& one : list->get_array()) {
      const std::string name(one.get_string());
      if (name.find(';') != std::string::npos)
        return wrong_row("an identity with a semicolon has no place in CSV: export JSON lines", member_text(record, "device"));
      identities += (identities.empty() ? "" : ";") + name;
    }
  const auto add = [&](const std::string& ak, const std::string& key_state) {
    const std::vector<std::string> row{member_text(record, "device"), member_text(record, "product"), member_text(record, "model"), member_text(record, "state"),
                                       {}, identities, ak, key_state};
    append_csv_row(out, row);
  };
  const json::value* const keys = record.if_contains("keys");
  if (keys == nullptr || !keys->is_array() || keys->get_array().empty()) {
    add({}, {});
    return {};
  }
  for (const json::value& one : keys->get_array()) {
    const json::object& key = one.get_object();
    std::string ak = member_text(key, "key_id");
    if (const std::string pem = member_text(key, "ak"); !pem.empty()) {
      GH_TRY(const PublicKey known, PublicKey::from_pem(pem));
      ak = to_base64(known.spki());
    }
    add(ak, member_text(key, "state"));
  }
  return {};
}

void add_device_life(CLI::App& group, CLI::App& baseline, Run& run) {
  const auto options = std::make_shared<LifeOptions>();
  const auto command = [&](CLI::App& parent, const char* name, const char* what, std::function<int(const LifeOptions&)> body, const char* example) {
    CLI::App* const out = parent.add_subcommand(name, what);
    options->where.add_to(*out);
    out->footer(std::string("Example:\n  ") + example);
    out->callback([options, &run, body = std::move(body)] { run = [options, body] { return body(*options); }; });
    return out;
  };
  const auto changing = [&](CLI::App* to) {
    to->add_option("DEVICE", options->device, "Device ID")->required();
    options->author.add_to(*to);
    return to;
  };
  changing(command(group, "suspend", "Keep a device out for a time: it is isolated and asked for nothing", [](const LifeOptions& o) { return run_state(o, "suspended"); },
                   "gatehouse device suspend 8a1b… --why \"reported lost\" --state state"));
  changing(command(group, "resume", "Trust a suspended device again, with the keys it had", [](const LifeOptions& o) { return run_state(o, "trusted"); },
                   "gatehouse device resume 8a1b… --why \"found again\" --state state"));
  changing(command(group, "retire", "A device is gone for good: its keys are revoked, its record stays", [](const LifeOptions& o) { return run_state(o, "retired"); },
                   "gatehouse device retire 8a1b… --why \"sold\" --state state"));
  CLI::App* const set = changing(command(group, "set", "Change product, model or identities of a device", run_set,
                                         "gatehouse device set 8a1b… --model \"ThinkPad T14 Gen 3\" --state state"));
  set->add_option("--product", options->product, "product that its references are under");
  set->add_option("--model", options->model, "group of devices that get the same firmware; none: of no group");
  set->add_option("--identity", options->identities, "authenticated identities that it is bound to, in place of those it had (repeatable)")->take_all();
  set->add_flag("--any-identity", options->any_identity, "bind it to none");
  CLI::App* const history = command(group, "history", "Who changed a device, when and why, newest first; also of one that was removed", run_history,
                                    "gatehouse device history 8a1b… --state state");
  history->add_option("DEVICE", options->device, "Device ID")->required();
  history->add_option("--last", options->last, "so many")->check(CLI::Range(1, 1000));
  CLI::App* const overdue = command(group, "overdue", "Trusted devices whose last verdict's lease is over, or that never attested", run_overdue,
                                    "gatehouse device overdue --config gatehouse.toml");
  overdue->add_option("--lease", options->lease, "how long a verdict holds, such as 12h; default: policy.lease_seconds of --config, else 24h");
  CLI::App* const exported = command(group, "export", "All enrolled devices as `device import` reads them, on standard output", run_device_export,
                                     "gatehouse device export --format csv --state state");
  exported->add_option("--format", options->format, "jsonl: all of it; csv: without baselines and key attributes")->check(CLI::IsMember({"jsonl", "csv"}));

  CLI::App* const announce = changing(command(baseline, "announce", "Announce what an update changed on one device to its model: until then it raises no alarm", run_announce,
                                              "gatehouse device baseline announce 8a1b… --until 2026-12-01 --why \"BIOS 1.42\" --state state"));
  announce->add_option("--until", options->until, "end (UTC; a date is its beginning)")->required();
  unsigned_only(announce->add_option("--number", options->number, "by this baseline; default: the newest proposed one"));
  CLI::App* const announcements = command(baseline, "announcements", "What was announced", run_announcements, "gatehouse device baseline announcements --state state");
  announcements->add_option("--model", options->model, "of this model");
  CLI::App* const withdraw = command(baseline, "withdraw", "Take an announcement back; what was approved by it stays", run_withdraw,
                                     "gatehouse device baseline withdraw \"ThinkPad T14 Gen 3\" 1 --state state");
  withdraw->add_option("MODEL", options->model, "model")->required();
  unsigned_only(withdraw->add_option("NUMBER", options->number, "number of the announcement")->required());
}

}  // namespace gatehouse::cli
