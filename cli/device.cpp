#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <vector>

#include "base/file.h"
#include "base/hex.h"
#include "base/public_key.h"
#include "cli/commands.h"
#include "cli/device_life.h"
#include "cli/state_access.h"
#include "refdb/ingest/decoders.h"
#include "refdb/ingest/input.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::cli {
namespace {

namespace json = boost::json;

struct DeviceOptions {
  StateOptionsOfCommand where;
  AuthorOptions author;
  std::string device, ak, product, model, key, file, at;
  std::vector<std::string> identities;
  bool trust = false, replace = false, model_too = false, history = false, no_sandbox = false;
  std::optional<std::uint64_t> number;
};

void print_keys(const json::object& device) {
  const json::value* const keys = device.if_contains("keys");
  if (keys == nullptr || !keys->is_array()) return;
  for (const json::value& one : keys->get_array())
    if (const json::object* const key = one.if_object())
      std::cout << "  AK " << shown(*key, "state") << ", key id " << shown(*key, "key_id") << ", SHA-256 "
                << (shown(*key, "pin") == "-" ? "pinned at first use" : shown(*key, "pin")) << ", from "
                << shown(*key, "source") << ", since " << shown(*key, "since") << '\n';
}

void print_device(const json::object& device) {
  std::cout << shown(device, "device") << "  product " << shown(device, "product") << "  "
            << shown(device, "state") << " since " << shown(device, "state_since") << "  recorded " << shown(device, "created") << '\n';
  if (shown(device, "model") != "-") std::cout << "  model " << shown(device, "model") << '\n';
  if (const json::value* const identities = device.if_contains("identities"); identities && identities->is_array())
    for (const json::value& one : identities->get_array())
      if (one.is_string()) std::cout << "  identity " << std::string_view(one.get_string()) << '\n';
  print_keys(device);
}

void print_baseline(const json::object& baseline) {
  std::cout << "baseline " << shown(baseline, "number") << "  " << shown(baseline, "state") << "  "
            << shown(baseline, "bank") << "  " << shown(baseline, "events") << " events  from "
            << (shown(baseline, "session") == "-" ? "import" : "session " + shown(baseline, "session")) << "  since "
            << shown(baseline, "since") << '\n';
}

json::object about(const DeviceOptions& options, std::string_view command) {
  json::object request;
  request["command"] = command;
  request["device"] = options.device;
  return request;
}

// A PEM public key or certificate, or a TPM2B_PUBLIC, whose attributes are recorded with the key.
Result<void> put_key(json::object& request, const std::string& file) {
  GH_TRY(const ByteVector content, read_file(file, 1 << 20));
  if (as_text(content).find("-----BEGIN") != std::string_view::npos) {
    auto key = PublicKey::from_pem(as_text(content));
    if (!key) return fail(std::move(key).error().from(file));
    request["ak"] = key->pem();
    return {};
  }
  if (auto certificate = PublicKey::from_certificate(content)) {
    request["ak"] = certificate->pem();
    return {};
  }
  auto area = tpm::parse_public(content);
  if (!area) return fail(std::move(area).error().from(file));
  request["ak"] = area->key.pem();
  request["object_attributes"] = area->attributes;
  if (const auto algorithm = hash_algorithm(area->name_algorithm)) request["name_algorithm"] = name(*algorithm);
  return {};
}

int run_device_add(const DeviceOptions& options) {
  json::object request = about(options, "device.add");
  if (!options.ak.empty()) {
    if (const auto put = put_key(request, options.ak); !put) return complain(put.error());
  }
  if (!options.product.empty()) request["product"] = options.product;
  if (!options.identities.empty())
    request["identities"] = json::array(options.identities.begin(), options.identities.end());
  // Without a key the operator names the key by its id, and says so by adding it.
  request["trust"] = options.trust || options.ak.empty();
  if (!options.model.empty()) request["model"] = options.model;
  options.author.put(request);
  return run_one(options.where, true, request, print_device);
}

int run_trust(const DeviceOptions& options) {
  json::object request = about(options, "device.trust");
  if (!options.key.empty()) request["key"] = options.key;
  options.author.put(request);
  return run_one(options.where, false, request, [&](const json::object& done) {
    const json::value* const key = done.if_contains("key");
    if (key && key->is_object())
      std::cout << options.device << ": AK " << shown(key->get_object(), "key_id") << " is trusted (SHA-256 "
                << shown(key->get_object(), "pin") << ")\n";
  });
}

int run_reassess(const DeviceOptions& options) {
  return run_one(options.where, false, about(options, "device.reassess"), [](const json::object& done) {
    std::cout << shown(done, "device") << ": " << shown(done, "asked") << " endpoint asked for another assessment\n";
  });
}

int run_revoke(const DeviceOptions& options) {
  json::object request = about(options, "device.revoke");
  if (!options.key.empty()) request["key"] = options.key;
  options.author.put(request);
  return run_one(options.where, false, request, [&](const json::object& done) {
    std::cout << options.device << ": " << shown(done, "revoked") << " AK revoked\n";
  });
}

int run_device_remove(const DeviceOptions& options) {
  json::object request = about(options, "device.remove");
  options.author.put(request);
  return run_one(options.where, false, request, [&](const json::object& done) {
    std::cout << shown(done, "removed") << " removed; its sessions stay\n";
  });
}

int run_device_show(const DeviceOptions& options) {
  return run_one(options.where, false, about(options, "device.show"), [](const json::object& device) {
    print_device(device);
    if (const json::value* const baselines = device.if_contains("baselines"); baselines && baselines->is_array())
      for (const json::value& one : baselines->get_array())
        if (one.is_object()) std::cout << "  ", print_baseline(one.get_object());
    const json::value* const last = device.if_contains("attested");
    if (last && last->is_object())
      std::cout << "  attested " << shown(last->get_object(), "time") << ": " << shown(last->get_object(), "recommendation") << " in session "
                << shown(last->get_object(), "session") << '\n';
    std::cout << "  changes " << shown(device, "changes") << '\n';
    if (const json::value* const ek = device.if_contains("endorsement"); ek && ek->is_object()) {
      const json::object& of = ek->get_object();
      std::cout << "  EK " << shown(of, "pin") << (shown(of, "certificate") == "-" ? "  named by the operator" : "  certified by " + shown(of, "issuer"))
                << (shown(of, "manufacturer") == "-" ? std::string() : "  TPM " + shown(of, "manufacturer") + " " + shown(of, "model"))
                << "  since " << shown(of, "since") << '\n';
    }
    print_history(device);
  });
}

// Imported records, sent in requests of at most 500 and about 1 MiB.
class DeviceImport {
 public:
  // What says in the report where a record came from: {"line", 17} or {"device", "8a1b…"}.
  using Origin = std::pair<std::string_view, json::value>;
  DeviceImport(server::StateAccess& access, const AuthorOptions& author) : access_(access), author_(author) {}

  Result<void> line(std::size_t number, const std::string& text) {
    boost::system::error_code code;
    json::value record = json::parse(text, code);
    if (code) {
      refuse({"line", number}, "not JSON: " + code.message());
      return {};
    }
    return add({"line", number}, std::move(record), text.size());
  }
  // `bytes`: what it has as text, roughly.
  Result<void> add(Origin origin, json::value record, std::size_t bytes) {
    records_.push_back(std::move(record));
    origins_.push_back(std::move(origin));
    bytes_ += bytes;
    if (records_.size() < 500 && bytes_ < (std::size_t(1) << 20)) return {};
    return send();
  }
  Result<void> send() {
    if (records_.empty()) return {};
    json::object request;
    request["command"] = "device.import";
    request["records"] = std::move(records_);
    author_.put(request);
    GH_TRY(const json::object response, ask(access_, request));
    const json::value* const results = response.if_contains("results");
    if (results == nullptr || !results->is_array() || results->get_array().size() != origins_.size())
      return fail(Fault::internal, "an import has a result for each record", "docs/formats/control.md");
    for (std::size_t i = 0; i < origins_.size(); ++i) {
      const json::object* const error = results->get_array()[i].if_object();
      if (error == nullptr) {
        ++imported;
        continue;
      }
      const std::string detail = shown(*error, "detail");
      refuse(std::move(origins_[i]), shown(*error, "reason") + (detail == "-" ? "" : ": " + detail));
    }
    records_ = json::array();
    origins_.clear();
    bytes_ = 0;
    return {};
  }
  void refuse(Origin origin, const std::string& reason) {
    json::object one;
    one[origin.first] = std::move(origin.second);
    one["reason"] = reason;
    failed.push_back(std::move(one));
  }

  std::uint64_t imported = 0;
  json::array failed;

 private:
  server::StateAccess& access_;
  const AuthorOptions& author_;
  json::array records_;
  std::vector<Origin> origins_;
  std::size_t bytes_ = 0;
};

// What became of it; more of it in `out`. Exit code 3 where something failed.
int report_import(const DeviceOptions& options, DeviceImport& import, json::object out, const std::string& line) {
  for (const json::value& value : import.failed) {
    const json::object& one = value.get_object();
    std::cerr << "gatehouse: " << escaped(options.file)
              << (one.if_contains("line") ? ":" + shown(one, "line") : ": device " + shown(one, "device")) << ": "
              << shown(one, "reason") << '\n';
  }
  const bool good = import.failed.empty();
  if (options.where.json) {
    out["failed"] = std::move(import.failed);
    std::cout << json::serialize(out) << '\n';
  } else {
    std::cout << line << '\n';
  }
  if (const int code = flushed(); code != 0) return code;
  return good ? 0 : 3;
}

json::object record_of(const refdb::StrongTncBaseline& baseline, std::size_t& bytes) {
  json::object pcrs;
  for (const auto& [pcr, digests] : baseline.pcrs) {
    json::array list;
    for (const Digest& digest : digests) list.emplace_back(digest.hex());
    bytes += list.size() * (2 * digest_size(baseline.bank) + 3);
    pcrs[std::to_string(pcr)] = std::move(list);
  }
  return {{"device", baseline.device}, {"baseline", {{"bank", name(baseline.bank)}, {"pcrs", std::move(pcrs)}}}};
}

// Trusted by its Device ID, which is all that such a database has of a key.
bool is_key_id(std::string_view id) {
  return id.size() == 40 && std::ranges::all_of(id, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Of a database that is damaged somewhere nothing is imported.
int run_import_strongtnc(const DeviceOptions& options, const std::string& path) {
  const auto listing = refdb::read_strongtnc(path, !options.no_sandbox);
  if (!listing) return complain(listing.error());
  const refdb::StrongTncDevices& found = listing->counts;
  auto access = options.where.open(true);
  if (!access) return complain(access.error());
  DeviceImport import(*access, options.author);
  std::uint64_t trusted = 0;
  std::vector<std::string> keyless;
  const auto on_device = [&](const refdb::StrongTncDevice& device) -> Result<void> {
    json::object record{{"device", device.id}};
    if (!device.product.empty()) record["product"] = device.product;
    if (device.trusted && is_key_id(device.id)) {
      record["trust"] = true;
      ++trusted;
    } else if (device.trusted) {
      keyless.push_back(device.id);
    }
    return import.add({"device", json::string(device.id)}, std::move(record), device.id.size() + device.product.size() + 50);
  };
  const auto on_baseline = [&](const refdb::StrongTncBaseline& baseline) -> Result<void> {
    std::size_t bytes = baseline.device.size() + 50;
    json::object record = record_of(baseline, bytes);
    return import.add({"device", json::string(baseline.device)}, std::move(record), bytes);
  };
  for (const refdb::StrongTncDevice& device : listing->devices)
    if (const auto added = on_device(device); !added) return complain(added.error());
  for (const refdb::StrongTncBaseline& baseline : listing->baselines)
    if (const auto added = on_baseline(baseline); !added) return complain(added.error());
  if (const auto sent = import.send(); !sent) return complain(sent.error());
  for (const auto& [device, why] : found.refused) import.refuse({"device", json::string(device)}, "no baseline: " + why);
  const auto note = [&](std::uint64_t count, const char* what) {
    if (count != 0) std::cerr << "gatehouse: " << escaped(options.file) << ": left out: " << count << ' ' << what << '\n';
  };
  note(found.inactive, "inactive devices");
  note(found.other_products, "older rows of devices that had another product");
  note(found.components, "digests of other components than the firmware");
  note(found.sha1, "firmware digests in SHA-1");
  note(found.dangling, "firmware digests of devices that aren't taken");
  for (const std::string& id : keyless)
    std::cerr << "gatehouse: " << escaped(options.file) << ": " << escaped(id)
              << ": trusted there, but its Device ID names no AK: give it with `device add --ak`, or `device trust` it "
                 "once it has come\n";
  json::object out{{"imported", import.imported},
                   {"devices", found.devices},
                   {"trusted", trusted},
                   {"baselines", found.baselines},
                   {"left_out",
                    {{"inactive", found.inactive},
                     {"older_rows", found.other_products},
                     {"other_components", found.components},
                     {"sha1", found.sha1},
                     {"of_no_device", found.dangling},
                     {"trust_without_ak", keyless.size()}}}};
  return report_import(options, import, std::move(out),
                       std::to_string(found.devices) + " devices (" + std::to_string(trusted) + " trusted) and " +
                           std::to_string(found.baselines) + " firmware baselines read, " +
                           std::to_string(import.imported) + " records imported");
}

int run_import_csv(const DeviceOptions& options) {
  const auto text = read_file(options.file, std::size_t(1) << 30);
  if (!text) return complain(text.error());
  auto access = options.where.open(true);
  if (!access) return complain(access.error());
  DeviceImport import(*access, options.author);
  const auto read = csv_records(std::string(as_text(*text)), [&](std::size_t line, Result<json::object> record) -> Result<void> {
    if (record) {
      const std::size_t bytes = json::serialize(*record).size();
      return import.add({"line", line}, *std::move(record), bytes);
    }
    import.refuse({"line", line}, std::string(record.error().reason) + (record.error().detail.empty() ? "" : ": " + record.error().detail));
    return {};
  });
  // What came before a place that can't be read is imported.
  if (const auto sent = import.send(); !sent) return complain(sent.error());
  if (!read) return complain(Error(read.error()).from(options.file));
  json::object out{{"imported", import.imported}};
  return report_import(options, import, std::move(out), std::to_string(import.imported) + " devices imported");
}

int run_device_import(const DeviceOptions& options) {
  constexpr std::string_view strongtnc = "strongtnc:";
  if (options.file.starts_with(strongtnc)) return run_import_strongtnc(options, options.file.substr(strongtnc.size()));
  if (options.file.ends_with(".csv")) return run_import_csv(options);
  std::ifstream file(options.file);
  if (!file) return complain(fail_errno("can't open", options.file).error());
  auto access = options.where.open(true);
  if (!access) return complain(access.error());
  DeviceImport import(*access, options.author);
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (const auto sent = import.line(number, line); !sent) return complain(sent.error());
  }
  if (file.bad()) return complain(fail_errno("can't read", options.file).error());
  if (const auto sent = import.send(); !sent) return complain(sent.error());
  json::object out{{"imported", import.imported}};
  return report_import(options, import, std::move(out), std::to_string(import.imported) + " devices imported");
}

int run_approve(const DeviceOptions& options) {
  json::object request = about(options, "baseline.approve");
  if (options.number) request["number"] = *options.number;
  request["replace"] = options.replace;
  if (options.model_too) request["model"] = true;
  options.author.put(request);
  return run_one(options.where, false, request, [](const json::object& baseline) {
    print_baseline(baseline);
    const auto each = [&](const char* member, const auto& print) {
      const json::value* const list = baseline.if_contains(member);
      if (list == nullptr || !list->is_array()) return;
      for (const json::value& one : list->get_array())
        if (one.is_object()) print(one.get_object());
    };
    each("others", [](const json::object& one) { std::cout << "the same of " << shown(one, "device") << ": baseline " << shown(one, "number") << '\n'; });
    each("left", [](const json::object& one) { std::cout << "left: " << shown(one, "device") << ": " << shown(one, "reason") << '\n'; });
  });
}

int run_device_diff(const DeviceOptions& options) {
  json::object request = about(options, "baseline.diff");
  if (options.number) request["number"] = *options.number;
  auto access = options.where.open(false);
  if (!access) return complain(access.error());
  auto response = ask(*access, request);
  if (!response) return complain(response.error());
  json::value* const item = response->if_contains("item");
  if (item == nullptr || !item->is_object()) return complain(Error{Fault::internal, "a diff has an item", "docs/formats/control.md", 0, {}, {}});
  json::object& diff = item->get_object();
  describe_differences(*access, diff);
  if (options.where.json) {
    std::cout << json::serialize(diff) << '\n';
    return flushed();
  }
  std::cout << "baseline " << shown(diff, "number") << " against " << shown(diff, "against") << " (" << shown(diff, "bank") << ")\n";
  if (const json::value* const words = diff.if_contains("summary"); words && words->is_array())
    for (const json::value& line : words->get_array())
      if (line.is_string()) std::cout << std::string_view(line.get_string()) << '\n';
  const json::value* const list = diff.if_contains("differences");
  if (list == nullptr || !list->is_array()) return flushed();
  if (list->get_array().empty()) std::cout << "no difference\n";
  for (const json::value& value : list->get_array())
    if (const json::object* const one = value.if_object()) {
      std::cout << "PCR " << shown(*one, "pcr") << " event " << shown(*one, "event") << ' ' << shown(*one, "what");
      if (shown(*one, "said") != "-") std::cout << ": " << shown(*one, "said");
      std::cout << "\n  approved " << shown(*one, "approved") << "\n  measured " << shown(*one, "measured") << '\n';
    }
  return flushed();
}

// --- software

bool set(const json::object& object, std::string_view member) {
  const json::value* const value = object.if_contains(member);
  return value && value->is_bool() && value->get_bool();
}

void print_software(const json::object& one) {
  std::cout << shown(one, "software_id") << "  source " << shown(one, "source") << "  first seen "
            << shown(one, "first_seen") << "  last seen " << shown(one, "last_seen");
  if (shown(one, "until") != "-") std::cout << "  until " << shown(one, "until");
  std::cout << "  locator " << shown(one, "locator") << '\n';
}

void print_history(const json::object& one) {
  const std::string kind = shown(one, "kind");
  if (kind == "event") {
    std::cout << "  EID " << shown(one, "eid") << "  " << shown(one, "time") << "  " << shown(one, "action") << "  "
              << shown(one, "software_id") << "  source " << shown(one, "source") << '\n';
  } else if (kind == "removal") {
    std::cout << "  gone  " << shown(one, "until") << "  last seen " << shown(one, "last_seen") << "  "
              << shown(one, "software_id") << "  source " << shown(one, "source") << '\n';
  } else {
    std::cout << shown(one, "time") << "  session " << shown(one, "session") << "  "
              << (set(one, "inventory") ? "inventory" : "events") << "  epoch " << shown(one, "epoch") << "  last EID "
              << shown(one, "last_eid") << "  " << shown(one, "added") << " added, " << shown(one, "removed")
              << " removed, " << shown(one, "altered") << " altered" << (set(one, "first") ? ", the first" : "")
              << (set(one, "epoch_changed") ? ", another epoch" : "")
              << (set(one, "rolled_back") ? ", the endpoint's log went back" : "");
    if (shown(one, "inconsistent") != "0")
      std::cout << ", " << shown(one, "inconsistent") << " events contradict what was told before";
    if (shown(one, "not_kept") != "0") std::cout << ", " << shown(one, "not_kept") << " not kept";
    std::cout << '\n';
  }
}

int run_software(const DeviceOptions& options) {
  if (options.history && !options.at.empty())
    return complain(Error{Fault::usage, "--history and --at exclude each other", {}, 0, {}, {}});
  json::object request = about(options, options.history ? "device.software.history" : "device.software");
  if (!options.at.empty()) request["at"] = options.at;
  bool any = false;
  const int code = run_list(options.where, request, "from", [&](const json::object& one) {
    if (!any) std::cout << "What the endpoint claims; no quote covers it.\n";
    any = true;
    options.history ? print_history(one) : print_software(one);
  });
  if (code == 0 && !any && !options.where.json)
    std::cout << options.device << (options.at.empty() ? " has told of no software\n" : " had told of no software\n");
  return code == 0 ? flushed() : code;
}

}  // namespace

void add_device(CLI::App& app, Run& run) {
  const auto options = std::make_shared<DeviceOptions>();
  CLI::App* const group = app.add_subcommand("device", "Devices, their attestation keys and firmware baselines");
  group->require_subcommand(1);
  group->footer("Example:\n  gatehouse device add 8a1b… --ak ak.pem --product \"Debian 12 x86_64\" --trust --state state");
  const auto command = [&](CLI::App* parent, const char* name, const char* what, int (*body)(const DeviceOptions&),
                           const char* example) {
    CLI::App* const out = parent->add_subcommand(name, what);
    options->where.add_to(*out);
    out->footer(std::string("Example:\n  ") + example);
    out->callback([options, &run, body] { run = [options, body] { return body(*options); }; });
    return out;
  };
  const auto device = [&](CLI::App* to) {
    to->add_option("DEVICE", options->device, "Device ID; for strongSwan's collectors the AK's SHA-1 key id")->required();
    return to;
  };

  command(group, "list", "All devices, in order of their ids", [](const DeviceOptions& o) {
    json::object request;
    request["command"] = "device.list";
    return run_list(o.where, request, "after", print_device);
  }, "gatehouse device list --state state --json");
  device(command(group, "show", "One device with its keys and baselines", run_device_show,
                 "gatehouse device show 8a1b… --state state"));
  auto* const add = device(command(group, "add", "Enrol a device, or change what is recorded of it", run_device_add,
                                   "gatehouse device add 8a1b… --ak ak.pem --product \"Debian 12 x86_64\" --trust --state state"));
  add->add_option("--ak", options->ak,
                  "PEM public key, certificate or TPM2B_PUBLIC; without it the key whose SHA-1 key id is DEVICE is trusted, "
                  "and pinned by its SHA-256 at first use");
  options->author.add_to(*add);
  add->add_option("--model", options->model, "group of devices that get the same firmware");
  add->add_option("--product", options->product, "product that its references are under");
  add->add_option("--identity", options->identities, "authenticated identity that it is bound to (repeatable)")->take_all();
  add->add_flag("--trust", options->trust, "trust the key; without, it waits for `device trust`");
  auto* const import = command(group, "import", "Enrol devices from JSON lines or CSV (docs/formats/control.md), or from strongTNC's database", run_device_import,
                               "gatehouse device import devices.jsonl --state state");
  import->add_option("FILE", options->file,
                     "a JSON object a line: device, ak, product, trust, baseline; FILE.csv, whose first row names the same; or strongtnc:FILE, its SQLite database: "
                     "devices with product, trust and firmware baselines")
      ->required();
  options->author.add_to(*import);
  import->add_flag("--no-sandbox", options->no_sandbox,
                   "strongtnc: read the database in this process, where others can't be confined");
  auto* const trust = device(command(group, "trust", "Trust the AK that waits for it", run_trust,
                                     "gatehouse device trust 8a1b… --state state"));
  options->author.add_to(*trust);
  trust->add_option("--key", options->key, "key id or SHA-256, where several wait or the key was revoked");
  auto* const revoke = device(command(group, "revoke", "Revoke a device with all its keys, or one key", run_revoke,
                                      "gatehouse device revoke 8a1b… --state state"));
  options->author.add_to(*revoke);
  revoke->add_option("--key", options->key, "key id or SHA-256 of one key; all without it");
  device(command(group, "reassess", "Ask a connected gatehouse-endpoint for another assessment", run_reassess,
                 "gatehouse device reassess 8a1b… --config gatehouse.toml"));
  options->author.add_to(*device(command(group, "remove", "Forget a device; a revoked key stays revoked, its history is kept", run_device_remove,
                                         "gatehouse device remove 8a1b… --state state")));

  auto* const software =
      device(command(group, "software", "The software that the endpoint claims to have installed", run_software,
                     "gatehouse device software 8a1b… --at 2026-11-24T12:00:00Z --state state"));
  software->add_option("--at", options->at, "what was installed at this time (UTC; a date is its beginning)");
  software->add_flag("--history", options->history, "what each session changed, newest first");

  CLI::App* const baseline = group->add_subcommand("baseline", "Firmware baselines of a device");
  baseline->require_subcommand(1);
  baseline->footer("Example:\n  gatehouse device baseline approve 8a1b… --state state");
  device(command(baseline, "list", "Proposed, approved and retired baselines", [](const DeviceOptions& o) {
    return run_list(o.where, about(o, "baseline.list"), "after", print_baseline);
  }, "gatehouse device baseline list 8a1b… --state state"));
  auto* const approve = device(command(baseline, "approve", "Approve the newest proposed baseline", run_approve,
                                       "gatehouse device baseline approve 8a1b… --state state"));
  unsigned_only(approve->add_option("--number", options->number, "approve this one"));
  options->author.add_to(*approve);
  approve->add_flag("--model", options->model_too, "and for each device of its model whose firmware changed in the same way");
  approve->add_flag("--replace", options->replace, "retire the approved ones of its bank");
  auto* const diff = device(command(baseline, "diff", "What the newest proposed baseline changes", run_device_diff,
                                    "gatehouse device baseline diff 8a1b… --state state"));
  unsigned_only(diff->add_option("--number", options->number, "this one"));
  add_device_life(*group, *baseline, run);
  add_device_enrol(*group, run);
}

}  // namespace gatehouse::cli
