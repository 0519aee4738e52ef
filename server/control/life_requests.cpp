// Requests about the life of devices: states and history, leases, export, and firmware changes of a model.
#include <algorithm>
#include <map>

#include "base/hex.h"
#include "server/control/request.h"
#include "server/results/record.h"

namespace gatehouse::server::request {

namespace json = boost::json;

json::array history_of(const std::vector<HistoryEntry>& entries) {
  json::array out;
  for (const HistoryEntry& entry : entries) {
    json::object one;
    one["number"] = entry.number;
    one["time"] = time_value(entry.time);
    one["state"] = name(entry.state);
    one["by"] = text_or_null(entry.by);
    one["what"] = entry.what;
    one["why"] = text_or_null(entry.why);
    out.push_back(std::move(one));
  }
  return out;
}

json::value attested_value(const std::optional<Attested>& last) {
  if (!last) return nullptr;
  json::object out;
  out["time"] = time_value(last->time);
  out["session"] = last->session;
  out["recommendation"] = pipeline::name(last->recommendation);
  return out;
}

Result<json::object> device_state(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "state", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const std::string wanted, needed_text(request, "state"));
  GH_TRY(const Author who, author(request));
  const auto to = server::device_state(wanted);
  if (!to || *to == DeviceState::pending || *to == DeviceState::revoked)
    return bad("not one of trusted, suspended, retired", "state");
  GH_TRY(const Device device, state.change_state_blocking(id, *to, who));
  return item(to_object(device));
}

Result<json::object> device_set(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "product", "model", "identities", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto product, text(request, "product"));
  GH_TRY(const auto model, text(request, "model"));
  GH_TRY(const Author who, author(request));
  std::optional<std::vector<std::string>> identities;
  if (const json::value* const given = member(request, "identities")) {
    const json::array* const list = given->if_array();
    if (list == nullptr) return bad("not an array", "identities");
    identities.emplace();
    for (const json::value& one : *list) {
      if (!one.is_string()) return bad("not a string", "identities");
      identities->emplace_back(one.get_string());
    }
  }
  GH_TRY(const Device device, state.alter_blocking(id, product, model, identities, who));
  return item(to_object(device));
}

Result<json::object> device_history(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "limit"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto limit, number(request, "limit", max_history));
  GH_TRY(const auto entries, state.history(id, limit.value_or(max_history)));
  if (entries.empty()) {
    GH_TRY(const auto device, state.device(id));
    if (!device) return no_device(id);
  }
  json::object out;
  out["items"] = history_of(entries);
  return out;
}

// Looks at a bounded number of devices a page, so that one may be empty with more to follow.
Result<json::object> device_overdue(State& state, const json::object& request) {
  constexpr std::size_t look = 5'000;
  constexpr std::uint64_t longest = std::uint64_t(100) * 366 * 86'400;
  GH_CHECK(only(request, {"command", "lease_seconds", "after"}));
  GH_TRY(const auto seconds, number(request, "lease_seconds", longest));
  GH_TRY(const auto after, text(request, "after"));
  if (!seconds || *seconds == 0) return bad("missing member, or 0", "lease_seconds");
  std::string place;
  GH_TRY(const auto devices, state.overdue(std::chrono::seconds(*seconds), after.value_or(""), look, place));
  json::array items;
  for (const OverdueDevice& one : devices) {
    json::object out;
    out["device"] = one.device.id;
    out["product"] = text_or_null(one.device.product);
    out["model"] = text_or_null(one.device.model);
    out["due"] = time_value(one.due);
    out["attested"] = attested_value(one.last);
    items.push_back(std::move(out));
  }
  json::object out;
  if (!place.empty()) out["next"] = place;
  out["items"] = std::move(items);
  return out;
}

// Import records that make the same devices elsewhere. Those that nobody decided on are left out.
Result<json::object> device_export(State& state, const json::object& request) {
  constexpr std::size_t page_bytes = std::size_t(8) << 20;
  GH_CHECK(only(request, {"command", "after", "limit"}));
  GH_TRY(const auto after, text(request, "after"));
  GH_TRY(const auto limit, number(request, "limit", 1'000));
  const std::size_t most = limit ? std::max<std::size_t>(*limit, 1) : 200;
  GH_TRY(const auto devices, state.devices(after.value_or(""), most + 1));
  json::array items;
  std::size_t bytes = 0, seen = 0;
  json::object out;
  for (const Device& device : devices) {
    if (seen == most || bytes > page_bytes) {
      out["next"] = devices[seen - 1].id;
      break;
    }
    ++seen;
    if (!device.enrolled) continue;
    json::object one;
    one["device"] = device.id;
    if (!device.product.empty()) one["product"] = device.product;
    if (!device.model.empty()) one["model"] = device.model;
    one["state"] = name(device.state);
    json::array identities, keys, baselines;
    for (const std::string& identity : device.identities) identities.emplace_back(identity);
    for (const DeviceKey& key : device.keys) {
      json::object of;
      if (key.spki.empty()) {
        of["key_id"] = key.key_id;
      } else {
        GH_TRY(const PublicKey known, PublicKey::from_spki(key.spki));
        of["ak"] = known.pem();
      }
      of["state"] = name(key.state);
      if (key.object_attributes) of["object_attributes"] = *key.object_attributes;
      if (key.name_algorithm) of["name_algorithm"] = name(*key.name_algorithm);
      keys.push_back(std::move(of));
    }
    GH_TRY(const auto all, state.baselines(device.id));
    for (const StoredBaseline& stored : all) {
      if (stored.state != BaselineState::approved) continue;
      const json::object whole = to_object(stored);
      json::object of;
      of["bank"] = whole.at("bank");
      of["pcrs"] = whole.at("pcrs");
      for (const auto& [pcr, digests] : stored.baseline.events) bytes += digests.size() * 2 * digest_size(stored.baseline.bank);
      baselines.push_back(std::move(of));
    }
    if (!identities.empty()) one["identities"] = std::move(identities);
    if (!keys.empty()) one["keys"] = std::move(keys);
    if (!baselines.empty()) one["baselines"] = std::move(baselines);
    bytes += 1'024;
    items.push_back(std::move(one));
  }
  out["items"] = std::move(items);
  return out;
}

// --- firmware

namespace {

// What a PCR is for (TCG PC Client Platform Firmware Profile 3.3.4; from 8 on what GRUB, systemd, shim and the kernel do).
std::string_view meaning(std::uint32_t pcr) {
  switch (pcr) {
    case 0: return "firmware code";
    case 1: return "firmware configuration";
    case 2: return "code of add-in cards";
    case 3: return "configuration of add-in cards";
    case 4: return "boot loader and boot attempts";
    case 5: return "boot loader configuration and partition table";
    case 6: return "what the manufacturer measures";
    case 7: return "Secure Boot policy";
    case 8: return "GRUB commands and kernel command line";
    case 9: return "files that the boot loader read, such as kernel and initrd";
    case 10: return "IMA list";
    case 11: return "unified kernel image and boot phases";
    case 12: return "kernel command line and credentials";
    case 13: return "system extensions";
    case 14: return "shim's machine owner keys";
    default: return "no agreed meaning";
  }
}

void add_difference(json::array& out, std::uint32_t pcr, std::size_t place, std::size_t old_place, const Digest* before, const Digest* after) {
  json::object one;
  one["pcr"] = pcr;
  one["event"] = after != nullptr ? place : old_place;
  one["what"] = before == nullptr ? "added" : after == nullptr ? "removed" : "changed";
  one["approved"] = before != nullptr ? json::value(before->hex()) : json::value(nullptr);
  one["measured"] = after != nullptr ? json::value(after->hex()) : json::value(nullptr);
  one["approved_event"] = before != nullptr ? json::value(old_place) : json::value(nullptr);
  one["measures"] = meaning(pcr);
  out.push_back(std::move(one));
}

// An event that has another in its place changed; the rest of a run was added or removed.
json::array differences(const BaselineChange& change) {
  json::array out;
  for (const BaselineHunk& hunk : change.hunks)
    for (std::size_t i = 0; i < std::max(hunk.before.size(), hunk.after.size()); ++i)
      add_difference(out, hunk.pcr, hunk.new_place + i, hunk.place + i, i < hunk.before.size() ? &hunk.before[i] : nullptr,
                     i < hunk.after.size() ? &hunk.after[i] : nullptr);
  return out;
}

// "PCR 0 (firmware code): 3 events changed, 1 added", one a PCR.
json::array in_words(const json::array& differences) {
  struct Counted {
    std::size_t changed = 0, added = 0, removed = 0;
  };
  std::map<std::uint64_t, Counted> pcrs;
  for (const json::value& one : differences) {
    Counted& of = pcrs[one.at("pcr").to_number<std::uint64_t>()];
    const std::string_view what = one.at("what").get_string();
    ++(what == "changed" ? of.changed : what == "added" ? of.added : of.removed);
  }
  json::array out;
  for (const auto& [pcr, of] : pcrs) {
    std::string text;
    const auto say = [&](std::size_t n, const char* what) {
      if (n != 0) text += (text.empty() ? "" : ", ") + std::to_string(n) + (text.empty() ? n == 1 ? " event " : " events " : " ") + what;
    };
    say(of.changed, "changed");
    say(of.added, "added");
    say(of.removed, "removed");
    out.emplace_back("PCR " + std::to_string(pcr) + " (" + std::string(meaning(std::uint32_t(pcr))) + "): " + text);
  }
  return out;
}

json::object to_object(const Announcement& announcement, std::int64_t now) {
  json::object out;
  out["number"] = announcement.number;
  out["model"] = announcement.model;
  out["device"] = announcement.device;
  out["since"] = time_value(announcement.since);
  out["until"] = time_value(announcement.until);
  out["open"] = now <= announcement.until;
  out["by"] = text_or_null(announcement.by);
  out["why"] = text_or_null(announcement.why);
  out["bank"] = name(announcement.change.bank);
  const json::array all = differences(announcement.change);
  out["summary"] = in_words(all);
  out["differences"] = all.size();
  return out;
}

std::int64_t clock_now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

json::object approval(const GroupApproval& approved) {
  json::object out = to_object(approved.approved);
  out.erase("pcrs");
  json::array others, left;
  for (const auto& [device, number] : approved.others) others.push_back({{"device", device}, {"number", number}});
  for (const GroupApproval::Left& one : approved.left) left.push_back({{"device", one.device}, {"reason", one.why}});
  out["others"] = std::move(others);
  out["left"] = std::move(left);
  out["left_total"] = approved.left_total;
  return out;
}

Result<json::object> baseline_diff(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "number"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto which, number(request, "number", UINT64_MAX));
  GH_TRY(const auto all, state.baselines(id));
  const StoredBaseline* wanted = nullptr;
  for (const StoredBaseline& one : all)
    if (which ? one.number == *which : one.state == BaselineState::candidate) wanted = &one;
  if (wanted == nullptr) return fail(Error{Fault::denied, "the device has no such baseline", {}, 0, escaped(id, 256), {}});
  const StoredBaseline* against = nullptr;
  for (const StoredBaseline& one : all)
    if (one.state == BaselineState::approved && one.baseline.bank == wanted->baseline.bank && &one != wanted) against = &one;
  if (against == nullptr)
    return fail(Error{Fault::denied, "the device has no approved baseline of this bank to compare with", {}, 0, escaped(id, 256), {}});
  json::object out;
  out["number"] = wanted->number;
  out["against"] = against->number;
  out["bank"] = name(wanted->baseline.bank);
  json::array list = differences(change_between(against->baseline, wanted->baseline));
  out["summary"] = in_words(list);
  out["differences"] = std::move(list);
  // Whose kept evidence says what the events are.
  out["session"] = text_or_null(wanted->session);
  out["against_session"] = text_or_null(against->session);
  return item(std::move(out));
}

Result<json::object> baseline_announce(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "device", "number", "until", "by", "why", "expect"}));
  GH_TRY(const std::string id, needed_text(request, "device"));
  GH_TRY(const auto which, number(request, "number", UINT64_MAX));
  GH_TRY(const auto until, time_member(request, "until"));
  if (!until) return bad("missing member", "until");
  GH_TRY(const Author who, author(request));
  GH_TRY(const Announcement made, state.announce_blocking(id, which, *until, who));
  return item(to_object(made, clock_now()));
}

Result<json::object> baseline_announcements(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "model"}));
  GH_TRY(const auto model, text(request, "model"));
  GH_TRY(const auto all, state.announcements(model.value_or("")));
  json::array items;
  for (const Announcement& one : all) items.push_back(to_object(one, clock_now()));
  json::object out;
  out["items"] = std::move(items);
  return out;
}

Result<json::object> baseline_withdraw(State& state, const json::object& request) {
  GH_CHECK(only(request, {"command", "model", "number"}));
  GH_TRY(const std::string model, needed_text(request, "model"));
  GH_TRY(const auto which, number(request, "number", UINT64_MAX));
  if (!which) return bad("missing member", "number");
  GH_CHECK(state.withdraw_blocking(model, *which));
  json::object out;
  out["withdrawn"] = *which;
  return out;
}

}  // namespace gatehouse::server::request
