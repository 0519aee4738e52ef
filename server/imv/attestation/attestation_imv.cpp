#include "server/imv/attestation/attestation_imv.h"

#include <algorithm>

#include "base/hex.h"
#include "base/known_keys.h"
#include "server/imv/trace_exchange.h"
#include "wire/pts/errors.h"

namespace gatehouse::server {
namespace {

using patnc::Attribute;
namespace pt = pts::type;
namespace raw = pts::raw;
constexpr std::uint32_t tcg = patnc::vendor_tcg;
constexpr std::uint16_t needed_capabilities = pts::capability_tpm | pts::capability_dh;
constexpr std::uint16_t offered_capabilities = needed_capabilities | pts::capability_verify;
constexpr std::uint8_t shortest_nonce = 17;  // spec part 2 §3
constexpr HashAlgorithm nonce_hashes[] = {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256};

bool single_bit(std::uint16_t v) { return v != 0 && (v & (v - 1)) == 0; }

std::uint16_t set_of(std::span<const HashAlgorithm> algorithms) {
  unsigned set = 0;
  for (const HashAlgorithm algorithm : algorithms) set |= pts::algorithm_bit(algorithm);
  return std::uint16_t(set);
}

DhGroup group_of(std::uint16_t bit) {
  switch (bit) {
    case pts::group_modp1024: return DhGroup::modp1024;
    case pts::group_modp1536: return DhGroup::modp1536;
    case pts::group_modp2048: return DhGroup::modp2048;
    case pts::group_ecp384: return DhGroup::ecp384;
    default: return DhGroup::ecp256;
  }
}

// What may come in segments: logs and lists of files go on piece by piece.
patnc::Reassembler::Admit admission(const Settings& settings) {
  return [&settings](std::uint32_t vendor, std::uint32_t type) -> patnc::Reassembler::Admission {
    constexpr std::size_t small = std::size_t(256) << 10, list = std::size_t(16) << 20;
    if (settings.raw_evidence && vendor == settings.raw_vendor) {
      if (type == raw::type::firmware_log || type == raw::type::ima_list) return {true, settings.max_evidence_bytes, true};
      return {type == raw::type::capabilities || type == raw::type::quote, small, false};
    }
    if (vendor == tcg && (type == pt::file_measurement || type == pt::unix_file_metadata)) return {true, list, true};
    return admit_supported(vendor, type);
  };
}

bool is_file_answer(const Attribute& a) { return a.is(tcg, pt::file_measurement) || a.is(tcg, pt::unix_file_metadata); }

}  // namespace

AttestationImv::AttestationImv(std::uint16_t id, Conversation& conversation)
    : Imv(id, conversation, tcg, patnc::subtype_pts, admission(conversation.settings)),
      files_(conversation, [this](const policy::WorkItem& item, pipeline::Evaluation evaluation, std::string text) {
        finish_item(item, evaluation, std::move(text));
      }) {}
AttestationImv::~AttestationImv() = default;

bool AttestationImv::waiting() const {
  return std::holds_alternative<Asking>(state_) || std::holds_alternative<Beginning>(state_) || std::holds_alternative<Judging>(state_);
}

EvidenceIntake* AttestationImv::intake() {
  if (auto* const q = std::get_if<AwaitingQuote>(&state_)) return q->intake.get();
  if (auto* const j = std::get_if<Judging>(&state_)) return j->intake.get();
  return nullptr;
}

std::size_t AttestationImv::pending_bytes() const {
  const auto* s = std::get_if<AwaitingQuote>(&state_);
  return s != nullptr ? s->intake->pending_bytes() : 0;
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
  const bool proved = done.outcome.quote.has_value();
  state_ = std::move(done);
  const pipeline::Verdict& v = std::get<Done>(state_).outcome.verdict;
  if (item_ == nullptr) return;
  std::string text = attestation_result(v);
  finish_item(*std::exchange(item_, nullptr), v.evaluation, std::move(text));
  files_.settle(proved, "the device's quote didn't verify");
  if (open_items().empty()) conclude();
}

// Evidence that was demanded and can't be had, for whatever reason, is never allow.
void AttestationImv::fail_attestation(std::string why) {
  if (item_ == nullptr || done() || result()) return;
  c_.host.log(LogLevel::warning, "attestation failed: " + why);
  finish(failed_attestation(c_.subject(), std::move(why)));
}

void AttestationImv::fail(std::string why) {
  if (result()) return;
  if (std::holds_alternative<Init>(state_)) {
    if (trouble_.empty()) trouble_ = std::move(why);
    return;
  }
  files_.fail(why);
  if (item_ != nullptr) return fail_attestation(std::move(why));
  c_.host.log(LogLevel::warning, "file measurement failed: " + why);
}

// What is repeated, out of its time or not ours to take: the endpoint is told where it stands in its message.
bool AttestationImv::expect(bool good, std::string_view what, std::size_t field) {
  if (!good) refuse(*message_, Error{Fault::protocol, what, "spec part 2 1.17", at_ + field, {}, {}});
  return good;
}

void AttestationImv::refuse(const Message& message, const Error& error) {
  if (error.fault != Fault::malformed && error.fault != Fault::protocol && error.fault != Fault::limit)
    return fail(std::string(error.reason));
  channel().refuse(message, {patnc::ErrorCode::invalid_parameter, error.offset, {}, error.reason});
  fail(error.text());
}

std::string AttestationImv::at(std::string_view what, std::size_t field) const {
  return Error{Fault::protocol, what, "spec part 2 1", at_ + field, {}, {}}.text();
}

// A PTS error, by its whole value.
void AttestationImv::say_error(const Message& message, Writer&& value) {
  if (c_.take_error()) (void)channel().add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, value.view(), message.collector);
}

void AttestationImv::ask(std::uint32_t type, Bytes value) { (void)channel().add(patnc::noskip, tcg, type, value); }

void AttestationImv::restart() {
  state_ = Init{};
  item_ = nullptr;
  files_.restart();
  raw_parts_ = 0;
  trouble_.clear();
}

void AttestationImv::work() {
  if (std::holds_alternative<Init>(state_)) return begin();
  if (const auto* d = std::get_if<Discovery>(&state_); d != nullptr && d->capabilities && d->bank) {
    const Discovery found = *d;
    return leave_discovery(found);
  }
  if (auto* t = std::get_if<TpmInit>(&state_); t != nullptr && t->key && (t->version || t->version_unavailable)) judge_key();
  if (auto* q = std::get_if<AwaitingQuote>(&state_); q != nullptr && q->intake->complete()) hand_over();
  (void)files_.ask(channel());
}

void AttestationImv::begin() {
  // The bank that is offered follows from the device: its Device ID has to be known, or known not to come.
  if (!c_.identified() || open_items().empty()) return;
  item_ = open_item(policy::Type::tpmra);
  files_.begin(open_items());
  Discovery d;
  d.offered = set_of(c_.settings.banks);
  if (c_.info.device_id && item_ != nullptr) {
    // A weaker or another bank would make every measurement a first one (spec part 2 §8.6).
    if (const auto banks = c_.state.approved_banks(*c_.info.device_id); banks && !banks->empty()) d.offered = set_of(*banks);
  }
  const std::uint16_t offered = d.offered;
  state_ = std::move(d);
  if (item_ == nullptr) files_.settle(c_.standing() == policy::Standing::authenticated, "the device isn't authenticated");
  if (!trouble_.empty()) return fail(std::exchange(trouble_, {}));
  Writer capabilities;
  pts::append_capabilities(capabilities, offered_capabilities);
  channel().request_contract();
  ask(pt::request_capabilities, capabilities.view());
  offer_algorithms(offered);
}

void AttestationImv::offer_algorithms(std::uint16_t set) {
  std::get<Discovery>(state_).offered = set;
  Writer w;
  pts::append_algorithms(w, set);
  ask(pt::algorithm_request, w.view());
}

void AttestationImv::offer_groups(std::uint16_t set) {
  std::get<NonceRequested>(state_).groups = set;
  Writer w;
  pts::append_dh_nonce_request(w, {c_.settings.minimum_nonce, set});
  ask(pt::dh_nonce_request, w.view());
}

// Files don't need a TPM; what the quote needs goes with them.
void AttestationImv::leave_discovery(const Discovery& d) {
  files_.measure_in(*d.bank);
  (void)files_.ask(channel());
  if (item_ == nullptr) {
    state_ = FilesOnly{};
    return;
  }
  std::string missing;
  if ((*d.capabilities & pts::capability_tpm) == 0) missing = "no TPM available";
  if ((*d.capabilities & pts::capability_dh) == 0) missing += (missing.empty() ? "" : ", ") + std::string("no DH nonce negotiation");
  if (!missing.empty()) return fail_attestation(std::move(missing));
  state_ = NonceRequested{*d.bank};
  offer_groups(c_.settings.dh_groups);
}

void AttestationImv::give_up() {
  if (waiting()) return;
  if (std::holds_alternative<Discovery>(state_)) return fail("no answer from an Attestation IMC");
  // What came is judged; that the rest is missing is part of the verdict.
  if (auto* q = std::get_if<AwaitingQuote>(&state_); q != nullptr && q->intake->has_final()) hand_over();
  if (std::holds_alternative<NonceRequested>(state_)) fail_attestation("no DH nonce parameters received");
  if (std::holds_alternative<TpmInit>(state_)) fail_attestation("no AIK received");
  if (std::holds_alternative<AwaitingQuote>(state_)) fail_attestation("no Simple Evidence Final received");
  files_.give_up();
  (void)files_.ask(channel());
}

void AttestationImv::receive(const Message& message) {
  if (result()) return;
  message_ = &message;
  at_ = message.attributes.front().offset;
  const auto is_component = [](const Attribute& a) { return a.is(tcg, pt::simple_component_evidence); };
  if (!done() && std::any_of(message.attributes.begin(), message.attributes.end(), is_component)) {
    EvidenceIntake* const q = intake();
    if (!expect(q != nullptr, "Simple Component Evidence that wasn't asked for at this time")) return;
    if (const auto good = q->take_components(message); !good) return refuse(message, good.error());
  }
  bool final_seen = false;
  for (const Attribute& a : message.attributes) {
    if (result()) return;
    at_ = a.value_offset();
    if (is_component(a)) {
      if (!done() && !expect(!final_seen, "Simple Component Evidence after Simple Evidence Final")) return;
      continue;
    }
    if (a.is(tcg, pt::simple_evidence_final)) final_seen = true;
    on_attribute(message, a);
  }
}

Result<void> AttestationImv::receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) {
  if (result()) return {};
  if (piece.vendor == tcg) return files_.take_piece(collector, piece);
  if (done()) return {};
  EvidenceIntake* const q = intake();
  if (q == nullptr)
    return gatehouse::fail(Fault::protocol, "raw evidence that wasn't asked for", "docs/formats/raw-evidence.md", patnc::attribute_header_size);
  return q->take_piece(collector, piece);
}

void AttestationImv::on_attribute(const Message& message, const Attribute& a) {
  Reader r(a.value, "spec part 2 1", a.value_offset());
  const auto read = [&](const Result<void>& good) {
    if (!good) refuse(message, good.error());
  };
  if (a.is(patnc::vendor_ietf, patnc::type::pa_tnc_error)) return on_error(r);
  if (is_file_answer(a)) return read(files_.take(a));
  if (done()) return;
  if (c_.settings.raw_evidence && a.vendor == c_.settings.raw_vendor) return read(on_raw(message, a));
  if (a.is(patnc::vendor_ita, pts::ita_symlinks) || a.is(tcg, pt::simple_evidence_final)) return read(on_evidence(message, a));
  if (a.vendor != tcg) return;
  switch (a.type) {
    case pt::capabilities: return read(on_capabilities(r));
    case pt::algorithm: return read(on_algorithm(message, r));
    case pt::dh_nonce_response: return read(on_dh_response(message, r));
    case pt::tpm_version: return read(on_tpm_version(r));
    case pt::aik: return read(on_aik(r));
    default: return;  // what only a server sends
  }
}

Result<void> AttestationImv::on_raw(const Message& message, const Attribute& a) {
  if (a.type != raw::type::capabilities) return on_evidence(message, a);
  auto* d = std::get_if<Discovery>(&state_);
  if (!expect(d != nullptr && !d->raw_announced, "Raw Evidence Capabilities at another time, or a second time")) return {};
  d->raw_announced = true;
  Reader r(a.value, "docs/formats/raw-evidence.md", a.value_offset());
  GH_TRY(const raw::Capabilities v, raw::parse_capabilities(r));
  if (v.speaks(raw::version)) raw_parts_ = v.parts;
  return {};
}

Result<void> AttestationImv::on_evidence(const Message& message, const Attribute& a) {
  EvidenceIntake* const q = intake();
  const std::string_view what = a.is(tcg, pt::simple_evidence_final) ? "Simple Evidence Final that wasn't asked for at this time, or a second one"
                                : a.vendor == patnc::vendor_ita      ? "Symlinks that weren't asked for at this time"
                                                                     : "raw evidence that wasn't asked for at this time";
  if (!expect(q != nullptr, what)) return {};
  if (a.vendor == patnc::vendor_ita) return q->take_symlinks(a);
  if (a.vendor == tcg) {
    // The evidence plane reads it again: here only so that the endpoint is told where it is malformed.
    Reader r(a.value, "spec part 2 1.12", a.value_offset());
    GH_CHECK(pts::parse_simple_evidence_final(r));
    return q->take_final(a);
  }
  return q->take_raw(message, a);
}

Result<void> AttestationImv::on_capabilities(Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (!expect(d != nullptr && !d->capabilities, "PTS Protocol Capabilities that weren't asked for, or a second time")) return {};
  const auto flags = pts::parse_capabilities(r);
  if (!flags) return std::unexpected(flags.error());
  if (!expect((*flags & ~offered_capabilities) == 0, "PTS capabilities that weren't offered", 2)) return {};
  d->capabilities = *flags;
  return {};
}

Result<void> AttestationImv::on_algorithm(const Message& message, Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (!expect(d != nullptr && !d->bank, "PTS Measurement Algorithm that wasn't asked for, or a second time")) return {};
  GH_TRY(const std::uint16_t set, pts::parse_algorithms(r));
  const auto bank = pts::algorithm_of_bit(set);
  if (!bank || (set & d->offered) == 0) {
    Writer error;
    pts::append_set_error(error, pts::error::hash_algorithm_not_supported, d->offered);
    say_error(message, std::move(error));
    fail(at("a measurement algorithm that wasn't offered, or more than one", 2));
    return {};
  }
  d->bank = bank;
  c_.host.log(LogLevel::info, "PTS measurement algorithm is " + std::string(name(*bank)));
  return {};
}

Result<void> AttestationImv::on_dh_response(const Message& message, Reader& r) {
  auto* n = std::get_if<NonceRequested>(&state_);
  if (!expect(n != nullptr, "DH Nonce Parameters Response that wasn't asked for, or a second time")) return {};
  GH_TRY(const pts::DhNonceResponse v, pts::parse_dh_nonce_response(r));
  const auto refuse_with = [&](Writer&& error, std::string_view why, std::size_t field) {
    say_error(message, std::move(error));
    fail_attestation(at(why, field));
    return Result<void>();
  };
  Writer error;
  if (const std::uint8_t least = std::max(shortest_nonce, c_.settings.minimum_nonce); v.nonce.size() < least) {
    pts::append_nonce_error(error, least);
    return refuse_with(std::move(error), "the endpoint's nonce is too short", 3);
  }
  if (!single_bit(v.group) || (v.group & n->groups) == 0) {
    pts::append_set_error(error, pts::error::dh_group_not_supported, n->groups);
    return refuse_with(std::move(error), "a DH group that wasn't offered, or more than one", 4);
  }
  // The strongest hash that both know; strongSwan's clients offer the measurement algorithm alone.
  std::optional<HashAlgorithm> hash;
  for (const HashAlgorithm h : nonce_hashes)
    if (!hash && (v.hashes & pts::algorithm_bit(h)) != 0) hash = h;
  if (!hash) {
    pts::append_set_error(error, pts::error::hash_algorithm_not_supported, set_of(nonce_hashes));
    return refuse_with(std::move(error), "no common hash algorithm for the nonce", 6);
  }
  const auto own = KeyAgreement::generate(group_of(v.group));
  if (!own) return fail_attestation("the DH key pair can't be made"), Result<void>();
  auto z = own->derive(v.public_value);
  if (!z) return std::unexpected(Error{Fault::malformed, z.error().reason, z.error().spec, at_ + 8 + v.nonce.size(), {}, {}});
  if (const auto fixed = c_.host.fixed_secret()) z = *fixed;
  const ByteVector nonce = c_.host.fixed_nonce().value_or(c_.host.random(v.nonce.size()));
  trace_exchange(c_.host, n->bank, *hash, v.group, nonce, v.nonce, *z);
  TpmInit next;
  next.bank = n->bank;
  next.nonce = secret_assessment_value(*hash, nonce, v.nonce, std::move(*z));
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
  vendor.resize(vendor.find_last_not_of('\0') + 1);  // "IBM" fills three of the four
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
    static KnownKeys keys;
    auto key = keys.from_spki(v->der);
    if (!key) key = PublicKey::from_pem(as_text(v->der));  // strongSwan's reader takes PEM here too
    if (!key) return std::unexpected(Error{Fault::malformed, "the AIK isn't a public key", "spec part 2 1.8", at_ + 1, {}, std::string(key.error().reason)});
    t->key = *key;
    return {};
  }
  const auto certificate = Certificate::from_der(v->der);
  if (!certificate)
    return std::unexpected(Error{Fault::malformed, "the AIK isn't a certificate", "spec part 2 1.8", at_ + 1, {}, std::string(certificate.error().reason)});
  c_.host.log(LogLevel::info, "AIK certificate of '" + certificate->subject() + "'");
  if (!c_.settings.ak_authorities) {
    fail_attestation("No trusted AIK available: the AIK came as a certificate and no AK certificate authority is configured");
    return {};
  }
  const auto issuer = c_.settings.ak_authorities->verified_issuer(*certificate, {}, c_.host.now_ms() / 1000);
  if (!issuer) {
    fail_attestation("No trusted AIK available: " + issuer.error().text());
    return {};
  }
  // One that the operator named itself has nobody above it to be asked.
  if (c_.settings.ak_status && *issuer) t->certificate.emplace(*certificate, **issuer);
  t->key = certificate->key();
  return {};
}

void AttestationImv::on_error(Reader& r) {
  const auto error = patnc::parse_error(r);
  if (!error) return c_.host.log(LogLevel::warning, "a PA-TNC error that can't be read: " + error.error().text());
  if (error->vendor == tcg) return on_pts_error(error->code, error->information);
  if (c_.settings.raw_evidence && error->vendor == c_.settings.raw_vendor && error->code == raw::error_unavailable) {
    Reader information(error->information, "docs/formats/raw-evidence.md");
    const auto parts = raw::parse_unavailable_information(information);
    EvidenceIntake* const q = intake();
    c_.host.log(LogLevel::warning, "the endpoint can't give raw evidence that it was asked for");
    if (parts && q != nullptr) q->unavailable(*parts);
    return;
  }
  const std::string what = "the endpoint answered with PA-TNC error '" + patnc::error_name(error->vendor, error->code) + "'";
  if (error->vendor == patnc::vendor_ietf && error->code == std::uint32_t(patnc::ErrorCode::type_not_supported) &&
      error->information.size() >= 16) {
    Reader information(error->information, "RFC 5792 4.2.8");
    (void)information.skip(9);
    const std::uint32_t vendor = *information.get24();
    const std::uint32_t type = *information.get<std::uint32_t>();
    // A client without segmentation still works, and one without symlinks.
    if ((vendor == tcg && type == patnc::type::contract_request) || vendor == patnc::vendor_ita) return;
    if (vendor == tcg && (type == pt::request_file_measurement || type == pt::request_file_metadata)) return files_.unsupported(type);
  }
  fail(what);
}

// Spec part 2 §1.15: code 9 is no failure, what is about a file concerns that item, everything else ends the attestation.
void AttestationImv::on_pts_error(std::uint32_t code, Bytes information) {
  const std::string what = "the endpoint answered with PTS error '" + std::string(pts::error_name(code)) + "' (" + std::to_string(code) + ")";
  c_.host.log(LogLevel::warning, what);
  Reader r(information, "spec part 2 1.15");
  const auto info = pts::parse_error_information(code, r);
  if (!info) return fail(what + ", malformed");
  switch (code) {
    case pts::error::tpm_version_unavailable:
      if (auto* t = std::get_if<TpmInit>(&state_)) t->version_unavailable = true;
      return;
    case pts::error::invalid_path:
    case pts::error::file_not_found:
    case pts::error::invalid_delimiter:
      if (!files_.refuse(code, info->request)) c_.host.log(LogLevel::warning, "no file request waits that this error is about");
      return;
    case pts::error::operation_not_supported:
      if (files_.not_supported()) return;
      break;
    case pts::error::hash_algorithm_not_supported:
      if (auto* d = std::get_if<Discovery>(&state_); d != nullptr && !d->bank) {
        const std::uint16_t common = info->supported & set_of(c_.settings.banks);
        if (common == 0 || std::exchange(d->offered_again, true)) return fail(what);
        return offer_algorithms(common);
      }
      break;
    case pts::error::dh_group_not_supported:
      if (auto* n = std::get_if<NonceRequested>(&state_)) {
        const std::uint16_t common = info->supported & c_.settings.dh_groups;
        if (common == 0 || std::exchange(n->offered_again, true)) break;
        return offer_groups(common);
      }
      break;
    default: break;
  }
  if (item_ != nullptr) return fail_attestation(what);
  fail(what);
}

// Who the device is and whether its key is trusted, before anything is asked of it (spec part 2 §5.2).
void AttestationImv::judge_key() {
  auto& t = std::get<TpmInit>(state_);
  const PublicKey key = *t.key;
  c_.intent.key_pin = key.pin();
  const std::string device = c_.info.device_id.value_or("");
  if (device.empty()) return fail_attestation("No trusted AIK available: the endpoint claims no Device ID");
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
  if (t.certificate) {
    const auto [certificate, issuer] = *t.certificate;
    Asking asking{std::move(next)};
    state_ = std::move(asking);
    return c_.host.ask_status(c_.session, CertificateOf::ak, certificate, issuer);
  }
  state_ = std::move(next);
  c_.host.begin_session(c_.intent);
}

void AttestationImv::status(CertificateOf whose, const Result<void>& status) {
  auto* a = std::get_if<Asking>(&state_);
  if (a == nullptr || whose != CertificateOf::ak) return;
  if (!status) return fail_attestation("No trusted AIK available: " + status.error().text());
  Beginning next = std::move(a->next);
  state_ = std::move(next);
  c_.host.begin_session(c_.intent);
}

void AttestationImv::session_begun(const Result<void>& on_disk) {
  auto* b = std::get_if<Beginning>(&state_);
  if (b == nullptr) return;
  if (!on_disk) return fail_attestation("the session can't be recorded: " + std::string(on_disk.error().reason));
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
  if (!baselines || !last) return fail_attestation("the state store can't be read");
  context.baselines = std::move(*baselines);
  context.last_quote = *last;
  context.rules = item_->rules;
  context.now = c_.intent.started;
  std::uint16_t parts = raw::part_quote;
  if (item_->has('B')) parts |= raw::part_firmware_log;
  if (item_->has('I')) parts |= raw::part_ima_list;
  const EvidenceIntake::Wanted wanted{item_->has('B'), item_->has('I'), std::uint16_t(parts & raw_parts_)};
  std::unique_ptr<pipeline::Evidence> evidence = c_.host.open_evidence(context);
  if (c_.capture) evidence = c_.capture->watch(context, std::move(evidence));
  AwaitingQuote next{b->nonce, b->locality, b->key, std::move(b->judgement),
                     std::make_unique<EvidenceIntake>(wanted, c_.settings.raw_vendor, std::move(evidence))};
  next.intake->ask(channel());
  state_ = std::move(next);
}

// The evidence goes to the evidence plane, which answers by outcome(), never inside this call.
void AttestationImv::hand_over() {
  auto& q = std::get<AwaitingQuote>(state_);
  const EvidenceIntake::Signer signer{q.key, q.judgement.record};
  if (const auto good = q.intake->finish(signer, q.nonce.view(), q.locality); !good) return fail_attestation(std::string(good.error().reason));
  Judging next{q.key, std::move(q.intake)};
  state_ = std::move(next);
}

void AttestationImv::outcome(Result<pipeline::Outcome>& outcome) {
  EvidenceIntake* const evidence = intake();
  if (evidence == nullptr) return;
  const bool ours = !outcome && (outcome.error().fault == Fault::environment || outcome.error().fault == Fault::internal);
  if (c_.capture && !ours && std::holds_alternative<Judging>(state_)) c_.capture->judged();
  if (!outcome) {
    // Malformed evidence: the endpoint is told where (RFC 5792 4.2.8).
    const Error& e = outcome.error();
    if (const auto place = evidence->place_of(e))
      channel().refuse({place->collector, place->header_copy, {}, {}, 0}, {patnc::ErrorCode::invalid_parameter, place->offset, {}, e.reason});
    if (ours) return fail_attestation(e.text());
    return fail(e.text());
  }
  auto* j = std::get_if<Judging>(&state_);
  if (j == nullptr) return;
  Done done;
  if (outcome->quote) done.quote_key = j->key;
  done.outcome = std::move(*outcome);
  complete(std::move(done));
}

pipeline::Verdict* AttestationImv::verdict() {
  auto* d = std::get_if<Done>(&state_);
  return d != nullptr ? &d->outcome.verdict : nullptr;
}

Contribution AttestationImv::contribution() const {
  Contribution out;
  out.before_logs = files_.findings();
  out.findings_total = files_.findings_total();
  return out;
}

void AttestationImv::contribute(SessionResult& record) {
  record.learned_files = files_.learned();
  if (!done()) return;
  const auto& d = std::get<Done>(state_);
  if (d.pending_key) record.pending_key = SeenKey{*d.pending_key, std::nullopt, std::nullopt};
  record.quote_key = d.quote_key;
  record.quote = d.outcome.quote;
  record.proposed_baseline = d.outcome.measured_boot;
}

std::vector<std::string> AttestationImv::reasons() const {
  std::vector<std::string> out;
  const auto add = [&](std::string_view text) { out.emplace_back(c_.text(text)); };
  if (files_.incorrect()) add(policy::text::file_incorrect);
  if (files_.pending()) add(policy::text::file_pending);
  if (!done()) return out;
  const auto& v = std::get<Done>(state_).outcome.verdict;
  if (v.recommendation == pipeline::Recommendation::allow) return out;
  const std::size_t of_files = out.size();
  const auto failed = [&](const char* code) {
    const auto check = v.checks.find(code);
    return check != v.checks.end() && check->second == pipeline::Status::failed;
  };
  if (failed("Q9")) add(policy::text::no_trusted_ak);
  if (v.quote.status == pipeline::Status::failed) add(policy::text::quote_invalid);
  if (v.ima.differ + v.ima.failed + v.boot.differ + v.boot.failed != 0) add(policy::text::component_incorrect);
  if (v.boot_given && v.boot.unknown != 0) add(policy::text::no_baseline);
  if (out.size() == of_files) add(v.boot_given && v.ima_given ? policy::text::component_incorrect : policy::text::component_pending);
  return out;
}

void AttestationImv::say_last() {
  if (!items().empty()) say_assessment(evaluation());
}

}  // namespace gatehouse::server
