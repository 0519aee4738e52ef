// The sections [radius] and [[radius.client]] of gatehouse.toml (docs/operations.md, RADIUS).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
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
  std::uint16_t dynamic_port = 0;   // of the gateway, for Disconnect and CoA (RFC 5176); 0: it isn't asked to
  std::string dynamic_secret_file;  // empty: secret_file
  bool dynamic_on_connection = false;  // the same on the connection that it keeps, over TCP or TLS
  std::string subject;              // of its certificate, in place of address and secret: it asks over TLS (RFC 6614)
};

// RFC 2865 section 5.26, in the usual form of type and length.
struct RadiusVendorAttribute {
  std::uint32_t vendor = 0;
  std::uint8_t type = 0;
  ByteVector value;  // 1 to 247 bytes
};

// What goes along with a recommendation.
struct RadiusReply {
  std::string filter_id, class_, reply_message;  // empty: none
  std::optional<std::uint16_t> vlan;
  std::chrono::seconds session_timeout{0};  // 0: none is said
  std::string vlan_name;                    // in place of the number, for switches that know VLANs by name
  std::vector<RadiusVendorAttribute> vendor;

  // Tunnel-Private-Group-ID; empty: none.
  std::string group_id() const { return vlan ? std::to_string(*vlan) : vlan_name; }
};

// In place of the general ones, for devices of a group of the policy or of one below it.
struct RadiusGroupReply {
  std::string group;
  std::optional<RadiusReply> allow, isolate, block;
};

// Another RADIUS server, which checks the passwords that clients give (GTC, PAP).
struct RadiusUpstream {
  std::string address;  // ADDRESS:PORT
  std::string secret_file;
};

struct RadiusConfig {
  std::vector<std::string> listen;  // empty: there is no RADIUS server
  std::vector<RadiusClientConfig> clients;
  std::string certificate, key;        // empty: those of [pt_tls]
  std::string client_ca, client_crl;   // the same
  std::string client_ocsp;             // that of [pt_tls] where client_ca is; empty: no responder is asked
  std::string users;                   // for PAP and GTC; empty: those of [pt_tls]
  std::string passwords;               // for EAP-MD5 and MSCHAPv2
  std::string tls_client_auth = "none";             // "optional", "required"
  std::vector<std::string> methods;                 // "md5", "mschapv2", "gtc", "pap"; by default what can be checked
  std::string without_attestation = "block";        // "isolate", "lease": what a client gets that can't do PT-EAP
  std::chrono::seconds lease{28'800};               // how long a verdict over PT-TLS holds for it
  std::chrono::seconds resumption{0};               // for how long a TLS session may be resumed; 0: never
  bool isolate_is_reject = false;
  unsigned sockets = 0;                             // of each address; 0: one a thread
  std::size_t max_conversations = 65'536, max_conversations_per_client = 16'384;
  std::size_t conversations_per_processor = 128;    // while no processor is free (server/radius/crowd.h)
  std::size_t fragment_size = 1'024;
  std::chrono::seconds idle_deadline{60}, total_deadline{600};
  RadiusReply allow = filter("allow"), isolate = filter("isolate"), block;
  std::vector<RadiusGroupReply> groups;
  std::vector<std::string> accounting;  // ADDRESS:PORT to listen on for it (RFC 2866); empty: nowhere
  std::vector<std::string> listen_tcp, listen_tls;  // RFC 6613, RFC 6614
  std::vector<std::string> client_crl_url, gateway_crl_url;  // where the lists are fetched from
  std::string gateway_ca, gateway_crl;              // of the certificates of clients over TLS
  std::size_t max_connections = 1'024, max_connections_per_address = 128;  // of TCP and TLS
  std::chrono::seconds connect_deadline{10};        // for the handshake of TLS, and for the first authentic packet over TCP
  std::string referral;  // HOST:PORT, where endpoints that come by EAP are told that PT-TLS is spoken; empty: they aren't
  bool eap_tnc = false;  // EAP type 38 for clients that don't know PT-EAP
  std::vector<RadiusUpstream> upstream;             // in order of preference
  std::chrono::seconds upstream_timeout{3};         // of each attempt

  static RadiusReply filter(std::string id) {
    RadiusReply out;
    out.filter_id = std::move(id);
    return out;
  }
};

}  // namespace gatehouse::server
