// gatehouse.toml, parsed once into a struct. A mistake names file, line and key; unknown keys are mistakes; paths are
// relative to the file's folder. Keys and meaning: contract, `gatehouse serve`; docs/operations.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/hash.h"
#include "server/config/radius.h"
#include "server/config/results.h"
#include "server/imv/host.h"

namespace gatehouse::server {

struct Config {
  std::string file;
  // [pt_tls]
  std::vector<std::string> listen;  // "127.0.0.1:271", "[::]:271"
  std::string certificate, key, client_ca, client_crl, client_ocsp, users;
  Auth auth = Auth::tls;
  bool tls_13_only = false;
  std::size_t max_connections = 20'000, max_connections_per_address = 2'000;
  std::size_t max_handshakes = 512, max_waiting = 8'192, max_waiting_per_address = 2'048;
  // [refdb], [state], [control], [metrics]
  std::string refdb, state, control_socket;
  std::size_t keep_sessions = 1'000'000, keep_unknown_sessions = 20'000;  // results of enrolled devices, and of others
  unsigned keep_sessions_days = 0;  // 0: without end
  Keep keep_evidence = Keep::refused;
  unsigned keep_evidence_days = 30;  // 0: without end
  std::uint64_t keep_evidence_mb = 1024;    // of all, compressed; the oldest goes
  std::size_t keep_evidence_memory_mb = 256;  // of sessions that aren't on record yet; a quarter of it for one
  std::string metrics_listen;  // [metrics] listen; empty: no metrics port
  // [attestation]
  std::vector<HashAlgorithm> banks = {HashAlgorithm::sha256};
  std::vector<std::string> client_crl_url, ak_crl_url, ek_crl_url;  // where those lists are fetched from; empty: somebody else writes the files
  std::string ak_ca, ak_crl, ak_ocsp, ek_ca, ek_crl, ek_ocsp;
  std::uint16_t dh_groups = Settings().dh_groups;
  std::uint8_t min_nonce = Settings().minimum_nonce;
  bool raw_evidence = true;
  std::uint32_t raw_vendor = pts::raw::default_vendor;
  // [ocsp]; client_ocsp, ak_ocsp and ek_ocsp are a responder's URL, or "certificate": the one that the certificate names;
  // empty: none is asked.
  bool silence_is_good = false;  // a responder that gives no answer that counts: not revoked
  std::chrono::seconds ocsp_limit{5};
  // [policy]
  std::string policy_file;  // empty: the built-in policy
  std::string shadow_file;  // judged besides, without effect; empty: none
  bool enforce = true;      // false: monitor mode
  std::chrono::seconds lease{86'400};  // how long a verdict holds; 0: without end
  // The safety stop (docs/operations.md): of the devices that were allowed before a switch of policy or references, so many
  // per cent may be refused after it; 0: nothing is watched.
  unsigned stop_percent = 0;
  unsigned stop_devices = 20;                  // that have to have come before the share counts
  std::chrono::seconds stop_watch{3600};       // how long after a switch
  bool stop_undoes = true;                     // false: it only raises the alarm
  // A policy that would refuse more than so many per cent of the devices that are allowed, by kept evidence, isn't switched
  // to; 0: none is rehearsed.
  unsigned hold_percent = 0;
  unsigned rehearse_sessions = 1000;
  std::chrono::seconds rehearse_time{60};
  // [audit]; neither or both
  std::string audit_key, audit_checkpoints;
  std::chrono::seconds audit_interval{60};
  // [radius]
  RadiusConfig radius;
  // [results]
  ResultsConfig results;
  // [imv]
  bool test_imv = false;  // for acceptance tests
  unsigned test_rounds = 0;
  // [server]
  std::string trace;     // folder for each session's conversation; empty: none is kept
  unsigned threads = 0;  // 0: as many as the machine has
  std::size_t proved_evidence_mb = 256;  // of what came of evidence, for when it comes again; 0: none is kept
  std::chrono::seconds grace{30};
  std::chrono::milliseconds max_delay{100};
  std::size_t max_assessments_per_device = 4;
  std::chrono::seconds idle_deadline{120}, total_deadline{600};
};

// Every mistake in one run, each "FILE:LINE: KEY: reason".
struct ConfigMistakes {
  std::vector<std::string> lines;
  Fault fault = Fault::usage;  // of a file that can't be read: environment or limit
};
std::expected<Config, ConfigMistakes> read_config(const std::string& path);

}  // namespace gatehouse::server
