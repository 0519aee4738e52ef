#include "server/policy/rules.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/hex.h"
#include "base/x509.h"
#include "server/policy/mistake.h"
#include "server/policy/times.h"

namespace gatehouse::server::policy {
namespace {

using pipeline::DigestSet;
using pipeline::EvidenceRules;
using pipeline::FirmwareRules;
using pipeline::ImaRules;
using pipeline::SbatGeneration;
using pipeline::SignatureKey;
using pipeline::Treatment;

constexpr std::size_t max_name = 255, max_text = 1024, max_path = 4096, max_key_file = std::size_t(64) << 10;
constexpr std::size_t least_rsa_bits = 2048;
constexpr std::string_view wants_digests =
    "wants SHA-1, SHA-256, SHA-384 or SHA-512 digests in hexadecimal, with or without \"sha256:\" in front";
constexpr std::string_view wants_sha256 = "wants SHA-256 digests in hexadecimal, with or without \"sha256:\" in front";
constexpr std::string_view wants_key =
    "wants the path of a file with an RSA or ECC public key (PEM) or a certificate (PEM or DER)";

std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

bool printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}

std::vector<std::string_view> names_of(const auto& table) {
  std::vector<std::string_view> out;
  for (const auto& [name, _] : table) out.push_back(name);
  return out;
}

template <class T>
void sort_once(std::vector<T>& list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
}

// "sha256:ab…" or "ab…", which its length tells.
std::optional<Digest> digest_of_text(std::string_view text) {
  std::string_view named;
  if (const auto colon = text.find(':'); colon != text.npos) {
    named = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  for (const HashAlgorithm algorithm : common_banks) {
    if (text.size() != 2 * digest_size(algorithm)) continue;
    if (!named.empty() && named != name(algorithm)) return std::nullopt;
    const auto bytes = from_hex(text);
    if (!bytes) return std::nullopt;
    return Digest(*bytes);
  }
  return std::nullopt;
}

Result<SignatureKey> key_of(std::string_view content) {
  constexpr std::string_view begin = "-----BEGIN";
  const std::size_t pem = content.find(begin);
  const auto with = [](const PublicKey& key, Bytes subject_key_id) {
    SignatureKey out{key, 0, {}};
    for (const std::byte b : subject_key_id.last(4)) out.id = out.id << 8 | std::to_integer<std::uint32_t>(b);
    return out;
  };
  const auto of_certificate = [&](const Certificate& c) {
    const Digest own = c.key().subject_key_id();
    return with(c.key(), c.subject_key_id().size() >= 4 ? Bytes(c.subject_key_id()) : own.view());
  };
  if (pem == content.npos) {
    GH_TRY(const Certificate certificate, Certificate::from_der(as_bytes(content)));
    return of_certificate(certificate);
  }
  if (content.find(begin, pem + 1) != content.npos)
    return fail(Fault::malformed, "more than one key or certificate in the file");
  if (content.substr(pem).starts_with("-----BEGIN CERTIFICATE-----")) {
    GH_TRY(const Certificate certificate, Certificate::from_pem(content));
    return of_certificate(certificate);
  }
  GH_TRY(const PublicKey key, PublicKey::from_pem(content));
  return with(key, key.subject_key_id().view());
}

}  // namespace

void RulesReader::mistake(const toml::node& node, const std::string& key, std::string reason) {
  complain_(file_, line_of(node), key, std::move(reason));
}
void RulesReader::mistake(const Item& item, const std::string& key, std::string reason) {
  complain_(*item.file, item.line, key, std::move(reason));
}

void RulesReader::read_table(const toml::node& node, const std::string& key, std::string_view wants,
                             const Uses& known) {
  const toml::table* const table = node.as_table();
  if (table == nullptr) return mistake(node, key, std::string(wants));
  for (const auto& [name, value] : *table) {
    const std::string full = key + '.' + std::string(name.str());
    const auto use = known.find(name.str());
    if (use == known.end())
      complain_(file_, name.source().begin.line, full, unknown_key(name.str(), names_of(known)));
    else
      use->second(value, full);
  }
}

bool RulesReader::one_of(const toml::node& node, const std::string& key, std::string_view yes, std::string_view no) {
  const std::string v = node.value_or(std::string());
  if (v != yes && v != no) mistake(node, key, "is " + std::string(yes) + " or " + std::string(no));
  return v == yes;
}

// The lines of a file, without comments and empty ones.
bool RulesReader::add_file(std::vector<Item>& out, const toml::node& node, const std::string& key,
                           const std::string& path) {
  const auto content = read_(path);
  if (!content) {
    mistake(node, key, content.error().text());
    return false;
  }
  std::filesystem::path at(path);
  if (at.is_relative()) at = std::filesystem::path(file_).parent_path() / at;
  const std::string& shown = *list_files_.insert(at.lexically_normal().string()).first;
  std::string_view rest = *content;
  for (std::size_t line = 1; !rest.empty() && out.size() <= max_list_items; ++line) {
    std::string_view one = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    one = trimmed(one.substr(0, one.find('#')));
    if (one.empty()) continue;
    if (one.size() > max_text || !printable(one)) {
      mistake(Item{&shown, line, {}}, key, "wants one item a line, at most 1024 bytes");
      return false;
    }
    out.push_back({&shown, line, std::string(one)});
  }
  return true;
}

// A list, or the file of one: "@FILE". Never empty without a mistake.
std::vector<RulesReader::Item> RulesReader::items(const toml::node& node, const std::string& key,
                                                  std::string_view wants, std::size_t most) {
  std::vector<Item> out;
  bool good = true;
  const auto add = [&](const toml::node& one) {
    const auto text = one.value<std::string>();
    if (!one.is_string() || !text || text->empty() || text->size() > max_text || !printable(*text)) {
      mistake(one, key, std::string(wants));
      good = false;
    } else if (text->starts_with('@')) {
      good = add_file(out, one, key, text->substr(1)) && good;
    } else {
      out.push_back({&file_, line_of(one), *text});
    }
  };
  if (const toml::array* const list = node.as_array()) {
    for (const toml::node& one : *list) add(one);
  } else if (node.is_string() && node.value_or(std::string()).starts_with('@')) {
    add(node);
  } else {
    mistake(node, key, "wants a list, or \"@FILE\" with an item a line: " + std::string(wants));
    return out;
  }
  if (out.empty() && good) mistake(node, key, "is empty: leave the key out where nothing is demanded");
  if (out.size() > most) {
    mistake(node, key, "more than " + std::to_string(most) + " items");
    out.clear();
  }
  return out;
}

DigestSet RulesReader::digests(const toml::node& node, const std::string& key, bool sha256_only) {
  const std::string_view wants = sha256_only ? wants_sha256 : wants_digests;
  DigestSet out;
  for (const Item& item : items(node, key, wants, max_list_items)) {
    const auto digest = digest_of_text(item.text);
    if (!digest || (sha256_only && digest->size != digest_size(HashAlgorithm::sha256)))
      mistake(item, key, std::string(wants));
    else
      out.push_back(*digest);
  }
  sort_once(out);
  return out;
}

std::vector<std::string> RulesReader::patterns(const toml::node& node, const std::string& key, std::string_view wants,
                                               bool paths) {
  std::vector<std::string> out;
  for (Item& item : items(node, key, wants, max_patterns)) {
    const bool path = item.text.front() == '/' || item.text.front() == '*';
    if ((paths && !path) || (!paths && item.text.find_first_of(" \t\"") != item.text.npos))
      mistake(item, key, std::string(wants));
    else
      out.push_back(std::move(item.text));
  }
  sort_once(out);
  return out;
}

std::vector<SbatGeneration> RulesReader::generations(const toml::node& node, const std::string& key) {
  constexpr std::string_view wants = "wants components and their least generations, such as \"shim,4\"";
  std::vector<SbatGeneration> out;
  for (const Item& item : items(node, key, wants, max_patterns)) {
    const std::size_t comma = item.text.rfind(',');
    SbatGeneration one{item.text.substr(0, comma), 0};
    const std::string_view number =
        comma == item.text.npos ? std::string_view() : std::string_view(item.text).substr(comma + 1);
    const auto [end, code] = std::from_chars(number.data(), number.data() + number.size(), one.generation);
    if (number.empty() || code != std::errc() || end != number.data() + number.size() || one.component.empty() ||
        one.component.find_first_of(", ") != one.component.npos) {
      mistake(item, key, std::string(wants));
    } else {
      out.push_back(std::move(one));
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
    return std::tie(a.component, a.generation) < std::tie(b.component, b.generation);
  });
  return out;
}

void RulesReader::read_command_line(FirmwareRules& out, const toml::node& node, const std::string& key) {
  constexpr std::string_view words =
      "words of the kernel's command line, such as \"ima_policy=*\", each without blanks and quotes";
  static const std::string wants = "wants " + std::string(words);
  pipeline::CommandLineRule& rule = out.command_line.emplace();
  const std::size_t in_table = node.is_table() ? node.as_table()->size() : 1;
  if (in_table == 0) mistake(node, key, "wants the keys require or forbid");
  read_table(
      node, key, "wants a table with the keys require and forbid",
      {{"require", [&](const toml::node& n, const std::string& k) { rule.required = patterns(n, k, wants, false); }},
       {"forbid", [&](const toml::node& n, const std::string& k) { rule.forbidden = patterns(n, k, wants, false); }}});
}

void RulesReader::read_firmware(FirmwareRules& out, const toml::node& node, const std::string& key) {
  read_table(
      node, key, "wants a table, such as [rules.servers.firmware]",
      {{"secure_boot",
        [&](const toml::node& n, const std::string& k) { out.secure_boot = one_of(n, k, "required", "reported"); }},
       {"debug",
        [&](const toml::node& n, const std::string& k) { out.no_debug = one_of(n, k, "refused", "reported"); }},
       {"revoked", [&](const toml::node& n, const std::string& k) { out.revoked = digests(n, k, true); }},
       {"authorities", [&](const toml::node& n, const std::string& k) { out.authorities = digests(n, k, false); }},
       {"boot_loaders", [&](const toml::node& n, const std::string& k) { out.boot_loaders = digests(n, k, false); }},
       {"sbat", [&](const toml::node& n, const std::string& k) { out.sbat = generations(n, k); }},
       {"command_line", [&](const toml::node& n, const std::string& k) { read_command_line(out, n, k); }}});
}

// "FILE", or { file = "FILE", paths = [...] }
void RulesReader::read_key(ImaRules& out, const toml::node& node, const std::string& key) {
  std::optional<std::string> path;
  std::vector<std::string> paths;
  const toml::node* at = &node;
  const auto take = [&](const toml::node& n, const std::string& k) {
    const auto text = n.value<std::string>();
    at = &n;
    if (n.is_string() && text && !text->empty() && text->size() <= max_path && printable(*text))
      path = *text;
    else
      mistake(n, k, std::string(wants_key));
  };
  if (node.is_table()) {
    if (!node.as_table()->contains("file")) mistake(node, key + ".file", "is missing");
    read_table(node, key, {},
               {{"file", take}, {"paths", [&](const toml::node& n, const std::string& k) {
                                   paths = patterns(
                                       n, k, "wants absolute paths, `*` stands for any characters: \"/usr/*\"", true);
                                 }}});
  } else {
    take(node, key);
  }
  if (!path) return;
  const auto content = read_(*path);
  if (!content) return mistake(*at, key, content.error().text());
  if (content->size() > max_key_file) return mistake(*at, key, std::string(wants_key));
  auto read = key_of(*content);
  if (!read) return mistake(*at, key, *path + ": " + std::string(read.error().reason) + ": " + std::string(wants_key));
  if (read->key.type() == KeyType::rsa && read->key.bits() < least_rsa_bits)
    return mistake(*at, key,
                   *path + ": an RSA key of " + std::to_string(read->key.bits()) + " bits: wants at least 2048");
  read->paths = std::move(paths);
  out.signature_keys.push_back(std::move(*read));
}

void RulesReader::read_ima(ImaRules& out, const toml::node& node, const std::string& key) {
  read_table(
      node, key, "wants a table, such as [rules.servers.ima]",
      {{"signature_keys",
        [&](const toml::node& n, const std::string& k) {
          const toml::array* const list = n.as_array();
          if (list == nullptr)
            return mistake(n, k, "wants a list: of \"FILE\" or { file = \"FILE\", paths = [\"/usr/*\"] }");
          if (list->size() > max_signature_keys) return mistake(n, k, "more than 64 keys");
          for (const toml::node& one : *list) read_key(out, one, k);
        }},
       {"require_signature",
        [&](const toml::node& n, const std::string& k) {
          out.require_signature =
              patterns(n, k, "wants absolute paths, `*` stands for any characters: \"/usr/*\"", true);
        }},
       {"buffers",
        [&](const toml::node& n, const std::string& k) {
          const toml::table* const table = n.as_table();
          if (table == nullptr) return mistake(n, k, "wants a table: \"kexec-cmdline\" = [digests]");
          if (table->size() > max_patterns) return mistake(n, k, "more than 256 names");
          for (const auto& [name, list] : *table) {
            const std::string full = k + ".\"" + std::string(name.str()) + '"';
            if (name.str().empty() || name.str().size() > max_name || !printable(name.str()))
              mistake(list, full, "the name of a measured buffer is one line of 1 to 255 bytes");
            else
              out.buffers[std::string(name.str())] = digests(list, full, false);
          }
        }},
       {"other_buffers", [&](const toml::node& n,
                             const std::string& k) { out.refuse_other_buffers = one_of(n, k, "refused", "reported"); }},
       {"violations", [&](const toml::node& n, const std::string& k) {
          out.refuse_violations = one_of(n, k, "refused", "reported");
        }}});
  if (!out.require_signature.empty() && out.signature_keys.empty() && !node.as_table()->contains("signature_keys"))
    mistake(node, key + ".require_signature", "needs signature_keys: without a key no signature is valid");
}

// What becomes of files in one state, "accepted" where that may be.
Treatment RulesReader::treatment(const toml::node& node, const std::string& key, bool may_accept) {
  const std::string v = node.value_or(std::string());
  if (v == "refused") return Treatment::refused;
  if (v == "reported") return Treatment::reported;
  if (v == "accepted" && may_accept) return Treatment::accepted;
  mistake(node, key, may_accept ? "is one of accepted, reported, refused" : "is reported or refused");
  return Treatment::unsaid;
}

void RulesReader::read_file_rule(pipeline::FileRule& out, const toml::node& node, const std::string& key) {
  read_table(node, key, "wants tables, such as [[rules.servers.files]]",
             {{"paths",
               [&](const toml::node& n, const std::string& k) {
                 out.paths = patterns(n, k, "wants absolute paths, `*` stands for any characters: \"/usr/*\"", true);
               }},
              {"packages",
               [&](const toml::node& n, const std::string& k) {
                 out.packages = patterns(n, k, "wants names of packages, `*` stands for any characters: \"linux-image-*\"", false);
               }},
              {"unknown", [&](const toml::node& n, const std::string& k) { out.unknown = treatment(n, k, true); }},
              {"differ", [&](const toml::node& n, const std::string& k) { out.differ = treatment(n, k, true); }},
              {"violated", [&](const toml::node& n, const std::string& k) { out.violated = treatment(n, k, false); }},
              {"superseded", [&](const toml::node& n, const std::string& k) { out.superseded = treatment(n, k, true); }},
              {"superseded_after", [&](const toml::node& n, const std::string& k) {
                 const auto span = duration(n.value_or(std::string()));
                 if (!n.is_string() || !span) return mistake(n, k, "wants a duration such as \"14d\" of at most ten years");
                 out.superseded_after = span->count();
               }}});
  if (!node.is_table()) return;
  const bool all = !node.as_table()->contains("paths") && !node.as_table()->contains("packages");
  const auto at = [&](std::string_view name) -> const toml::node& { return *node.as_table()->get(name); };
  if (all && (out.differ == Treatment::accepted || out.differ == Treatment::reported))
    mistake(at("differ"), key + ".differ",
            "of every file would switch the references off: name paths or packages, or leave the key out");
  if (!all && out.violated == Treatment::reported)
    mistake(at("violated"), key + ".violated",
            "the name in a violation is the endpoint's claim, which excuses nothing: is refused, or stands in an entry "
            "without paths and packages");
  if (!out.packages.empty() && out.violated == Treatment::refused)
    mistake(at("violated"), key + ".violated", "the package of a violation isn't known: wants an entry without packages");
  if (node.as_table()->contains("superseded_after") && out.superseded != Treatment::refused)
    mistake(at("superseded_after"), key + ".superseded_after", "needs superseded = \"refused\" beside it");
  if (out.unknown == Treatment::unsaid && out.differ == Treatment::unsaid && out.violated == Treatment::unsaid &&
      out.superseded == Treatment::unsaid && (node.as_table()->empty() || all))
    mistake(node, key, "says nothing: wants unknown, differ, violated or superseded");
}

void RulesReader::read_files(std::vector<pipeline::FileRule>& out, const toml::node& node, const std::string& key) {
  const toml::array* const list = node.as_array();
  if (list == nullptr) return mistake(node, key, "wants a list of tables, such as [[rules.servers.files]]");
  if (list->size() > max_patterns) return mistake(node, key, "more than 256 entries");
  for (const toml::node& one : *list) read_file_rule(out.emplace_back(), one, key);
}

pipeline::EvidenceRulesPtr RulesReader::read(std::string_view name, const toml::node& node, const std::string& key) {
  auto out = std::make_shared<EvidenceRules>();
  out->name = name;
  read_table(node, key, "wants a table, such as [rules.servers]",
             {{"description",
               [&](const toml::node& n, const std::string& k) {
                 if (const auto text = n.value<std::string>();
                     !n.is_string() || !text || text->size() > max_text || !printable(*text))
                   mistake(n, k, "wants one line of text");
               }},
              {"firmware", [&](const toml::node& n, const std::string& k) { read_firmware(out->firmware, n, k); }},
              {"ima", [&](const toml::node& n, const std::string& k) { read_ima(out->ima, n, k); }},
              {"files", [&](const toml::node& n, const std::string& k) { read_files(out->files, n, k); }}});
  out->version = digest_of(HashAlgorithm::sha256, as_bytes(canonical(*out))).hex().substr(0, 16);
  return out;
}

std::string canonical(const EvidenceRules& rules) {
  std::string out;
  const auto line = [&](std::string_view key, std::string_view value) { ((out += key) += ' ') += value, out += '\n'; };
  const auto texts = [&](std::string_view key, const std::vector<std::string>& list) {
    for (const std::string& one : list) line(key, one);
  };
  const auto digests = [&](std::string_view key, const std::optional<DigestSet>& set) {
    if (!set) return;
    line(key, std::to_string(set->size()));
    for (const Digest& one : *set) line(key, one.hex());
  };
  const FirmwareRules& f = rules.firmware;
  line("secure_boot", f.secure_boot ? "required" : "reported");
  line("debug", f.no_debug ? "refused" : "reported");
  digests("revoked", f.revoked);
  digests("authority", f.authorities);
  digests("boot_loader", f.boot_loaders);
  if (f.sbat)
    for (const SbatGeneration& one : *f.sbat) line("sbat", one.component + ',' + std::to_string(one.generation));
  if (f.command_line) {
    line("command_line", "");
    texts("require", f.command_line->required);
    texts("forbid", f.command_line->forbidden);
  }
  const ImaRules& i = rules.ima;
  std::vector<std::string> keys;
  for (const SignatureKey& key : i.signature_keys) {
    std::string one = key.key.pin() + ' ' + std::to_string(key.id);
    for (const std::string& path : key.paths) (one += ' ') += path;
    keys.push_back(std::move(one));
  }
  sort_once(keys);
  texts("signature_key", keys);
  texts("require_signature", i.require_signature);
  for (const auto& [name, set] : i.buffers) digests("buffer " + name, set);
  line("other_buffers", i.refuse_other_buffers ? "refused" : "reported");
  line("violations", i.refuse_violations ? "refused" : "reported");
  for (const pipeline::FileRule& file : rules.files) {
    constexpr std::string_view names[] = {"", "accepted", "reported", "refused"};
    line("files", "");
    texts("path", file.paths);
    texts("package", file.packages);
    for (const auto& [state, treatment] : {std::pair("unknown", file.unknown), std::pair("differ", file.differ),
                                           std::pair("violated", file.violated), std::pair("superseded", file.superseded)})
      line(state, names[std::size_t(treatment)]);
    line("superseded_after", std::to_string(file.superseded_after));
  }
  return out;
}

}  // namespace gatehouse::server::policy
