#include <algorithm>

#include "base/hex.h"
#include "server/imv/imv.h"

namespace gatehouse::server {
namespace {

using patnc::Attribute;
namespace pt = pts::type;
constexpr std::uint32_t tcg = patnc::vendor_tcg;
constexpr std::uint16_t needed_capabilities = pts::capability_tpm | pts::capability_dh;
constexpr std::uint16_t offered_capabilities = needed_capabilities | pts::capability_verify;

struct Text {
  std::string_view en, de;
};
constexpr Text texts[] = {
    {"Incorrect component evidence", "Falsche Komponentenmessung"},
    {"Pending component evidence", "Fehlende Komponentenmessung"},
    {"No trusted AIK available", "Kein vertrauenswürdiger AIK verfügbar"},
    {"Invalid TPM Quote signature received", "Ungültige TPM Quote Signatur erhalten"},
    {"No approved firmware baseline", "Keine freigegebene Firmware-Referenz"},
};

// A step that is missing, repeated or not ours to take: told to the endpoint where it stands in its message.
std::unexpected<Error> misplaced(const Reader& r, std::string_view what) {
  return std::unexpected(Error{Fault::protocol, what, "spec part 2 1.17", r.offset(), {}, {}});
}

// An error of the PTS protocol's own, to whoever asked (spec part 2 §1.15).
void say_pts_error(Conversation& c, std::uint32_t code, std::uint16_t first, std::uint16_t second) {
  Writer value;
  value.put(std::uint8_t{0});
  value.put24(tcg);
  value.put(code);
  value.put(first);
  value.put(second);
  patnc::Builder b = c.builder();
  b.add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, value.view());
  c.say(tcg, patnc::subtype_pts, AttestationImv::id, std::move(b));
}

bool single_bit(std::uint16_t v) { return v != 0 && (v & (v - 1)) == 0; }

DhGroup group_of(std::uint16_t bit) {
  if (bit == pts::group_ecp384) return DhGroup::ecp384;
  return bit == pts::group_modp2048 ? DhGroup::modp2048 : DhGroup::ecp256;
}

}  // namespace

std::string_view reason_text(std::string_view english, std::string_view language) {
  for (const Text& t : texts)
    if (t.en == english && language == "de") return t.de;
  return english;
}

bool supported(std::uint32_t vendor, std::uint32_t type) {
  namespace t = patnc::type;
  if (vendor == patnc::vendor_ietf) return type <= t::source_metadata_response;
  if (vendor == patnc::vendor_ita) return (type >= t::ita_command && type <= t::ita_stop_angel) || (type >= t::ita_device_id && type <= t::ita_symlinks);
  if (vendor != tcg) return false;
  constexpr std::uint32_t known[] = {t::contract_request, t::contract_response, t::segment_envelope, t::next_segment, pt::request_capabilities,
                                     pt::capabilities, pt::dh_nonce_request, pt::dh_nonce_response, pt::dh_nonce_finish, pt::algorithm_request,
                                     pt::algorithm, pt::get_tpm_version, pt::tpm_version, pt::get_aik, pt::aik, pt::request_component_evidence,
                                     pt::generate_evidence, pt::simple_component_evidence, pt::simple_evidence_final};
  return std::find(std::begin(known), std::end(known), type) != std::end(known);
}

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
  v.product = device_ && !device_->product.empty() ? device_->product : c_.info.product();
  v.recommendation = pipeline::Recommendation::isolate;
  v.evaluation = pipeline::Evaluation::error;
  v.generation = intent_.generation;
  return v;
}

void AttestationImv::finish(pipeline::Verdict verdict, std::optional<PublicKey> pending_key) {
  Done done;
  verdict.findings_total = verdict.findings.size();
  done.outcome.verdict = std::move(verdict);
  done.pending_key = std::move(pending_key);
  state_ = std::move(done);
}

// Evidence that was demanded and can't be had, for whatever reason, is never allow.
void AttestationImv::fail(std::string why) {
  if (done()) return;
  c_.host.log(LogLevel::warning, "attestation failed: " + why);
  pipeline::Verdict v = blank_verdict();
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = std::move(why);
  v.findings.push_back(std::move(f));
  finish(std::move(v));
}

bool AttestationImv::refuse(const Error& error, const pbtnc::PaMessage& pa, Bytes header_copy) {
  const patnc::Refusal refusal{patnc::ErrorCode::invalid_parameter, error.offset, {}, error.reason};
  c_.say_error(pa.vendor, pa.subtype, id, pa.collector, refusal, header_copy);
  fail(error.text());
  return false;
}

void AttestationImv::batch_end(bool os_settled) {
  if (std::holds_alternative<Init>(state_)) {
    // The bank that is offered follows from the device: its Device ID has to be known, or known not to come.
    if (!os_settled && !c_.info.device_id) return;
    intent_.session = c_.session;
    intent_.device = c_.info.device_id.value_or("");
    intent_.product = c_.info.product();
    intent_.peer = c_.peer.address;
    intent_.identity = c_.peer.identity;
    intent_.identity_type = c_.peer.identity_type;
    intent_.policy = "default";
    intent_.started = c_.host.now_ms();
    const auto references = c_.host.references();
    if (references) intent_.generation = references->generation();
    std::vector<HashAlgorithm> banks = c_.settings.banks;
    if (c_.info.device_id) {
      auto device = c_.state.device(*c_.info.device_id);
      if (!device) return fail("the state store can't be read: " + std::string(device.error().reason));
      device_ = std::move(*device);
      if (auto approved = c_.state.approved_baselines(*c_.info.device_id); approved && !approved->empty()) {
        // A weaker or another bank would make every measurement a first one (spec part 2 §8.6).
        banks.clear();
        for (const pipeline::Baseline& b : *approved)
          if (std::find(banks.begin(), banks.end(), b.bank) == banks.end()) banks.push_back(b.bank);
      }
    }
    Discovery d;
    for (const HashAlgorithm bank : banks) d.offered |= pts::algorithm_bit(bank);
    patnc::Builder b = c_.builder();
    Writer contract, capabilities, algorithms;
    patnc::append_contract(contract, c_.offered_contract());
    pts::append_capabilities(capabilities, offered_capabilities);
    pts::append_algorithms(algorithms, d.offered);
    b.add(0, tcg, patnc::type::contract_request, contract.view());
    b.add(patnc::noskip, tcg, pt::request_capabilities, capabilities.view());
    b.add(patnc::noskip, tcg, pt::algorithm_request, algorithms.view());
    c_.say(tcg, patnc::subtype_pts, id, std::move(b));
    state_ = std::move(d);
    return;
  }
  if (auto* d = std::get_if<Discovery>(&state_); d != nullptr && d->capabilities && d->bank) {
    if ((*d->capabilities & needed_capabilities) != needed_capabilities)
      return fail((*d->capabilities & pts::capability_tpm) == 0 ? "no TPM available" : "no DH nonce negotiation");
    const HashAlgorithm bank = *d->bank;
    patnc::Builder b = c_.builder();
    Writer request;
    pts::append_dh_nonce_request(request, {c_.settings.minimum_nonce, c_.settings.dh_groups});
    b.add(patnc::noskip, tcg, pt::dh_nonce_request, request.view());
    c_.say(tcg, patnc::subtype_pts, id, std::move(b));
    state_ = NonceRequested{bank};
    return;
  }
  if (auto* t = std::get_if<TpmInit>(&state_); t != nullptr && t->key && (t->version || t->version_unavailable)) {
    judge_key();
    return;
  }
  if (auto* q = std::get_if<AwaitingQuote>(&state_); q != nullptr && !q->asked) request_evidence();
}

void AttestationImv::client_silent() {
  if (done() || waiting()) return;
  std::string_view what = "no answer from an Attestation IMC";
  if (std::holds_alternative<NonceRequested>(state_)) what = "no DH nonce parameters received";
  if (std::holds_alternative<TpmInit>(state_)) what = "no AIK received";
  if (std::holds_alternative<AwaitingQuote>(state_)) what = "no Simple Evidence Final received";
  fail(std::string(what));
}

void AttestationImv::receive(const pbtnc::PaMessage& pa, const patnc::Parsed& message) {
  if (done()) return;
  const bool has_evidence = std::any_of(message.attributes.begin(), message.attributes.end(),
                                        [](const Attribute& a) { return a.is(tcg, pt::simple_component_evidence); });
  if (has_evidence) {
    auto* q = std::get_if<AwaitingQuote>(&state_);
    if (q == nullptr || !q->asked) {
      const auto first = std::find_if(message.attributes.begin(), message.attributes.end(),
                                      [](const Attribute& a) { return a.is(tcg, pt::simple_component_evidence); });
      refuse(Error{Fault::protocol, "Simple Component Evidence that wasn't asked for at this time", "spec part 2 1.17", first->offset, {}, {}}, pa,
             message.header.copy);
      return;
    }
    q->header_copy = to_vector(message.header.copy);
    q->collector = pa.collector;
    submit(pa.body, 0);
  }
  bool final_seen = false;
  for (const Attribute& a : message.attributes) {
    if (done()) return;
    if (a.is(tcg, pt::simple_component_evidence)) {
      if (!final_seen) continue;
      refuse(Error{Fault::protocol, "Simple Component Evidence after Simple Evidence Final", "spec part 2 2.6", a.offset, {}, {}}, pa, message.header.copy);
      return;
    }
    if (a.is(tcg, pt::simple_evidence_final)) final_seen = true;
    on_attribute(pa, message, a);
  }
}

void AttestationImv::on_attribute(const pbtnc::PaMessage& pa, const patnc::Parsed& message, const Attribute& a) {
  Reader r(a.value, "spec part 2 1", a.value_offset());
  if (a.vendor == patnc::vendor_ietf && a.type == patnc::type::pa_tnc_error) return on_error(r);
  if (a.vendor == patnc::vendor_ita) {
    if (a.type != pts::ita_symlinks) return;
    auto* q = std::get_if<AwaitingQuote>(&state_);
    if (q == nullptr || !q->asked || q->symlinks) {
      refuse(misplaced(r, "Symlinks that weren't asked for, or a second time").error(), pa, message.header.copy);
      return;
    }
    q->symlinks = true;
    const auto links = pts::parse_symlinks(r);
    if (!links) {
      refuse(links.error(), pa, message.header.copy);
      return;
    }
    // The store knows the distribution's aliases; what the endpoint says is reported and changes nothing.
    for (std::size_t i = 0; i < links->size() && i < 64; ++i)
      q->claims.push_back("symlink " + std::string((*links)[i].link) + " -> " + std::string((*links)[i].target));
    return;
  }
  if (a.vendor != tcg) return;
  const auto read = [&](Result<void> good) {
    if (!good) refuse(good.error(), pa, message.header.copy);
  };
  switch (a.type) {
    case patnc::type::contract_request: {
      const auto asked = patnc::parse_contract(r);
      if (!asked) {
        refuse(asked.error(), pa, message.header.copy);
        return;
      }
      patnc::Builder b = c_.builder();
      c_.say_contract_response(b, *asked);
      c_.say(tcg, patnc::subtype_pts, id, std::move(b), pa.collector);
      return;
    }
    case patnc::type::contract_response: return;  // what the client sends is bounded whatever it agreed to
    case patnc::type::segment_envelope: return on_envelope(pa, a, message.header.copy);
    case patnc::type::next_segment: return;
    case pt::capabilities: return read(on_capabilities(r));
    case pt::algorithm: return read(on_algorithm(r));
    case pt::dh_nonce_response: return read(on_dh_response(r));
    case pt::tpm_version: return read(on_tpm_version(r));
    case pt::aik: return read(on_aik(r));
    case pt::simple_evidence_final:
      if (const auto* q = std::get_if<AwaitingQuote>(&state_); q == nullptr || !q->asked)
        return read(misplaced(r, "Simple Evidence Final that wasn't asked for at this time, or a second one"));
      // The evidence plane reads it again: here only so that the endpoint is told where it is malformed.
      if (const auto good = pts::parse_simple_evidence_final(r); !good) return read(std::unexpected(good.error()));
      return on_final(a);
    default: return;  // what only a server sends
  }
}

Result<void> AttestationImv::on_capabilities(Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (d == nullptr || d->capabilities) return misplaced(r, "PTS Protocol Capabilities that weren't asked for, or a second time");
  const Reader start = r;
  const auto flags = pts::parse_capabilities(r);
  if (!flags) return std::unexpected(flags.error());
  if ((*flags & ~offered_capabilities) != 0) return std::unexpected(Error{Fault::protocol, "PTS capabilities that weren't offered", "spec part 2 1.2", start.offset() + 2, {}, {}});
  d->capabilities = *flags;
  return {};
}

Result<void> AttestationImv::on_algorithm(Reader& r) {
  auto* d = std::get_if<Discovery>(&state_);
  if (d == nullptr || d->bank) return misplaced(r, "PTS Measurement Algorithm that wasn't asked for, or a second time");
  const Reader start = r;
  const auto set = pts::parse_algorithms(r);
  if (!set) return std::unexpected(set.error());
  const auto bank = pts::algorithm_of_bit(*set);
  if (!bank || (*set & d->offered) == 0)
    return std::unexpected(Error{Fault::protocol, "a measurement algorithm that wasn't offered, or more than one", "spec part 2 1.3", start.offset() + 2, {}, {}});
  d->bank = bank;
  c_.host.log(LogLevel::info, "PTS measurement algorithm is " + std::string(name(*bank)));
  return {};
}

Result<void> AttestationImv::on_dh_response(Reader& r) {
  auto* n = std::get_if<NonceRequested>(&state_);
  if (n == nullptr) return misplaced(r, "DH Nonce Parameters Response that wasn't asked for, or a second time");
  const std::size_t start = r.offset();
  const auto mistake = [](std::size_t offset, std::string_view why) { return std::unexpected(Error{Fault::protocol, why, "spec part 2 1.5", offset, {}, {}}); };
  const auto v = pts::parse_dh_nonce_response(r);
  if (!v) return std::unexpected(v.error());
  if (const std::uint8_t least = std::max<std::uint8_t>(c_.settings.minimum_nonce, 17); v->nonce.size() < least) {
    say_pts_error(c_, pts::error::nonce_not_acceptable, least, 0xFFFF);
    return fail(mistake(start + 3, "the endpoint's nonce is too short").error().text()), Result<void>();
  }
  if (!single_bit(v->group) || (v->group & c_.settings.dh_groups) == 0) return mistake(start + 4, "a DH group that wasn't offered, or more than one");
  // The strongest hash that both know; strongSwan's clients offer the measurement algorithm alone.
  std::optional<HashAlgorithm> hash;
  for (const HashAlgorithm h : {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256})
    if (!hash && (v->hashes & pts::algorithm_bit(h)) != 0) hash = h;
  if (!hash) {
    say_pts_error(c_, pts::error::hash_algorithm_not_supported, 0, pts::algorithm_bit(HashAlgorithm::sha512) | pts::algorithm_bit(HashAlgorithm::sha384) | pts::algorithm_bit(HashAlgorithm::sha256));
    return fail(mistake(start + 6, "no common hash algorithm for the nonce").error().text()), Result<void>();
  }
  const auto own = KeyAgreement::generate(group_of(v->group));
  if (!own) return fail("the DH key pair can't be made"), Result<void>();
  auto z = own->derive(v->public_value);
  if (!z) return std::unexpected(Error{Fault::malformed, z.error().reason, z.error().spec, start + 8 + v->nonce.size(), {}, {}});
  if (const auto fixed = c_.host.fixed_secret()) z = *fixed;
  const ByteVector nonce = c_.host.fixed_nonce().value_or(c_.host.random(v->nonce.size()));
  TpmInit next;
  next.bank = n->bank;
  next.nonce = secret_assessment_value(*hash, nonce, v->nonce, std::move(*z));
  patnc::Builder b = c_.builder();
  Writer finish;
  pts::append_dh_nonce_finish(finish, {pts::algorithm_bit(*hash), own->public_value(), nonce});
  const std::byte zeros[4] = {};
  b.add(patnc::noskip, tcg, pt::dh_nonce_finish, finish.view());
  b.add(patnc::noskip, tcg, pt::get_tpm_version, zeros);
  b.add(patnc::noskip, tcg, pt::get_aik, zeros);
  c_.say(tcg, patnc::subtype_pts, id, std::move(b));
  state_ = std::move(next);
  return {};
}

Result<void> AttestationImv::on_tpm_version(Reader& r) {
  auto* t = std::get_if<TpmInit>(&state_);
  if (t == nullptr || t->version || t->version_unavailable) return misplaced(r, "TPM Version Information that wasn't asked for, or a second time");
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
  if (t == nullptr || t->key) return misplaced(r, "an AIK that wasn't asked for, or a second one");
  const std::size_t start = r.offset();
  const auto v = pts::parse_aik(r);
  if (!v) return std::unexpected(v.error());
  if (v->naked) {
    auto key = PublicKey::from_spki(v->der);
    if (!key) key = PublicKey::from_pem(as_text(v->der));  // strongSwan's reader takes PEM here too
    if (!key) return std::unexpected(Error{Fault::malformed, "the AIK isn't a public key", "spec part 2 1.8", start + 1, {}, std::string(key.error().reason)});
    t->key = *key;
    return {};
  }
  const auto certificate = Certificate::from_der(v->der);
  if (!certificate)
    return std::unexpected(Error{Fault::malformed, "the AIK isn't a certificate", "spec part 2 1.8", start + 1, {}, std::string(certificate.error().reason)});
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

void AttestationImv::on_envelope(const pbtnc::PaMessage& pa, const Attribute& a, Bytes header_copy) {
  Reader r(a.value, "TCG IF-M Segmentation", a.value_offset());
  const auto envelope = patnc::parse_envelope(r);
  if (!envelope) {
    refuse(envelope.error(), pa, header_copy);
    return;
  }
  patnc::Reassembler::Step step = reassembler_.add(*envelope, a.value_offset());
  if (step.ask_next || step.cancel) {
    patnc::Builder b = c_.builder();
    Writer next;
    patnc::append_next_segment(next, {std::uint8_t(step.cancel ? patnc::cancel_segments : 0), envelope->id});
    b.add(0, tcg, patnc::type::next_segment, next.view());
    c_.say(tcg, patnc::subtype_pts, id, std::move(b), pa.collector);
  }
  const ByteVector pseudo = patnc::pseudo_header(envelope->id);
  if (step.refusal) {
    c_.say_error(pa.vendor, pa.subtype, id, pa.collector, *step.refusal, pseudo);
    return fail("segmented attribute: " + std::string(step.refusal->reason));
  }
  if (step.cancel) return fail("a segmented attribute is larger than allowed, or out of its order");
  if (!step.attribute) return;
  // As if it had come alone in a message of its own; offsets count from the base attribute.
  ByteVector whole = pseudo;
  whole.insert(whole.end(), step.attribute->begin(), step.attribute->end());
  Reader inner(Bytes(whole).subspan(patnc::message_header_size), "RFC 5792");
  Attribute base;
  if (const auto refusal = patnc::parse_attribute(inner, base)) {
    c_.say_error(pa.vendor, pa.subtype, id, pa.collector, *refusal, pseudo);
    return fail("segmented attribute: " + std::string(refusal->reason));
  }
  if (!supported(base.vendor, base.type)) {
    if ((base.flags & patnc::noskip) == 0) return;
    c_.say_error(pa.vendor, pa.subtype, id, pa.collector, {patnc::ErrorCode::type_not_supported, 0, base, "unsupported attribute"}, pseudo);
    return fail("segmented attribute of an unsupported type");
  }
  patnc::Parsed message;
  message.header.copy = Bytes(pseudo);
  if (base.is(tcg, pt::simple_component_evidence)) {
    auto* q = std::get_if<AwaitingQuote>(&state_);
    if (q == nullptr || !q->asked) {
      refuse(misplaced(inner, "Simple Component Evidence that wasn't asked for at this time").error(), pa, pseudo);
      return;
    }
    q->header_copy = pseudo;
    q->collector = pa.collector;
    submit(whole, std::size_t(0) - patnc::message_header_size);
    return;
  }
  on_attribute(pa, message, base);
}

// Who the device is and whether its key is trusted, before anything is asked of it (spec part 2 §5.2).
void AttestationImv::judge_key() {
  auto& t = std::get<TpmInit>(state_);
  const PublicKey key = *t.key;
  intent_.key_pin = key.pin();
  const std::string device = c_.info.device_id.value_or("");
  if (device.empty()) return fail("No trusted AIK available: the endpoint claims no Device ID");
  KeyJudgement judgement = c_.state.judge_key(device, key);
  std::string why;
  if (judgement.standing != KeyStanding::trusted) {
    why = judgement.reason.empty() ? std::string(name(judgement.standing)) : judgement.reason;
  } else if (device_ && !device_->identities.empty() &&
             std::find(device_->identities.begin(), device_->identities.end(), c_.peer.identity) == device_->identities.end()) {
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
  begun_ = true;
  c_.host.begin_session(intent_);
}

void AttestationImv::session_begun(Result<void> on_disk) {
  auto* b = std::get_if<Beginning>(&state_);
  if (b == nullptr) return;
  if (!on_disk) return fail("the session can't be recorded: " + std::string(on_disk.error().reason));
  pipeline::Context context;
  context.session = c_.session;
  context.device = c_.info.device_id.value_or("");
  context.references = c_.host.references();
  context.serve = true;
  context.bank = b->bank;
  if (const HashAlgorithm least = HashAlgorithm::sha256; digest_size(b->bank) < digest_size(least) &&
      std::find(c_.settings.banks.begin(), c_.settings.banks.end(), b->bank) != c_.settings.banks.end())
    context.minimum_bank = b->bank;  // SHA-1 only where it is configured
  const std::string claimed = c_.info.product();
  context.product = device_ && !device_->product.empty() ? device_->product : claimed;
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
  patnc::Builder b = c_.builder();
  Writer components;
  pts::append_component_requests(components, {{pts::request_pcr, 0, pts::component_boot}, {pts::request_pcr, 0, pts::component_ima}});
  const std::byte zeros[4] = {};
  b.add(0, patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"));
  b.add(patnc::noskip, tcg, pt::request_component_evidence, components.view());
  b.add(patnc::noskip, tcg, pt::generate_evidence, zeros);
  c_.say(tcg, patnc::subtype_pts, id, std::move(b));
}

void AttestationImv::submit(Bytes message, std::size_t base_offset) {
  auto& q = std::get<AwaitingQuote>(state_);
  q.evidence->submit({pipeline::Stream::ima, pipeline::Format::pa_tnc, to_vector(message), base_offset});
}

void AttestationImv::on_final(const Attribute& a) {
  auto* q = std::get_if<AwaitingQuote>(&state_);
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

void AttestationImv::outcome(Result<pipeline::Outcome> outcome) {
  if (done()) return;
  if (!outcome) {
    const Error& e = outcome.error();
    // Malformed evidence: the endpoint is told where (RFC 5792 4.2.8).
    Bytes copy;
    std::uint16_t collector = pbtnc::any;
    if (const auto* q = std::get_if<AwaitingQuote>(&state_)) copy = q->header_copy, collector = q->collector;
    if (const auto* j = std::get_if<Judging>(&state_)) copy = j->header_copy, collector = j->collector;
    if ((e.fault == Fault::malformed || e.fault == Fault::protocol || e.fault == Fault::limit) && copy.size() == patnc::message_header_size)
      c_.say_error(tcg, patnc::subtype_pts, id, collector, {patnc::ErrorCode::invalid_parameter, e.offset, {}, e.reason}, copy);
    return fail(e.text());
  }
  auto* j = std::get_if<Judging>(&state_);
  if (j == nullptr) return;
  Done done;
  if (outcome->quote) done.quote_key = j->key;
  done.outcome = std::move(*outcome);
  state_ = std::move(done);
}

SessionResult AttestationImv::result(std::int64_t now) {
  auto& d = std::get<Done>(state_);
  SessionResult r;
  r.intent = intent_;
  if (r.intent.session.empty()) {
    r.intent.session = c_.session;
    r.intent.peer = c_.peer.address;
    r.intent.identity = c_.peer.identity;
    r.intent.identity_type = c_.peer.identity_type;
    r.intent.started = now;
  }
  r.finished = now;
  r.verdict = pipeline::to_json(d.outcome.verdict);
  if (d.pending_key) r.pending_key = SeenKey{*d.pending_key, std::nullopt, std::nullopt};
  r.quote_key = d.quote_key;
  r.quote = d.outcome.quote;
  r.proposed_baseline = d.outcome.measured_boot;
  return r;
}

std::vector<std::string> AttestationImv::reasons() const {
  const auto& v = std::get<Done>(state_).outcome.verdict;
  std::vector<std::string> out;
  if (v.recommendation == pipeline::Recommendation::allow) return out;
  const auto add = [&](std::string_view text) { out.emplace_back(reason_text(text, c_.language)); };
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

void AttestationImv::say_assessment(pipeline::Evaluation evaluation) {
  patnc::Builder b = c_.builder();
  Writer value;
  patnc::append_u32(value, std::uint32_t(evaluation));
  b.add(0, patnc::vendor_ietf, patnc::type::assessment_result, value.view());
  c_.say(tcg, patnc::subtype_pts, id, std::move(b));
}

}  // namespace gatehouse::server
