#include "endpoint/agent.h"

#include <algorithm>
#include <cstdio>

#include "base/file.h"
#include "base/hex.h"
#include "base/x509.h"
#include "endpoint/client/session.h"
#include "endpoint/imc/attestation/attestation_imc.h"
#include "endpoint/imc/os/os_imc.h"

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
    return fail(Error{Fault::usage, "--server wants HOST:PORT", {}, 0, {}, text});
  return out;
}

Result<AttestationConfig> attestation_config(const Options& o, const Tpm& tpm) {
  AttestationConfig config;
  config.nonce_size = o.nonce_size;
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
    return fail(Error{Fault::usage, "the certificate isn't that of the attestation key at this handle", {}, 0,
                      o.ak_certificate, o.ak});
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

}  // namespace

struct Agent::Parts {
  explicit Parts(const Options& o) : options(o), evidence(o.eventlog, o.ima, o.pcr_info) {}

  Result<void> converse(Session::Step step);

  const Options& options;
  TransportOptions to;
  std::unique_ptr<Tpm> tpm;
  std::string device;
  FileEvidence evidence;
  std::optional<OsImc> os;
  std::optional<AttestationImc> attestation;
  std::optional<Session> session;
  std::optional<Transport> transport;
};

Agent::Agent(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Agent::~Agent() = default;
const std::string& Agent::device() const { return parts_->device; }

// What is asked of files and options first, then the TPM.
Result<std::unique_ptr<Agent>> Agent::open(const Options& o) {
  auto p = std::make_unique<Parts>(o);
  GH_TRY(const Server server, parse_server(o.server));
  GH_TRY(const std::uint32_t handle, parse_handle(o.ak));
  p->to = o.transport;
  p->to.host = server.host;
  p->to.port = server.port;
  p->to.timeout = std::chrono::seconds(o.timeout);
  p->to.deadline = std::chrono::seconds(o.deadline);
  Session::Config config;
  if (!o.user.empty()) {
    config.user = o.user;
    GH_TRY(config.password, read_secret_file(o.password_file));
  }
  config.tnc.max_batch = o.max_batch;
  config.tnc.language = o.language;
  if (o.verbose)
    config.tnc.log = [](const std::string& line) { std::fprintf(stderr, "gatehouse-endpoint: %s\n", line.c_str()); };
  GH_TRY(p->tpm, open_tpm(o.tcti, handle));
  p->device = o.device_id.empty() ? p->tpm->ak().key_id() : o.device_id;
  GH_TRY(AttestationConfig attestation, attestation_config(o, *p->tpm));
  p->os.emplace(os_info(o, p->device));
  p->attestation.emplace(std::move(attestation), *p->tpm, p->evidence);
  p->session.emplace(std::move(config), std::vector<Imc*>{&*p->os, &*p->attestation});
  return std::unique_ptr<Agent>(new Agent(std::move(p)));
}

Result<void> Agent::connect() {
  GH_TRY(Transport transport, Transport::connect(parts_->to));
  parts_->transport.emplace(std::move(transport));
  if (parts_->options.verbose)
    std::fprintf(stderr, "gatehouse-endpoint: connected to %s: %s\n", parts_->options.server.c_str(),
                 parts_->transport->description().c_str());
  parts_->session->bind_channel(parts_->transport->channel_binding());
  return {};
}

Result<Outcome> Agent::assess() {
  GH_CHECK(parts_->converse(parts_->session->start()));
  return *parts_->session->outcome();
}

Result<void> Agent::Parts::converse(Session::Step step) {
  for (;;) {
    const auto sent = transport->write(step.send);
    wipe(step.send);
    // What we meant to say at the end can't change what we know.
    if (!sent && !step.ended) return sent;
    if (step.ended) break;
    GH_TRY(const ByteVector received, transport->read());
    step = received.empty() ? session->end_of_stream() : session->feed(received);
  }
  transport->finish();
  if (session->error()) return std::unexpected(Error(*session->error()).from(options.server));
  GH_ASSERT(session->outcome().has_value());
  return {};
}

std::vector<std::string> Agent::diagnostics() const {
  std::vector<std::string> out = parts_->session->notes();
  const auto& left_out = parts_->attestation->warnings();
  out.insert(out.end(), left_out.begin(), left_out.end());
  return out;
}

}  // namespace gatehouse::endpoint
