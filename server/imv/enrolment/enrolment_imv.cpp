#include "server/imv/enrolment/enrolment_imv.h"

#include "base/hex.h"
#include "base/tpm_credential.h"
#include "wire/tpm/tpm.h"

namespace gatehouse::server {
namespace {
namespace enrolling {

using enrolment::Code;

constexpr std::size_t secret_size = 32;

// Why a request isn't gone on with.
struct Refused {
  Code code;
  std::string_view why;  // a literal: the endpoint reads it
  std::string detail{};  // for the operator
};
template <class T>
using Judged = std::expected<T, Refused>;

std::unexpected<Refused> refuse(Code code, std::string_view why, std::string detail = {}) {
  return std::unexpected(Refused{code, why, std::move(detail)});
}
std::unexpected<Refused> refuse(Code code, const Error& error) { return refuse(code, error.reason, error.text()); }

// Who is expected: an offer by its token, or a device that has this EK.
struct Expected {
  std::optional<EnrolmentOffer> offer;
  std::optional<BoundEk> known;
  std::string device;
};
Judged<Expected> expected_by(const Conversation& c, const enrolment::Request& request, const std::string& ek, std::int64_t now) {
  constexpr std::string_view nobody = "no enrolment is open for this endpoint";
  Expected out;
  if (!all_of_value(request.token_id, std::byte{0})) {
    auto offer = c.state.enrolment(to_hex(request.token_id));
    if (!offer) return refuse(Code::failed, offer.error());
    if (!*offer || !is_open(**offer, now)) return refuse(Code::not_expected, nobody, "an unknown token, or one that is used or over");
    if (!(*offer)->identity.empty() && (*offer)->identity != c.peer.identity)
      return refuse(Code::not_expected, nobody, "the enrolment of " + escaped((*offer)->device, 256) + " is for another identity");
    out.device = (*offer)->device;
    out.offer = *std::move(*offer);
    return out;
  }
  auto device = c.state.endorsement_owner(ek);
  if (!device) return refuse(Code::failed, device.error());
  if (!*device) return refuse(Code::not_expected, nobody, "without a token, and its EK isn't known");
  auto bound = c.state.endorsement(**device);
  if (!bound) return refuse(Code::failed, bound.error());
  if (!*bound || (*bound)->pin != ek) return refuse(Code::failed, "the state store contradicts itself");
  out.known = *std::move(*bound);
  out.device = **device;
  return out;
}

// A certificate and who issued it.
using Issued = std::pair<Certificate, Certificate>;

// The certificate vouches for the EK, unless an operator named this very key. What its responder is to be asked about; nullopt:
// nobody is, or it is one of the operator's authorities itself.
Judged<std::optional<Issued>> vouch(const Conversation& c, const enrolment::Request& request, const Expected& expected, const PublicKey& key,
                                    std::int64_t now, BoundEk& ek) {
  const bool named = expected.offer ? expected.offer->ek == ek.pin : expected.known->certificate.empty();
  if (expected.offer && !expected.offer->ek.empty() && !named)
    return refuse(Code::not_expected, "the enrolment is for another TPM", "EK " + ek.pin);
  if (named) return std::nullopt;
  if (request.ek_certificate.empty()) return refuse(Code::certificate, "the TPM has no certificate for its EK, and the operator didn't name the EK", "EK " + ek.pin);
  if (!c.settings.ek_authorities) return refuse(Code::certificate, "the server knows no TPM manufacturers' CAs", "attestation.ek_ca isn't configured");
  const auto certificate = Certificate::from_der(request.ek_certificate);
  if (!certificate) return refuse(Code::certificate, certificate.error());
  if (certificate->key().pin() != key.pin()) return refuse(Code::certificate, "the certificate is of another key than the EK", "EK " + ek.pin);
  std::vector<Certificate> chain;
  for (const Bytes der : request.chain)
    if (auto one = Certificate::from_der(der)) chain.push_back(*std::move(one));
  const auto issuer = c.settings.ek_authorities->verified_issuer(*certificate, chain, now / 1000, ek_certificate_usage);
  if (!issuer) return refuse(Code::certificate, issuer.error().reason, issuer.error().text() + "; certificate of '" + certificate->issuer() + "'");
  ek.certificate = certificate->fingerprint();
  ek.issuer = certificate->issuer();
  ek.manufacturer = certificate->tpm_model().manufacturer;
  ek.model = certificate->tpm_model().model;
  ek.version = certificate->tpm_model().version;
  if (!c.settings.ek_status || !*issuer) return std::nullopt;
  return Issued(*certificate, **issuer);
}

struct Sealed {
  Activation what;
  std::string device;
  Secret secret, token;
  enrolment::Challenge challenge;
  TpmCredential credential;
  std::optional<Issued> to_ask;
};
// The last step is the dear one.
Judged<Sealed> judge(const Conversation& c, const enrolment::Request& request) {
  const std::int64_t now = c.host.now_ms();
  const auto ek_area = tpm::parse_public(request.ek_public);
  if (!ek_area) return refuse(Code::key, ek_area.error());
  BoundEk ek{.pin = ek_area->key.pin(), .name = ek_area->name, .certificate = {}, .issuer = {}, .manufacturer = {}, .model = {}, .version = {},
             .since = 0, .session = {}};
  auto expected = expected_by(c, request, ek.pin, now);
  if (!expected) return std::unexpected(std::move(expected).error());
  if (const auto why = tpm::no_endorsement_key(*ek_area)) return refuse(Code::key, *why);
  const auto ak_area = tpm::parse_public(request.ak_public);
  if (!ak_area) return refuse(Code::key, ak_area.error());
  if (const auto why = tpm::no_attestation_key(*ak_area)) return refuse(Code::key, *why);
  auto vouched = vouch(c, request, *expected, ek_area->key, now, ek);
  if (!vouched) return std::unexpected(std::move(vouched).error());
  // A name of another algorithm can't be what its quotes have.
  const Bytes qualified = request.ak_qualified_name;
  const std::size_t size = ak_area->name.size();
  if (!qualified.empty() && (qualified.size() != size || !equal(qualified.first(2), Bytes(ak_area->name).first(2))))
    return refuse(Code::key, "the AK's qualified name isn't of its name algorithm");
  const auto name_algorithm = hash_algorithm(ek_area->name_algorithm), ak_algorithm = hash_algorithm(ak_area->name_algorithm);
  Sealed out{.what = {.session = c.session, .identity = c.peer.identity, .offer = expected->offer ? expected->offer->id : std::string(),
                      .ak = ak_area->key, .object_attributes = ak_area->attributes, .name_algorithm = *ak_algorithm,
                      .qualified_name = to_vector(qualified), .ek = std::move(ek)},
             .device = expected->device.empty() ? ak_area->key.key_id() : expected->device, .secret = Secret(random_bytes(secret_size)),
             .token = {}, .challenge = {}, .credential = {}, .to_ask = *std::move(vouched)};
  if (expected->offer) out.token = Secret(expected->offer->key);
  auto sealed = make_tpm_credential({ek_area->key, *name_algorithm, ek_area->symmetric.key_bits}, ak_area->name, out.secret.reveal());
  if (!sealed) return refuse(sealed.error().fault == Fault::denied ? Code::key : Code::failed, sealed.error());
  out.credential = *std::move(sealed);
  return out;
}

patnc::Reassembler::Admission admit(std::uint32_t vendor, std::uint32_t kind, std::uint32_t own) {
  return {(vendor == own && kind == enrolment::type::request) || supported(vendor, kind), enrolment::max_request, false};
}

}  // namespace enrolling
}  // namespace

EnrolmentImv::EnrolmentImv(std::uint16_t id, Conversation& conversation)
    : Imv(id, conversation, conversation.settings.raw_vendor, enrolment::subtype,
          [own = conversation.settings.raw_vendor](std::uint32_t vendor, std::uint32_t kind) { return enrolling::admit(vendor, kind, own); }) {}

void EnrolmentImv::malformed(std::string_view why) {
  if (std::holds_alternative<Writing>(state_) || std::holds_alternative<Told>(state_)) return;
  tell(pbtnc::any, enrolment::Code::protocol, {}, "an attribute that can't be read", std::string(why));
}

void EnrolmentImv::receive(const Message& message) {
  for (const patnc::Attribute& a : message.attributes) {
    if (a.vendor != c_.settings.raw_vendor) continue;
    if (a.type == enrolment::type::request) on_request(message, a);
    if (a.type == enrolment::type::response) on_response(message, a);
  }
}

void EnrolmentImv::on_request(const Message& message, const patnc::Attribute& attribute) {
  // Behind the end nothing is said any longer: the first outcome counts.
  if (std::holds_alternative<Told>(state_) || std::holds_alternative<Writing>(state_) || result()) return;
  if (!std::holds_alternative<Idle>(state_))
    return tell(message.collector, enrolment::Code::protocol, {}, "a second request in one enrolment");
  Reader r(attribute.value, "docs/formats/enrolment.md", attribute.value_offset());
  const auto request = enrolment::parse_request(r);
  if (!request) {
    channel().refuse(message, {patnc::ErrorCode::invalid_parameter, request.error().offset, {}, request.error().reason});
    return tell(message.collector, enrolment::Code::protocol, {}, request.error().reason);
  }
  auto sealed = enrolling::judge(c_, *request);
  if (!sealed) return tell(message.collector, sealed.error().code, {}, sealed.error().why, sealed.error().detail);
  const ByteVector nonce = c_.host.random(enrolment::nonce_size);
  Writer w;
  enrolment::append_challenge(w, {.nonce = nonce, .id_object = sealed->credential.id_object, .encrypted_secret = sealed->credential.encrypted_secret});
  Challenged next;
  next.collector = message.collector;
  next.transcript = enrolment::transcript(attribute.value, w.view());
  next.what = std::make_unique<Activation>(std::move(sealed->what));
  next.device = std::move(sealed->device);
  next.secret = std::move(sealed->secret);
  next.token = std::move(sealed->token);
  if (!sealed->to_ask) return challenge(std::move(next), w.view());
  const auto& [certificate, issuer] = *sealed->to_ask;
  Asking asking{std::move(next), to_vector(w.view())};
  state_ = std::move(asking);
  c_.host.ask_status(c_.session, CertificateOf::ek, certificate, issuer);
}

void EnrolmentImv::challenge(Challenged next, Bytes value) {
  const std::uint16_t collector = next.collector;
  if (!channel().add(0, c_.settings.raw_vendor, enrolment::type::challenge, value, collector))
    return tell(collector, enrolment::Code::failed, {}, "the challenge doesn't fit into a message");
  state_ = std::move(next);
}

void EnrolmentImv::status(CertificateOf whose, const Result<void>& status) {
  auto* const asking = std::get_if<Asking>(&state_);
  if (asking == nullptr || whose != CertificateOf::ek) return;
  Asking was = std::move(*asking);
  if (status) return challenge(std::move(was.next), was.challenge);
  // Silence says nothing of the certificate: another attempt may be heard.
  const enrolment::Code code = status.error().fault == Fault::denied ? enrolment::Code::certificate : enrolment::Code::failed;
  tell(was.next.collector, code, {}, status.error().reason, "EK certificate: " + status.error().text());
}

void EnrolmentImv::on_response(const Message& message, const patnc::Attribute& attribute) {
  if (std::holds_alternative<Told>(state_) || std::holds_alternative<Writing>(state_) || result()) return;
  auto* const challenged = std::get_if<Challenged>(&state_);
  if (challenged == nullptr || challenged->collector != message.collector)
    return tell(message.collector, enrolment::Code::protocol, {}, "a response without a challenge");
  Reader r(attribute.value, "docs/formats/enrolment.md", attribute.value_offset());
  const auto response = enrolment::parse_response(r);
  if (!response) {
    channel().refuse(message, {patnc::ErrorCode::invalid_parameter, response.error().offset, {}, response.error().reason});
    return tell(message.collector, enrolment::Code::protocol, {}, response.error().reason);
  }
  const Digest activation = enrolment::activation_proof(challenged->secret.reveal(), challenged->transcript);
  // Both are compared, whatever the first gives.
  const bool activated = equal_constant_time(activation.view(), response->activation);
  const bool known = challenged->token.empty() ||
                     equal_constant_time(enrolment::token_proof(challenged->token.reveal(), challenged->transcript).view(), response->token);
  if (!activated) return tell(message.collector, enrolment::Code::proof, {}, "the TPM didn't activate the credential", "device " + challenged->device);
  if (!known) return tell(message.collector, enrolment::Code::proof, {}, "the token isn't the one that was given out", "device " + challenged->device);
  Activation what = std::move(*challenged->what);
  Writing next{.collector = message.collector, .device = std::move(challenged->device)};
  state_ = std::move(next);
  c_.host.activate(std::move(what));
}

void EnrolmentImv::activated(const Result<void>& on_disk) {
  const auto* const writing = std::get_if<Writing>(&state_);
  if (writing == nullptr) return;
  const Writing was = *writing;
  if (on_disk) return tell(was.collector, enrolment::Code::enrolled, was.device, {});
  const bool ours = on_disk.error().fault != Fault::denied && on_disk.error().fault != Fault::limit;
  tell(was.collector, ours ? enrolment::Code::failed : enrolment::Code::device, {}, ours ? std::string_view("the enrolment can't be recorded") : on_disk.error().reason,
       on_disk.error().text());
}

void EnrolmentImv::give_up() {
  if (std::holds_alternative<Challenged>(state_)) tell(pbtnc::any, enrolment::Code::proof, {}, "no answer to the challenge");
}

// One line an assessment.
void EnrolmentImv::tell(std::uint16_t collector, enrolment::Code code, std::string_view device, std::string_view text, const std::string& detail) {
  state_ = Told{};
  const bool good = code == enrolment::Code::enrolled;
  c_.host.log(good ? LogLevel::info : LogLevel::warning,
              good ? "device " + escaped(device, 256) + " is enrolled by credential activation; peer " + c_.peer.address
                   : "enrolment refused (" + std::string(enrolment::name(code)) + "): " + escaped(text, 512) +
                         (detail.empty() ? "" : ": " + escaped(detail, 512)) + "; peer " + c_.peer.address + ", identity '" + escaped(c_.peer.identity, 256) + "'");
  c_.host.enrolled(code);
  Writer w;
  enrolment::append_outcome(w, {.code = code, .device = device, .text = text});
  (void)channel().add(0, c_.settings.raw_vendor, enrolment::type::outcome, w.view(), collector);
}

}  // namespace gatehouse::server
