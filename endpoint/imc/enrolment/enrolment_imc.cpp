#include "endpoint/imc/enrolment/enrolment_imc.h"

#include <utility>

namespace gatehouse::endpoint {
namespace {

constexpr std::string_view document = "docs/formats/enrolment.md";

}  // namespace

patnc::Supported EnrolmentImc::supported() const {
  return [own = config_.vendor](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == own) return kind == enrolment::type::challenge || kind == enrolment::type::outcome;
    if (vendor == patnc::vendor_tcg) return kind >= patnc::type::contract_request && kind <= patnc::type::next_segment;
    return vendor == patnc::vendor_ietf && (kind == patnc::type::pa_tnc_error || kind == patnc::type::assessment_result);
  };
}

Result<void> EnrolmentImc::begin(Packer& out) {
  answered_ = false;
  told_.reset();
  const Endorsement& endorsement = tpm_.endorsement();
  const ByteVector nonce = random_bytes(enrolment::nonce_size), no_token(enrolment::token_id_size);
  enrolment::Request request;
  request.token_id = config_.token ? Bytes(config_.token->id) : Bytes(no_token);
  request.nonce = nonce;
  request.ek_public = endorsement.public_area;
  request.ak_public = tpm_.ak_public();
  request.ak_qualified_name = tpm_.ak_qualified_name();
  request.ek_certificate = config_.certificate.empty() ? Bytes(endorsement.certificate) : Bytes(config_.certificate);
  if (request.ek_certificate.size() > enrolment::max_certificate)
    return fail(Fault::environment, "the EK's certificate is larger than 8,192 bytes", document);
  // As many as there is room for; who checks them needs few.
  std::size_t size = 256 + request.ek_public.size() + request.ak_public.size() + request.ek_certificate.size();
  for (const std::vector<ByteVector>* list : {&std::as_const(config_.chain), &endorsement.chain})
    for (const ByteVector& one : *list) {
      if (one.empty() || one.size() > enrolment::max_certificate || request.chain.size() == enrolment::max_chain) continue;
      if (size + 2 + one.size() > enrolment::max_request) continue;
      size += 2 + one.size();
      request.chain.push_back(one);
    }
  Writer w;
  enrolment::append_request(w, request);
  request_ = std::move(w).take();
  return out.add(0, config_.vendor, enrolment::type::request, Bytes(request_));
}

Result<void> EnrolmentImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (attribute.is(config_.vendor, enrolment::type::challenge)) return answer(attribute, out);
  if (!attribute.is(config_.vendor, enrolment::type::outcome)) return {};
  Reader r(attribute.value, document, attribute.value_offset());
  GH_TRY(const enrolment::Outcome outcome, enrolment::parse_outcome(r));
  if (!told_) told_ = Told{outcome.code, std::string(outcome.device), std::string(outcome.text)};
  return {};
}

// A TPM that doesn't activate what was sealed says so to nobody: the answer is as long, and wrong.
Result<void> EnrolmentImc::answer(const patnc::Attribute& attribute, Packer& out) {
  if (answered_) return fail(Error{Fault::protocol, "a second challenge in one enrolment", document, 0, "server", {}});
  Reader r(attribute.value, document, attribute.value_offset());
  GH_TRY(const enrolment::Challenge challenge, enrolment::parse_challenge(r));
  answered_ = true;
  const Digest transcript = enrolment::transcript(request_, attribute.value);
  auto secret = tpm_.activate(challenge.id_object, challenge.encrypted_secret);
  if (!secret && secret.error().fault != Fault::denied) return std::unexpected(std::move(secret).error().from("TPM"));
  const ByteVector none = random_bytes(enrolment::proof_size), no_token(enrolment::proof_size);
  const Digest activation = enrolment::activation_proof(secret ? secret->reveal() : Bytes(none), transcript);
  Digest token(no_token);
  if (config_.token) token = enrolment::token_proof(config_.token->key.reveal(), transcript);
  Writer w;
  enrolment::append_response(w, {.activation = activation.view(), .token = token.view()});
  return out.add(0, config_.vendor, enrolment::type::response, std::move(w).take());
}

}  // namespace gatehouse::endpoint
