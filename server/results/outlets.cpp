#include "server/results/outlets.h"

#include <utility>

#include "base/hash.h"
#include "base/file.h"
#include "base/x509.h"
#include "server/results/ear.h"
#include "server/results/record.h"
#include "server/state/passwords.h"
#include "server/state/state.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t least_key = 16;

ResultCommandOptions command_options(const ResultsConfig& config) {
  ResultCommandOptions out;
  out.programs = {config.command_allow, config.command_block, config.command};
  out.limit = config.command_limit;
  out.writes = config.command_writes;
  out.sandbox = config.command_sandbox;
  return out;
}

bool has_command(const ResultsConfig& config) { return !config.command.empty() || !config.command_allow.empty() || !config.command_block.empty(); }

Result<Secret> key_of(const WebhookConfig& hook) {
  if (hook.key_file.empty()) return Secret();
  GH_CHECK(check_private(hook.key_file));
  GH_TRY(Secret key, read_secret_file(hook.key_file));
  if (key.size() < least_key) return fail(Error{Fault::usage, "the key of a webhook's signature has 16 characters or more", {}, 0, hook.key_file, {}});
  return key;
}

// libcurl reads them for each attempt, and says then what is wrong; an operator wants to hear it before.
Result<void> check_authorities(const std::string& file) {
  GH_TRY(const ByteVector pem, read_file(file, std::size_t(16) << 20));
  if (auto one = Certificate::from_pem(as_text(pem)); !one) return fail(std::move(one).error().from(file));
  return {};
}

Result<std::shared_ptr<const JwsSigner>> signer_of(const ResultsConfig& config, const std::string& tls_key) {
  GH_TRY(JwsSigner signer, JwsSigner::read_file(config.ear_key.empty() ? tls_key : config.ear_key));
  return std::make_shared<const JwsSigner>(std::move(signer));
}

// One for each target, whatever order the configuration has them in.
std::string place_of(const State& state, const std::string& url) {
  return state.path() + "/webhook-" + digest_of(HashAlgorithm::sha256, as_bytes(url)).hex().substr(0, 16) + ".next";
}

ResultSource source_of(const State& state, std::shared_ptr<const JwsSigner> ear) {
  ResultSource out;
  out.results = [&state](std::uint64_t from, std::size_t most) { return state.audit_results(from, most); };
  out.body = [&state, ear = std::move(ear)](const std::string& session) -> Result<std::optional<std::string>> {
    GH_TRY(const auto record, state.session(session));
    if (!record) return std::nullopt;
    GH_TRY(const bool evidence, state.has_evidence(session));
    std::string line = record_line(*record, evidence);
    if (!ear) return line;
    GH_TRY(std::string token, ear_token(line, *ear));
    return token;
  };
  return out;
}

}  // namespace

Result<void> Outlets::check(const ResultsConfig& config, const std::string& tls_key) {
  if (has_command(config)) GH_CHECK(ResultCommand::check(command_options(config)));
  if (!config.ear_key.empty()) GH_CHECK(JwsSigner::read_file(config.ear_key));
  for (const WebhookConfig& hook : config.webhooks) {
    GH_CHECK(key_of(hook));
    if (!hook.ca.empty()) GH_CHECK(check_authorities(hook.ca));
    if (hook.format == ResultFormat::ear) GH_CHECK(signer_of(config, tls_key));
  }
  return {};
}

Result<std::unique_ptr<Outlets>> Outlets::open(const ResultsConfig& config, const std::string& tls_key, const State& state) {
  GH_CHECK(check(config, tls_key));
  std::unique_ptr<Outlets> out(new Outlets());
  if (!config.file.empty()) {
    GH_TRY(out->log_, ResultLog::open(config.file));
  }
  if (has_command(config)) {
    GH_TRY(out->command_, ResultCommand::open(command_options(config)));
  }
  if (!config.syslog.empty()) out->syslog_ = Syslog::open({.target = config.syslog, .facility = config.syslog_facility});
  for (const WebhookConfig& hook : config.webhooks) {
    WebhookOptions options;
    options.url = hook.url;
    options.place = place_of(state, hook.url);
    options.ca = hook.ca;
    options.queue = hook.queue;
    GH_TRY(options.key, key_of(hook));
    std::shared_ptr<const JwsSigner> ear;
    if (hook.format == ResultFormat::ear) {
      GH_TRY(ear, signer_of(config, tls_key));
      options.content_type = ear_media_type;
    }
    GH_TRY(auto webhook, Webhook::open(std::move(options), source_of(state, std::move(ear))));
    out->webhooks_.push_back(std::move(webhook));
  }
  return out;
}

Outlets::~Outlets() = default;

void Outlets::publish(std::string line) {
  if (command_ || syslog_) {
    const auto shared = std::make_shared<const std::string>(line);
    if (command_) command_->publish(shared);
    if (syslog_) syslog_->publish(shared);
  }
  if (log_) log_->write(std::move(line));
  for (const auto& webhook : webhooks_) webhook->wake();
}

void Outlets::reopen() {
  if (log_) log_->reopen();
}

void Outlets::stop() {
  for (const auto& webhook : webhooks_) webhook->stop();
}

std::array<Outlets::To, 3> Outlets::deliveries() const {
  std::array<To, 3> out{{{"command", {}}, {"syslog", {}}, {"webhook", {}}}};
  if (command_) out[0].counts = command_->counts();
  if (syslog_) out[1].counts = syslog_->counts();
  for (const auto& webhook : webhooks_) {
    const DeliveryCounts one = webhook->counts();
    DeliveryCounts& sum = out[2].counts;
    sum.delivered += one.delivered;
    sum.failed += one.failed;
    sum.left_out += one.left_out;
    sum.waiting += one.waiting;
  }
  return out;
}

}  // namespace gatehouse::server
