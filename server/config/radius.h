// The sections [radius] and [[radius.client]] of gatehouse.toml (docs/operations.md, RADIUS).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "server/config/address_prefix.h"

namespace gatehouse::server {

// What a gateway makes of the answer: attributes differ (spec part 1a §3.4).
enum class RadiusProfile : std::uint8_t { ipsec, dot1x };

struct RadiusClientConfig {
  std::string address;
  AddressPrefix prefix;
  std::string secret_file;
  RadiusProfile profile = RadiusProfile::ipsec;
  bool attestation = true;  // its endpoints are asked for PT-EAP
};

// What goes along with a recommendation.
struct RadiusReply {
  std::string filter_id, class_, reply_message;  // empty: none
  std::optional<std::uint16_t> vlan;
  std::chrono::seconds session_timeout{0};  // 0: none is said
};

struct RadiusConfig {
  std::vector<std::string> listen;  // empty: there is no RADIUS server
  std::vector<RadiusClientConfig> clients;
  std::string certificate, key;        // empty: those of [pt_tls]
  std::string client_ca, client_crl;   // the same
  std::string users;                   // for PAP and GTC; empty: those of [pt_tls]
  std::string passwords;               // for EAP-MD5 and MSCHAPv2
  std::string tls_client_auth = "none";             // "optional", "required"
  std::vector<std::string> methods;                 // "md5", "mschapv2", "gtc", "pap"; by default what can be checked
  std::string without_attestation = "block";        // "isolate", "lease": what a client gets that can't do PT-EAP
  std::chrono::seconds lease{28'800};               // how long a verdict over PT-TLS holds for it
  bool isolate_is_reject = false;
  unsigned sockets = 0;                             // of each address; 0: one a thread
  std::size_t max_conversations = 65'536, max_conversations_per_client = 16'384;
  std::size_t fragment_size = 1'024;
  std::chrono::seconds idle_deadline{60}, total_deadline{600};
  RadiusReply allow{"allow", {}, {}, {}, {}}, isolate{"isolate", {}, {}, {}, {}}, block;
};

}  // namespace gatehouse::server
