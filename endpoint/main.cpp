// gatehouse-endpoint: the TNC client that runs on an endpoint.
#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <iostream>

#include "base/file.h"
#include "base/hex.h"
#include "endpoint/client/client_session.h"
#include "endpoint/client/transport.h"

namespace gatehouse::endpoint {
namespace {

struct AttestOptions {
  std::string server, ca, certificate, key, user, password_file, tcti, eventlog = kernel_eventlog, ima = kernel_ima, ak_certificate, os_name, os_version;
  std::string ak = "0x81010002", language = "en";
  std::size_t max_batch = 65'522;
  long timeout = 120;
  bool json = false, verbose = false, legacy = false;
};
struct ProvisionOptions {
  std::string tcti, algorithm = "rsa", handle = "0x81010002", pem, tpm2b;
  bool replace = false, json = false;
};

int complain(const Error& e) {
  std::fprintf(stderr, "gatehouse-endpoint: %s\n", e.text().c_str());
  return e.fault == Fault::denied ? 1 : exit_code(e.fault);
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : escaped(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  return std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) == 20 ? text : "0000-00-00T00:00:00Z";
}

Result<std::uint32_t> handle_of(const std::string& text) {
  char* end = nullptr;
  const unsigned long v = std::strtoul(text.c_str(), &end, 0);
  if (end == nullptr || *end != '\0' || v > 0xFFFFFFFF) return fail(Error{Fault::usage, "not a TPM handle", {}, 0, text, {}});
  return std::uint32_t(v);
}

Result<Answer> attest(const AttestOptions& o) {
  const std::size_t colon = o.server.rfind(':');
  if (colon == std::string::npos) return fail(Error{Fault::usage, "--server is HOST:PORT", {}, 0, {}, {}});
  std::string host = o.server.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  GH_TRY(const std::uint32_t ak, handle_of(o.ak));
  ClientOptions options;
  if (!o.user.empty()) {
    GH_TRY(const ByteVector password, read_file(o.password_file, 4096));
    options.user = o.user;
    options.password = as_text(password);
    while (!options.password.empty() && (options.password.back() == '\n' || options.password.back() == '\r')) options.password.pop_back();
  }
  if (!o.ak_certificate.empty()) {
    GH_TRY(options.ak_certificate, read_file(o.ak_certificate, 65536));
  }
  options.os = this_machine();
  if (!o.os_name.empty()) options.os.name = o.os_name;
  if (!o.os_version.empty()) options.os.version = o.os_version;
  options.language = o.language;
  options.max_batch = o.max_batch;
  options.time = utc_now();
  if (o.verbose) options.log = [](const std::string& line) { std::fprintf(stderr, "gatehouse-endpoint: %s\n", line.c_str()); };
  GH_TRY(const auto tpm, open_tpm(o.tcti, ak));
  GH_TRY(Transport transport, Transport::connect({host, o.server.substr(colon + 1), o.ca, o.certificate, o.key, std::chrono::seconds(o.timeout), o.legacy}));
  ClientSession session(*tpm, files(o.eventlog, o.ima), std::move(options));
  for (;;) {
    const ByteVector out = session.take_output();
    if (!out.empty()) GH_CHECK(transport.write(out));
    if (session.done()) break;
    GH_TRY(const ByteVector in, transport.read());
    if (in.empty()) return fail(Error{Fault::protocol, "the server closed before its verdict", {}, 0, o.server, {}});
    if (auto good = session.feed(in); !good) {
      const ByteVector last = session.take_output();
      if (!last.empty()) (void)transport.write(last);
      transport.close();
      return std::unexpected(std::move(good).error().from(o.server));
    }
  }
  // The server closes after our CLOSE batch.
  (void)transport.read();
  transport.close();
  if (!session.answer()) return fail(Error{Fault::protocol, "the server ended the conversation without a verdict", {}, 0, o.server, {}});
  return *session.answer();
}

int run_attest(const AttestOptions& o) {
  if (!o.user.empty() && o.password_file.empty()) return complain(Error{Fault::usage, "--user needs --password-file", {}, 0, {}, {}});
  const auto answer = attest(o);
  if (!answer) return complain(answer.error());
  if (o.json) {
    std::string reasons;
    for (const std::string& r : answer->reasons) reasons += (reasons.empty() ? "" : ",") + json_text(r);
    std::cout << "{\"recommendation\":\"" << name(answer->recommendation) << "\",\"assessment\":" << answer->assessment << ",\"reasons\":[" << reasons << "]}\n";
  } else {
    std::cout << name(answer->recommendation) << '\n';
    for (const std::string& r : answer->reasons) std::cout << "reason: " << escaped(r) << '\n';
  }
  if (!std::cout.flush()) return 4;
  return answer->recommendation == Recommendation::allow ? 0 : 1;
}

int run_provision(const ProvisionOptions& o) {
  const auto handle = handle_of(o.handle);
  if (!handle) return complain(handle.error());
  const AkKind kind = o.algorithm == "ecc" ? AkKind::ecc : o.algorithm == "rsapss" ? AkKind::rsapss : AkKind::rsa;
  const auto made = provision(o.tcti, *handle, kind, o.replace);
  if (!made) return complain(made.error());
  if (!o.pem.empty())
    if (const auto written = write_file_atomically(o.pem, as_bytes(made->key.pem())); !written) return complain(written.error());
  if (!o.tpm2b.empty())
    if (const auto written = write_file_atomically(o.tpm2b, made->public_area); !written) return complain(written.error());
  if (o.json)
    std::cout << "{\"key_id\":\"" << made->key.key_id() << "\",\"handle\":\"" << o.handle << "\",\"made\":" << (made->made ? "true" : "false")
              << ",\"public_key\":" << json_text(made->key.pem()) << "}\n";
  else
    std::cout << made->key.pem() << "key id " << made->key.key_id() << " at handle " << o.handle << (made->made ? "" : " (was there)") << '\n';
  return std::cout.flush() ? 0 : 4;
}

}  // namespace
}  // namespace gatehouse::endpoint

int main(int argc, char** argv) {
  using namespace gatehouse::endpoint;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app{"gatehouse-endpoint proves this machine's state to a TNC policy decision point."};
  app.set_version_flag("--version", "gatehouse-endpoint " GATEHOUSE_VERSION);
  app.require_subcommand(1);
  AttestOptions a;
  CLI::App* const attest_command = app.add_subcommand("attest", "One assessment over PT-TLS");
  attest_command->add_option("--server", a.server, "HOST:PORT of the policy decision point")->required();
  attest_command->add_option("--ca", a.ca, "CA certificates that the server's must chain to (PEM; default: the system's)");
  auto* const certificate = attest_command->add_option("--certificate", a.certificate, "client certificate (PEM)");
  attest_command->add_option("--key", a.key, "its private key (PEM)")->needs(certificate);
  attest_command->add_option("--user", a.user, "user for SASL PLAIN");
  attest_command->add_option("--password-file", a.password_file, "file with the password");
  attest_command->add_option("--tcti", a.tcti, "tpm2-tss TCTI, e.g. device:/dev/tpmrm0 (default: tpm2-tss's)");
  attest_command->add_option("--ak", a.ak, "persistent handle of the attestation key")->capture_default_str();
  attest_command->add_option("--ak-certificate", a.ak_certificate, "certificate of the AK (DER), sent in place of the bare key");
  attest_command->add_option("--eventlog", a.eventlog, "firmware event log")->capture_default_str();
  attest_command->add_option("--ima", a.ima, "IMA list")->capture_default_str();
  attest_command->add_option("--max-batch", a.max_batch, "largest PB-TNC batch in bytes")->capture_default_str()->check(CLI::Range(1024, 2'097'136));
  attest_command->add_option("--language", a.language, "preferred language of reasons")->capture_default_str();
  attest_command->add_option("--os-name", a.os_name, "operating system name to report (default: os-release)");
  attest_command->add_option("--os-version", a.os_version, "operating system version to report");
  attest_command->add_option("--timeout", a.timeout, "seconds to wait for the server at most")->capture_default_str()->check(CLI::Range(1, 3600));
  attest_command->add_flag("--legacy-tls12-server", a.legacy, "accept a TLS 1.2 server without secure renegotiation");
  attest_command->add_flag("--json", a.json, "one JSON object on standard output");
  attest_command->add_flag("--verbose", a.verbose, "say each batch on standard error");
  attest_command->footer("Example:\n  gatehouse-endpoint attest --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key\n\n"
                         "Exit code: 0 allow, 1 refused, 2 usage, 3 protocol error, 4 environment.");
  ProvisionOptions p;
  CLI::App* const provision_command = app.add_subcommand("provision", "Make an attestation key in the TPM, or show the one that is there");
  provision_command->add_option("--tcti", p.tcti, "tpm2-tss TCTI");
  provision_command->add_option("--algorithm", p.algorithm, "rsa (RSASSA), rsapss or ecc (P-256)")->capture_default_str()->check(CLI::IsMember({"rsa", "rsapss", "ecc"}));
  provision_command->add_option("--handle", p.handle, "persistent handle")->capture_default_str();
  provision_command->add_option("--pem", p.pem, "write the public key here (PEM)");
  provision_command->add_option("--tpm2b", p.tpm2b, "write the TPM2B_PUBLIC here");
  provision_command->add_flag("--replace", p.replace, "replace a key that is there");
  provision_command->add_flag("--json", p.json, "one JSON object on standard output");
  provision_command->footer("Example:\n  gatehouse-endpoint provision --tcti device:/dev/tpmrm0 --pem ak.pem");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  try {
    return attest_command->parsed() ? run_attest(a) : run_provision(p);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gatehouse-endpoint: internal error: %s\n", e.what());
    return 4;
  }
}
