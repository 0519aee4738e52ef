#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/file.h"
#include "base/hex.h"
#include "base/x509.h"
#include "endpoint/client/session.h"
#include "endpoint/client/transport.h"
#include "endpoint/commands.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"
#include "endpoint/tpm/esys.h"

namespace gatehouse::endpoint {
namespace {

struct Server {
  std::string host, port;
};

// "pdp.example.org:271", "[2001:db8::1]:271".
Result<Server> parse_server(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Server out;
  if (colon != std::string::npos) out = {text.substr(0, colon), text.substr(colon + 1)};
  if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']') out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty() || out.port.empty()) return fail(Error{Fault::usage, "--server wants HOST:PORT", {}, 0, {}, text});
  return out;
}

class Attest final : public Command {
 public:
  explicit Attest(CLI::App& parent) : app_(parent.add_subcommand("attest", "One assessment by a policy decision point")) {
    app_->add_option("--server", server_, "HOST:PORT of the policy decision point")->required();
    app_->add_option("--ca", transport_.ca, "CA certificates that the server's must chain to (PEM; default: the system's)");
    auto* const certificate = app_->add_option("--certificate", transport_.certificate, "client certificate, with its chain (PEM)");
    auto* const key = app_->add_option("--key", transport_.key, "its private key (PEM)");
    certificate->needs(key);
    key->needs(certificate);
    auto* const user = app_->add_option("--user", user_, "user, where the server wants SASL");
    auto* const password = app_->add_option("--password-file", password_file_, "file whose first line is the password");
    user->needs(password);
    password->needs(user);
    app_->add_option("--tcti", tcti_, "how to reach the TPM, e.g. device:/dev/tpmrm0 (default: tpm2-tss's)");
    app_->add_option("--ak", ak_, "persistent handle of the attestation key")->capture_default_str();
    app_->add_option("--ak-certificate,--aik-cert", ak_certificate_, "its certificate (PEM or DER), sent in place of the bare key");
    app_->add_option("--eventlog", eventlog_, "firmware event log")->capture_default_str();
    app_->add_option("--ima", ima_, "IMA measurement list")->capture_default_str();
    app_->add_option("--device-id", device_id_, "Device ID to claim (default: the attestation key's id)");
    app_->add_option("--os-name", os_name_, "operating system's name (default: os-release)");
    app_->add_option("--os-version", os_version_, "operating system's version (default: os-release and machine)");
    app_->add_option("--max-batch", max_batch_, "largest PB-TNC batch in bytes")->capture_default_str()->check(CLI::Range(2'048, 2'097'136));
    app_->add_option("--hash", hash_, "strongest PCR bank to offer")->capture_default_str()->check(CLI::IsMember({"sha1", "sha256", "sha384", "sha512"}));
    app_->add_option("--dh-group", group_, "Diffie-Hellman group to prefer")->capture_default_str()->check(CLI::IsMember({"ecp256", "ecp384", "modp2048"}));
    app_->add_option("--nonce-size", nonce_size_, "bytes of our nonce")->capture_default_str()->check(CLI::Range(17, 255));
    app_->add_option("--language", language_, "preferred languages of reasons")->capture_default_str();
    app_->add_option("--timeout", timeout_, "seconds to wait for the server at most, each time")->capture_default_str()->check(CLI::Range(1, 3600));
    app_->add_option("--deadline", deadline_, "seconds for everything")->capture_default_str()->check(CLI::Range(1, 86'400));
    app_->add_option("--raw-vendor", raw_vendor_, "vendor id of the raw-evidence extension: the server's attestation.raw_vendor (default: 0xFFFFFE)");
    app_->add_flag("--no-raw-evidence", no_raw_evidence_, "don't offer the logs and the quote as they are, only what PTS has of them");
    app_->add_flag("--no-file-measurement", no_file_measurement_, "don't look at the files that the server's policy asks for");
    app_->add_flag("--pcr-info", pcr_info_, "send PCR values with each measurement, as strongSwan's pcr_info");
    app_->add_flag("--legacy-tls12-server", transport_.legacy_server, "accept a TLS 1.2 server without secure renegotiation (strongSwan)");
    app_->add_flag("--json", json_, "print one JSON object");
    app_->add_flag("-v,--verbose", verbose_, "say each batch on stderr");
    app_->footer("Examples:\n"
                 "  gatehouse-endpoint attest --server pdp.example.org:271 --ca ca.pem --certificate host.pem --key host.key\n"
                 "  gatehouse-endpoint attest --server [2001:db8::1]:271 --ca ca.pem --user host1 --password-file host1.secret \\\n"
                 "    --tcti swtpm:host=127.0.0.1,port=2321 --eventlog boot.bin --ima ima.bin --json\n"
                 "Prints the access recommendation. Exit code: 0 allow, 1 another recommendation, 2 usage, 3 protocol error or\n"
                 "malformed list, 4 network, TLS, authentication or TPM.");
  }
  CLI::App* app() const override { return app_; }

  int run() override {
    const auto outcome = assess();
    for (const std::string& line : diagnostics_) std::fprintf(stderr, "gatehouse-endpoint: %s\n", escaped(line).c_str());
    if (!outcome) return complain(outcome.error());
    return print(json_ ? object(*outcome) : text(*outcome), outcome->recommendation == Recommendation::allow ? 0 : 1);
  }

 private:
  // What is asked of files and options first, then the TPM, then the network.
  Result<Outcome> assess() {
    GH_TRY(const Server server, parse_server(server_));
    GH_TRY(const std::uint32_t handle, parse_handle(ak_));
    Session::Config config;
    if (!user_.empty()) {
      config.user = user_;
      GH_TRY(config.password, read_secret_file(password_file_));
    }
    config.tnc.max_batch = max_batch_;
    config.tnc.language = language_;
    if (verbose_) config.tnc.log = [](const std::string& line) { std::fprintf(stderr, "gatehouse-endpoint: %s\n", line.c_str()); };
    GH_TRY(const std::unique_ptr<Tpm> tpm, open_tpm(tcti_, handle));
    key_id_ = tpm->ak().key_id();
    GH_TRY(AttestationConfig attestation_config, configure_attestation(*tpm));

    FileEvidence evidence(eventlog_, ima_, pcr_info_);
    OsImc os(os_info());
    LocalFiles files;
    AttestationImc attestation(std::move(attestation_config), *tpm, evidence, no_file_measurement_ ? nullptr : &files);
    Session session(std::move(config), {&os, &attestation});
    transport_.host = server.host;
    transport_.port = server.port;
    transport_.timeout = std::chrono::seconds(timeout_);
    transport_.deadline = std::chrono::seconds(deadline_);
    GH_TRY(Transport transport, Transport::connect(transport_));
    if (verbose_) std::fprintf(stderr, "gatehouse-endpoint: connected to %s: %s\n", server_.c_str(), transport.description().c_str());
    session.bind_channel(transport.channel_binding());
    auto held = converse(session, transport);
    diagnostics_ = session.notes();
    diagnostics_.insert(diagnostics_.end(), attestation.warnings().begin(), attestation.warnings().end());
    if (!held) return std::unexpected(std::move(held).error());
    return *session.outcome();
  }

  Result<void> converse(Session& session, Transport& transport) {
    Session::Step step = session.start();
    for (;;) {
      const auto sent = transport.write(step.send);
      wipe(step.send);
      // What we meant to say at the end can't change what we know.
      if (!sent && !step.ended) return sent;
      if (step.ended) break;
      GH_TRY(const ByteVector received, transport.read());
      step = received.empty() ? session.end_of_stream() : session.feed(received);
    }
    transport.finish();
    if (session.error()) return std::unexpected(Error(*session.error()).from(server_));
    GH_ASSERT(session.outcome().has_value());
    return {};
  }

  Result<AttestationConfig> configure_attestation(const Tpm& tpm) const {
    AttestationConfig config;
    config.nonce_size = nonce_size_;
    if (!pts::raw::is_private_vendor(raw_vendor_)) return fail(Error{Fault::usage, "--raw-vendor is a vendor id whose attributes mean something else", {}, 0, {}, {}});
    config.raw_vendor = no_raw_evidence_ ? std::nullopt : std::optional(raw_vendor_);
    config.strongest = *hash_algorithm(hash_);
    const DhGroup preferred = group_ == "ecp384" ? DhGroup::ecp384 : group_ == "modp2048" ? DhGroup::modp2048 : DhGroup::ecp256;
    const auto at = std::find(config.dh_groups.begin(), config.dh_groups.end(), preferred);
    std::rotate(config.dh_groups.begin(), at, at + 1);
    if (ak_certificate_.empty()) return config;
    constexpr std::size_t limit = 65'536;
    GH_TRY(const ByteVector file, read_file(ak_certificate_, limit));
    auto certificate = as_text(file).find("-----BEGIN") != std::string_view::npos ? Certificate::from_pem(as_text(file)) : Certificate::from_der(file);
    if (!certificate) return std::unexpected(std::move(certificate).error().from(ak_certificate_));
    if (certificate->key().pin() != tpm.ak().pin())
      return fail(Error{Fault::usage, "the certificate isn't that of the attestation key at this handle", {}, 0, ak_certificate_, ak_});
    config.aik_certificate = certificate->der();
    return config;
  }

  OsInfo os_info() const {
    OsInfo info = read_os_info();
    if (!os_name_.empty()) info.name = os_name_.substr(0, 255);
    if (!os_version_.empty()) set_version(info, os_version_.substr(0, 255));
    info.product_vendor = product_vendor(info.name);
    info.device_id = device_id_.empty() ? key_id_ : device_id_;
    return info;
  }

  std::string object(const Outcome& o) const {
    std::string components;
    for (const Assessment& a : o.components)
      components += (components.empty() ? "" : ", ") + std::string("{\"component\": ") + json(a.component) + ", \"assessment\": " +
                    json(name(Evaluation(std::min<std::uint32_t>(a.result, 4)))) + ", \"remediation\": " + json(a.remediation) + "}";
    return "{\"recommendation\": " + json(name(o.recommendation)) + ", \"assessment\": " + json(name(o.assessment)) + ", \"reasons\": " + json(o.reasons) +
           ", \"components\": [" + components + "], \"device\": " + json(device_id_.empty() ? key_id_ : device_id_) + ", \"warnings\": " + json(diagnostics_) + "}\n";
  }

  static std::string text(const Outcome& o) {
    std::string out = std::string(name(o.recommendation)) + "\nassessment: " + std::string(name(o.assessment)) + "\n";
    for (const std::string& reason : o.reasons) out += "reason: " + escaped(reason) + "\n";
    for (const Assessment& a : o.components)
      for (const std::string& remediation : a.remediation) out += "remediation (" + a.component + "): " + escaped(remediation) + "\n";
    return out;
  }

  CLI::App* app_;
  TransportOptions transport_;
  std::string server_, user_, password_file_, tcti_, ak_ = handle_text(default_ak_handle), ak_certificate_, eventlog_ = FileEvidence::kernel_event_log,
                                                     ima_ = FileEvidence::kernel_ima_list, device_id_, os_name_, os_version_, hash_ = "sha384", group_ = "ecp256",
                                                     language_ = "en", key_id_;
  std::size_t max_batch_ = 65'522, nonce_size_ = 20;
  long timeout_ = 120, deadline_ = 600;
  std::uint32_t raw_vendor_ = pts::raw::default_vendor;
  bool no_raw_evidence_ = false, no_file_measurement_ = false, pcr_info_ = false, json_ = false, verbose_ = false;
  std::vector<std::string> diagnostics_;
};

}  // namespace

std::unique_ptr<Command> attest_command(CLI::App& app) { return std::make_unique<Attest>(app); }

}  // namespace gatehouse::endpoint
