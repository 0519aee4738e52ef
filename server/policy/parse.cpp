// policy.toml, read into a Policy: every mistake in one run (docs/policy.md).
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <tuple>

#include "base/file.h"
#include "base/hex.h"
#include "base/toml.h"
#include "server/policy/distinguished_name.h"
#include "server/policy/policy.h"
#include "server/policy/rules.h"
#include "server/policy/software_reader.h"

namespace gatehouse::server::policy {
namespace {

constexpr std::size_t max_file = std::size_t(1) << 20;
constexpr std::size_t max_path = 4096, max_name = 128, max_text = 1024;

// What the file says of an entry before inheritance; nothing: inherited.
struct Choice {
  std::optional<Recommendation> on_fail, on_noresult;
  std::optional<std::chrono::seconds> max_age, grace;
};

struct DraftEntry {
  std::size_t line = 0;
  Choice choice;
  Enforcement enforcement;
};

struct DraftGroup {
  Group group;
  std::size_t line = 0, parent_line = 0;
  std::string parent;
  bool names_members = false;  // even by an empty list: "nobody yet" isn't "everybody"
  Choice choice;
  std::optional<std::string> rules, software;  // "none" or a name; nothing: inherited
  std::vector<DraftEntry> entries;
};

using Use = std::function<void(const toml::node&, const std::string&)>;
using Uses = std::map<std::string, Use, std::less<>>;

std::vector<std::string_view> names_of(const Uses& known) {
  std::vector<std::string_view> out;
  for (const auto& [name, _] : known) out.push_back(name);
  return out;
}

// Control characters would forge lines of a log or of an endpoint's dialogue.
bool printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

// The letters of `known` that a blank-separated list names, in the order of `known`.
std::optional<std::string> letters_of(std::string_view text, std::string_view known) {
  std::string out;
  for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != text.npos;) {
    const std::string_view item = text.substr(at, text.find(' ', at) - at);
    if (item.size() != 1 || known.find(item) == known.npos || out.find(item) != out.npos) return std::nullopt;
    out += item;
    at += item.size();
  }
  std::sort(out.begin(), out.end(), [&](char a, char b) { return known.find(a) < known.find(b); });
  return out;
}

// As a kernel reports paths: absolute, nothing to resolve in them.
bool is_path(std::string_view path) {
  if (path.empty() || path.front() != '/' || path.size() > max_path || !printable(path)) return false;
  for (std::size_t at = 0; at != path.npos && path != "/";) {
    const std::size_t next = path.find('/', at + 1);
    const std::string_view part = path.substr(at + 1, next == path.npos ? next : next - at - 1);
    if (part.empty() || part == "." || part == "..") return false;
    at = next;
  }
  return true;
}

bool is_file_type(Type t) { return t == Type::frefm || t == Type::fmeas || t == Type::fmeta; }
bool is_directory_type(Type t) { return t == Type::drefm || t == Type::dmeas || t == Type::dmeta; }
bool is_port_type(Type t) { return t >= Type::tcpop && t <= Type::udpbl; }

std::string joined(std::string_view letters) {
  std::string out;
  for (const char c : letters) {
    if (!out.empty()) out += ' ';
    out += c;
  }
  return out;
}

std::string argument_text(Type type, const Argument& a) {
  if (type == Type::pckgs) {
    if (a.packages.empty()) return {};
    return "sha256:" + digest_of(HashAlgorithm::sha256, as_bytes(a.packages.canonical())).hex();
  }
  if (is_port_type(type)) return a.ports.text();
  if (is_file_type(type) || is_directory_type(type)) return a.path;
  return joined(a.letters);
}

Enforcement tpm_attestation(Recommendation on_fail, Recommendation on_noresult) {
  Enforcement out;
  out.type = Type::tpmra;
  out.argument.letters = "BI";
  out.argument_text = argument_text(out.type, out.argument);
  out.on_fail = on_fail;
  out.on_noresult = on_noresult;
  return out;
}

class PolicyReader {
 public:
  PolicyReader(const std::string& file, const ReadFile& read)
      : file_(file), read_(read), out_(std::make_shared<Policy>()) {
    out_->file = file;
  }

  std::expected<PolicyPtr, Mistakes> run(std::string_view text, std::shared_ptr<const PolicySource> source);

 private:
  void mistake(std::size_t line, std::string key, std::string reason, const std::string* file = nullptr) {
    mistakes_.list.push_back({file == nullptr ? file_ : *file, line, escaped(key), escaped(reason)});
  }
  void mistake(const toml::node& node, const std::string& key, std::string reason) {
    mistake(line_of(node), key, std::move(reason));
  }

  void read_table(const toml::node& node, const std::string& prefix, const Uses& known);
  std::optional<std::string> string(const toml::node& node, const std::string& key, std::string_view wants,
                                    std::size_t most = max_text);
  Use strings(std::string_view wants, std::function<void(const toml::node&, const std::string&, std::string)> each);
  Use recommendation(std::optional<Recommendation>& slot);
  Use age(std::optional<std::chrono::seconds>& slot);
  std::optional<toml::table> parse(std::string_view text, const std::string& file);

  void read_policy_table(const toml::node& node, const std::string& key);
  void read_messages(const toml::table& languages, const std::string& prefix, const std::string& file);
  void read_rules(const toml::node& node, const std::string& key);
  void read_software(const toml::node& node, const std::string& key);
  struct NamedRules {
    std::size_t line;
    std::string key, name;
  };
  Use rules_name(std::optional<std::string>& slot, std::vector<NamedRules>& named, std::string_view table);
  Use rules_name(std::optional<std::string>& slot) { return rules_name(slot, named_rules_, "[rules.NAME]"); }
  Use software_name(std::optional<std::string>& slot) { return rules_name(slot, named_software_, "[software.NAME]"); }
  bool good_rules_name(std::string_view name, const toml::node& node, const std::string& key);
  pipeline::EvidenceRulesPtr rules_named(const std::optional<std::string>& name) const;
  SoftwareRulesPtr software_named(const std::optional<std::string>& name) const;
  void read_certificate_name(CertificatePattern::Attributes& out, const toml::key& type, const toml::node& value,
                             const std::string& key);
  void read_certificates(Group& group, const toml::node& node, const std::string& key);
  Use times(TimeSpans& slot);
  void read_group(std::string_view name, const toml::node& node);
  void read_ask(DraftGroup& draft, const toml::node& node, const std::string& key);
  void read_entry(DraftGroup& draft, const toml::node& node, const std::string& key);
  void read_argument(Enforcement& e, const toml::node* node, std::size_t line, const std::string& key);
  void read_package(PackageRules& rules, PackageState state, const toml::node& node, const std::string& key,
                    std::string text);
  void read_needed_package(PackageRules& rules, bool required, const toml::node& node, const std::string& key,
                           std::string_view text);

  void link_groups();
  void inherit();
  void check_groups();
  void make_digest();

  const std::string& file_;
  const ReadFile& read_;
  std::shared_ptr<Policy> out_;
  Mistakes mistakes_;
  std::vector<DraftGroup> drafts_;
  std::optional<Recommendation> on_fail_, on_noresult_;
  std::optional<std::string> rules_, software_;
  std::vector<NamedRules> named_rules_, named_software_;  // to look up when all are read
  const toml::table* messages_ = nullptr;
};

void PolicyReader::read_table(const toml::node& node, const std::string& prefix, const Uses& known) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return mistake(node, prefix, "wants a table");
  for (const auto& [key, value] : *table) {
    const std::string full = prefix.empty() ? std::string(key.str()) : prefix + '.' + std::string(key.str());
    const auto use = known.find(key.str());
    if (use == known.end())
      mistake(key.source().begin.line, full, unknown_key(key.str(), names_of(known)));
    else
      use->second(value, full);
  }
}

std::optional<std::string> PolicyReader::string(const toml::node& node, const std::string& key, std::string_view wants,
                                                std::size_t most) {
  const auto text = node.value<std::string>();
  if (node.is_string() && text && !text->empty() && text->size() <= most && printable(*text)) return text;
  mistake(node, key, std::string(wants));
  return std::nullopt;
}

Use PolicyReader::strings(std::string_view wants,
                          std::function<void(const toml::node&, const std::string&, std::string)> each) {
  return [this, wants, each = std::move(each)](const toml::node& node, const std::string& key) {
    const toml::array* const list = node.as_array();
    if (list == nullptr) return mistake(node, key, "wants a list: " + std::string(wants));
    for (const toml::node& item : *list)
      if (auto text = string(item, key, wants)) each(item, key, *std::move(text));
  };
}

Use PolicyReader::recommendation(std::optional<Recommendation>& slot) {
  return [this, &slot](const toml::node& node, const std::string& key) {
    const std::string v = node.value_or(std::string());
    slot.reset();
    if (v == "allow")
      slot = Recommendation::allow;
    else if (v == "isolate")
      slot = Recommendation::isolate;
    else if (v == "block")
      slot = Recommendation::block;
    else if (v == "none")
      slot = Recommendation::none;
    else if (v != "inherit")
      mistake(node, key, "is one of allow, isolate, block, none, inherit");
  };
}

Use PolicyReader::age(std::optional<std::chrono::seconds>& slot) {
  return [this, &slot](const toml::node& node, const std::string& key) {
    const std::string v = node.value_or(std::string());
    slot.reset();
    if (v == "inherit") return;
    slot = duration(v);
    if (!slot) mistake(node, key, "wants a duration such as \"12h\" or \"1d12h\" of at most ten years, or \"inherit\"");
  };
}

// Names are looked up by check_rules(), when all tables are read.
Use PolicyReader::rules_name(std::optional<std::string>& slot, std::vector<NamedRules>& named, std::string_view table) {
  return [this, &slot, &named, table](const toml::node& node, const std::string& key) {
    slot.reset();
    const auto name =
        string(node, key, "wants the name of a table " + std::string(table) + ", \"none\" or \"inherit\"");
    if (!name || *name == "inherit") return;
    slot = name;
    if (*name != "none") named.push_back({line_of(node), key, *name});
  };
}

bool PolicyReader::good_rules_name(std::string_view name, const toml::node& node, const std::string& key) {
  if (!name.empty() && name.size() <= max_name && printable(name) && name != "none" && name != "inherit") return true;
  mistake(node, key, "a name of rules is one line of 1 to 128 bytes, not \"none\" and not \"inherit\"");
  return false;
}

std::optional<toml::table> PolicyReader::parse(std::string_view text, const std::string& file) {
  auto table = parse_toml(text, file);
  if (table) return std::move(*table);
  mistake(table.error().line, "toml", table.error().reason, &file);
  return std::nullopt;
}

void PolicyReader::read_policy_table(const toml::node& node, const std::string& key) {
  Policy& p = *out_;
  read_table(node, key,
             {{"combine",
               [&](const toml::node& n, const std::string& k) {
                 const std::string v = n.value_or(std::string());
                 if (v == "any") {
                   p.combine = Combine::any;
                   p.warnings.push_back(file_ + ":" + std::to_string(line_of(n)) + ": " + k +
                                        ": any: one satisfied validator opens the network, whatever the others found");
                 } else if (v == "all") {
                   p.combine = Combine::all;
                 } else if (v != "default") {
                   mistake(n, k, "is one of default, any, all");
                 }
               }},
              {"unknown_devices",
               [&](const toml::node& n, const std::string& k) {
                 const std::string v = n.value_or(std::string());
                 if (v == "block")
                   p.unknown_devices = Recommendation::block;
                 else if (v != "isolate")
                   mistake(n, k, "is isolate or block: a device that isn't known is never allowed");
               }},
              {"on_error",
               [&](const toml::node& n, const std::string& k) {
                 const std::string v = n.value_or(std::string());
                 if (v == "isolate")
                   p.on_error = Recommendation::isolate;
                 else if (v != "block")
                   mistake(n, k, "is block or isolate: a failure of the server never allows");
               }},
              {"on_fail", recommendation(on_fail_)},
              {"on_noresult", recommendation(on_noresult_)},
              {"rules", rules_name(rules_)},
              {"software", software_name(software_)},
              {"remediation_uri",
               [&](const toml::node& n, const std::string& k) {
                 const auto v = string(n, k, "wants a URI such as \"https://help.example.org/nac\"");
                 if (!v) return;
                 const auto colon = v->find(':');
                 const bool ascii = std::all_of(v->begin(), v->end(), [](char c) { return c > ' ' && c < 0x7f; });
                 if (colon == v->npos || colon == 0 || colon + 1 == v->size() || !ascii)
                   return mistake(n, k, "wants a URI such as \"https://help.example.org/nac\"");
                 p.remediation_uri = *v;
               }},
              {"catalogue",
               [&](const toml::node& n, const std::string& k) {
                 const auto v = string(n, k, "wants the path of a file", max_path);
                 if (!v) return;
                 const auto content = read_(*v);
                 if (!content) return mistake(n, k, content.error().text());
                 std::filesystem::path at(*v);
                 if (at.is_relative()) at = std::filesystem::path(file_).parent_path() / at;
                 const std::string shown = at.lexically_normal().string();
                 if (const auto table = parse(*content, shown)) read_messages(*table, {}, shown);
               }},
              // Read last: what stands here goes before the catalogue's wording.
              {"messages", [&](const toml::node& n, const std::string& k) {
                 messages_ = n.as_table();
                 if (messages_ == nullptr)
                   mistake(n, k, "wants a table for each language, such as [policy.messages.de]");
               }}});
  if (messages_ != nullptr) read_messages(*messages_, key + ".messages", file_);
}

void PolicyReader::read_messages(const toml::table& languages, const std::string& prefix, const std::string& file) {
  const auto full = [&](std::string_view a, std::string_view b = {}) {
    std::string out = prefix.empty() ? std::string(a) : prefix + '.' + std::string(a);
    if (!b.empty()) out += ".\"" + std::string(b) + '"';
    return out;
  };
  for (const auto& [tag, node] : languages) {
    const std::size_t line = tag.source().begin.line;
    const toml::table* const wordings = node.as_table();
    if (!is_language_tag(tag.str())) {
      mistake(line, full(tag.str()), "is no language tag such as \"de\" or \"pt-BR\"", &file);
      continue;
    }
    if (wordings == nullptr) {
      mistake(line, full(tag.str()), "wants a table: \"English text\" = \"translation\"", &file);
      continue;
    }
    for (const auto& [english, value] : *wordings) {
      const auto wording = value.value<std::string>();
      if (std::find(texts().begin(), texts().end(), english.str()) == texts().end())
        mistake(english.source().begin.line, full(tag.str(), english.str()),
                "is no text of Gatehouse (docs/policy.md lists them)", &file);
      else if (!value.is_string() || !wording || wording->empty() || wording->size() > max_text || !printable(*wording))
        mistake(line_of(value), full(tag.str(), english.str()), "wants one line of text, at most 1024 bytes", &file);
      else
        out_->catalogue.add(tag.str(), english.str(), *wording);
    }
  }
}

void PolicyReader::read_rules(const toml::node& node, const std::string& key) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return mistake(node, key, "wants a table for each set of rules, such as [rules.servers]");
  if (table->size() > max_rules) return mistake(node, key, "more than 256 tables of rules");
  RulesReader reader(file_, read_,
                     [this](const std::string& file, std::size_t line, const std::string& at, std::string reason) {
                       mistake(line, at, std::move(reason), &file);
                     });
  for (const auto& [name, one] : *table) {
    const std::string full = key + '.' + std::string(name.str());
    if (good_rules_name(name.str(), one, full)) out_->rules.push_back(reader.read(name.str(), one, full));
  }
}

void PolicyReader::read_software(const toml::node& node, const std::string& key) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return mistake(node, key, "wants a table for each set of rules, such as [software.servers]");
  if (table->size() > max_software_tables) return mistake(node, key, "more than 256 tables of rules");
  SoftwareReader reader([this](std::size_t line, const std::string& at, std::string reason) {
    mistake(line, at, std::move(reason));
  });
  for (const auto& [name, one] : *table) {
    const std::string full = key + '.' + std::string(name.str());
    if (good_rules_name(name.str(), one, full)) out_->software.push_back(reader.read(name.str(), one, full));
  }
}

SoftwareRulesPtr PolicyReader::software_named(const std::optional<std::string>& name) const {
  const auto at = std::find_if(out_->software.begin(), out_->software.end(),
                               [&](const auto& r) { return name && r->name == *name; });
  return at == out_->software.end() ? nullptr : *at;
}

pipeline::EvidenceRulesPtr PolicyReader::rules_named(const std::optional<std::string>& name) const {
  const auto at =
      std::find_if(out_->rules.begin(), out_->rules.end(), [&](const auto& r) { return name && r->name == *name; });
  return at == out_->rules.end() ? nullptr : *at;
}

void PolicyReader::read_group(std::string_view name, const toml::node& node) {
  const std::string key = "groups." + std::string(name);
  if (name.empty() || name.size() > max_name || !printable(name))
    return mistake(node, key, "a group's name is one line of 1 to 128 bytes");
  DraftGroup& draft = drafts_.emplace_back();
  draft.group.name = name;
  draft.line = line_of(node);
  Group& g = draft.group;
  if (const toml::table* const table = node.as_table(); table != nullptr)
    for (const std::string_view member_key : {"devices", "products", "identities", "certificates", "default", "default_for"})
      draft.names_members = draft.names_members || table->contains(member_key);
  const auto append = [](std::vector<std::string>& slot) {
    return [&slot](const toml::node&, const std::string&, std::string text) { slot.push_back(std::move(text)); };
  };
  read_table(
      node, key,
      {{"description", [&](const toml::node& n, const std::string& k) { string(n, k, "wants one line of text"); }},
       {"parent",
        [&](const toml::node& n, const std::string& k) {
          draft.parent_line = line_of(n);
          if (auto v = string(n, k, "wants the name of a group")) draft.parent = *std::move(v);
        }},
       {"devices", strings("Device IDs", append(g.devices))},
       {"products", strings("product names such as \"Debian 12 x86_64\" or \"Debian *\"", append(g.products))},
       {"identities", strings("\"certificate:PATTERN\" or \"password:PATTERN\"",
                              [&](const toml::node& n, const std::string& k, const std::string& text) {
                                const auto colon = text.find(':');
                                const std::string kind = text.substr(0, colon);
                                if (colon == text.npos || colon + 1 == text.size() ||
                                    (kind != "certificate" && kind != "password"))
                                  return mistake(n, k, "wants \"certificate:PATTERN\" or \"password:PATTERN\"");
                                g.identities.push_back({kind, text.substr(colon + 1)});
                              })},
       {"certificates", [&](const toml::node& n, const std::string& k) { read_certificates(g, n, k); }},
       {"during", times(g.during)},
       {"except", times(g.except)},
       {"default",
        [&](const toml::node& n, const std::string& k) {
          const auto v = n.value<bool>();
          if (!n.is_boolean() || !v) return mistake(n, k, "wants true or false");
          g.fallback = *v;
        }},
       {"default_for", strings("product names such as \"Ubuntu *\"", append(g.product_fallback))},
       {"ask", [&](const toml::node& n, const std::string& k) { read_ask(draft, n, k); }},
       {"max_age", age(draft.choice.max_age)},
       {"grace", age(draft.choice.grace)},
       {"rules", rules_name(draft.rules)},
       {"software", software_name(draft.software)},
       {"on_fail", recommendation(draft.choice.on_fail)},
       {"on_noresult", recommendation(draft.choice.on_noresult)}});
}

void PolicyReader::read_certificates(Group& group, const toml::node& node, const std::string& key) {
  constexpr std::string_view wants = "wants a list of tables such as { O = \"Example\", dns = \"*.example.org\" }";
  const toml::array* const list = node.as_array();
  if (list == nullptr) return mistake(node, key, std::string(wants));
  for (const toml::node& one : *list) {
    const toml::table* const table = one.as_table();
    if (table == nullptr || table->empty()) {
      mistake(one, key, std::string(wants));
      continue;
    }
    CertificatePattern& pattern = group.certificates.emplace_back();
    for (const auto& [type, value] : *table) {
      const std::string full = key + '.' + std::string(type.str());
      if (type.str() == "issuer") {
        if (const toml::table* const names = value.as_table(); names == nullptr || names->empty())
          mistake(value, full, "wants a table such as { CN = \"Device CA*\" }");
        else
          for (const auto& [of_issuer, one_value] : *names)
            read_certificate_name(pattern.issuer, of_issuer, one_value, full + '.' + std::string(of_issuer.str()));
      } else if (type.str() == "dns" || type.str() == "email" || type.str() == "uri") {
        if (auto text = string(value, full, "wants the value of a subjectAltName; `*` stands for any characters"))
          pattern.names.emplace_back(type.str(), *std::move(text));
      } else {
        read_certificate_name(pattern.attributes, type, value, full);
      }
    }
    for (auto* const list_of : {&pattern.attributes, &pattern.issuer, &pattern.names}) std::sort(list_of->begin(), list_of->end());
  }
}

void PolicyReader::read_certificate_name(CertificatePattern::Attributes& out, const toml::key& type, const toml::node& value,
                                         const std::string& key) {
  if (!is_attribute_type(type.str()) || type.str().size() > max_name)
    mistake(type.source().begin.line, key, "is no attribute of a name, such as CN, O, OU, C or serialNumber");
  else if (auto text = string(value, key, "wants the value of the attribute; `*` stands for any characters"))
    out.emplace_back(type.str(), *std::move(text));
}

Use PolicyReader::times(TimeSpans& slot) {
  const Use each = strings("times such as \"Mon-Fri 07:00-19:00\"",
                           [this, &slot](const toml::node& n, const std::string& k, const std::string& text) {
                             if (const auto added = slot.add(text); !added) mistake(n, k, std::string(added.error().reason));
                           });
  return [this, each](const toml::node& node, const std::string& key) {
    if (const toml::array* const list = node.as_array(); list != nullptr && list->empty())
      return mistake(node, key, "is empty: leave the key out where no times are meant");
    each(node, key);
  };
}

void PolicyReader::read_ask(DraftGroup& draft, const toml::node& node, const std::string& key) {
  const toml::array* const list = node.as_array();
  if (list == nullptr) return mistake(node, key, "wants a list of types such as [\"TPMRA\", \"PCKGS\"]");
  for (const toml::node& item : *list) read_entry(draft, item, key);
}

void PolicyReader::read_entry(DraftGroup& draft, const toml::node& node, const std::string& key) {
  constexpr std::string_view wants_type =
      "wants a type: DENY, PCKGS, UNSRC, FWDEN, PWDEN, FREFM, FMEAS, FMETA, DREFM, DMEAS, DMETA, "
      "TCPOP, TCPBL, UDPOP, UDPBL, SWIDT, TPMRA";
  const toml::table* const table = node.as_table();
  const toml::node* const type_node = table == nullptr ? &node : table->get("type");
  const std::string type_key = table == nullptr ? key : key + ".type";
  if (type_node == nullptr) return mistake(node, type_key, "is missing");
  const auto text = type_node->value<std::string>();
  const auto type = type_node->is_string() && text ? type_named(*text) : std::nullopt;
  if (!type) return mistake(*type_node, type_key, std::string(wants_type));

  const std::size_t mistakes_before = mistakes_.list.size();
  DraftEntry entry;
  entry.line = line_of(node);
  Enforcement& e = entry.enforcement;
  e.type = *type;
  const toml::node* argument = nullptr;
  if (table != nullptr) {
    Uses known = {{"type", [](const toml::node&, const std::string&) {}}};
    if (*type != Type::deny) {
      known["on_fail"] = recommendation(entry.choice.on_fail);
      known["on_noresult"] = recommendation(entry.choice.on_noresult);
      known["max_age"] = age(entry.choice.max_age);
      if (*type != Type::tpmra) known["grace"] = age(entry.choice.grace);
    }
    if (*type == Type::pckgs) {
      const auto rules = [&](PackageState state) {
        return strings("packages such as \"telnetd *\" or \"openssl < 3.0.11-1\"",
                       [this, &e, state](const toml::node& n, const std::string& k, std::string rule) {
                         read_package(e.argument.packages, state, n, k, std::move(rule));
                       });
      };
      known["blacklisted"] = rules(PackageState::blacklisted);
      known["vulnerable"] = rules(PackageState::vulnerable);
      const auto needed = [&](bool required, std::string_view wants) {
        return strings(wants, [this, &e, required](const toml::node& n, const std::string& k, const std::string& rule) {
          read_needed_package(e.argument.packages, required, n, k, rule);
        });
      };
      known["required"] = needed(true, "packages such as \"auditd\" or \"auditd >= 1:3.0.9-1\"");
      known["minimum"] = needed(false, "packages such as \"openssl >= 3.0.11-1\"");
    } else if (*type >= Type::frefm) {
      known["argument"] = [&](const toml::node& n, const std::string&) { argument = &n; };
    }
    read_table(*table, key, known);
  }
  if (*type >= Type::frefm) read_argument(e, argument, entry.line, key + ".argument");
  if (mistakes_.list.size() != mistakes_before) return;
  e.argument_text = argument_text(*type, e.argument);
  const auto same = [&](const DraftEntry& other) {
    const Enforcement& o = other.enforcement;
    return o.type == *type && (o.argument_text == e.argument_text || *type == Type::swidt || *type == Type::tpmra);
  };
  if (std::any_of(draft.entries.begin(), draft.entries.end(), same))
    return mistake(node, key, std::string(name(*type)) + " is asked for twice in this group");
  draft.entries.push_back(std::move(entry));
}

void PolicyReader::read_argument(Enforcement& e, const toml::node* node, std::size_t line, const std::string& key) {
  const auto text = node == nullptr ? std::nullopt : node->value<std::string>();
  if (node != nullptr && (!node->is_string() || !text)) return mistake(*node, key, "wants a string");
  if (node != nullptr) line = line_of(*node);
  if (e.type == Type::tpmra) {
    const auto letters = text ? letters_of(*text, "BIT") : std::string("BI");
    if (!letters || letters->empty())
      return mistake(line, key, "wants letters of B (firmware log), I (IMA list), T (tboot), such as \"B I\"");
    e.argument.letters = *letters;
  } else if (e.type == Type::swidt) {
    const auto letters = letters_of(text.value_or(""), "RSCT");
    if (!letters)
      return mistake(line, key,
                     "wants letters of R (identifiers only), S (subscribe), C (clear), T (tags too), such as \"R S\"");
    if (letters->find('S') != letters->npos && letters->find('C') != letters->npos)
      return mistake(line, key, "S and C exclude each other");
    e.argument.letters = *letters;
  } else if (is_port_type(e.type)) {
    auto ports = PortSet::parse(text.value_or(""));
    if (!ports) return mistake(line, key, std::string(ports.error().reason));
    if (ports->empty() && (e.type == Type::tcpbl || e.type == Type::udpbl))
      return mistake(line, key, "wants the forbidden ports, such as \"23 6000-6063\"");
    e.argument.ports = *std::move(ports);
  } else {
    std::string path = text.value_or("");
    if (is_directory_type(e.type) && path.size() > 1 && path.ends_with('/')) path.pop_back();
    if (!is_path(path) || (is_file_type(e.type) && path == "/"))
      return mistake(line, key,
                     is_file_type(e.type) ? "wants the absolute path of a file, without //, . and .."
                                          : "wants the absolute path of a directory, without //, . and ..");
    e.argument.path = std::move(path);
  }
}

void PolicyReader::read_package(PackageRules& rules, PackageState state, const toml::node& node, const std::string& key,
                                std::string text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; (at = text.find_first_not_of(' ', at)) != text.npos;) {
    const std::size_t end = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  PackageRule rule;
  if (words.size() == 3 && words[1] == "=") words.erase(words.begin() + 1);
  if (words.size() == 2) {
    rule.package = words[0];
    rule.match = words[1] == "*" ? PackageRule::Match::any : PackageRule::Match::equal;
    if (words[1] != "*") rule.version = words[1];
  } else if (words.size() == 3 && (words[1] == "<" || words[1] == "<=")) {
    rule.package = words[0];
    rule.match = words[1] == "<" ? PackageRule::Match::less : PackageRule::Match::less_equal;
    rule.version = words[2];
    // The product decides how versions are compared; what neither scheme can read is a slip.
    if (!compare_versions(VersionScheme::dpkg, rule.version, rule.version))
      return mistake(node, key, "wants a version after " + words[1]);
  } else {
    return mistake(node, key, "wants \"NAME *\", \"NAME = VERSION\", \"NAME < VERSION\" or \"NAME <= VERSION\"");
  }
  if (rule.version == "<" || rule.version == "<=" || rule.version == "=")
    return mistake(node, key, "wants a version after " + rule.version);
  rules.add(state, std::move(rule));
}

// "auditd", "auditd >= VERSION": has to be installed; or, not `required`, has to be new enough where it is.
void PolicyReader::read_needed_package(PackageRules& rules, bool required, const toml::node& node, const std::string& key,
                                       std::string_view text) {
  const std::size_t at = text.find(" >= ");
  PackageRule rule;
  rule.package = text.substr(0, at);
  if (at != text.npos) {
    rule.match = PackageRule::Match::at_least;
    rule.version = text.substr(at + 4);
  }
  const bool good = !rule.package.empty() && rule.package.find_first_of(" <>=*") == std::string::npos &&
                    rule.version.find(' ') == std::string::npos && (at == text.npos) == rule.version.empty() &&
                    (required || at != text.npos);
  if (!good) return mistake(node, key, required ? "wants \"NAME\" or \"NAME >= VERSION\"" : "wants \"NAME >= VERSION\"");
  if (at != text.npos && !compare_versions(VersionScheme::dpkg, rule.version, rule.version))
    return mistake(node, key, "wants a version after >=");
  if (required) return rules.require(std::move(rule));
  rule.match = PackageRule::Match::less;
  rules.add(PackageState::vulnerable, std::move(rule));
}

// Names of parents to indices; a parent that isn't there, and each group of a cycle, is a mistake.
void PolicyReader::link_groups() {
  const auto index = [&](std::string_view name) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < drafts_.size(); ++i)
      if (drafts_[i].group.name == name) return i;
    return std::nullopt;
  };
  const auto key = [](const DraftGroup& d) { return "groups." + d.group.name + ".parent"; };
  for (DraftGroup& draft : drafts_) {
    if (draft.parent.empty()) continue;
    draft.group.parent = index(draft.parent);
    if (!draft.group.parent) mistake(draft.parent_line, key(draft), "no group is called \"" + draft.parent + "\"");
  }
  std::vector<std::size_t> cyclic;
  for (std::size_t i = 0; i < drafts_.size(); ++i) {
    std::size_t depth = 0;
    auto at = drafts_[i].group.parent;
    for (; at && *at != i && depth <= drafts_.size(); at = drafts_[*at].group.parent) ++depth;
    if (at && *at == i) {
      mistake(drafts_[i].parent_line, key(drafts_[i]), "the group is its own ancestor");
      cyclic.push_back(i);
    } else if (!at && depth > max_group_depth) {
      mistake(drafts_[i].parent_line, key(drafts_[i]),
              "more than " + std::to_string(max_group_depth) + " groups above");
    }
  }
  for (const std::size_t i : cyclic) drafts_[i].group.parent.reset();
}

void PolicyReader::inherit() {
  out_->ungrouped = {
      tpm_attestation(on_fail_.value_or(Recommendation::isolate), on_noresult_.value_or(Recommendation::isolate))};
  out_->ungrouped.front().rules = rules_named(rules_);
  const auto no_rules = [&](const NamedRules& one, std::string_view table) {
    mistake(one.line, one.key,
            "no rules are called \"" + one.name + "\": wants the name of a table " + std::string(table) +
                ", \"none\" or \"inherit\"");
  };
  for (const NamedRules& one : named_rules_)
    if (!rules_named(one.name)) no_rules(one, "[rules.NAME]");
  for (const NamedRules& one : named_software_)
    if (!software_named(one.name)) no_rules(one, "[software.NAME]");
  for (DraftGroup& draft : drafts_) {
    Choice above = draft.choice;
    std::optional<std::string> rules = draft.rules, software = draft.software;
    for (auto at = draft.group.parent; at; at = drafts_[*at].group.parent) {
      const Choice& choice = drafts_[*at].choice;
      if (!above.on_fail) above.on_fail = choice.on_fail;
      if (!above.on_noresult) above.on_noresult = choice.on_noresult;
      if (!above.max_age) above.max_age = choice.max_age;
      if (!above.grace) above.grace = choice.grace;
      if (!rules) rules = drafts_[*at].rules;
      if (!software) software = drafts_[*at].software;
    }
    for (DraftEntry& entry : draft.entries) {
      Enforcement& e = entry.enforcement;
      const auto pick = [](const auto& first, const auto& second, const auto& third, auto otherwise) {
        return first ? *first : second ? *second : third ? *third : otherwise;
      };
      e.on_fail = pick(entry.choice.on_fail, above.on_fail, on_fail_, Recommendation::isolate);
      e.on_noresult = pick(entry.choice.on_noresult, above.on_noresult, on_noresult_, Recommendation::isolate);
      // A machine may have booted into something else since: TPMRA is asked each time unless its own entry says
      // otherwise (spec part 2 §9.4).
      if (e.type != Type::tpmra) e.max_age = above.max_age.value_or(std::chrono::seconds(0));
      if (entry.choice.max_age) e.max_age = *entry.choice.max_age;
      // Nor is a machine whose evidence fails let in for a while.
      if (e.type != Type::tpmra && e.type != Type::deny)
        e.grace = entry.choice.grace ? *entry.choice.grace : above.grace.value_or(std::chrono::seconds(0));
      if (e.type == Type::tpmra) e.rules = rules_named(rules ? rules : rules_);
      if (e.type == Type::swidt) e.software = software_named(software ? software : software_);
      draft.group.ask.push_back(std::move(e));
    }
    Group& g = draft.group;
    g.everyone = draft.parent.empty() && !draft.names_members;
  }
}

void PolicyReader::check_groups() {
  std::set<std::pair<Type, std::string>> items;
  const DraftGroup* fallback = nullptr;
  std::map<std::string, std::string> product_fallback;
  for (const DraftGroup& draft : drafts_) {
    const Group& g = draft.group;
    for (const Enforcement& e : g.ask)
      if (e.type != Type::deny && items.emplace(e.type, e.argument_text).second && items.size() == max_work_items + 1)
        mistake(draft.line, "groups." + g.name + ".ask", "more than 256 different items are asked for in all");
    if (g.fallback && fallback != nullptr)
      mistake(draft.line, "groups." + g.name + ".default",
              "the group \"" + fallback->group.name + "\" is the default already");
    if (g.fallback && fallback == nullptr) fallback = &draft;
    for (const std::string& product : g.product_fallback)
      if (const auto [at, fresh] = product_fallback.emplace(product, g.name); !fresh)
        mistake(draft.line, "groups." + g.name + ".default_for",
                "\"" + product + "\" is in the group \"" + at->second + "\" already");
  }
}

// One text for one meaning: sets in order, inherited values in place, comments gone.
void PolicyReader::make_digest() {
  Policy& p = *out_;
  std::string text = "gatehouse policy 1\n";
  const auto line = [&](std::string_view key, std::string_view value) {
    (text += key) += ' ';
    (text += value) += '\n';
  };
  const auto list = [&](std::string_view key, std::vector<std::string> values) {
    std::sort(values.begin(), values.end());
    for (const std::string& value : values) line(key, value);
  };
  line("combine", name(p.combine));
  line("unknown_devices", pipeline::name(p.unknown_devices));
  line("on_error", pipeline::name(p.on_error));
  line("remediation_uri", p.remediation_uri);
  const auto entry = [&](const Enforcement& e) {
    line("ask", name(e.type));
    line("argument", e.argument_text);
    line("on_fail", pipeline::name(e.on_fail));
    line("on_noresult", pipeline::name(e.on_noresult));
    line("max_age", std::to_string(e.max_age.count()));
    if (e.grace.count() != 0) line("grace", std::to_string(e.grace.count()));
    if (e.rules) line("rules", e.rules->name);
    if (e.software) line("software", e.software->name);
  };
  for (const pipeline::EvidenceRulesPtr& rules : p.rules) text += "rules " + rules->name + '\n' + canonical(*rules);
  for (const SoftwareRulesPtr& rules : p.software) text += "software " + rules->name + '\n' + rules->canonical();
  for (const Enforcement& e : p.ungrouped) entry(e);
  for (const Group& g : p.groups) {
    line("group", g.name);
    line("parent", g.parent ? p.groups[*g.parent].name : std::string());
    line("default", g.fallback ? "true" : "false");
    list("device", g.devices);
    list("product", g.products);
    list("default_for", g.product_fallback);
    std::vector<std::string> identities;
    for (const IdentityPattern& i : g.identities) identities.push_back(i.kind + ':' + i.pattern);
    list("identity", identities);
    std::vector<std::string> certificates;
    for (const CertificatePattern& one : g.certificates) {
      std::string& all = certificates.emplace_back();
      for (const auto& [type, pattern] : one.attributes) all += type + '=' + pattern + '\0';
      for (const auto& [type, pattern] : one.issuer) all += "issuer." + type + '=' + pattern + '\0';
      for (const auto& [kind, pattern] : one.names) all += kind + ':' + pattern + '\0';
    }
    list("certificate", certificates);
    list("during", g.during.texts());
    list("except", g.except.texts());
    for (const Enforcement& e : g.ask) entry(e);
  }
  text += canonical(p.catalogue);
  p.digest = digest_of(HashAlgorithm::sha256, as_bytes(text));
}

std::expected<PolicyPtr, Mistakes> PolicyReader::run(std::string_view text, std::shared_ptr<const PolicySource> source) {
  out_->source = std::move(source);
  if (const auto root = parse(text, file_)) {
    read_table(*root, {},
               {{"policy", [&](const toml::node& n, const std::string& k) { read_policy_table(n, k); }},
                {"rules", [&](const toml::node& n, const std::string& k) { read_rules(n, k); }},
                {"software", [&](const toml::node& n, const std::string& k) { read_software(n, k); }},
                {"groups", [&](const toml::node& n, const std::string& k) {
                   const toml::table* const table = n.as_table();
                   if (table == nullptr) return mistake(n, k, "wants a table for each group, such as [groups.servers]");
                   if (table->size() > max_groups) return mistake(n, k, "more than 1024 groups");
                   drafts_.reserve(table->size());
                   for (const auto& [name, node] : *table) read_group(name.str(), node);
                 }}});
    link_groups();
    inherit();
    check_groups();
  }
  if (!mistakes_.list.empty()) {
    std::sort(mistakes_.list.begin(), mistakes_.list.end(), [this](const Mistake& a, const Mistake& b) {
      return std::tuple(a.file != file_, std::tie(a.file, a.line, a.key, a.reason)) <
             std::tuple(b.file != file_, std::tie(b.file, b.line, b.key, b.reason));
    });
    return std::unexpected(std::move(mistakes_));
  }
  for (DraftGroup& draft : drafts_) {
    auto& ask = draft.group.ask;
    std::sort(ask.begin(), ask.end(), [](const Enforcement& a, const Enforcement& b) {
      return std::tie(a.type, a.argument_text) < std::tie(b.type, b.argument_text);
    });
    out_->groups.push_back(std::move(draft.group));
  }
  make_digest();
  return out_;
}

}  // namespace

std::expected<PolicyPtr, Mistakes> parse_policy(std::string_view text, const std::string& file, const ReadFile& read) {
  auto source = std::make_shared<PolicySource>();
  source->file = file;
  source->text = text;
  const ReadFile noting = [&](const std::string& named) {
    auto content = read(named);
    if (content) source->files[named] = *content;
    return content;
  };
  return PolicyReader(file, noting).run(text, source);
}

std::expected<PolicyPtr, Mistakes> read_policy(const PolicySource* source) {
  if (source == nullptr) return built_in_policy();
  return parse_policy(source->text, source->file, [&](const std::string& named) -> Result<std::string> {
    const auto at = source->files.find(named);
    if (at == source->files.end()) return fail(Fault::malformed, "the policy names a file that wasn't kept with it");
    return at->second;
  });
}

std::expected<PolicyPtr, Mistakes> read_policy(const std::string& path) {
  const auto load = [](const std::string& from) -> Result<std::string> {
    GH_TRY(const ByteVector bytes, read_file(from, max_file));
    return std::string(as_text(bytes));
  };
  auto text = load(path);
  if (!text) return std::unexpected(Mistakes{{}, std::move(text).error()});
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  return parse_policy(*text, path, [&](const std::string& named) { return load((folder / named).string()); });
}

PolicyPtr built_in_policy() {
  static const PolicyPtr policy = [] {
    auto out = std::make_shared<Policy>();
    out->ungrouped = {tpm_attestation(Recommendation::isolate, Recommendation::isolate)};
    out->digest = digest_of(HashAlgorithm::sha256, as_bytes("gatehouse policy: default"));
    return out;
  }();
  return policy;
}

}  // namespace gatehouse::server::policy
