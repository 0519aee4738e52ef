#include "server/imv/attestation/attestation_imv.h"

#include <algorithm>

#include "base/hex.h"
#include "server/imv/trace_exchange.h"

namespace gatehouse::server {
namespace {

using patnc::Attribute;
namespace pt = pts::type;
constexpr std::uint32_t tcg = patnc::vendor_tcg;
constexpr std::uint16_t needed_capabilities = pts::capability_tpm | pts::capability_dh;
constexpr std::uint16_t offered_capabilities = needed_capabilities | pts::capability_verify;

bool single_bit(std::uint16_t v) { return v != 0 && (v & (v - 1)) == 0; }

DhGroup group_of(std::uint16_t bit) {
  if (bit == pts::group_ecp384) return DhGroup::ecp384;
  return bit == pts::group_modp2048 ? DhGroup::modp2048 : DhGroup::ecp256;
}

}  // namespace

AttestationImv::~AttestationImv() = default;

bool AttestationImv::waiting() const { return std::holds_alternative<Beginning>(state_) || std::holds_alternative<Judging>(state_); }

std::size_t AttestationImv::pending_bytes() const {
  const auto* s = std::get_if<AwaitingQuote>(&state_);
  return s != nullptr && s->evidence ? s->evidence->pending_bytes() : 0;
}

pipeline::Verdict AttestationImv::blank_verdict() const {
  pipeline::Verdict v;
  v.session = c_.session;
  v.device = c_.info.device_id.value_or("");
  v.product = c_.product();
  v.recommendation = pipeline::Recommendation::isolate;
  v.evaluation = pipeline::Evaluation::error;
  v.generation = c_.intent.generation;
  return v;
}

void AttestationImv::finish(pipeline::Verdict verdict, std::optional<PublicKey> pending_key) {
  Done done;
  verdict.findings_total = verdict.findings.size();
  done.outcome.verdict = std::move(verdict);
  done.pending_key = std::move(pending_key);
  complete(std::move(done));
}

// The verdict stands: the item is finished by it.
void AttestationImv::complete(Done done) {
  state_ = std::move(done);
  const pipeline::Verdict& v = std::get<Done>(state_).outcome.verdict;
  if (item_ == nullptr) return;
  std::string text = v.summary;
  if (v.evaluation == pipeline::Evaluation::error && !v.findings.empty())
    text += (text.empty() ? "" : "; ") + v.findings.front().reason;
  finish_item(*item_, v.evaluation, std::move(text));
  item_ = nullptr;
  conclude();
}

// Evidence that was demanded and can't be had, for whatever reason, is never allow.
void AttestationImv::fail(std::string why) {
  if (done() || result()) return;
  c_.host.log(LogLevel::warning, "attestation failed: " + why);
  pipeline::Verdict v = blank_verdict();
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = std::move(why);
  v.findings.push_back(std::move(f));
  finish(std::move(v));
}

bool AttestationImv::expect(bool good, std::string_view what) {
  if (!good) fail(std::string(what));
  return good;
}

void AttestationImv::refuse(const Message& message, const Error& error) {
  channel().refuse(message, {patnc::ErrorCode::invalid_parameter, error.offset, {}, error.reason});
  fail(error.text());
}

void AttestationImv::ask(std::uint32_t type, Bytes value, std::uint8_t flags) {
  (void)channel().add(flags, tcg, type, value);
}

void AttestationImv::restart() {
  state_ = Init{};
  item_ = nullptr;
}

void AttestationImv::work() {
  if (std::holds_alternative<Init>(state_)) {
    // The bank that is offered follows from the device: its Device ID has to be known, or known not to come.
    if (!c_.identified()) return;
    item_ = open_item(policy::Type::tpmra);
    if (item_ == nullptr) return;
    std::vector<HashAlgorithm> banks = c_.settings.banks;
    if (c_.info.device_id) {
      if (auto approved = c_.state.approved_baselines(*c_.info.device_id); approved && !approved->empty()) {
        // A weaker or another bank would make every measurement a first one (spec part 2 §8.6).
        banks.clear();
        for (const pipeline::Baseline& b : *approved)
          if (std::find(banks.begin(), banks.end(), b.bank) == banks.end()) banks.push_back(b.bank);
      }
    }
    Discovery d;
    for (const HashAlgorithm bank : banks) d.offered |= pts::algorithm_bit(bank);
    Writer capabilities, algorithms;
    pts::append_capabilities(capabilities, offered_capabilities);
    pts::append_algorithms(algorithms, d.offered);
    channel().request_contract();
    ask(pt::request_capabilities, capabilities.view());
    ask(pt::algorithm_request, algorithms.view());
    state_ = std::move(d);
    return;
  }
  if (auto* d = std::get_if<Discovery>(&state_); d != nullptr && d->capabilities && d->bank) {
    if ((*d->capabilities & needed_capabilities) != needed_capabilities)
      return fail((*d->capabilities & pts::capability_tpm) == 0 ? "no TPM available" : "no DH nonce negotiation");
    const HashAlgorithm bank = *d->bank;
    Writer request;
    pts::append_dh_nonce_request(request, {c_.settings.minimum_nonce, c_.settings.dh_groups});
    ask(pt::dh_nonce_request, request.view());
    state_ = NonceRequested{bank};
    return;
  }
  if (auto* t = std::get_if<TpmInit>(&state_); t != nullptr && t->key && (t->version || t->version_unavailable)) {
    judge_key();
    return;
  }
  if (auto* q = std::get_if<AwaitingQuote>(&state_); q != nullptr && !q->asked) request_evidence();
}

void AttestationImv::give_up() {
  if (done() || waiting()) return;
  std::string_view what = "no answer from an Attestation IMC";
  if (std::holds_alternative<NonceRequested>(state_)) what = "no DH nonce parameters received";
  if (std::holds_alternative<TpmInit>(state_)) what = "no AIK received";
  if (std::holds_alternative<AwaitingQuote>(state_)) what = "no Simple Evidence Final received";
  fail(std::string(what));
}

void AttestationImv::receive(const Message& message) {
  if (done()) return;
  const bool has_evidence = std::any_of(message.attributes.begin(), message.attributes.end(),
                                        [](const Attribute& a) { return a.is(tcg, pt::simple_component_evidence); });
  if (has_evidence) {
    auto* q = std::get_if<AwaitingQuote>(&state_);
    if (!expect(q != nullptr && q->asked, "Simple Component Evidence that wasn't asked for at this time")) return;
    q->header_copy = to_vector(message.header_copy);
    q->collector = message.collector;
    q->evidence->submit({pipeline::Stream::ima, pipeline::Format::pa_tnc, to_vector(message.bytes), message.base_offset});
  }
  bool final_seen = false;
  for (const Attribute& a : message.attributes) {
    if (done()) return;
    if (a.is(tcg, pt::simple_component_evidence)) {
      if (!expect(!final_seen, "Simple Component Evidence after Simple Evidence Final")) return;
      continue;
    }
    if (a.is(tcg, pt::simple_evidence_final)) final_seen = true;
    on_attribute(message, a);
  }
}

void AttestationImv::on_attribute(const Message& message, const Attribute& a) {
  Reader r(a.value, "spec part 2 1", a.value_offset());
  if (a.vendor == patnc::vendor_ietf && a.type == patnc::type::pa_tnc_error) return on_error(r);
  if (a.vendor == patnc::vendor_ita) {
    if (a.type != pts::ita_symlinks) return;
    auto* q = std::get_if<AwaitingQuote>(&state_);
    if (!expect(q != nullptr && q->asked && !q->symlinks, "Symlinks that weren't asked for, or a second time")) return;
    q->symlinks = true;
    const auto links = pts::parse_symlinks(r);
    if (!links) return refuse(message, links.error());
    // The store knows the distribution's aliases; what the endpoint says is reported and changes nothing.
    for (std::size_t i = 0; i < links->size() && i < 64; ++i)
      q->claims.push_back("symlink " + std::string((*links)[i].link) + " -> " + std::string((*links)[i].target));
    return;
  }
  if (a.vendor != tcg) return;
  const auto read = [&](Result<void> good) {
    if (!good) refuse(message, good.error());
  };
  switch (a.type) {
    case pt::capabilities: return read(on_capabilities(r));
    case pt::algorithm: return read(on_algorithm(r));
    case pt::dh_nonce_response: return read(on_dh_response(r));
    case pt::tpm_version: return read(on_tpm_version(r));
    case pt::aik: return read(on_aik(r));
    case pt::simple_evidence_final: return on_final(a);
    default: return;  // what only a server sends
  }
}

Result<void> AttestationImv::on_capabilities(Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (!expect(d != nullptr && !d->capabilities, "PTS Protocol Capabilities that weren't asked for, or a second time")) return {};
  const auto flags = pts::parse_capabilities(r);
  if (!flags) return std::unexpected(flags.error());
  if (!expect((*flags & ~offered_capabilities) == 0, "PTS capabilities that weren't offered")) return {};
  d->capabilities = *flags;
  return {};
}

Result<void> AttestationImv::on_algorithm(Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (!expect(d != nullptr && !d->bank, "PTS Measurement Algorithm that wasn't asked for, or a second time")) return {};
  const auto set = pts::parse_algorithms(r);
  if (!set) return std::unexpected(set.error());
  const auto bank = pts::algorithm_of_bit(*set);
  if (!expect(bank && (*set & d->offered) != 0, "a measurement algorithm that wasn't offered, or more than one")) return {};
  d->bank = bank;
  c_.host.log(LogLevel::info, "PTS measurement algorithm is " + std::string(name(*bank)));
  return {};
}

Result<void> AttestationImv::on_dh_response(Reader& r) {
  auto* n = std::get_if<NonceRequested>(&state_);
  if (!expect(n != nullptr, "DH Nonce Parameters Response that wasn't asked for, or a second time")) return {};
  const auto v = pts::parse_dh_nonce_response(r);
  if (!v) return std::unexpected(v.error());
  if (!expect(v->nonce.size() >= c_.settings.minimum_nonce && v->nonce.size() >= 17, "the endpoint's nonce is too short")) return {};
  if (!expect(single_bit(v->group) && (v->group & c_.settings.dh_groups) != 0, "a DH group that wasn't offered, or more than one")) return {};
  // The strongest hash that both know; strongSwan's clients offer the measurement algorithm alone.
  std::optional<HashAlgorithm> hash;
  for (const HashAlgorithm h : {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256})
    if (!hash && (v->hashes & pts::algorithm_bit(h)) != 0) hash = h;
  if (!expect(hash.has_value(), "no common hash algorithm for the nonce")) return {};
  const auto own = KeyAgreement::generate(group_of(v->group));
  if (!own) return fail("the DH key pair can't be made"), Result<void>();
  auto z = own->derive(v->public_value);
  if (!z) return std::unexpected(Error{Fault::malformed, z.error().reason, z.error().spec, r.offset(), {}, {}});
  if (const auto fixed = c_.host.fixed_secret()) z = *fixed;
  const ByteVector nonce = c_.host.fixed_nonce().value_or(c_.host.random(v->nonce.size()));
  trace_exchange(c_.host, n->bank, *hash, v->group, nonce, v->nonce, *z);
  TpmInit next;
  next.bank = n->bank;
  next.nonce = secret_assessment_value(*hash, nonce, v->nonce, std::move(*z));
  c_.host.trace_fact("secret_assessment_value", next.nonce.view());
  Writer finish;
  pts::append_dh_nonce_finish(finish, {pts::algorithm_bit(*hash), own->public_value(), nonce});
  const std::byte zeros[4] = {};
  ask(pt::dh_nonce_finish, finish.view());
  ask(pt::get_tpm_version, zeros);
  ask(pt::get_aik, zeros);
  state_ = std::move(next);
  return {};
}

Result<void> AttestationImv::on_tpm_version(Reader& r) {
  auto* t = std::get_if<TpmInit>(&state_);
  if (!expect(t != nullptr && !t->version && !t->version_unavailable, "TPM Version Information that wasn't asked for, or a second time")) return {};
  const auto v = pts::parse_tpm_version(r);
  if (!v) return std::unexpected(v.error());
  t->version = *v;
  std::string vendor;
  for (int shift = 24; shift >= 0; shift -= 8) vendor += char(v->vendor >> shift & 0xFF);
  c_.host.log(LogLevel::info, "TPM 2.0 revision " + std::to_string(v->revision / 100) + "." + std::to_string(v->revision % 100) + ", " +
                                  std::to_string(v->year) + ", vendor " + escaped(vendor) + ", startup locality " + std::to_string(v->locality));
  return {};
}

Result<void> AttestationImv::on_aik(Reader& r) {
  auto* t = std::get_if<TpmInit>(&state_);
  if (!expect(t != nullptr && !t->key, "an AIK that wasn't asked for, or a second one")) return {};
  const auto v = pts::parse_aik(r);
  if (!v) return std::unexpected(v.error());
  if (v->naked) {
    auto key = PublicKey::from_spki(v->der);
    if (!key) key = PublicKey::from_pem(as_text(v->der));  // strongSwan's reader takes PEM here too
    if (!key) return fail("the AIK isn't a public key: " + std::string(key.error().reason)), Result<void>();
    t->key = *key;
    return {};
  }
  const auto certificate = Certificate::from_der(v->der);
  if (!certificate) return fail("the AIK isn't a certificate: " + std::string(certificate.error().reason)), Result<void>();
  c_.host.log(LogLevel::info, "AIK certificate of '" + certificate->subject() + "'");
  if (!c_.settings.ak_authorities) {
    fail("No trusted AIK available: the AIK came as a certificate and no AK certificate authority is configured");
    return {};
  }
  if (const auto valid = c_.settings.ak_authorities->verify(*certificate, {}, c_.host.now_ms() / 1000); !valid) {
    fail("No trusted AIK available: " + valid.error().text());
    return {};
  }
  t->key = certificate->key();
  return {};
}

void AttestationImv::on_error(Reader& r) {
  const auto error = patnc::parse_error(r);
  if (!error) return;
  if (error->vendor == tcg && error->code == pts::error::tpm_version_unavailable) {
    if (auto* t = std::get_if<TpmInit>(&state_)) t->version_unavailable = true;
    return;
  }
  // A client without segmentation still works.
  if (error->vendor == 0 && error->code == 3 && error->information.size() >= 16) {
    Reader info(error->information, "RFC 5792 4.2.8");
    (void)info.skip(9);
    if (*info.get24() == tcg && *info.get<std::uint32_t>() == patnc::type::contract_request) return;
  }
  fail("the endpoint answered with PA-TNC error " + std::to_string(error->vendor) + "/" + std::to_string(error->code));
}

// Who the device is and whether its key is trusted, before anything is asked of it (spec part 2 §5.2).
void AttestationImv::judge_key() {
  auto& t = std::get<TpmInit>(state_);
  const PublicKey key = *t.key;
  c_.intent.key_pin = key.pin();
  const std::string device = c_.info.device_id.value_or("");
  if (device.empty()) return fail("No trusted AIK available: the endpoint claims no Device ID");
  KeyJudgement judgement = c_.state.judge_key(device, key);
  std::string why;
  if (judgement.standing != KeyStanding::trusted) {
    why = judgement.reason.empty() ? std::string(name(judgement.standing)) : judgement.reason;
  } else if (c_.device() && !c_.device()->identities.empty() &&
             std::find(c_.device()->identities.begin(), c_.device()->identities.end(), c_.peer.identity) ==
                 c_.device()->identities.end()) {
    why = "the device is bound to other identities than '" + escaped(c_.peer.identity) + "'";
  }
  if (!why.empty()) {
    const bool can_trust = judgement.standing == KeyStanding::pending || judgement.standing == KeyStanding::unknown;
    const std::string command = c_.settings.command + " device trust " + device;
    c_.host.log(LogLevel::warning, "No trusted AIK available for device " + escaped(device) + ": " + why +
                                       (can_trust ? "; key id " + key.key_id() + "; trust it with: " + escaped(command) : ""));
    pipeline::Verdict v = blank_verdict();
    v.checks["Q9"] = pipeline::Status::failed;
    pipeline::Finding f;
    f.component = "quote";
    f.status = pipeline::Status::failed;
    f.reason = "No trusted AIK available: " + why + (can_trust ? "; trust key " + key.key_id() + " with: " + command : "");
    v.findings.push_back(std::move(f));
    finish(std::move(v), can_trust ? std::optional(key) : std::nullopt);
    return;
  }
  const std::optional<std::uint8_t> locality = t.version ? std::optional(t.version->locality) : std::nullopt;
  Beginning next{t.bank, t.nonce, locality, key, std::move(judgement)};
  state_ = std::move(next);
  c_.host.begin_session(c_.intent);
}

void AttestationImv::session_begun(const Result<void>& on_disk) {
  auto* b = std::get_if<Beginning>(&state_);
  if (b == nullptr) return;
  if (!on_disk) return fail("the session can't be recorded: " + std::string(on_disk.error().reason));
  pipeline::Context context;
  context.session = c_.session;
  context.device = c_.info.device_id.value_or("");
  context.references = c_.host.references();
  context.serve = true;
  context.boot_requested = item_->has('B');
  context.ima_requested = item_->has('I');
  context.bank = b->bank;
  if (const HashAlgorithm least = HashAlgorithm::sha256; digest_size(b->bank) < digest_size(least) &&
      std::find(c_.settings.banks.begin(), c_.settings.banks.end(), b->bank) != c_.settings.banks.end())
    context.minimum_bank = b->bank;  // SHA-1 only where it is configured
  const std::string claimed = c_.info.product();
  context.product = c_.product();
  context.product_known = context.product == claimed && context.references && context.references->has_product(context.product);
  context.claims = {"Device ID " + context.device, "product " + claimed};
  context.approve_command = c_.settings.command + " device baseline approve " + context.device;
  auto baselines = c_.state.approved_baselines(context.device);
  auto last = c_.state.last_quote(b->key);
  if (!baselines || !last) return fail("the state store can't be read");
  context.baselines = std::move(*baselines);
  context.last_quote = *last;
  AwaitingQuote next{b->nonce, b->locality, b->key, std::move(b->judgement), c_.host.open_evidence(std::move(context)), false, false, {}, {}, pbtnc::any};
  state_ = std::move(next);
  request_evidence();
}

void AttestationImv::request_evidence() {
  auto& q = std::get<AwaitingQuote>(state_);
  q.asked = true;
  Writer components;
  std::vector<pts::ComponentRequest> wanted;
  if (item_->has('B')) wanted.push_back({pts::request_pcr, 0, pts::component_boot});
  if (item_->has('I')) wanted.push_back({pts::request_pcr, 0, pts::component_ima});
  pts::append_component_requests(components, wanted);
  const std::byte zeros[4] = {};
  (void)channel().add(0, patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"));
  ask(pt::request_component_evidence, components.view());
  ask(pt::generate_evidence, zeros);
}

void AttestationImv::on_final(const Attribute& a) {
  auto* q = std::get_if<AwaitingQuote>(&state_);
  if (!expect(q != nullptr && q->asked, "Simple Evidence Final that wasn't asked for at this time, or a second one")) return;
  pipeline::Finish f;
  f.ak.key = q->key;
  f.ak.trusted = true;
  if (q->judgement.record) {
    f.ak.object_attributes = q->judgement.record->object_attributes;
    f.ak.name_algorithm = q->judgement.record->name_algorithm;
    f.ak.qualified_name = q->judgement.record->qualified_name;
  }
  f.quote = pipeline::FinalQuote{to_vector(a.value), a.value_offset()};
  f.nonce = to_vector(q->nonce.view());
  f.claimed_locality = q->locality;
  f.claims = std::move(q->claims);
  Judging next{q->key, std::move(q->evidence), std::move(q->header_copy), q->collector, q->judgement.first_use};
  state_ = std::move(next);
  // Completes on the evidence plane's threads, through the host, never inside this call.
  std::get<Judging>(state_).evidence->finish(std::move(f));
}

void AttestationImv::outcome(Result<pipeline::Outcome>& outcome) {
  if (done()) return;
  if (!outcome) {
    const Error& e = outcome.error();
    // Malformed evidence: the endpoint is told where (RFC 5792 4.2.8).
    Bytes copy;
    std::uint16_t collector = pbtnc::any;
    if (const auto* q = std::get_if<AwaitingQuote>(&state_)) copy = q->header_copy, collector = q->collector;
    if (const auto* j = std::get_if<Judging>(&state_)) copy = j->header_copy, collector = j->collector;
    if ((e.fault == Fault::malformed || e.fault == Fault::protocol || e.fault == Fault::limit) && copy.size() == patnc::message_header_size)
      channel().refuse({collector, copy, {}, {}, 0}, {patnc::ErrorCode::invalid_parameter, e.offset, {}, e.reason});
    return fail(e.text());
  }
  auto* j = std::get_if<Judging>(&state_);
  if (j == nullptr) return;
  Done done;
  if (outcome->quote) done.quote_key = j->key;
  done.outcome = std::move(*outcome);
  complete(std::move(done));
}

const pipeline::Verdict* AttestationImv::verdict() const {
  const auto* d = std::get_if<Done>(&state_);
  return d != nullptr ? &d->outcome.verdict : nullptr;
}

void AttestationImv::contribute(pipeline::Verdict&, SessionResult& record) {
  if (!done()) return;
  const auto& d = std::get<Done>(state_);
  if (d.pending_key) record.pending_key = SeenKey{*d.pending_key, std::nullopt, std::nullopt};
  record.quote_key = d.quote_key;
  record.quote = d.outcome.quote;
  record.proposed_baseline = d.outcome.measured_boot;
}

std::vector<std::string> AttestationImv::reasons() const {
  std::vector<std::string> out;
  if (!done()) return out;
  const auto& v = std::get<Done>(state_).outcome.verdict;
  if (v.recommendation == pipeline::Recommendation::allow) return out;
  const auto add = [&](std::string_view text) { out.emplace_back(c_.text(text)); };
  const auto failed = [&](const char* code) {
    const auto at = v.checks.find(code);
    return at != v.checks.end() && at->second == pipeline::Status::failed;
  };
  if (failed("Q9")) add("No trusted AIK available");
  if (v.quote.status == pipeline::Status::failed) add("Invalid TPM Quote signature received");
  if (v.ima.differ + v.ima.failed + v.boot.differ + v.boot.failed != 0) add("Incorrect component evidence");
  if (v.boot_given && v.boot.unknown != 0) add("No approved firmware baseline");
  if (out.empty()) add(v.boot_given && v.ima_given ? "Incorrect component evidence" : "Pending component evidence");
  return out;
}

void AttestationImv::say_last() {
  if (done()) say_assessment(std::get<Done>(state_).outcome.verdict.evaluation);
}

}  // namespace gatehouse::server
