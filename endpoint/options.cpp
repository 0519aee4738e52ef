#include "endpoint/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "wire/pteap/pteap.h"

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

bool Options::has_imc(std::string_view name) const { return std::find(imcs.begin(), imcs.end(), name) != imcs.end(); }

bool is_path_option(std::string_view name) {
  constexpr std::string_view paths[] = {"ca",       "certificate", "key",       "password-file", "ak-certificate",
                                        "eventlog", "ima",         "inventory", "dpkg-status",   "status",
                                        "secret-file"};
  return std::find(std::begin(paths), std::end(paths), name) != std::end(paths);
}

Result<void> check_options(const Options& o) {
  const auto wrong = [](std::string_view why) { return fail(Error{Fault::usage, why, {}, 0, {}, {}}); };
  if (o.server.empty() && o.radius.empty()) return wrong("--server is needed: HOST:PORT of the policy decision point");
  if (!o.server.empty() && !o.radius.empty()) return wrong("--server and --radius are two ways to one server");
  if (o.radius.empty() != o.secret_file.empty()) return wrong("--radius and --secret-file need each other");
  if (!o.radius.empty() && o.user.empty() && o.transport.certificate.empty())
    return wrong("--radius needs --user or --certificate");
  // The PB-TNC batch is one EAP packet there (RFC 7171).
  if (!o.radius.empty() && o.max_batch > pteap::max_batch) return wrong("--max-batch is 65529 at most over PT-EAP");
  if (o.transport.certificate.empty() != o.transport.key.empty())
    return wrong("--certificate and --key need each other");
  if (o.user.empty() != o.password_file.empty()) return wrong("--user and --password-file need each other");
  if (!pts::raw::is_private_vendor(o.raw_vendor))
    return wrong("--raw-vendor is a vendor id whose attributes mean something else");
  if (o.test_command.empty() && !o.test_retry.empty()) return wrong("--test-retry needs --test-command");
  return {};
}

void add_options(CLI::App& app, Options& o) {
  app.add_option("--server", o.server, "HOST:PORT of the policy decision point (needed)");
  constexpr auto over_radius = "Over RADIUS (EAP-TTLS and PT-EAP), as gateway and endpoint at once";
  app.add_option("--radius", o.radius, "HOST:PORT of the RADIUS server, in place of --server")->group(over_radius);
  app.add_option("--secret-file", o.secret_file, "file whose first line is the secret shared with the RADIUS server")->group(over_radius);
  app.add_option("--server-name", o.server_name, "name that the server's certificate has to have (default: HOST)")->group(over_radius);
  app.add_option("--identity", o.identity, "EAP identity outside the tunnel")->capture_default_str()->group(over_radius);
  app.add_option("--method", o.method, "how the user authenticates inside the tunnel")
      ->capture_default_str()
      ->check(CLI::IsMember({"any", "md5", "mschapv2", "gtc", "pap"}))
      ->group(over_radius);
  app.add_flag("--tls12", o.tls_12, "no TLS newer than 1.2")->group(over_radius);
  app.add_option("--ca", o.transport.ca,
                 "CA certificates that the server's must chain to (PEM; default: the system's)");
  app.add_option("--certificate", o.transport.certificate, "client certificate, with its chain (PEM)");
  app.add_option("--key", o.transport.key, "its private key (PEM)");
  app.add_option("--user", o.user, "user, where the server wants SASL");
  app.add_option("--password-file", o.password_file, "file whose first line is the password");
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
  app.add_option("--imc", o.imcs, "collectors that take part, separated by commas")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember({"os", "swima", "attestation", "scanner"}));
  app.add_option("--inventory", o.inventory,
                 "folder of the log of installs and removals that SWIMA tells of\n(default: " +
                     std::string(Options::default_inventory) + "; where that can't be used,\nsoftware isn't told)");
  app.add_option("--dpkg-status", o.dpkg_status, "dpkg's status file")->capture_default_str();
  constexpr auto acceptance = "For acceptance tests (the server needs [imv] test)";
  const CLI::IsMember commands({"allow", "isolate", "block", "none"});
  app.add_option("--test-command", o.test_command,
                 "the Test collector asks for this recommendation: allow, isolate, block, none")
      ->check(commands)
      ->group(acceptance);
  app.add_option("--test-retry", o.test_retry, "and after another verdict than allow once more, for this one")
      ->check(commands)
      ->group(acceptance);
  app.add_option("--test-dummy", o.test_dummy, "bytes of a Dummy besides the first command")
      ->check(CLI::Range(0, 16'777'216))
      ->group(acceptance);
  app.add_option("--raw-vendor", o.raw_vendor,
                 "vendor id of the raw-evidence extension: the server's attestation.raw_vendor\n(default: 0xFFFFFE)");
  app.add_flag("--no-raw-evidence", o.no_raw_evidence,
               "don't offer the logs and the quote as they are, only what PTS has of them");
  app.add_flag("--no-file-measurement", o.no_file_measurement,
               "don't look at the files that the server's policy asks for");
  app.add_flag("--pcr-info", o.pcr_info, "send PCR values with each measurement, as strongSwan's pcr_info");
  app.add_flag("--legacy-tls12-server", o.transport.legacy_server,
               "accept a TLS 1.2 server without secure renegotiation (strongSwan)");
  app.add_flag("-v,--verbose", o.verbose, "say each batch on stderr");
}

}  // namespace gatehouse::endpoint
