// What a user says of assessments by one server: the options that attest and run have in common.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "endpoint/client/transport.h"
#include "endpoint/imc/attestation/evidence.h"
#include "endpoint/tpm/esys.h"

namespace CLI {
class App;
}

namespace gatehouse::endpoint {

// "0x81010002".
Result<std::uint32_t> parse_handle(const std::string& text);
std::string handle_text(std::uint32_t handle);

struct Options {
  std::string server;  // HOST:PORT
  TransportOptions transport;
  std::string user, password_file;
  std::string tcti, ak = handle_text(default_ak_handle), ak_certificate;
  std::string eventlog = FileEvidence::kernel_event_log, ima = FileEvidence::kernel_ima_list;
  std::string device_id, os_name, os_version;
  std::string hash = "sha384", dh_group = "ecp256", language = "en";
  std::size_t max_batch = 65'522, nonce_size = 20;
  long timeout = 120, deadline = 600;  // seconds
  bool pcr_info = false, verbose = false;
};

// Adds them to a subcommand; `options` outlives it.
void add_options(CLI::App& app, Options& options);

}  // namespace gatehouse::endpoint
