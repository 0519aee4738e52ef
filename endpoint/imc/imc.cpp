#include "endpoint/imc/imc.h"

#include <algorithm>

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t max_errors = 64;
constexpr std::size_t max_request = std::size_t(1) << 20;  // of a server's attribute that comes in segments
constexpr std::string_view rfc5792 = "RFC 5792";
namespace type = patnc::type;

// A value of the peer's that doesn't parse. A malformed list of our own has its file's name by now: that ends the
// session.
bool is_peers(const Error& error) { return error.fault == Fault::malformed && error.source.empty(); }

}  // namespace

std::size_t Packer::largest() const {
  const std::size_t whole = out_.limit() - patnc::message_header_size;
  const auto& contract = segmenter_.contract();
  if (!contract) return whole;
  const std::size_t most = std::max<std::size_t>(contract->max_message_size, patnc::attribute_header_size);
  if (contract->max_segment_size == patnc::unlimited) return std::min(whole, most);
  constexpr patnc::Segmenter::Limits limits;
  const std::size_t unsegmented = std::size_t(contract->max_segment_size) + patnc::envelope_overhead;
  const std::size_t room = segmenter_.transfers() < limits.transfers ? limits.bytes - segmenter_.waiting_bytes() : 0;
  return std::min(most, std::max(unsegmented, room));
}

Result<void> Packer::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t kind, ByteVector&& value) {
  return segmenter_.add(out_, flags, vendor, kind, std::move(value));
}

Result<void> Packer::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t kind, Bytes value) {
  return segmenter_.add(out_, flags, vendor, kind, value);
}

Result<void> Packer::add_whole(Bytes attribute) {
  Reader r(attribute, rfc5792);
  patnc::Attribute parsed;
  if (const auto refusal = patnc::parse_attribute(r, parsed))
    return fail(Fault::internal, refusal->reason, rfc5792, refusal->offset);
  return add(parsed.flags, parsed.vendor, parsed.type, parsed.value);
}

std::vector<ByteVector> Exchange::pa_messages(std::vector<ByteVector> bodies, std::uint16_t validator,
                                              bool exclusive) const {
  std::vector<ByteVector> out;
  for (const ByteVector& body : bodies) {
    pbtnc::PaMessage pa;
    pa.exclusive = exclusive && validator != pbtnc::any;
    pa.vendor = imc_.vendor();
    pa.subtype = imc_.subtype();
    pa.collector = imc_.id();
    pa.validator = validator;
    pa.body = body;
    Writer w;
    pbtnc::append_pa(w, pa);
    out.push_back(std::move(w).take());
  }
  return out;
}

void Exchange::note_error(std::string text) {
  if (errors_.size() < max_errors) errors_.push_back(std::move(text));
}

Result<void> Exchange::ask_contract(Packer& out) {
  Writer value;
  patnc::append_contract(value, own_contract());
  GH_CHECK(out.add(0, patnc::vendor_tcg, type::contract_request, value.view()));
  contracted_ = true;
  for (auto& [_, known] : reassembly_) known.issue(own_contract());
  return {};
}

patnc::Reassembler& Exchange::reassembler(std::uint16_t validator) {
  const auto [at, made] = reassembly_.try_emplace(
      validator, patnc::Reassembler::Limits{
                     .attribute_bytes = max_request, .segment_bytes = max_message_, .without_contract = false},
      [supported = imc_.supported()](std::uint32_t vendor, std::uint32_t kind) {
        return patnc::Reassembler::Admission{.known = supported(vendor, kind), .bytes = max_request};
      },
      &budget_);
  if (made && contracted_) at->second.issue(own_contract());
  return at->second;
}

// Contracts stay from one handshake to the next (spec part 1b §6.5).
Result<std::vector<ByteVector>> Exchange::begin() {
  for (auto& [validator, sender] : segmenters_) sender.clear();
  reassembly_.clear();
  assessment_.reset();
  Packer out = packer(pbtnc::any);
  GH_CHECK(imc_.begin(out));
  std::vector<ByteVector> messages;
  for (const std::uint16_t validator : imc_.subscribers()) {
    Packer unasked = packer(validator);
    GH_CHECK(imc_.fulfil(unasked));
    for (ByteVector& one : pa_messages(unasked.take(), validator, false)) messages.push_back(std::move(one));
  }
  if (imc_.greets() && (!contracted_ || (out.empty() && messages.empty()))) GH_CHECK(ask_contract(out));
  std::vector<ByteVector> all = pa_messages(out.take(), pbtnc::any, false);
  std::move(messages.begin(), messages.end(), std::back_inserter(all));
  return all;
}

void Exchange::batch_end(bool spoke) {
  for (auto& [validator, transfers] : reassembly_)
    for (const patnc::Reassembler::Dropped& dropped : transfers.batch_end(spoke))
      note_error("IMV " + std::to_string(validator) + " didn't send the rest of " +
                 patnc::attribute_name(dropped.vendor, dropped.type));
}

Result<std::vector<ByteVector>> Exchange::refuse(const patnc::Refusal& refusal, Bytes header_copy,
                                                 const pbtnc::PaMessage& pa) {
  Packer out = packer(pa.validator);
  GH_CHECK(out.add(0, patnc::vendor_ietf, type::pa_tnc_error, patnc::error_value(refusal, header_copy)));
  note_error("malformed PA-TNC message of IMV " + std::to_string(pa.validator) + ": " + std::string(refusal.reason));
  return pa_messages(out.take(), pa.validator, true);
}

Result<std::vector<ByteVector>> Exchange::receive(const pbtnc::PaMessage& pa) {
  const auto parsed = patnc::parse_message(pa.body, imc_.supported());
  // Without a header there is nothing to answer (spec part 1b §1.2).
  if (!parsed) {
    note_error("PA-TNC message of IMV " + std::to_string(pa.validator) + " without a header");
    return std::vector<ByteVector>{};
  }
  if (parsed->refusal) return refuse(*parsed->refusal, parsed->header.copy, pa);
  // Validators choose their ids: a server that changes them all the time gets no memory for each.
  if (segmenters_.size() > 64 && !segmenters_.contains(pa.validator))
    return fail(Fault::limit, "messages of more than 64 validators", "RFC 5793 4.5");
  patnc::Segmenter& sender = segmenter(pa.validator);
  Packer out = packer(pa.validator);
  for (const patnc::Attribute& attribute : parsed->attributes) {
    const auto accepted = accept(attribute, {pa.validator, parsed->header.copy, sender, out});
    if (accepted) continue;
    if (!is_peers(accepted.error())) return std::unexpected(accepted.error());
    // An error isn't answered with an error (RFC 5792 4.2.8).
    if (attribute.is(patnc::vendor_ietf, type::pa_tnc_error)) continue;
    return refuse({patnc::ErrorCode::invalid_parameter, accepted.error().offset, {}, accepted.error().reason},
                  parsed->header.copy, pa);
  }
  if (!contracted_ && !out.empty()) GH_CHECK(ask_contract(out));
  return pa_messages(out.take(), pa.validator, true);
}

Result<void> Exchange::accept(const patnc::Attribute& attribute, Incoming in) {
  if (attribute.vendor == patnc::vendor_tcg) {
    Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
    switch (attribute.type) {
      case type::contract_request:
        return accept_contract(attribute, in);
      case type::contract_response: {
        GH_TRY(const patnc::Contract agreed, patnc::parse_contract(r));
        reassembler(in.validator).agree(agreed);
        return {};
      }
      case type::segment_envelope:
        return accept_segment(attribute, in);
      case type::next_segment: {
        GH_TRY(const patnc::NextSegment next, patnc::parse_next_segment(r));
        in.out.add_next_segment(next);
        return {};
      }
      default:
        break;
    }
  }
  if (attribute.vendor == patnc::vendor_ietf &&
      (attribute.type == type::pa_tnc_error || attribute.type == type::assessment_result ||
       attribute.type == type::remediation_instructions))
    return note(attribute, in.validator);
  return imc_.receive(attribute, in.out);
}

// The peer says what it takes; we lower the segment size to what we can send (spec part 1b §3.4).
Result<void> Exchange::accept_contract(const patnc::Attribute& attribute, Incoming in) {
  Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
  GH_TRY(const patnc::Contract contract, patnc::parse_contract(r));
  Writer value;
  patnc::append_contract(value, in.segmenter.agree(contract));
  GH_CHECK(in.out.add(0, patnc::vendor_tcg, type::contract_response, value.view()));
  return contracted_ ? Result<void>{} : ask_contract(in.out);
}

Result<void> Exchange::accept_segment(const patnc::Attribute& attribute, Incoming in) {
  Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
  GH_TRY(const patnc::Envelope envelope, patnc::parse_envelope(r));
  auto step = reassembler(in.validator).add(envelope, attribute.value_offset());
  in.out.add_answer(step);
  // Errors about a segmented attribute count from its own start and quote a header made of its id (spec part 1b §3.6).
  const auto refuse_base = [&](const patnc::Refusal& refusal) {
    return in.out.add(0, patnc::vendor_ietf, type::pa_tnc_error,
                      patnc::error_value(refusal, patnc::pseudo_header(envelope.id)));
  };
  if (step.refusal && !step.about_base)
    return in.out.add(0, patnc::vendor_ietf, type::pa_tnc_error, patnc::error_value(*step.refusal, in.header));
  if (step.refusal) return refuse_base(*step.refusal);
  if (!step.attribute) return {};
  Reader whole(*step.attribute, rfc5792);
  patnc::Attribute base;
  if (const auto refusal = patnc::parse_attribute(whole, base)) return refuse_base(*refusal);
  const auto accepted = accept(base, in);
  if (accepted || !is_peers(accepted.error())) return accepted;
  if (base.is(patnc::vendor_ietf, type::pa_tnc_error)) return {};
  return refuse_base({patnc::ErrorCode::invalid_parameter, accepted.error().offset, {}, accepted.error().reason});
}

Result<void> Exchange::note(const patnc::Attribute& attribute, std::uint16_t validator) {
  Reader r(attribute.value, rfc5792, attribute.value_offset());
  if (attribute.type == type::pa_tnc_error) {
    GH_TRY(const patnc::PaTncError error, patnc::parse_error(r));
    note_error("IMV " + std::to_string(validator) + " sent PA-TNC error " + std::to_string(error.code) + " of vendor " +
               std::to_string(error.vendor) + " about " + patnc::subtype_name(imc_.vendor(), imc_.subtype()));
    return {};
  }
  if (!assessment_) assessment_.emplace().component = patnc::subtype_name(imc_.vendor(), imc_.subtype());
  if (attribute.type == type::assessment_result) {
    constexpr std::uint32_t error = 3, last = 4;  // RFC 5792 4.2.9
    GH_TRY(const std::uint32_t told, patnc::parse_assessment_result(r));
    assessment_->result = told <= last ? told : error;
    imc_.assessed(validator, assessment_->result);
    return {};
  }
  constexpr std::size_t max_texts = 64;
  GH_CHECK(r.skip(std::min<std::size_t>(1, r.remaining())));
  GH_TRY(const std::uint32_t vendor, r.get24());
  GH_TRY(const std::uint32_t kind, r.get<std::uint32_t>());
  if (vendor != patnc::vendor_ietf || assessment_->remediation.size() >= max_texts) return {};
  if (kind == 1) assessment_->remediation.emplace_back(as_text(r.rest()));
  if (kind == 2) {
    GH_TRY(const patnc::RemediationString remediation, patnc::parse_remediation_string(r));
    assessment_->remediation.emplace_back(remediation.text);
  }
  return {};
}

}  // namespace gatehouse::endpoint
