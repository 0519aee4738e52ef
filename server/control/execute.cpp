// Requests of docs/formats/control.md, executed on the store: offline and behind the socket alike.
#include <boost/json.hpp>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <mutex>
#include <set>

#include "base/base64.h"
#include "base/hex.h"
#include "server/control/control.h"
#include "server/control/live_requests.h"
#include "server/control/policies.h"
#include "server/control/request.h"
#include "server/results/record.h"

namespace gatehouse::server {
namespace json = boost::json;
using namespace request;

namespace request {

std::unexpected<Error> bad(std::string_view reason, std::string_view member) {
  return fail(Error{Fault::usage, reason, document, 0, {}, std::string(member)});
}

// --- members of a request; an absent one and null are the same

Result<void> only(const json::object& request, std::initializer_list<std::string_view> members) {
  for (const auto& member : request) {
    const std::string_view key(member.key().data(), member.key().size());
    if (std::find(members.begin(), members.end(), key) == members.end())
      return bad("unknown member", escaped(key, 64));
  }
  return {};
}

const json::value* member(const json::object& request, std::string_view name) {
  const json::value* const value = request.if_contains(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<std::string>> text(const json::object& request, std::string_view name) {
  const json::value* const value = member(request, name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return bad("not a string", name);
  return std::string(value->get_string());
}

Result<std::string> needed_text(const json::object& request, std::string_view name) {
  GH_TRY(auto value, text(request, name));
  if (!value) return bad("missing member", name);
  return *std::move(value);
}

Result<std::optional<std::uint64_t>> number(const json::object& request, std::string_view name, std::uint64_t most) {
  const json::value* const value = member(request, name);
  if (value == nullptr) return std::nullopt;
  boost::system::error_code code;
  const auto n = value->to_number<std::uint64_t>(code);
  if (code || n > most) return bad("not a number in range", name);
  return n;
}

Result<bool> flag(const json::object& request, std::string_view name) {
  const json::value* const value = member(request, name);
  if (value == nullptr) return false;
  if (!value->is_bool()) return bad("neither true nor false", name);
  return value->get_bool();
}

Result<std::optional<std::int64_t>> time_member(const json::object& request, std::string_view name) {
  GH_TRY(const auto value, text(request, name));
  if (!value) return std::nullopt;
  std::tm utc{};
  const char* const rest = ::strptime(value->c_str(), "%Y-%m-%d", &utc);
  if (rest == nullptr) return bad("not a time such as 2026-11-24T16:31:05Z", name);
  std::int64_t millis = 0;
  if (std::string_view tail(rest); !tail.empty()) {
    const char* const end = ::strptime(rest, "T%H:%M:%S", &utc);
    if (end == nullptr) return bad("not a time such as 2026-11-24T16:31:05Z", name);
    tail = end;
    if (tail.size() == 5 && tail[0] == '.' &&
        std::all_of(tail.begin() + 1, tail.end() - 1, [](char c) { return c >= '0' && c <= '9'; })) {
      millis = std::stol(std::string(tail.substr(1, 3)));
      tail.remove_prefix(4);
    }
    if (tail != "Z") return bad("not a time such as 2026-11-24T16:31:05Z", name);
  }
  return std::int64_t(::timegm(&utc)) * 1000 + millis;
}

Result<Author> author(const json::object& request) {
  Author out;
  GH_TRY(const auto by, text(request, "by"));
  GH_TRY(const auto why, text(request, "why"));
  GH_TRY(out.expected, number(request, "expect", UINT64_MAX));
  out.by = by.value_or("");
  out.why = why.value_or("");
  return out;
}

json::object to_object(const DeviceKey& key) {
  json::object out;
  out["state"] = name(key.state);
  out["key_id"] = key.key_id;
  out["pin"] = text_or_null(key.pin);
  out["source"] = name(key.source);
  out["since"] = time_value(key.since);
  return out;
}

json::object to_object(const Device& device) {
  json::object out;
  out["device"] = device.id;
  out["product"] = text_or_null(device.product);
  out["enrolled"] = device.enrolled;
  out["state"] = name(device.state);
  out["state_since"] = time_value(device.state_since);
  out["trusted"] = device.state == DeviceState::trusted &&
                   std::any_of(device.keys.begin(), device.keys.end(),
                               [](const DeviceKey& key) { return key.state == KeyState::trusted; });
  out["model"] = text_or_null(device.model);
  out["changes"] = device.changes;
  json::array identities;
  for (const std::string& identity : device.identities) identities.emplace_back(escaped(identity, 1024));
  out["identities"] = std::move(identities);
  json::array keys;
  for (const DeviceKey& key : device.keys) keys.push_back(to_object(key));
  out["keys"] = std::move(keys);
  out["created"] = time_value(device.created);
  return out;
}

json::object to_object(const StoredBaseline& stored) {
  json::object out;
  out["number"] = stored.number;
  out["state"] = name(stored.state);
  out["bank"] = name(stored.baseline.bank);
  out["session"] = text_or_null(stored.session);
  out["since"] = time_value(stored.since);
  std::size_t events = 0;
  json::object pcrs;
  for (const auto& [pcr, digests] : stored.baseline.events) {
    json::array list;
    for (const Digest& digest : digests) list.emplace_back(digest.hex());
    events += digests.size();
    pcrs[std::to_string(pcr)] = std::move(list);
  }
  out["events"] = events;
  out["pcrs"] = std::move(pcrs);
  return out;
}

json::object item(json::object value) {
  json::object out;
  out["item"] = std::move(value);
  return out;
}

std::unexpected<Error> no_device(const std::string& device) {
  return fail(Error{Fault::denied, "no such device", {}, 0, escaped(device, 256), {}});
}

}  // namespace request

namespace {

// --- values of a response

using request::to_object;

json::object to_object(const Error& error) {
  json::object out;
  out["fault"] = name(error.fault);
  out["reason"] = error.reason;
  if (!error.spec.empty()) out["spec"] = error.spec;
  if (!error.source.empty()) out["source"] = escaped(error.source);
  if (!error.detail.empty()) out["detail"] = escaped(error.detail);
  return out;
}

// With what is kept besides the record.
Result<json::object> session_object(State& state, const SessionRecord& record) {
  json::object out = record_object(record);
  json::object& more = out["record"].as_object();
  GH_TRY(const bool kept, state.has_evidence(record.intent.session));
  more["evidence"] = kept;
  GH_TRY(const auto shadow, state.shadow(record.intent.session));
  if (shadow) {
    boost::system::error_code code;
    json::value said = json::parse(*shadow, code);
    if (!code) more["shadow"] = std::move(said);
  }
  return out;
}

// --- what an operator says about a device

Result<pipeline::Baseline> parse_baseline(const json::value& value) {
  const json::object* const object = value.if_object();
  if (object == nullptr) return bad("not an object", "baseline");
  GH_CHECK(only(*object, {"bank", "pcrs", "number", "state", "session", "since", "events"}));
  GH_TRY(const std::string bank, needed_text(*object, "bank"));
  const auto algorithm = hash_algorithm(bank);
  if (!algorithm) return bad("unknown bank", "baseline.bank");
  const json::value* const pcrs = member(*object, "pcrs");
  if (pcrs == nullptr || !pcrs->is_object()) return bad("not an object", "baseline.pcrs");
  pipeline::Baseline out{.bank = *algorithm, .events = {}};
  std::map<std::uint32_t, std::vector<Digest>> ordered;
  std::size_t events = 0;
  for (const auto& entry : pcrs->get_object()) {
    const std::string_view key(entry.key().data(), entry.key().size());
    const bool digits = !key.empty() && key.size() <= 2 &&
                        std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || std::stoul(std::string(key)) > 23) return bad("not a PCR from 0 to 23", "baseline.pcrs");
    const json::array* const list = entry.value().if_array();
    if (list == nullptr) return bad("not an array of digests", "baseline.pcrs");
    std::vector<Digest>& digests = ordered[std::uint32_t(std::stoul(std::string(key)))];
    if (!digests.empty()) return bad("PCR named twice", "baseline.pcrs");
    for (const json::value& one : *list) {
      const auto raw = one.is_string() ? from_hex(one.get_string()) : Result<ByteVector>(ByteVector());
      if (!raw || raw->size() != digest_size(*algorithm)) return bad("not a digest of the bank", "baseline.pcrs");
      if (++events > 65'536) return bad("more than 65,536 events", "baseline.pcrs");
      digests.emplace_back(*raw);
    }
  }
  for (auto& [pcr, digests] : ordered) out.events.emplace_back(pcr, std::move(digests));
  return out;
}

// The AK of a record, PEM; nullopt: it has none.
Result<std::optional<SeenKey>> parse_ak(const json::object& request, const std::string& device) {
  GH_TRY(const auto pem, text(request, "ak"));
  if (!pem) return std::nullopt;
  auto key = PublicKey::from_pem(*pem);
  if (!key) return fail(std::move(key).error().from(escaped(device, 256)));
  GH_TRY(const auto attributes, number(request, "object_attributes", 0xFFFFFFFF));
  GH_TRY(const auto algorithm, text(request, "name_algorithm"));
  SeenKey seen{.key = *std::move(key), .object_attributes = std::nullopt, .name_algorithm = std::nullopt};
  if (attributes) seen.object_attributes = std::uint32_t(*attributes);
  if (algorithm) {
    seen.name_algorithm = hash_algorithm(*algorithm);
    if (!seen.name_algorithm) return bad("unknown hash algorithm", "name_algorithm");
  }
  return seen;
}

Result<EnrolledKey> parse_key(const json::object& request, const std::string& device) {
  GH_CHECK(only(request, {"ak", "key_id", "state", "object_attributes", "name_algorithm"}));
  EnrolledKey out;
  GH_TRY(out.key, parse_ak(request, device));
  GH_TRY(const auto key_id, text(request, "key_id"));
  if (!out.key && !key_id) return bad("a key has an ak or a key_id", "keys");
  out.key_id = key_id.value_or("");
  GH_TRY(const auto state, text(request, "state"));
  for (const KeyState one : {KeyState::pending, KeyState::trusted, KeyState::revoked})
    if (state == name(one)) {
      out.state = one;
      return out;
    }
  if (state) return bad("not one of pending, trusted, revoked", "state");
  return out;
}

Result<Enrolment> parse_enrolment(const json::object& request, KeySource source) {
  Enrolment out;
  out.source = source;
  GH_TRY(out.device, needed_text(request, "device"));
  GH_TRY(out.product, text(request, "product"));
  GH_TRY(out.trust, flag(request, "trust"));
  GH_TRY(out.key, parse_ak(request, out.device));
  if (const json::value* const identities = member(request, "identities")) {
    const json::array* const list = identities->if_array();
    if (list == nullptr) return bad("not an array", "identities");
    for (const json::value& one : *list) {
      if (!one.is_string()) return bad("not a string", "identities");
      out.identities.emplace_back(one.get_string());
    }
  }
  if (const json::value* const baseline = member(request, "baseline")) {
    GH_TRY(out.approved_baseline, parse_baseline(*baseline));
  }
  if (const json::value* const baselines = member(request, "baselines")) {
    const json::array* const list = baselines->if_array();
    if (list == nullptr) return bad("not an array", "baselines");
    if (list->size() > 64) return bad("more than 64 baselines", "baselines");
    for (const json::value& one : *list) {
      GH_TRY(pipeline::Baseline baseline, parse_baseline(one));
      out.baselines.push_back(std::move(baseline));
    }
  }
  GH_TRY(out.model, text(request, "model"));
  GH_TRY(const auto state, text(request, "state"));
  if (state) {
    out.state = gatehouse::server::device_state(*state);
    if (!out.state) return bad("not one of pending, trusted, suspended, revoked, retired", "state");
  }
  if (const json::value* const keys = member(request, "keys")) {
    const json::array* const list = keys->if_array();
    if (list == nullptr) return bad("not an array", "keys");
    if (list->size() > 64) return bad("more than 64 AKs", "keys");
    for (const json::value& one : *list) {
      const json::object* const object = one.if_object();
      if (object == nullptr) return bad("not an object", "keys");
      GH_TRY(EnrolledKey key, parse_key(*object, out.device));
      out.keys.push_back(std::move(key));
    }
  }
  return out;
}

// --- commands

Result<json::object> device_list(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "after", "limit"}));
  GH_TRY(const auto after, text(request, "after"));
  GH_TRY(const auto limit, number(request, "limit", 10'000));
  const std::size_t most = limit ? std::max<std::size_t>(*limit, 1) : 500;
  GH_TRY(const auto devices, state.devices(after.value_or(""), most + 1));
  json::object out;
  json::array items;
  for (const Device& device : devices)
    if (items.size() < most) items.push_back(to_object(device));
  if (devices.size() > most) out["next"] = devices[most - 1].id;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> device_show(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto device, state.device(id));
  if (!device) return no_device(id);
  GH_TRY(const auto baselines, state.baselines(id));
  json::object out = to_object(*device);
  json::array list;
  for (const StoredBaseline& one : baselines) {
    json::object summary = to_object(one);
    summary.erase("pcrs");
    list.push_back(std::move(summary));
  }
  out["baselines"] = std::move(list);
  GH_TRY(const auto last, state.attested(id));
  out["attested"] = attested_value(last);
  GH_TRY(const auto ek, state.endorsement(id));
  out["endorsement"] = endorsement_value(ek);
  GH_TRY(const auto history, state.history(id, 20));
  out["history"] = history_of(history);
  return item(std::move(out));
}

Result<json::object> device_add(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "ak", "object_attributes", "name_algorithm", "product", "model", "identities", "trust", "by", "why", "expect"}));
  GH_TRY(Enrolment enrolment, parse_enrolment(request, KeySource::operator_command));
  GH_TRY(enrolment.author, author(request));
  GH_TRY(const Device device, state.enrol_blocking(std::move(enrolment)));
  return item(to_object(device));
}

Result<json::object> device_import(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "records", "by", "why"}));
  GH_TRY(const Author who, author(request));
  const json::value* const records = member(request, "records");
  if (records == nullptr || !records->is_array()) return bad("not an array", "records");
  const json::array& list = records->get_array();
  if (list.size() > 1000) return bad("more than 1,000 records", "records");
  json::array results(list.size());
  std::vector<Enrolment> enrolments;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < list.size(); ++i) {
    auto parsed = [&]() -> Result<Enrolment> {
      const json::object* const record = list[i].if_object();
      if (record == nullptr) return bad("not an object", "records");
      GH_CHECK(only(*record, {"device", "ak", "object_attributes", "name_algorithm", "product", "model", "identities", "trust", "baseline", "state", "keys", "baselines"}));
      GH_TRY(Enrolment enrolment, parse_enrolment(*record, KeySource::import));
      enrolment.author = who;
      return enrolment;
    }();
    if (!parsed) {
      results[i] = to_object(parsed.error());
      continue;
    }
    enrolments.push_back(*std::move(parsed));
    places.push_back(i);
  }
  const auto outcomes = state.import_blocking(std::move(enrolments));
  for (std::size_t i = 0; i < outcomes.size(); ++i)
    if (!outcomes[i]) results[places[i]] = to_object(outcomes[i].error());
  json::object out;
  out["results"] = std::move(results);
  return out;
}

Result<json::object> device_trust(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "key", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto key, text(request, "key"));
  GH_TRY(const Author who, author(request));
  GH_TRY(const DeviceKey trusted, state.trust_blocking(id, key.value_or(""), who));
  json::object out;
  out["device"] = id;
  out["key"] = to_object(trusted);
  return out;
}

Result<json::object> device_revoke(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "key", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto key, text(request, "key"));
  GH_TRY(const Author who, author(request));
  GH_TRY(const std::size_t revoked, state.revoke_blocking(id, key.value_or(""), who));
  json::object out;
  out["device"] = id;
  out["revoked"] = revoked;
  return out;
}

Result<json::object> device_remove(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const Author who, author(request));
  GH_CHECK(state.remove_blocking(id, who));
  json::object out;
  out["removed"] = id;
  return out;
}

Result<json::object> baseline_list(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto device, state.device(id));
  if (!device) return no_device(id);
  GH_TRY(const auto baselines, state.baselines(id));
  json::array items;
  for (const StoredBaseline& one : baselines) items.push_back(to_object(one));
  json::object out;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> baseline_approve(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "number", "replace", "model", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto which, number(request, "number", UINT64_MAX));
  GH_TRY(const bool replace, flag(request, "replace"));
  GH_TRY(const bool model, flag(request, "model"));
  GH_TRY(const Author who, author(request));
  if (model) {
    GH_TRY(const GroupApproval approved, state.approve_model_blocking(id, which, replace, who));
    return item(approval(approved));
  }
  GH_TRY(const StoredBaseline approved, state.approve_baseline_blocking(id, which, replace, who));
  json::object out = to_object(approved);
  out.erase("pcrs");
  return item(std::move(out));
}

Result<json::object> session_list(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "limit", "from"}));
  GH_TRY(const auto device, text(request, "device"));
  GH_TRY(const auto limit, number(request, "limit", 10'000));
  GH_TRY(const auto from, text(request, "from"));
  GH_TRY(const auto page, state.sessions(device.value_or(""), limit.value_or(100), from.value_or("")));
  json::array items;
  for (const SessionRecord& record : page.sessions) {
    GH_TRY(json::object one, session_object(state, record));
    items.push_back(std::move(one));
  }
  json::object out;
  if (!page.next.empty()) out["next"] = page.next;
  out["items"] = std::move(items);
  return out;
}

// What `top` reads: the families of the metrics port. A bucket is [at most so many seconds, how many].
// Checkpoints come without their signatures: who asks has checked them.
Result<json::object> audit_verify(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "checkpoints"}));
  std::vector<AuditCheckpoint> checkpoints;
  if (const json::value* const list = member(request, "checkpoints")) {
    if (!list->is_array()) return bad("not an array", "checkpoints");
    for (const json::value& one : list->get_array()) {
      const json::object* const object = one.if_object();
      if (object == nullptr) return bad("not an object", "checkpoints");
      GH_CHECK(only(*object, {"log", "size", "root", "time"}));
      AuditCheckpoint checkpoint;
      GH_TRY(checkpoint.log, needed_text(*object, "log"));
      GH_TRY(const auto size, number(*object, "size", INT64_MAX));
      GH_TRY(const auto time, number(*object, "time", INT64_MAX));
      GH_TRY(const std::string root, needed_text(*object, "root"));
      const auto digest = from_hex(root);
      if (!size || !time || !digest || digest->size() != digest_size(HashAlgorithm::sha256)) return bad("not a checkpoint", "checkpoints");
      checkpoint.size = *size;
      checkpoint.time = std::int64_t(*time);
      checkpoint.root = Digest(*digest);
      checkpoints.push_back(std::move(checkpoint));
    }
  }
  GH_TRY(const AuditReport report, state.audit(std::move(checkpoints)));
  json::object out;
  out["log"] = report.head.log;
  out["since"] = time_value(report.head.since);
  out["size"] = report.head.size;
  out["root"] = report.head.root.hex();
  out["records"] = report.records;
  out["retired"] = report.retired;
  out["open"] = report.open;
  out["checkpoints"] = report.checkpoints;
  out["unproved"] = report.unproved;
  json::array restores, problems;
  for (const AuditRestore& one : report.restores) restores.push_back({{"entry", one.entry}, {"time", time_value(one.time)}, {"lost", one.lost}});
  for (const AuditProblem& one : report.problems) {
    json::object problem{{"what", one.what}};
    problem["entry"] = one.entry ? json::value(*one.entry) : json::value(nullptr);
    problem["session"] = text_or_null(one.session);
    problem["text"] = one.text;
    problems.push_back(std::move(problem));
  }
  out["restores"] = std::move(restores);
  out["problems"] = std::move(problems);
  out["problems_total"] = report.problems_total;
  return out;
}

Result<json::object> backup(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "folder"}));
  GH_TRY(const std::string folder, needed_text(request, "folder"));
  GH_TRY(const BackupReport made, state.backup(folder));
  json::object out;
  out["folder"] = escaped(made.folder);
  out["files"] = made.files;
  out["bytes"] = made.bytes;
  return out;
}

Result<json::object> session_show(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "session"}));
  GH_TRY(const std::string id, needed_text(request, "session"));
  GH_TRY(const auto record, state.session(id));
  if (!record) return fail(Error{Fault::denied, "no such session", {}, 0, escaped(id, 64), {}});
  GH_TRY(json::object out, session_object(state, *record));
  return item(std::move(out));
}

// What the session's verdict was made of, for who judges it again: head and pieces, with the verdict as it is recorded, to
// the byte. Pieces from the given one on, as many as one response takes.
Result<json::object> session_evidence(State& state, const json::object& request) {
  constexpr std::size_t page_bytes = std::size_t(16) << 20;
  GH_CHECK(only(request, {"command", "session", "from"}));
  GH_TRY(const std::string id, needed_text(request, "session"));
  GH_TRY(const auto from, number(request, "from", max_evidence_pieces));
  GH_TRY(const auto record, state.session(id));
  if (!record) return fail(Error{Fault::denied, "no such session", {}, 0, escaped(id, 64), {}});
  GH_TRY(const auto evidence, state.evidence(id));
  if (!evidence) return fail(Error{Fault::environment, no_evidence_kept, {}, 0, escaped(id, 64), {}});
  json::object out;
  const std::size_t first = from.value_or(0);
  if (first == 0) {
    out["session"] = id;
    out["verdict"] = record->verdict;
    out["record"] = record_object(*record).at("record");
    out["policy"] = record->intent.policy;
    out["head"] = to_base64(evidence->head);
  }
  json::array pieces;
  std::size_t bytes = 0, next = first;
  for (; next < evidence->pieces.size() && (bytes == 0 || bytes < page_bytes); ++next) {
    bytes += evidence->pieces[next].size();
    pieces.emplace_back(to_base64(evidence->pieces[next]));
  }
  out["pieces"] = std::move(pieces);
  if (next < evidence->pieces.size()) out["next"] = next;
  return item(std::move(out));
}

Result<json::object> session_timing(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "session"}));
  GH_TRY(const std::string id, needed_text(request, "session"));
  GH_TRY(const auto record, state.session(id));
  if (!record) return fail(Error{Fault::denied, "no such session", {}, 0, escaped(id, 64), {}});
  json::object out;
  out["session"] = record->intent.session;
  out["timing_ns"] = nullptr;
  if (record->timing) {
    json::object stages, work;
    for (std::size_t i = 0; i < stage_names.size(); ++i)
      (i < successive_stages ? stages : work)[stage_names[i]] = record->timing->spent[i].count();
    json::object timing;
    timing["total"] = record->timing->total().count();
    timing["stages"] = std::move(stages);
    timing["evidence_plane"] = std::move(work);
    out["timing_ns"] = std::move(timing);
  }
  return item(std::move(out));
}

// --- software: what the endpoint claims

json::object to_object(const SoftwareRecord& record) {
  json::object out;
  out["software_id"] = escaped(record.software_id);
  out["source"] = record.source;
  out["record_id"] = record.record_id;
  out["locator"] = record.locator.empty() ? json::value(nullptr) : json::value(escaped(record.locator));
  return out;
}

json::object to_object(const InstalledSoftware& installed) {
  json::object out = to_object(installed.record);
  out["first_seen"] = time_value(installed.first_seen);
  out["last_seen"] = time_value(installed.last_seen);
  out["since"] = time_value(installed.since);
  out["until"] = installed.until ? time_value(*installed.until) : json::value(nullptr);
  out["eid"] = installed.eid == 0 ? json::value(nullptr) : json::value(installed.eid);
  return out;
}

json::object to_object(const SoftwareEvent& event) {
  json::object out;
  out["eid"] = event.eid;
  out["time"] = time_value(event.time);
  out["action"] = name(event.action);
  for (auto& member : to_object(event.record)) out[member.key()] = std::move(member.value());
  return out;
}

json::object to_object(const SoftwareHistoryItem& entry) {
  json::object out;
  if (entry.kind != SoftwareHistoryItem::Kind::change) {
    const bool event = entry.kind == SoftwareHistoryItem::Kind::event;
    out["kind"] = event ? "event" : "removal";
    for (auto& member : event ? to_object(entry.event) : to_object(entry.removed))
      out[member.key()] = std::move(member.value());
    return out;
  }
  const SoftwareChange& change = entry.change;
  out["kind"] = "change";
  out["time"] = time_value(change.time);
  out["session"] = change.session;
  out["inventory"] = change.inventory;
  out["events"] = change.events;
  out["first"] = change.first;
  out["epoch_changed"] = change.epoch_changed;
  out["rolled_back"] = change.rolled_back;
  out["epoch"] = change.epoch;
  out["last_eid"] = change.last_eid;
  out["previous_epoch"] = change.first ? json::value(nullptr) : json::value(change.previous_epoch);
  out["previous_eid"] = change.first ? json::value(nullptr) : json::value(change.previous_eid);
  out["added"] = change.added;
  out["removed"] = change.removed;
  out["altered"] = change.altered;
  out["not_kept"] = change.not_kept;
  out["inconsistent"] = change.inconsistent;
  json::array examples;
  for (const SoftwareEvent& one : change.examples) examples.push_back(to_object(one));
  out["examples"] = std::move(examples);
  return out;
}

Result<json::object> device_software(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "at", "limit", "from"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto at, time_member(request, "at"));
  GH_TRY(const auto limit, number(request, "limit", 10'000));
  GH_TRY(const auto from, text(request, "from"));
  GH_TRY(const auto device, state.device(id));
  if (!device) return no_device(id);
  GH_TRY(const auto head, state.software_head(id));
  json::object out;
  if (head) {
    json::object known;
    known["epoch"] = head->epoch;
    known["last_eid"] = head->last_eid;
    known["time"] = time_value(head->time);
    known["session"] = head->session;
    known["complete"] = head->complete;
    known["installed"] = head->installed;
    out["head"] = std::move(known);
  } else {
    out["head"] = nullptr;
  }
  GH_TRY(const auto page, state.software_at(id, at, limit.value_or(1000), from.value_or("")));
  json::array items;
  for (const InstalledSoftware& one : page.software) items.push_back(to_object(one));
  if (!page.next.empty()) out["next"] = page.next;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> device_software_history(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "limit", "from"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto limit, number(request, "limit", 10'000));
  GH_TRY(const auto from, text(request, "from"));
  GH_TRY(const auto device, state.device(id));
  if (!device) return no_device(id);
  GH_TRY(const auto page, state.software_history(id, limit.value_or(1000), from.value_or("")));
  json::array items;
  for (const SoftwareHistoryItem& one : page.items) items.push_back(to_object(one));
  json::object out;
  if (!page.next.empty()) out["next"] = page.next;
  out["items"] = std::move(items);
  return out;
}

struct Command {
  std::string_view name;
  Result<json::object> (*run)(State&, const json::object&);
};
constexpr Command commands[] = {
    {"device.list", device_list},     {"device.show", device_show},
    {"device.add", device_add},       {"device.import", device_import},
    {"device.trust", device_trust},   {"device.revoke", device_revoke},
    {"device.remove", device_remove}, {"device.software", device_software},
    {"device.software.history", device_software_history}, {"baseline.list", baseline_list},
    {"baseline.approve", baseline_approve}, {"baseline.diff", baseline_diff},
    {"session.list", session_list},   {"session.show", session_show},
    {"session.timing", session_timing}, {"session.evidence", session_evidence}, {"backup", backup},
    {"audit.verify", audit_verify},
    {"device.state", device_state},   {"device.set", device_set},
    {"device.history", device_history}, {"device.overdue", device_overdue}, {"device.export", device_export},
    {"baseline.announce", baseline_announce}, {"baseline.announcements", baseline_announcements},
    {"baseline.withdraw", baseline_withdraw}, {"device.enrol", device_enrol},
    {"device.enrolments", device_enrolments}, {"device.enrol.close", device_enrol_close},
};

Result<json::object> run(State& state, std::string_view request, const Live* live) {
  if (request.size() > max_request_bytes) return fail(Fault::limit, "request larger than 4 MiB", document);
  boost::system::error_code code;
  const json::value value = json::parse(request, code);
  if (code) return fail(Error{Fault::malformed, "not JSON", document, 0, {}, code.message()});
  const json::object* const object = value.if_object();
  if (object == nullptr) return fail(Fault::malformed, "not a JSON object", document);
  GH_TRY(const std::string command, needed_text(*object, "command"));
  if (auto of_server = execute_live(live, command, *object)) return *std::move(of_server);
  if (auto of_policy = execute_policy(state, live, command, *object)) return *std::move(of_policy);
  for (const Command& one : commands)
    if (one.name == command) {
      auto done = one.run(state, *object);
      if (done) cut_off(live, command, *object, *done);
      return done;
    }
  return bad("unknown command", escaped(command, 64));
}

// Reasons are literals, and these came from the other side of the socket: each different one is kept for good. The
// server has few; a hundred is more than one of ours ever sends.
std::string_view kept(std::string reason) {
  static std::mutex mutex;
  static std::set<std::string> reasons;
  const std::lock_guard guard(mutex);
  if (reason.empty() || (reasons.size() >= 100 && !reasons.contains(reason))) return "the request failed";
  return *reasons.insert(std::move(reason)).first;
}

}  // namespace

std::string execute(State& state, std::string_view request, const Live* live) {
  Result<json::object> out = fail(Fault::internal, "the request wasn't executed");
  try {
    out = run(state, request, live);
  } catch (const std::exception& e) {
    out = fail(Error{Fault::internal, "the request failed", document, 0, {}, e.what()});
  }
  json::object response;
  if (out)
    response = *std::move(out);
  else
    response["error"] = to_object(out.error());
  return json::serialize(response);
}

Result<std::string> response_or_error(std::string response) {
  boost::system::error_code code;
  const json::value value = json::parse(response, code);
  const json::object* const object = code ? nullptr : value.if_object();
  if (object == nullptr) return fail(Fault::environment, "the server's answer isn't a JSON object", document);
  const json::value* const error = object->if_contains("error");
  if (error == nullptr || !error->is_object()) return response;
  const json::object& told = error->get_object();
  const auto said = [&](std::string_view member_name) {
    const json::value* const one = told.if_contains(member_name);
    return one && one->is_string() ? std::string(one->get_string()) : std::string();
  };
  Error out{Fault::environment, "the request failed", {}, 0, said("source"), {}};
  for (const Fault fault : {Fault::malformed, Fault::protocol, Fault::denied, Fault::limit, Fault::usage,
                            Fault::environment, Fault::internal})
    if (name(fault) == said("fault")) out.fault = fault;
  out.reason = kept(said("reason"));
  out.detail = said("detail");
  return fail(std::move(out));
}

}  // namespace gatehouse::server
