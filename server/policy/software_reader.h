// Reads [software.NAME] of a policy (software.h, docs/policy.md).
//
//   SoftwareReader reader(complain);
//   SoftwareRulesPtr rules = reader.read("servers", node, "software.servers");   // complain() was called for each mistake
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/toml.h"
#include "server/policy/software.h"

namespace gatehouse::server::policy {

class SoftwareReader {
 public:
  using Complain = std::function<void(std::size_t line, const std::string& key, std::string reason)>;
  explicit SoftwareReader(Complain complain) : complain_(std::move(complain)) {}

  // What could be read of the table; its mistakes were told.
  SoftwareRulesPtr read(std::string_view name, const toml::node& node, const std::string& key);

 private:
  using Use = std::function<void(const toml::node&, const std::string&)>;
  using Uses = std::map<std::string, Use, std::less<>>;

  void mistake(const toml::node& node, const std::string& key, std::string reason);
  void read_table(const toml::node& node, const std::string& key, std::string_view wants, const Uses& known);
  void read_outcome(bool& fails, const toml::node& node, const std::string& key);
  void read_rules(SoftwareRules& out, SoftwareRule::Kind kind, const toml::node& node, const std::string& key);
  void read_rule(SoftwareRules& out, SoftwareRule::Kind kind, const toml::node& node, const std::string& key);
  void read_text(std::string& out, std::string_view wants, const toml::node& node, const std::string& key);

  Complain complain_;
};

}  // namespace gatehouse::server::policy
