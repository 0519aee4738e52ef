#include "cli/policy_import.h"

#include <algorithm>
#include <map>

#include "base/hex.h"
#include "server/policy/policy.h"

namespace gatehouse::cli {
namespace {

namespace policy = server::policy;
using Enforcement = refdb::StrongTncEnforcement;

// A basic string of TOML; the text has no control characters.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string list_of(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) out += (out.size() > 1 ? ",\n  " : "\n  ") + quoted(text);
  return out + (texts.empty() ? "]" : ",\n]");
}

// The letters of `known` that a strongSwan verifier finds anywhere in the argument.
std::string letters_in(std::string_view argument, std::string_view known) {
  std::string out;
  for (const char letter : known)
    if (argument.find(letter) != argument.npos) (out += out.empty() ? "" : " ") += letter;
  return out;
}

constexpr std::string_view recommendations[] = {"allow", "block", "isolate", "none"};
// allow < none < isolate < block, as policy::stricter().
std::optional<std::uint8_t> stricter(std::optional<std::uint8_t> a, std::optional<std::uint8_t> b) {
  constexpr int order[] = {0, 3, 2, 1};
  if (!a || !b) return a ? a : b;
  return order[*a] < order[*b] ? b : a;
}

// One entry of `ask` for what strongTNC has as two enforcements of the same in one group.
std::vector<Enforcement> merged(const std::vector<Enforcement>& all) {
  std::map<std::pair<std::uint8_t, std::string>, Enforcement> out;
  for (Enforcement e : all) {
    const auto type = policy::Type(e.type);
    if (type == policy::Type::tpmra) e.argument = letters_in(e.argument, "BIT");
    if (type == policy::Type::swidt) {
      e.argument = letters_in(e.argument, "RSC");
      if (e.argument.find('S') != std::string::npos) e.argument = letters_in(e.argument, "RS");
    }
    const bool single = type == policy::Type::tpmra || type == policy::Type::swidt || type == policy::Type::deny;
    const auto [at, first] = out.try_emplace({e.type, single ? std::string() : e.argument}, e);
    if (first) continue;
    Enforcement& one = at->second;
    one.on_fail = stricter(one.on_fail, e.on_fail);
    one.on_noresult = stricter(one.on_noresult, e.on_noresult);
    one.max_age = std::min(one.max_age, e.max_age);
    if (type == policy::Type::tpmra) one.argument = letters_in(one.argument + e.argument, "BIT");
  }
  std::vector<Enforcement> list;
  for (auto& [_, e] : out) list.push_back(std::move(e));
  return list;
}

std::string entry_of(const std::string& group, const Enforcement& e) {
  const auto type = policy::Type(e.type);
  std::string out = "[[groups." + quoted(group) + ".ask]]\ntype = \"" + (type == policy::Type::deny ? "DENY" : std::string(policy::name(type))) + "\"\n";
  if (type == policy::Type::deny) return out;
  const bool has_argument = e.type >= std::uint8_t(policy::Type::frefm);
  if (has_argument && (!e.argument.empty() || type == policy::Type::tpmra)) out += "argument = " + quoted(e.argument) + '\n';
  if (e.on_fail) out += "on_fail = \"" + std::string(recommendations[*e.on_fail]) + "\"\n";
  if (e.on_noresult) out += "on_noresult = \"" + std::string(recommendations[*e.on_noresult]) + "\"\n";
  constexpr std::uint64_t most = std::uint64_t(3'660) * 86'400;
  if (e.max_age != 0) out += "max_age = \"" + std::to_string(std::min(e.max_age, most)) + "s\"\n";
  return out;
}

// Why the entry can't stand in a policy; empty: it can.
std::string refusal(const std::string& entry) {
  const auto read = policy::parse_policy(entry, "", [](const std::string&) -> Result<std::string> { return std::string(); });
  if (read) return {};
  return read.error().list.empty() ? "it can't be read" : read.error().list.front().reason;
}

}  // namespace

std::string policy_text(const std::vector<refdb::StrongTncGroup>& groups, const std::string& source, std::vector<std::string>& left_out) {
  std::string out = "# Groups and enforcements of " + escaped(source, 1024) + ". gatehouse policy check finds mistakes.\n";
  for (const refdb::StrongTncGroup& group : groups) {
    out += "\n[groups." + quoted(group.name) + "]\n";
    if (!group.parent.empty()) out += "parent = " + quoted(group.parent) + '\n';
    if (group.is_default) out += "default = true\n";
    if (!group.products.empty()) out += "default_for = " + list_of(group.products) + '\n';
    // Without the key a group would be everybody's.
    if (!group.devices.empty() || (!group.is_default && group.products.empty())) out += "devices = " + list_of(group.devices) + '\n';
    for (const Enforcement& e : merged(group.ask)) {
      const std::string entry = entry_of(group.name, e);
      const std::string why = refusal(entry);
      if (why.empty()) {
        out += '\n' + entry;
        continue;
      }
      const std::string what = std::string(policy::name(policy::Type(e.type))) + (e.argument.empty() ? "" : " " + e.argument);
      left_out.push_back("group " + group.name + ": " + what + ": " + why);
      out += "\n# left out: " + escaped(what, 1024) + ": " + why + '\n';
    }
  }
  return out;
}

}  // namespace gatehouse::cli
