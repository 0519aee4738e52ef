#include "endpoint/options.h"

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdio>

namespace gatehouse::endpoint {

Result<std::uint32_t> parse_handle(const std::string& text) {
  const bool hex = text.starts_with("0x") || text.starts_with("0X");
  std::uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + (hex ? 2 : 0), end, value, hex ? 16 : 10);
  if (parsed.ec != std::errc() || parsed.ptr != end)
    return fail(Error{Fault::usage, "not a TPM handle, such as 0x81010002", {}, 0, {}, text});
  return value;
}

std::string handle_text(std::uint32_t handle) {
  std::array<char, 16> out{};
  std::snprintf(out.data(), out.size(), "0x%08x", handle);
  return out.data();
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("--server", o.server, "HOST:PORT of the policy decision point")->required();
  app.add_option("--ca", o.transport.ca, "CA certificates that the server's must chain to (PEM; default: the system's)");
  auto* const certificate =
      app.add_option("--certificate", o.transport.certificate, "client certificate, with its chain (PEM)");
  auto* const key = app.add_option("--key", o.transport.key, "its private key (PEM)");
  certificate->needs(key);
  key->needs(certificate);
  auto* const user = app.add_option("--user", o.user, "user, where the server wants SASL");
  auto* const password = app.add_option("--password-file", o.password_file, "file whose first line is the password");
  user->needs(password);
  password->needs(user);
  app.add_option("--tcti", o.tcti, "how to reach the TPM, e.g. device:/dev/tpmrm0 (default: tpm2-tss's)");
  app.add_option("--ak", o.ak, "persistent handle of the attestation key")->capture_default_str();
  app.add_option("--ak-certificate,--aik-cert", o.ak_certificate,
                 "its certificate (PEM or DER), sent in place of the bare key");
  app.add_option("--eventlog", o.eventlog, "firmware event log")->capture_default_str();
  app.add_option("--ima", o.ima, "IMA measurement list")->capture_default_str();
  app.add_option("--device-id", o.device_id, "Device ID to claim (default: the attestation key's id)");
  app.add_option("--os-name", o.os_name, "operating system's name (default: os-release)");
  app.add_option("--os-version", o.os_version, "operating system's version (default: os-release and machine)");
  app.add_option("--max-batch", o.max_batch, "largest PB-TNC batch in bytes")
      ->capture_default_str()
      ->check(CLI::Range(2'048, 2'097'136));
  app.add_option("--hash", o.hash, "strongest PCR bank to offer")
      ->capture_default_str()
      ->check(CLI::IsMember({"sha1", "sha256", "sha384", "sha512"}));
  app.add_option("--dh-group", o.dh_group, "Diffie-Hellman group to prefer")
      ->capture_default_str()
      ->check(CLI::IsMember({"ecp256", "ecp384", "modp2048"}));
  app.add_option("--nonce-size", o.nonce_size, "bytes of our nonce")->capture_default_str()->check(CLI::Range(17, 255));
  app.add_option("--language", o.language, "preferred languages of reasons")->capture_default_str();
  app.add_option("--timeout", o.timeout, "seconds to wait for the server at most, each time")
      ->capture_default_str()
      ->check(CLI::Range(1, 3600));
  app.add_option("--deadline", o.deadline, "seconds for one assessment")
      ->capture_default_str()
      ->check(CLI::Range(1, 86'400));
  app.add_flag("--pcr-info", o.pcr_info, "send PCR values with each measurement, as strongSwan's pcr_info");
  app.add_flag("--legacy-tls12-server", o.transport.legacy_server,
               "accept a TLS 1.2 server without secure renegotiation (strongSwan)");
  app.add_flag("-v,--verbose", o.verbose, "say each batch on stderr");
}

}  // namespace gatehouse::endpoint
