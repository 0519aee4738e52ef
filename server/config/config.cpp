#include "server/config/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "base/file.h"
#include "base/hex.h"
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

bool is_url(std::string_view text) {
  const std::size_t scheme = text.starts_with("https://") ? 8 : 7;
  return (scheme == 8 || text.starts_with("http://")) && text.size() > scheme && text.size() <= 1'024 && text[scheme] != '/' &&
         std::all_of(text.begin(), text.end(), [](char letter) { return letter > ' ' && letter < '\x7f'; });
}

using Use = std::function<void(const toml::node&, const std::string&)>;

// [{vendor = 9, type = 1, value = "shell:priv-lvl=15"}, {vendor = 14122, type = 8, hex = "00000400"}]
void vendor_attributes(Reader& r, const toml::node& n, const std::string& k, std::vector<RadiusVendorAttribute>& out) {
  constexpr std::int64_t most_vendor = 0xFFFFFF, most_type = 255;
  constexpr std::size_t longest = 247, most = 16;
  const toml::array* const list = n.as_array();
  if (list == nullptr || list->size() > most) return r.mistake(n.source(), k, "wants a list of up to 16 tables with vendor, type and value or hex");
  for (const toml::node& item : *list) {
    const toml::table* const table = item.as_table();
    const auto number = [&](const char* key, std::int64_t largest) {
      const auto v = table != nullptr ? (*table)[key].value_exact<std::int64_t>() : std::nullopt;
      return v && *v >= 1 && *v <= largest ? *v : 0;
    };
    const auto vendor = number("vendor", most_vendor), type = number("type", most_type);
    const auto value = table != nullptr ? (*table)["value"].value_exact<std::string>() : std::nullopt;
    const auto hex = table != nullptr ? (*table)["hex"].value_exact<std::string>() : std::nullopt;
    const auto bytes = value ? Result<ByteVector>(to_vector(as_bytes(*value))) : from_hex(hex.value_or(""));
    const bool good = table != nullptr && table->size() == 3 && vendor != 0 && type != 0 && value.has_value() != hex.has_value() && bytes &&
                      !bytes->empty() && bytes->size() <= longest;
    if (!good) r.mistake(item.source(), k, "wants vendor (1 to 16777215), type (1 to 255), and value, a text, or hex, of 1 to 247 bytes");
    else out.push_back({std::uint32_t(vendor), std::uint8_t(type), *bytes});
  }
}

// What depends on several keys, once they are all read.
void check_radius(Config& c, bool there, const std::function<void(const std::string&, std::string_view)>& mistake) {
  RadiusConfig& radius = c.radius;
  if (!there) return;
  if (radius.listen.empty()) return mistake("listen", "is missing");
  if (radius.clients.empty()) mistake("client", "is missing: who may ask");
  if (radius.certificate.empty() != radius.key.empty()) mistake("key", "and certificate need each other");
  if (radius.certificate.empty()) {
    radius.certificate = c.certificate;
    radius.key = c.key;
  }
  if (radius.client_ca.empty()) {
    radius.client_ca = c.client_ca;
    if (radius.client_crl.empty()) radius.client_crl = c.client_crl;
    if (radius.client_ocsp.empty() && radius.tls_client_auth != "none") radius.client_ocsp = c.client_ocsp;
  }
  if (radius.users.empty()) radius.users = c.users;
  if (radius.tls_client_auth != "none" && radius.client_ca.empty()) mistake("client_ca", "is missing, and tls_client_auth needs it");
  if (radius.tls_client_auth == "none" && !radius.client_ocsp.empty()) mistake("client_ocsp", "wants tls_client_auth = \"optional\" or \"required\": else no client has a certificate");
  if (radius.methods.empty()) {
    if (!radius.passwords.empty()) radius.methods = {"md5", "mschapv2"};
    if (!radius.passwords.empty() || !radius.users.empty() || !radius.upstream.empty()) radius.methods.insert(radius.methods.end(), {"gtc", "pap"});
  }
  for (const std::string& method : radius.methods) {
    if ((method == "md5" || method == "mschapv2") && radius.passwords.empty() && radius.upstream.empty())
      mistake("passwords", "is missing: " + method + " needs what users files don't keep; with those there are gtc and pap");
    else if (radius.passwords.empty() && radius.users.empty() && radius.upstream.empty())
      mistake("users", "is missing, and " + method + " needs it");
  }
  const bool by_certificate = std::any_of(radius.clients.begin(), radius.clients.end(), [](const auto& one) { return !one.subject.empty(); });
  if (!radius.listen_tls.empty() && radius.gateway_ca.empty()) mistake("gateway_ca", "is missing, and listen_tls needs it: whose gateways may connect");
  if (radius.listen_tls.empty() && by_certificate) mistake("listen_tls", "is missing, and a client by subject needs it");
  if (radius.methods.empty() && radius.tls_client_auth != "required")
    mistake("methods", "has none that could be checked: name passwords or users, or let tls_client_auth be required");
}

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
  const auto addresses = [&](std::vector<std::string>& slot) -> Use {
    return strings([&](const toml::node& n, const std::string& k, const std::string& where) {
      if (!parse_listen_address(where)) r.mistake(n.source(), k, no_listen_address);
      else slot.push_back(where);
    });
  };
  const auto one_of = [&](std::string& slot, std::vector<std::string_view> names) -> Use {
    return [&r, &slot, names = std::move(names)](const toml::node& n, const std::string& k) {
      slot = n.value_or(std::string());
      if (std::find(names.begin(), names.end(), slot) != names.end()) return;
      std::string all;
      for (const std::string_view name : names) all += (all.empty() ? "" : ", ") + std::string(name);
      r.mistake(n.source(), k, "is one of " + all);
    };
  };
  const auto flag = [&](bool& slot) -> Use {
    return [&r, &slot](const toml::node& n, const std::string& k) {
      if (!n.is_boolean()) return r.mistake(n.source(), k, "is true or false");
      slot = n.value_or(false);
    };
  };
  // A program by its absolute path, and arguments.
  const auto command = [&](std::vector<std::string>& slot) -> Use {
    return [&r, &slot, strings](const toml::node& n, const std::string& k) {
      strings([&](const toml::node& item, const std::string& key, const std::string& word) {
        if (slot.empty() && !word.starts_with('/')) r.mistake(item.source(), key, "wants a program by its absolute path");
        if (word.find('\0') != std::string::npos) r.mistake(item.source(), key, "wants words without a zero");
        slot.push_back(word);
      })(n, k);
    };
  };
  // What an attribute of RADIUS can hold.
  const auto attribute = [&](std::string& slot) -> Use {
    return [&r, &slot](const toml::node& n, const std::string& k) {
      slot = n.value_or(std::string());
      if (!n.is_string() || slot.empty() || slot.size() > 253) r.mistake(n.source(), k, "wants a string of 1 to 253 bytes");
    };
  };
  const auto members = [&](const toml::node& n, const std::string& k, const std::map<std::string, Use>& keys) {
    const toml::table* const all = n.as_table();
    if (all == nullptr) return r.mistake(n.source(), k, "wants a table");
    for (const auto& [key, value] : *all) {
      const std::string full = k + "." + std::string(key.str());
      const auto use = keys.find(std::string(key.str()));
      if (use == keys.end()) r.mistake(value.source(), full, "unknown key");
      else use->second(value, full);
    }
  };

  const auto responder = [&](std::string& slot) -> Use {
    return [&](const toml::node& n, const std::string& k) {
      slot = n.value_or(std::string());
      if (slot != "certificate" && !is_url(slot)) r.mistake(n.source(), k, "is the URL of an OCSP responder (http:// or https://), or \"certificate\"");
    };
  };
  const auto lists = [&](std::vector<std::string>& slot) {
    return strings([&](const toml::node& n, const std::string& k, const std::string& text) {
      if (is_url(text)) slot.push_back(text);
      else r.mistake(n.source(), k, "wants URLs of revocation lists (http:// or https://)");
    });
  };
  const std::map<std::string, std::map<std::string, Use>> known = {
      {"pt_tls",
       {{"listen", addresses(c.listen)},
        {"certificate", file(c.certificate)},
        {"key", file(c.key)},
        {"client_ca", file(c.client_ca)},
        {"client_crl", file(c.client_crl)},
        {"client_crl_url", lists(c.client_crl_url)},
        {"client_ocsp", responder(c.client_ocsp)},
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
      {"ocsp",
       {{"silence",
         [&](const toml::node& n, const std::string& k) {
           const std::string v = n.value_or(std::string());
           if (v != "refuse" && v != "accept") r.mistake(n.source(), k, "is \"refuse\" or \"accept\"");
           c.silence_is_good = v == "accept";
         }},
        {"seconds", span(c.ocsp_limit, 1, 30)}}},
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
        {"keep_sessions", count(c.keep_sessions, 1, 1'000'000'000)},
        {"keep_unknown_sessions", count(c.keep_unknown_sessions, 1, 1'000'000'000)},
        {"keep_sessions_days", count(c.keep_sessions_days, 0, 36'500)},
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
        {"ak_crl_url", lists(c.ak_crl_url)},
        {"ak_ocsp", responder(c.ak_ocsp)},
        {"ek_ca", file(c.ek_ca)},
        {"ek_crl", file(c.ek_crl)},
        {"ek_crl_url", lists(c.ek_crl_url)},
        {"ek_ocsp", responder(c.ek_ocsp)},
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
        {"proved_evidence_mb", count(c.proved_evidence_mb, 0, 1'048'576)},
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
         }},
         {"lease_seconds", span(c.lease, 0, 31'622'400)},
         {"stop_percent", count(c.stop_percent, 1, 99)},
         {"stop_devices", count(c.stop_devices, 1, 1'000'000)},
         {"stop_watch_seconds", span(c.stop_watch, 60, 604'800)},
         {"stop_undoes", flag(c.stop_undoes)},
         {"hold_percent", count(c.hold_percent, 1, 99)},
         {"rehearse_sessions", count(c.rehearse_sessions, 1, 1'000'000)},
         {"rehearse_seconds", span(c.rehearse_time, 1, 3600)}}},
      {"audit",
       {{"key", file(c.audit_key)},
        {"checkpoints", file(c.audit_checkpoints)},
        {"interval_seconds", span(c.audit_interval, 1, 86400)}}},
      {"results",
       {{"file", file(c.results.file)},
        {"command", command(c.results.command)},
        {"command_allow", command(c.results.command_allow)},
        {"command_block", command(c.results.command_block)},
        {"command_seconds", span(c.results.command_limit, 1, 3600)},
        {"command_writes", strings([&](const toml::node& n, const std::string& k, const std::string& text) {
           if (!text.starts_with('/')) r.mistake(n.source(), k, "wants absolute paths");
           else c.results.command_writes.push_back(text);
         })},
        {"command_sandbox", flag(c.results.command_sandbox)},
        {"syslog",
         [&](const toml::node& n, const std::string& k) {
           c.results.syslog = n.value_or(std::string());
           if (!is_syslog_target(c.results.syslog)) r.mistake(n.source(), k, "is unix:PATH, udp:ADDRESS:PORT or tcp:ADDRESS:PORT");
         }},
        {"syslog_facility",
         [&](const toml::node& n, const std::string& k) {
           c.results.syslog_facility = syslog_facility(n.value_or(std::string()));
           if (c.results.syslog_facility > 23) r.mistake(n.source(), k, "is a facility's name, such as authpriv, daemon or local0");
         }},
        {"ear_key", file(c.results.ear_key)},
        {"webhook",
         [&](const toml::node& n, const std::string& k) {
           const toml::array* const list = n.as_array();
           if (list == nullptr) return r.mistake(n.source(), k, "wants tables, [[results.webhook]]");
           for (const toml::node& item : *list) {
             WebhookConfig& hook = c.results.webhooks.emplace_back();
             members(item, k, {{"url", [&](const toml::node& v, const std::string& key) {
                                  hook.url = v.value_or(std::string());
                                  if (!is_webhook_url(hook.url)) r.mistake(v.source(), key, "wants https://HOST/…, or http:// to this machine");
                                  for (const WebhookConfig& other : c.results.webhooks)
                                    if (&other != &hook && other.url == hook.url) r.mistake(v.source(), key, "is there already");
                                }},
                               {"key_file", file(hook.key_file)},
                               {"ca", file(hook.ca)},
                               {"format", [&](const toml::node& v, const std::string& key) {
                                  std::string name;
                                  one_of(name, {"json", "ear"})(v, key);
                                  hook.format = name == "ear" ? ResultFormat::ear : ResultFormat::json;
                                }},
                               {"queue", count(hook.queue, 1, 10'000'000)}});
             if (hook.url.empty()) r.mistake(item.source(), k + ".url", "is missing");
           }
         }}}},
      {"metrics",
       {{"listen",
         [&](const toml::node& n, const std::string& k) {
           c.metrics_listen = n.value_or(std::string());
           if (!parse_listen_address(c.metrics_listen)) r.mistake(n.source(), k, no_listen_address);
         }}}},
      {"radius",
       {{"listen", addresses(c.radius.listen)},
        {"client",
         [&](const toml::node& n, const std::string& k) {
           const toml::array* const list = n.as_array();
           if (list == nullptr) return r.mistake(n.source(), k, "wants tables, [[radius.client]]");
           for (const toml::node& item : *list) {
             RadiusClientConfig& client = c.radius.clients.emplace_back();
             members(item, k, {{"address", [&](const toml::node& v, const std::string& key) {
                                client.address = v.value_or(std::string());
                                const auto prefix = parse_prefix(client.address);
                                if (!prefix) return r.mistake(v.source(), key, "wants an address, or a prefix such as 10.0.0.0/8");
                                client.prefix = *prefix;
                                for (const RadiusClientConfig& other : c.radius.clients)
                                  if (&other != &client && other.subject.empty() && !other.address.empty() && other.prefix == client.prefix) r.mistake(v.source(), key, "is there already");
                              }},
                             {"secret_file", file(client.secret_file)},
                             {"attestation", flag(client.attestation)},
                              {"dynamic_port", count(client.dynamic_port, 1, 65'535)},
                              {"dynamic_secret_file", file(client.dynamic_secret_file)},
                              {"dynamic_on_connection", flag(client.dynamic_on_connection)},
                              {"subject", attribute(client.subject)},
                             {"profile", [&](const toml::node& v, const std::string& key) {
                                std::string name;
                                one_of(name, {"ipsec", "dot1x"})(v, key);
                                client.profile = name == "dot1x" ? RadiusProfile::dot1x : RadiusProfile::ipsec;
                              }}});
             if (!client.subject.empty()) {
               if (!client.address.empty() || !client.secret_file.empty())
                 r.mistake(item.source(), k + ".subject", "is in place of address and secret_file");
               if (client.dynamic_port != 0) r.mistake(item.source(), k + ".dynamic_port", "needs an address: over TLS there is dynamic_on_connection");
               for (const RadiusClientConfig& other : c.radius.clients)
                 if (&other != &client && other.subject == client.subject) r.mistake(item.source(), k + ".subject", "is there already");
               continue;
             }
             if (client.address.empty()) r.mistake(item.source(), k + ".address", "is missing");
             if (client.secret_file.empty()) r.mistake(item.source(), k + ".secret_file", "is missing");
           }
         }},
        {"certificate", file(c.radius.certificate)},
        {"key", file(c.radius.key)},
        {"client_ca", file(c.radius.client_ca)},
        {"client_crl", file(c.radius.client_crl)},
        {"client_crl_url", lists(c.radius.client_crl_url)},
        {"client_ocsp", responder(c.radius.client_ocsp)},
        {"accounting", addresses(c.radius.accounting)},
        {"listen_tcp", addresses(c.radius.listen_tcp)},
        {"listen_tls", addresses(c.radius.listen_tls)},
        {"gateway_ca", file(c.radius.gateway_ca)},
        {"gateway_crl", file(c.radius.gateway_crl)},
        {"gateway_crl_url", lists(c.radius.gateway_crl_url)},
        {"max_connections", count(c.radius.max_connections, 1, 65'536)},
        {"max_connections_per_address", count(c.radius.max_connections_per_address, 1, 65'536)},
        {"connect_seconds", span(c.radius.connect_deadline, 1, 60)},
        {"referral",
         [&](const toml::node& n, const std::string& k) {
           c.radius.referral = n.value_or(std::string());
           if (!parse_referral(c.radius.referral)) r.mistake(n.source(), k, "wants HOST:PORT, a name or an address, and a port from 1 to 65535");
         }},
        {"eap_tnc", flag(c.radius.eap_tnc)},
        {"upstream_seconds", span(c.radius.upstream_timeout, 1, 10)},
        {"upstream",
         [&](const toml::node& n, const std::string& k) {
           const toml::array* const list = n.as_array();
           if (list == nullptr) return r.mistake(n.source(), k, "wants tables, [[radius.upstream]]");
           for (const toml::node& item : *list) {
             RadiusUpstream& one = c.radius.upstream.emplace_back();
             members(item, k, {{"address", attribute(one.address)}, {"secret_file", file(one.secret_file)}});
             if (!parse_listen_address(one.address)) r.mistake(item.source(), k + ".address", no_listen_address);
             if (one.secret_file.empty()) r.mistake(item.source(), k + ".secret_file", "is missing");
           }
         }},
        {"users", file(c.radius.users)},
        {"passwords", file(c.radius.passwords)},
        {"tls_client_auth", one_of(c.radius.tls_client_auth, {"none", "optional", "required"})},
        {"methods", strings([&](const toml::node& n, const std::string& k, const std::string& text) {
           if (text != "md5" && text != "mschapv2" && text != "gtc" && text != "pap") r.mistake(n.source(), k, "knows md5, mschapv2, gtc and pap");
           else c.radius.methods.push_back(text);
         })},
        {"without_attestation", one_of(c.radius.without_attestation, {"block", "isolate", "lease"})},
        {"lease_seconds", span(c.radius.lease, 60, 31'536'000)},
        {"resumption_seconds", span(c.radius.resumption, 0, 86'400)},
        {"isolate_is_reject", flag(c.radius.isolate_is_reject)},
        {"sockets", count(c.radius.sockets, 1, 64)},
        {"max_conversations", count(c.radius.max_conversations, 1, 1'000'000)},
        {"conversations_per_processor", count(c.radius.conversations_per_processor, 1, 1'000'000)},
        {"max_conversations_per_client", count(c.radius.max_conversations_per_client, 1, 1'000'000)},
        {"fragment_size", count(c.radius.fragment_size, 256, 3'072)},
        {"idle_seconds", span(c.radius.idle_deadline, 1, 3600)},
        {"total_seconds", span(c.radius.total_deadline, 1, 86400)},
        {"reply",
         [&](const toml::node& n, const std::string& k) {
           const auto reply = [&](RadiusReply& slot) -> Use {
             return [&](const toml::node& t, const std::string& key) {
               slot = {};
               members(t, key, {{"filter_id", attribute(slot.filter_id)},
                              {"class", attribute(slot.class_)},
                              {"reply_message", attribute(slot.reply_message)},
                              {"vendor", [&](const toml::node& v, const std::string& name) { vendor_attributes(r, v, name, slot.vendor); }},
                              {"vlan", [&](const toml::node& v, const std::string& name) {
                                 if (v.is_string()) return attribute(slot.vlan_name)(v, name);
                                 std::uint16_t vlan = 0;
                                 count(vlan, 1, 4094)(v, name);
                                 slot.vlan = vlan;
                               }},
                              {"session_timeout", span(slot.session_timeout, 1, 31'536'000)}});
             };
           };
           const auto own = [&](std::optional<RadiusReply>& slot) -> Use {
             return [&](const toml::node& t, const std::string& key) { reply(slot.emplace())(t, key); };
           };
           const auto groups = [&](const toml::node& t, const std::string& key) {
             const toml::table* const all = t.as_table();
             if (all == nullptr) return r.mistake(t.source(), key, "wants tables by the names of groups");
             for (const auto& [name, node] : *all) {
               RadiusGroupReply& group = c.radius.groups.emplace_back();
               group.group = name.str();
               members(node, key + "." + group.group, {{"allow", own(group.allow)}, {"isolate", own(group.isolate)}, {"block", own(group.block)}});
             }
           };
           members(n, k, {{"allow", reply(c.radius.allow)}, {"isolate", reply(c.radius.isolate)}, {"block", reply(c.radius.block)}, {"group", groups}});
         }}}},
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
  if (c.audit_key.empty() != c.audit_checkpoints.empty())
    r.mistakes.lines.push_back(path + ":0: audit." + (c.audit_key.empty() ? "key" : "checkpoints") + ": is missing, and checkpoints of the audit log need it");
  if (c.hold_percent != 0 && c.keep_evidence != Keep::all)
    r.mistakes.lines.push_back(path + ":0: policy.hold_percent: wants [state] keep_evidence = \"all\": else nothing is kept of devices that are allowed");
  for (const auto& [ca, responder_key, of] : {std::tuple{&c.client_ca, "pt_tls.client_ocsp", "pt_tls.client_ca"},
                                              {&c.ak_ca, "attestation.ak_ocsp", "attestation.ak_ca"},
                                              {&c.ek_ca, "attestation.ek_ocsp", "attestation.ek_ca"}})
    if (ca->empty() && root->at_path(responder_key)) r.mistakes.lines.push_back(path + ":0: " + of + ": is missing, and " + responder_key + " needs it");
  for (const auto& [urls, list, key] : {std::tuple{&c.client_crl_url, &c.client_crl, "pt_tls.client_crl"},
                                        {&c.ak_crl_url, &c.ak_crl, "attestation.ak_crl"},
                                        {&c.ek_crl_url, &c.ek_crl, "attestation.ek_crl"},
                                        {&c.radius.client_crl_url, &c.radius.client_crl, "radius.client_crl"},
                                        {&c.radius.gateway_crl_url, &c.radius.gateway_crl, "radius.gateway_crl"}})
    if (!urls->empty() && list->empty()) r.mistakes.lines.push_back(path + ":0: " + key + ": is missing: the file that what " + key + "_url names is fetched into");
  if (!auth_set) {
    if (!c.client_ca.empty() && !c.users.empty()) c.auth = Auth::tls_or_sasl;
    else if (!c.users.empty()) c.auth = Auth::sasl;
    else if (!root->at_path("pt_tls.client_ca"))
      c.auth = Auth::none;  // contract: absent means no client certificates
    else c.auth = Auth::tls;
  }
  check_radius(c, root->contains("radius"), [&](const std::string& key, std::string_view why) {
    r.mistakes.lines.push_back(path + ":0: radius." + key + ": " + std::string(why));
  });
  const bool tls = c.auth == Auth::tls || c.auth == Auth::tls_and_sasl;
  const bool sasl = c.auth == Auth::sasl || c.auth == Auth::tls_and_sasl || c.auth == Auth::tls_or_sasl;
  if (tls && c.client_ca.empty()) r.mistakes.lines.push_back(path + ":0: pt_tls.client_ca: is missing, and authentication by certificate needs it");
  if (sasl && c.users.empty()) r.mistakes.lines.push_back(path + ":0: pt_tls.users: is missing, and authentication by password needs it");
  if (c.control_socket.empty() && !c.state.empty()) c.control_socket = (std::filesystem::path(c.state) / "control.sock").string();
  if (!r.mistakes.lines.empty()) return std::unexpected(std::move(r.mistakes));
  return c;
}

}  // namespace gatehouse::server
