// [results] of gatehouse.toml: where results go as they happen. Keys and meaning: docs/operations.md, Results.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace gatehouse::server {

enum class ResultFormat : std::uint8_t { json, ear };

// [[results.webhook]]
struct WebhookConfig {
  std::string url;       // https, or http on the loopback interface
  std::string key_file;  // of the signature; empty: requests aren't signed
  std::string ca;        // authorities of the target's certificate; empty: those of the system
  ResultFormat format = ResultFormat::json;
  std::uint64_t queue = 100'000;  // results that may wait; beyond, the oldest are left out
};

struct ResultsConfig {
  std::string file;  // a JSON object a line; empty: none
  // Program and arguments; empty: none. `command` is run for each result; `command_allow` where the recommendation is
  // allow, `command_block` where it is anything else, as strongSwan's keys of these names, each before `command`.
  std::vector<std::string> command, command_allow, command_block;
  std::chrono::seconds command_limit{10};    // then it is killed
  std::vector<std::string> command_writes;   // folders and files that it may write to
  bool command_sandbox = true;
  std::string syslog;  // "unix:/dev/log", "udp:ADDRESS:PORT", "tcp:ADDRESS:PORT"; empty: none
  unsigned syslog_facility = 10;  // RFC 5424 6.2.1: security/authorization
  std::vector<WebhookConfig> webhooks;
  std::string ear_key;  // signs results in the format of EAR; empty: the key of [pt_tls]
};

// "https://…", or "http://…" to an address that nothing leaves the machine for.
bool is_webhook_url(const std::string& url);
// What `syslog` may be.
bool is_syslog_target(const std::string& target);
// Of RFC 5424's names ("local0"); 24: there is none of this name.
unsigned syslog_facility(std::string_view name);

}  // namespace gatehouse::server
