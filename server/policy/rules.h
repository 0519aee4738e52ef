// [rules.NAME] of a policy: rules for the evidence of TPMRA (pipeline/verdict/evidence_rules.h), with the lists and
// keys that stand in files of their own (docs/policy.md).
//
//   RulesReader reader(file, read, complain);
//   EvidenceRulesPtr rules = reader.read("servers", node, "rules.servers");   // complain() was called for each mistake
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/toml.h"
#include "pipeline/verdict/evidence_rules.h"
#include "server/policy/policy.h"

namespace gatehouse::server::policy {

inline constexpr std::size_t max_rules = 256;
inline constexpr std::size_t max_list_items = 65'536;  // of one list of digests
inline constexpr std::size_t max_patterns = 256;       // of one list of words or paths
inline constexpr std::size_t max_signature_keys = 64;  // of one table of rules

class RulesReader {
 public:
  // `file` is the policy's or that of a list.
  using Complain =
      std::function<void(const std::string& file, std::size_t line, const std::string& key, std::string reason)>;
  RulesReader(const std::string& file, const ReadFile& read, Complain complain)
      : file_(file), read_(read), complain_(std::move(complain)) {}

  // What could be read of the table; its mistakes were told.
  pipeline::EvidenceRulesPtr read(std::string_view name, const toml::node& node, const std::string& key);

 private:
  struct Item {
    const std::string* file;
    std::size_t line;
    std::string text;
  };
  using Use = std::function<void(const toml::node&, const std::string&)>;
  using Uses = std::map<std::string, Use, std::less<>>;

  void mistake(const toml::node& node, const std::string& key, std::string reason);
  void mistake(const Item& item, const std::string& key, std::string reason);
  void read_table(const toml::node& node, const std::string& key, std::string_view wants, const Uses& known);
  // One of two words; whether it was `yes`.
  bool one_of(const toml::node& node, const std::string& key, std::string_view yes, std::string_view no);
  std::vector<Item> items(const toml::node& node, const std::string& key, std::string_view wants, std::size_t most);
  // Whether it could be read.
  bool add_file(std::vector<Item>& out, const toml::node& node, const std::string& key, const std::string& path);
  pipeline::DigestSet digests(const toml::node& node, const std::string& key, bool sha256_only);
  std::vector<std::string> patterns(const toml::node& node, const std::string& key, std::string_view wants, bool paths);
  std::vector<pipeline::SbatGeneration> generations(const toml::node& node, const std::string& key);
  void read_firmware(pipeline::FirmwareRules& out, const toml::node& node, const std::string& key);
  void read_command_line(pipeline::FirmwareRules& out, const toml::node& node, const std::string& key);
  void read_ima(pipeline::ImaRules& out, const toml::node& node, const std::string& key);
  pipeline::Treatment treatment(const toml::node& node, const std::string& key, bool may_accept);
  void read_files(std::vector<pipeline::FileRule>& out, const toml::node& node, const std::string& key);
  void read_file_rule(pipeline::FileRule& out, const toml::node& node, const std::string& key);
  void read_key(pipeline::ImaRules& out, const toml::node& node, const std::string& key);

  const std::string& file_;
  const ReadFile& read_;
  Complain complain_;
  std::set<std::string> list_files_;  // their names as shown; items point to them
};

// Everything they say, in one order, without the name.
std::string canonical(const pipeline::EvidenceRules& rules);

}  // namespace gatehouse::server::policy
