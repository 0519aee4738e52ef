#include "server/policy/software_reader.h"

#include <algorithm>

#include "base/hash.h"
#include "server/policy/mistake.h"
#include "server/policy/times.h"

namespace gatehouse::server::policy {
namespace {

using Kind = SoftwareRule::Kind;

std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

bool printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

void SoftwareReader::mistake(const toml::node& node, const std::string& key, std::string reason) {
  complain_(line_of(node), key, std::move(reason));
}

void SoftwareReader::read_table(const toml::node& node, const std::string& key, std::string_view wants, const Uses& known) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return mistake(node, key, std::string(wants));
  std::vector<std::string_view> names;
  for (const auto& [name, _] : known) names.push_back(name);
  for (const auto& [name, value] : *table) {
    const std::string full = key + '.' + std::string(name.str());
    const auto use = known.find(name.str());
    if (use == known.end())
      complain_(name.source().begin.line, full, unknown_key(name.str(), names));
    else
      use->second(value, full);
  }
}

void SoftwareReader::read_text(std::string& out, std::string_view wants, const toml::node& node, const std::string& key) {
  const auto text = node.value<std::string>();
  if (node.is_string() && text && !text->empty() && text->size() <= max_software_pattern && printable(*text))
    out = *text;
  else
    mistake(node, key, "wants " + std::string(wants) + ", at most 256 bytes");
}

void SoftwareReader::read_outcome(bool& fails, const toml::node& node, const std::string& key) {
  const std::string v = node.value_or(std::string());
  if (v != "fail" && v != "noresult") mistake(node, key, "is fail or noresult");
  fails = v == "fail";
}

void SoftwareReader::read_rule(SoftwareRules& out, Kind kind, const toml::node& node, const std::string& key) {
  SoftwareRule rule;
  rule.kind = kind;
  bool whole = true;
  const auto text = [&](std::string& slot, std::string_view wants) {
    return [this, &slot, wants, &whole](const toml::node& n, const std::string& k) {
      read_text(slot, wants, n, k);
      whole = whole && !slot.empty();
    };
  };
  Uses known = {{"id", text(rule.id, "a pattern of software identifiers such as \"example.org__tool-*\"")},
                {"creator", text(rule.creator, "a pattern of tag creators such as \"strongswan.org\"")},
                {"name", text(rule.name, "a pattern of names such as \"openssl\" or \"linux-image-*\"")}};
  if (kind != Kind::minimum) known["version"] = text(rule.version, "a pattern of versions such as \"5.6.*\"");
  if (kind != Kind::forbidden) known["at_least"] = text(rule.at_least, "a version such as \"3.0.11-1\"");
  const std::size_t listed = out.list.size();
  read_table(node, key, "wants a table such as { name = \"openssl\" }", known);
  if (!whole || node.as_table() == nullptr) return;
  if (rule.id.empty() && rule.name.empty()) return mistake(node, key, "wants `name` or `id`: what software is meant");
  if (kind == Kind::minimum && rule.at_least.empty()) return mistake(node, key + ".at_least", "is missing");
  if (!rule.version.empty() && !rule.at_least.empty())
    return mistake(node, key + ".at_least", "and `version` exclude each other");
  if (!rule.at_least.empty() && !compare_versions(VersionScheme::dpkg, rule.at_least, rule.at_least))
    return mistake(node, key + ".at_least", "wants a version such as \"3.0.11-1\"");
  if (std::find(out.list.begin(), out.list.end(), rule) != out.list.end())
    return mistake(node, key, "the same rule stands twice");
  if (listed == max_software_rules) return mistake(node, key, "more than 1024 rules in this table");
  out.list.push_back(std::move(rule));
}

void SoftwareReader::read_rules(SoftwareRules& out, Kind kind, const toml::node& node, const std::string& key) {
  const toml::array* const list = node.as_array();
  if (list == nullptr) return mistake(node, key, "wants a list of tables such as { name = \"openssl\" }");
  for (const toml::node& one : *list) read_rule(out, kind, one, key);
}

SoftwareRulesPtr SoftwareReader::read(std::string_view name, const toml::node& node, const std::string& key) {
  auto out = std::make_shared<SoftwareRules>();
  out->name = name;
  const auto rules = [&](Kind kind) {
    return [this, &out, kind](const toml::node& n, const std::string& k) { read_rules(*out, kind, n, k); };
  };
  read_table(node, key, "wants a table",
             {{"description",
               [&](const toml::node& n, const std::string& k) {
                 std::string text;
                 read_text(text, "one line of text", n, k);
               }},
              {"inventory_max_age",
               [&](const toml::node& n, const std::string& k) {
                 const auto age = duration(n.value_or(std::string()));
                 if (!age || age->count() == 0)
                   return mistake(n, k, "wants a duration such as \"30d\" of at most ten years");
                 out->inventory_max_age = *age;
               }},
              {"missing", [&](const toml::node& n, const std::string& k) { read_outcome(out->missing_fails, n, k); }},
              {"incomplete", [&](const toml::node& n, const std::string& k) { read_outcome(out->incomplete_fails, n, k); }},
              {"required", rules(Kind::required)},
              {"forbidden", rules(Kind::forbidden)},
              {"minimum", rules(Kind::minimum)}});
  const auto pattern = [](const SoftwareRule& rule) { return rule.name.empty() || rule.name.find('*') != std::string::npos; };
  if (std::size_t(std::count_if(out->list.begin(), out->list.end(), pattern)) > max_software_patterns)
    mistake(node, key, "more than 64 rules without a `name` that is no pattern: each is held against all software");
  std::sort(out->list.begin(), out->list.end());
  out->index();
  out->version = digest_of(HashAlgorithm::sha256, as_bytes(out->canonical())).hex().substr(0, 16);
  return out;
}

}  // namespace gatehouse::server::policy
