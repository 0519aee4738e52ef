#include "server/config/config.h"

#include <toml++/toml.h>

#include <filesystem>
#include <functional>
#include <map>

#include "base/file.h"
#include "base/toml.h"
#include "server/config/listen_address.h"

namespace gatehouse::server {
namespace {

struct Reader {
  const std::string& file;
  std::filesystem::path folder;
  ConfigMistakes mistakes;

  void mistake(const toml::source_region& where, const std::string& key, std::string_view why) {
    mistakes.lines.push_back(file + ":" + std::to_string(where.begin.line) + ": " + key + ": " + std::string(why));
  }
  std::string path(const toml::node& node, const std::string& key) {
    const auto text = node.value<std::string>();
    if (!node.is_string() || !text || text->empty()) {
      mistake(node.source(), key, "wants a path");
      return {};
    }
    return (folder / *text).lexically_normal().string();
  }
};

// The PTS bit; 0: no name of a group.
std::uint16_t dh_group(std::string_view name) {
  constexpr std::pair<std::string_view, std::uint16_t> groups[] = {{"ecp256", pts::group_ecp256},
                                                                   {"ecp384", pts::group_ecp384},
                                                                   {"modp2048", pts::group_modp2048},
                                                                   {"modp1536", pts::group_modp1536},
                                                                   {"modp1024", pts::group_modp1024}};
  for (const auto& [known, bit] : groups)
    if (known == name) return bit;
  return 0;
}

constexpr std::string_view no_listen_address = "wants ADDRESS:PORT, with a port up to 65535";

using Use = std::function<void(const toml::node&, const std::string&)>;

}  // namespace

std::expected<Config, ConfigMistakes> read_config(const std::string& path) {
  Config c;
  c.file = path;
  Reader r{c.file, std::filesystem::path(path).parent_path(), {}};
  const auto bytes = read_file(path, std::size_t(1) << 20);
  if (!bytes) return std::unexpected(ConfigMistakes{{bytes.error().text()}, bytes.error().fault});
  const auto root = parse_toml(as_text(*bytes), path);
  if (!root)
    return std::unexpected(ConfigMistakes{
        {path + ":" + std::to_string(root.error().line) + ": toml: " + root.error().reason}, Fault::usage});

  bool auth_set = false;
  const auto file = [&](std::string& slot) -> Use { return [&](const toml::node& n, const std::string& k) { slot = r.path(n, k); }; };
  const auto count = [&](auto& slot, std::int64_t least, std::int64_t most) -> Use {
    return [&slot, &r, least, most](const toml::node& n, const std::string& k) {
      const auto v = n.value<std::int64_t>();
      if (!n.is_integer() || !v || *v < least || *v > most) return r.mistake(n.source(), k, "wants a number from " + std::to_string(least) + " to " + std::to_string(most));
      slot = std::remove_reference_t<decltype(slot)>(*v);
    };
  };
  const auto span = [&](auto& slot, std::int64_t least, std::int64_t most) -> Use {
    return [&slot, count, least, most](const toml::node& n, const std::string& k) {
      std::int64_t v = slot.count();
      count(v, least, most)(n, k);
      slot = std::remove_reference_t<decltype(slot)>(v);
    };
  };
  const auto strings = [&](std::function<void(const toml::node&, const std::string&, const std::string&)> each) -> Use {
    return [&r, each](const toml::node& n, const std::string& k) {
      const toml::array* const list = n.as_array();
      if (list == nullptr || list->empty()) return r.mistake(n.source(), k, "wants a list of strings");
      for (const toml::node& item : *list) {
        const auto text = item.value<std::string>();
        if (!item.is_string() || !text) r.mistake(item.source(), k, "wants a string");
        else each(item, k, *text);
      }
    };
  };
  const auto unavailable = [&](std::string_view why) -> Use { return [&r, why](const toml::node& n, const std::string& k) { r.mistake(n.source(), k, why); }; };

  const std::map<std::string, std::map<std::string, Use>> known = {
      {"pt_tls",
       {{"listen", strings([&](const toml::node& n, const std::string& k, const std::string& text) {
           if (!parse_listen_address(text)) r.mistake(n.source(), k, no_listen_address);
           else c.listen.push_back(text);
         })},
        {"certificate", file(c.certificate)},
        {"key", file(c.key)},
        {"client_ca", file(c.client_ca)},
        {"client_crl", file(c.client_crl)},
        {"users", file(c.users)},
        {"auth",
         [&](const toml::node& n, const std::string& k) {
           const std::string v = n.value_or(std::string());
           auth_set = true;
           if (v == "tls")
             c.auth = Auth::tls;
           else if (v == "sasl")
             c.auth = Auth::sasl;
           else if (v == "tls-or-sasl")
             c.auth = Auth::tls_or_sasl;
           else if (v == "tls-and-sasl")
             c.auth = Auth::tls_and_sasl;
           else if (v == "none")
             c.auth = Auth::none;
           else
             r.mistake(n.source(), k, "is one of tls, sasl, tls-or-sasl, tls-and-sasl, none");
         }},
        {"tls_min",
         [&](const toml::node& n, const std::string& k) {
           const std::string v = n.value_or(std::string());
           if (v != "1.2" && v != "1.3") r.mistake(n.source(), k, "is \"1.2\" or \"1.3\"");
           c.tls_13_only = v == "1.3";
         }},
        {"max_connections", count(c.max_connections, 1, 1'000'000)},
        {"max_connections_per_address", count(c.max_connections_per_address, 1, 1'000'000)},
        {"max_handshakes", count(c.max_handshakes, 1, 1'000'000)},
        {"max_waiting", count(c.max_waiting, 1, 1'000'000)},
        {"max_waiting_per_address", count(c.max_waiting_per_address, 1, 1'000'000)}}},
      {"refdb", {{"path", file(c.refdb)}}},
      {"state",
       {{"path", file(c.state)},
        {"keep_evidence",
         [&](const toml::node& n, const std::string& k) {
           const std::string v = n.value_or(std::string());
           if (v == "none")
             c.keep_evidence = Keep::none;
           else if (v == "refused")
             c.keep_evidence = Keep::refused;
           else if (v == "all")
             c.keep_evidence = Keep::all;
           else
             r.mistake(n.source(), k, "is one of none, refused, all");
         }},
        {"keep_evidence_days", count(c.keep_evidence_days, 0, 36'500)},
        {"keep_evidence_mb", count(c.keep_evidence_mb, 1, 1'000'000'000)},
        {"keep_evidence_memory_mb", count(c.keep_evidence_memory_mb, 1, 1'000'000)}}},
      {"attestation",
       {{"banks",
         strings([&, first = true](const toml::node& n, const std::string& k, const std::string& text) mutable {
           if (first) c.banks.clear();
           first = false;
           const auto bank = hash_algorithm(text);
           if (!bank || pts::algorithm_bit(*bank) == 0)
             r.mistake(n.source(), k, "knows sha256, sha384, sha512 and sha1");
           else
             c.banks.push_back(*bank);
         })},
        {"ak_ca", file(c.ak_ca)},
        {"ak_crl", file(c.ak_crl)},
        {"dh_groups", strings([&, first = true](const toml::node& n, const std::string& k, const std::string& text) mutable {
           if (first) c.dh_groups = 0;
           first = false;
           const std::uint16_t group = dh_group(text);
           if (group == 0) r.mistake(n.source(), k, "knows ecp256, ecp384, modp2048, modp1536 and modp1024");
           c.dh_groups |= group;
         })},
        {"min_nonce", count(c.min_nonce, 17, 255)},
        {"raw_evidence", [&](const toml::node& n, const std::string& k) {
           if (!n.is_boolean()) r.mistake(n.source(), k, "is true or false");
           c.raw_evidence = n.value_or(true);
         }},
        {"raw_vendor", [&](const toml::node& n, const std::string& k) {
           count(c.raw_vendor, 1, 0xFFFFFE)(n, k);
           if (!pts::raw::is_private_vendor(c.raw_vendor)) r.mistake(n.source(), k, "is a vendor id whose attributes mean something else");
         }}}},
      {"control", {{"socket", file(c.control_socket)}}},
      {"imv",
       {{"test", [&](const toml::node& n, const std::string& k) {
           if (!n.is_boolean()) return r.mistake(n.source(), k, "is true or false");
           c.test_imv = n.value_or(false);
         }},
        {"test_rounds", count(c.test_rounds, 0, 16)}}},
      {"server",
       {{"threads", count(c.threads, 1, 1024)},
        {"trace", file(c.trace)},
        {"max_assessments_per_device", count(c.max_assessments_per_device, 1, 1'000'000)},
        {"max_delay_ms", span(c.max_delay, 1, 60'000)},
        {"grace_seconds", span(c.grace, 0, 3600)},
        {"idle_seconds", span(c.idle_deadline, 1, 3600)},
        {"total_seconds", span(c.total_deadline, 1, 86400)}}},
      {"policy",
        {{"file", file(c.policy_file)},
         {"shadow", file(c.shadow_file)},
         {"enforce",
          [&](const toml::node& n, const std::string& k) {
            if (!n.is_boolean()) return r.mistake(n.source(), k, "is true or false");
            c.enforce = n.value_or(true);
         }}}},
      {"results", {{"file", file(c.results_file)}}},
      {"metrics",
       {{"listen",
         [&](const toml::node& n, const std::string& k) {
           c.metrics_listen = n.value_or(std::string());
           if (!parse_listen_address(c.metrics_listen)) r.mistake(n.source(), k, no_listen_address);
         }}}},
      {"radius",
       {{"listen", unavailable("RADIUS is not supported by this version")},
        {"client", unavailable("RADIUS is not supported by this version")}}},
  };
  for (const auto& [section, node] : *root) {
    const std::string name(section.str());
    const auto at = known.find(name);
    if (at == known.end()) {
      r.mistake(node.source(), name, "unknown key");
      continue;
    }
    const toml::table* const table = node.as_table();
    if (table == nullptr) {
      r.mistake(node.source(), name, "wants a table");
      continue;
    }
    for (const auto& [key, value] : *table) {
      const std::string full = name + "." + std::string(key.str());
      const auto use = at->second.find(std::string(key.str()));
      if (use == at->second.end()) r.mistake(value.source(), full, "unknown key");
      else use->second(value, full);
    }
  }
  for (const char* const key : {"pt_tls.listen", "pt_tls.certificate", "pt_tls.key", "refdb.path", "state.path"})
    if (!root->at_path(key)) r.mistakes.lines.push_back(path + ":0: " + key + ": is missing");
  if (!auth_set) {
    if (!c.client_ca.empty() && !c.users.empty()) c.auth = Auth::tls_or_sasl;
    else if (!c.users.empty()) c.auth = Auth::sasl;
    else if (!root->at_path("pt_tls.client_ca"))
      c.auth = Auth::none;  // contract: absent means no client certificates
    else c.auth = Auth::tls;
  }
  const bool tls = c.auth == Auth::tls || c.auth == Auth::tls_and_sasl;
  const bool sasl = c.auth == Auth::sasl || c.auth == Auth::tls_and_sasl || c.auth == Auth::tls_or_sasl;
  if (tls && c.client_ca.empty()) r.mistakes.lines.push_back(path + ":0: pt_tls.client_ca: is missing, and authentication by certificate needs it");
  if (sasl && c.users.empty()) r.mistakes.lines.push_back(path + ":0: pt_tls.users: is missing, and authentication by password needs it");
  if (c.control_socket.empty() && !c.state.empty()) c.control_socket = (std::filesystem::path(c.state) / "control.sock").string();
  if (!r.mistakes.lines.empty()) return std::unexpected(std::move(r.mistakes));
  return c;
}

}  // namespace gatehouse::server
