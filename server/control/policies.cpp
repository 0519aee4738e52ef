#include "server/control/policies.h"

#include "base/hex.h"
#include "server/results/record.h"

namespace gatehouse::server {
namespace {

namespace json = boost::json;
constexpr std::string_view of_control = "docs/formats/control.md";

json::object to_object(const StoredPolicy& policy) {
  json::object out;
  out["number"] = policy.number;
  out["version"] = policy.version;
  out["since"] = time_value(policy.since);
  if (policy.text.empty())
    out["file"] = nullptr;
  else
    out["file"] = policy.file;
  return out;
}

Result<json::object> policy_list(State& state) {
  GH_TRY(const std::vector<StoredPolicy> all, state.policies());
  json::array items;
  for (const StoredPolicy& one : all) items.push_back(to_object(one));
  json::object out;
  out["items"] = std::move(items);
  return out;
}

// By number or version.
Result<json::object> policy_show(State& state, const json::object& request) {
  const json::value* const wanted = request.if_contains("policy");
  if (wanted == nullptr || !wanted->is_string())
    return fail(Error{Fault::usage, "missing member", of_control, 0, {}, "policy"});
  const std::string_view name = wanted->get_string();
  GH_TRY(const std::vector<StoredPolicy> all, state.policies());
  for (const StoredPolicy& one : all) {
    if (one.version != name && std::to_string(one.number) != name) continue;
    json::object out = to_object(one);
    out["text"] = one.text;
    json::object files;
    for (const auto& [path, content] : one.files)
      if (is_utf8(content)) files[path] = content;
    out["files"] = std::move(files);
    return out;
  }
  return fail(Error{Fault::denied, "no such policy was in force", of_control, 0, {}, escaped(name, 64)});
}

json::object to_object(const HeldSwitch& held) {
  json::object out;
  if (held.policy.empty())
    out["policy"] = nullptr;
  else
    out["policy"] = held.policy;
  if (held.generation)
    out["generation"] = *held.generation;
  else
    out["generation"] = nullptr;
  out["since"] = time_value(held.since);
  out["why"] = held.why;
  return out;
}

Result<json::object> policy_status(State& state, const Live* live) {
  json::object out;
  if (live == nullptr || !live->policy_status) {
    // Offline: what a server will find.
    GH_TRY(const auto held, state.held_switch());
    out["running"] = false;
    if (held)
      out["held"] = to_object(*held);
    else
      out["held"] = nullptr;
    return out;
  }
  const PolicyStatus now = live->policy_status();
  out["running"] = true;
  out["policy"] = now.policy;
  out["number"] = now.number;
  out["generation"] = now.generation;
  out["enforced"] = now.enforced;
  json::object watched;
  watched["watching"] = now.watching;
  watched["devices"] = now.devices;
  watched["refused"] = now.refused;
  out["switch"] = std::move(watched);
  if (now.alarm.empty())
    out["alarm"] = nullptr;
  else
    out["alarm"] = now.alarm;
  if (now.rehearsing.empty())
    out["rehearsing"] = nullptr;
  else
    out["rehearsing"] = now.rehearsing;
  if (now.rehearsing_generation)
    out["rehearsing_generation"] = *now.rehearsing_generation;
  else
    out["rehearsing_generation"] = nullptr;
  if (now.held.empty())
    out["held"] = nullptr;
  else
    out["held"] = to_object(now.held);
  return out;
}

Result<json::object> policy_release(State& state, const Live* live) {
  bool released = false;
  if (live != nullptr && live->release_policy) {
    released = live->release_policy();
  } else {
    GH_TRY(const auto held, state.held_switch());
    released = held.has_value();
    if (held) GH_CHECK(state.hold_switch_blocking({}));
  }
  if (!released) return fail(Fault::denied, "nothing is held back");
  json::object out;
  out["released"] = true;
  return out;
}

}  // namespace

std::optional<Result<json::object>> execute_policy(State& state, const Live* live, std::string_view command,
                                                   const json::object& request) {
  if (!command.starts_with("policy.")) return std::nullopt;
  for (const auto& one : request)
    if (one.key() != "command" && !(command == "policy.show" && one.key() == "policy"))
      return fail(Error{Fault::usage, "unknown member", of_control, 0, {}, escaped(std::string(one.key()), 64)});
  if (command == "policy.list") return policy_list(state);
  if (command == "policy.show") return policy_show(state, request);
  if (command == "policy.status") return policy_status(state, live);
  if (command == "policy.release") return policy_release(state, live);
  return std::nullopt;
}

}  // namespace gatehouse::server
