// What a user says of assessments by one server: the options that attest and run have in common.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "endpoint/client/transport.h"
#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/tpm/esys.h"
#include "wire/pts/raw_evidence.h"

namespace CLI {
class App;
}

namespace gatehouse::endpoint {

// "0x81010002".
Result<std::uint32_t> parse_handle(const std::string& text);
std::string handle_text(std::uint32_t handle);

struct Options {
  std::string server;  // HOST:PORT
  // In place of it: by way of RADIUS, as an endpoint and its gateway at once.
  std::string radius, secret_file, server_name, identity = "anonymous", method = "any";
  bool tls_12 = false;
  TransportOptions transport;
  std::string user, password_file;
  std::string tcti, ak = handle_text(default_ak_handle), ak_certificate;
  std::string eventlog = FileEvidence::kernel_event_log, ima = FileEvidence::kernel_ima_list;
  std::string device_id, os_name, os_version;
  std::string hash = "sha384", dh_group = "ecp256", language = "en";
  std::size_t max_batch = 65'522, nonce_size = 20;
  long timeout = 120, deadline = 600;  // seconds
  std::uint32_t raw_vendor = pts::raw::default_vendor;
  bool no_raw_evidence = false, no_file_measurement = false, pcr_info = false, verbose = false;
  std::vector<std::string> imcs = {"os", "swima", "attestation", "scanner"};
  std::string inventory;  // empty: default_inventory, and going on without it where that can't be used
  std::string dpkg_status = "/var/lib/dpkg/status";
  std::string test_command, test_retry;  // the Test collector's; empty: it doesn't take part
  std::size_t test_dummy = 0;

  static constexpr const char* default_inventory = "/var/lib/gatehouse-endpoint/inventory";
  bool has_imc(std::string_view name) const;
};

// Adds them to a subcommand; `options` outlives it.
void add_options(CLI::App& app, Options& options);
// What has to be given, and what only together.
Result<void> check_options(const Options& options);
// Those that name a file or folder: in a configuration they are relative to its folder.
bool is_path_option(std::string_view name);

}  // namespace gatehouse::endpoint
