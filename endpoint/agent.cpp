#include "endpoint/agent.h"

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/file.h"
#include "base/hex.h"
#include "base/x509.h"
#include "endpoint/client/eap_client.h"
#include "endpoint/client/radius_link.h"
#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/attestation/files.h"
#include "endpoint/imc/os/os_imc.h"
#include "endpoint/imc/os/settings.h"
#include "endpoint/imc/scanner/scanner_imc.h"
#include "endpoint/imc/swima/installed_software.h"
#include "endpoint/imc/swima/swima_imc.h"
#include "endpoint/imc/test/test_imc.h"
#include "endpoint/tpm/on_demand.h"

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
  if (out.host.size() > 2 && out.host.front() == '[' && out.host.back() == ']')
    out.host = out.host.substr(1, out.host.size() - 2);
  if (out.host.empty() || out.port.empty())
    return fail(Error{Fault::usage, "the server wants HOST:PORT", {}, 0, {}, text});
  return out;
}

Result<AttestationConfig> attestation_config(const Options& o, const Tpm& tpm) {
  AttestationConfig config;
  config.nonce_size = o.nonce_size;
  config.raw_vendor = o.no_raw_evidence ? std::nullopt : std::optional(o.raw_vendor);
  config.strongest = *hash_algorithm(o.hash);
  const DhGroup preferred = o.dh_group == "ecp384"     ? DhGroup::ecp384
                            : o.dh_group == "modp2048" ? DhGroup::modp2048
                                                       : DhGroup::ecp256;
  const auto at = std::find(config.dh_groups.begin(), config.dh_groups.end(), preferred);
  std::rotate(config.dh_groups.begin(), at, at + 1);
  if (o.ak_certificate.empty()) return config;
  constexpr std::size_t limit = 65'536;
  GH_TRY(const ByteVector file, read_file(o.ak_certificate, limit));
  auto certificate = as_text(file).find("-----BEGIN") != std::string_view::npos ? Certificate::from_pem(as_text(file))
                                                                                : Certificate::from_der(file);
  if (!certificate) return std::unexpected(std::move(certificate).error().from(o.ak_certificate));
  if (certificate->key().pin() != tpm.ak().pin())
    return fail(Error{Fault::usage,
                      "the certificate isn't that of the attestation key at this handle",
                      {},
                      0,
                      o.ak_certificate,
                      o.ak});
  config.aik_certificate = certificate->der();
  return config;
}

OsInfo os_info(const Options& o, const std::string& device) {
  OsInfo info = read_os_info();
  if (!o.os_name.empty()) info.name = o.os_name.substr(0, 255);
  if (!o.os_version.empty()) set_version(info, o.os_version.substr(0, 255));
  info.product_vendor = product_vendor(info.name);
  info.device_id = device;
  return info;
}

OsSources os_sources(const Options& o) {
  OsSources out;
  out.packages = [status = o.dpkg_status] { return dpkg_packages(status); };
  out.setting = [](std::string_view name) { return read_setting(name); };
  return out;
}

Result<InstalledSoftware> installed_software(const Options& o, const OsInfo& info) {
  InventoryOptions options;
  options.directory = o.inventory.empty() ? Options::default_inventory : o.inventory;
  options.platform.name = info.name;
  options.platform.version = info.version;
  options.dpkg_status = o.dpkg_status;
  GH_TRY(Inventory inventory, Inventory::open(std::move(options)));
  InstalledSoftware software(std::move(inventory), [] { return std::int64_t(std::time(nullptr)); });
  GH_CHECK(software.refresh());
  return software;
}

}  // namespace

struct Agent::Parts {
  Parts(const Options& o, const Config& c) : options(o), config(c), evidence(o.eventlog, o.ima, o.pcr_info) {}

  Result<void> open_collectors();
  Result<void> open_software(const OsInfo& info);
  std::vector<Imc*> collectors();
  Result<Outcome> converse(Session::Step step);
  Result<void> talk(Session::Step step);
  Result<void> open_radius(const Server& server, Secret password);
  Result<Outcome> converse_by_radius();
  // How far the log of installs and removals goes.
  std::pair<std::uint32_t, std::uint32_t> position() const {
    return software ? std::pair(software->epoch(), software->last_eid()) : std::pair(0U, 0U);
  }

  const Options& options;
  const Config config;
  TransportOptions to;
  std::unique_ptr<TpmOnDemand> tpm;  // null: nobody needs it
  std::string device;
  FileEvidence evidence;
  LocalFiles files;
  std::optional<InstalledSoftware> software;
  std::optional<Error> no_software;  // why there is none
  std::optional<OsImc> os;
  std::optional<SwimaImc> swima;
  std::optional<AttestationImc> attestation;
  std::optional<ScannerImc> scanner;
  std::optional<TestImc> test;
  TncClient::Config tnc;  // over RADIUS
  std::optional<Session> session;
  std::optional<Transport> transport;
  std::optional<EapClient> eap;  // over RADIUS, in place of session and transport
  std::optional<RadiusGateway> gateway;
  std::optional<RadiusLink> link;
  RadiusLinkOptions radius;
  std::vector<std::string> gateway_told;
  Session::Step begun;  // by the server
  std::pair<std::uint32_t, std::uint32_t> told;
};

Agent::Agent(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Agent::~Agent() = default;
const std::string& Agent::device() const { return parts_->device; }
const std::vector<std::string>& Agent::gateway_told() const { return parts_->gateway_told; }
std::string Agent::connection() const {
  if (parts_->eap) return parts_->eap->description();
  return parts_->transport ? parts_->transport->description() : "";
}

// What is asked of files and options first, then the TPM.
Result<std::unique_ptr<Agent>> Agent::open(const Options& o, const Config& c) {
  GH_CHECK(check_options(o));
  auto p = std::make_unique<Parts>(o, c);
  const bool by_radius = !o.radius.empty();
  if (by_radius && c.keep) return fail(Error{Fault::usage, "over RADIUS nothing stays connected: --radius is for attest", {}, 0, {}, {}});
  GH_TRY(const Server server, parse_server(by_radius ? o.radius : o.server));
  p->to = o.transport;
  p->to.host = server.host;
  p->to.port = server.port;
  p->to.timeout = std::chrono::seconds(o.timeout);
  p->to.deadline = std::chrono::seconds(o.deadline);
  p->to.stop_fd = c.stop_fd;
  Session::Config config;
  if (!o.user.empty()) {
    config.user = o.user;
    GH_TRY(config.password, read_secret_file(o.password_file));
  }
  config.tnc.max_batch = o.max_batch;
  config.tnc.language = o.language;
  config.tnc.keep = c.keep;
  if (o.verbose)
    config.tnc.log = [](const std::string& line) { std::fprintf(stderr, "gatehouse-endpoint: %s\n", line.c_str()); };
  GH_CHECK(p->open_collectors());
  if (by_radius) {
    p->tnc = std::move(config.tnc);
    GH_CHECK(p->open_radius(server, std::move(config.password)));
  } else {
    p->session.emplace(std::move(config), p->collectors());
  }
  return std::unique_ptr<Agent>(new Agent(std::move(p)));
}

Result<void> Agent::Parts::open_collectors() {
  GH_TRY(const std::uint32_t handle, parse_handle(options.ak));
  device = options.device_id;
  if (options.has_imc("attestation")) {
    GH_TRY(tpm, TpmOnDemand::make([tcti = options.tcti, handle] { return open_tpm(tcti, handle); }));
    if (device.empty()) device = tpm->ak().key_id();
    GH_TRY(AttestationConfig how, attestation_config(options, *tpm));
    attestation.emplace(std::move(how), *tpm, evidence, options.no_file_measurement ? nullptr : &files);
    if (config.keep) tpm->release();  // who knows when the server can be reached
  }
  OsInfo info = os_info(options, device);
  if (options.has_imc("swima")) GH_CHECK(open_software(info));
  if (options.has_imc("os")) os.emplace(std::move(info), os_sources(options));
  if (options.has_imc("scanner")) scanner.emplace([] { return open_ports(); });
  if (!options.test_command.empty())
    test.emplace(TestConfig{options.test_command, options.test_retry, options.test_dummy});
  return {};
}

// Who names no folder can do without: not everybody may write to the default one.
Result<void> Agent::Parts::open_software(const OsInfo& info) {
  auto opened = installed_software(options, info);
  if (!opened && !options.inventory.empty()) return std::unexpected(std::move(opened).error());
  if (!opened) {
    no_software = std::move(opened).error();
    return {};
  }
  software.emplace(*std::move(opened));
  told = position();
  SwimaConfig how;
  how.subscriptions = config.keep;
  swima.emplace(how, *software);
  return {};
}

// In the order of their ids.
std::vector<Imc*> Agent::Parts::collectors() {
  std::vector<Imc*> out;
  if (os) out.push_back(&*os);
  if (swima) out.push_back(&*swima);
  if (attestation) out.push_back(&*attestation);
  if (scanner) out.push_back(&*scanner);
  if (test) out.push_back(&*test);
  if (config.also != nullptr) out.push_back(config.also);
  return out;
}

Result<void> Agent::Parts::open_radius(const Server& server, Secret password) {
  RadiusGateway::Config how;
  GH_TRY(how.secret, read_secret_file(options.secret_file));
  how.user = options.identity;
  gateway.emplace(std::move(how));
  TunnelOptions tls;
  tls.server_name = options.server_name.empty() ? server.host : options.server_name;
  tls.ca = options.transport.ca;
  tls.certificate = options.transport.certificate;
  tls.key = options.transport.key;
  tls.legacy_server = options.transport.legacy_server;
  tls.tls_12 = options.tls_12;
  GH_TRY(auto tunnel, TlsTunnel::make(tls));
  EapClient::Config client;
  client.tnc = tnc;
  client.outer_identity = options.identity;
  client.user = options.user.empty() ? options.identity : options.user;
  client.password = std::move(password);
  client.method = options.method == "md5"        ? EapClient::Method::md5
                  : options.method == "mschapv2" ? EapClient::Method::mschapv2
                  : options.method == "gtc"      ? EapClient::Method::gtc
                  : options.method == "pap"      ? EapClient::Method::pap
                                                 : EapClient::Method::any;
  eap.emplace(std::move(client), std::move(tunnel), collectors());
  radius.host = server.host;
  radius.port = server.port;
  radius.deadline = std::chrono::seconds(options.deadline);
  radius.stop_fd = config.stop_fd;
  return {};
}

Result<void> Agent::connect() {
  if (parts_->gateway) {
    GH_TRY(RadiusLink link, RadiusLink::open(parts_->radius));
    parts_->link.emplace(std::move(link));
    return {};
  }
  GH_TRY(Transport transport, Transport::connect(parts_->to));
  parts_->transport.emplace(std::move(transport));
  if (parts_->options.verbose)
    std::fprintf(stderr, "gatehouse-endpoint: connected to %s: %s\n", parts_->options.server.c_str(),
                 connection().c_str());
  parts_->session->bind_channel(parts_->transport->channel_binding());
  return {};
}

// The gateway asks the endpoint who it is, and carries EAP to and fro until RADIUS decides.
Result<Outcome> Agent::Parts::converse_by_radius() {
  ByteVector next = eap->identity();
  for (;;) {
    GH_TRY(const RadiusGateway::Answer answer, link->exchange(*gateway, next));
    std::optional<ByteVector> response;
    if (!answer.eap.empty()) {
      GH_TRY(response, eap->receive(answer.eap));
    }
    if (answer.code == radius::Code::access_challenge) {
      if (!response) return fail(Error{Fault::protocol, "Access-Challenge without a request", "RFC 3579 2.6.2", 0, options.radius, {}});
      next = *std::move(response);
      continue;
    }
    const bool accepted = answer.code == radius::Code::access_accept;
    const auto note = [&](std::string_view name, const std::string& value) {
      if (!value.empty()) gateway_told.push_back(std::string(name) + " " + value);
    };
    gateway_told = {accepted ? "Access-Accept" : "Access-Reject"};
    note("Filter-Id", answer.filter_id);
    note("Class", answer.class_);
    note("VLAN", answer.vlan);
    note("Session-Timeout", answer.session_timeout ? std::to_string(*answer.session_timeout) : "");
    note("Reply-Message", answer.reply_message);
    if (eap->error()) return std::unexpected(Error(*eap->error()).from(options.radius));
    if (accepted != eap->succeeded())
      return fail(Error{Fault::protocol, "RADIUS and EAP don't say the same", "RFC 3579 2.6.3", 0, options.radius, {}});
    if (!eap->outcome()) return fail(Error{Fault::environment, "refused before an assessment", {}, 0, options.radius, {}});
    if (accepted) {
      // The gateway and the endpoint make their session keys of it.
      GH_TRY(const Secret keys, eap->keys());
      if (!answer.msk.equals(keys.reveal().first(answer.msk.size())) || answer.msk.empty())
        return fail(Error{Fault::protocol, "the keys in Access-Accept aren't those of the tunnel", "RFC 3579 2.6.4", 0, options.radius, {}});
    }
    return *eap->outcome();
  }
}

Result<Outcome> Agent::assess() {
  if (parts_->gateway) {
    auto outcome = parts_->converse_by_radius();
    if (parts_->tpm) parts_->tpm->release();
    return outcome;
  }
  return parts_->converse(parts_->session->start());
}
Result<Outcome> Agent::reassess() { return parts_->converse(parts_->session->retry()); }
Result<Outcome> Agent::resume() { return parts_->converse(std::exchange(parts_->begun, {})); }

Result<Outcome> Agent::Parts::converse(Session::Step step) {
  transport->start_over();
  const auto talked = talk(std::move(step));
  if (tpm) tpm->release();
  told = position();
  if (!talked) return std::unexpected(talked.error());
  GH_ASSERT(session->outcome().has_value());
  return *session->outcome();
}

Result<void> Agent::Parts::talk(Session::Step step) {
  for (;;) {
    const auto sent = transport->write(step.send);
    wipe(step.send);
    // What we meant to say at the end can't change what we know.
    if (!sent && !step.ended) return sent;
    if (step.ended) break;
    if (session->decided()) return {};  // and stays there
    GH_TRY(const ByteVector received, transport->read());
    step = received.empty() ? session->end_of_stream() : session->feed(received);
  }
  transport->finish();
  if (session->error()) return std::unexpected(Error(*session->error()).from(options.server));
  return {};
}

Result<Agent::Heard> Agent::listen(std::chrono::steady_clock::time_point until, int wake_fd) {
  Parts& p = *parts_;
  for (;;) {
    GH_TRY(const auto received, p.transport->read_until(until, wake_fd));
    if (!received) return Heard::nothing;
    Session::Step step = received->empty() ? p.session->end_of_stream() : p.session->feed(*received);
    if (step.ended) {
      p.transport->finish(step.send);
      if (p.session->error()) return std::unexpected(Error(*p.session->error()).from(p.options.server));
      return Heard::closed;
    }
    if (!p.session->decided()) {
      p.begun = std::move(step);
      return Heard::assessment;
    }
    p.transport->start_over();
    GH_CHECK(p.transport->write(step.send));
  }
}

void Agent::close() {
  if (!parts_->transport) return;
  const Session::Step step = parts_->session->close();
  parts_->transport->finish(step.send);
}

bool Agent::software_changed() {
  Parts& p = *parts_;
  if (!p.software) return false;
  if (const auto looked = p.software->refresh(); !looked) {
    p.no_software = looked.error();
    return false;
  }
  return p.position() != p.told || p.swima->due();
}

std::vector<std::string> Agent::diagnostics() const {
  std::vector<std::string> out = parts_->eap ? parts_->eap->notes() : parts_->session->notes();
  if (parts_->attestation) {
    const auto& left_out = parts_->attestation->warnings();
    out.insert(out.end(), left_out.begin(), left_out.end());
  }
  if (parts_->no_software)
    out.push_back("software isn't told: " + parts_->no_software->text() + " (--inventory DIR names another folder)");
  if (parts_->software)
    for (const Error& one : parts_->software->warnings()) out.push_back(one.text());
  return out;
}

}  // namespace gatehouse::endpoint
