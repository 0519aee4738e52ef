#include "endpoint/imc/imc.h"

#include <algorithm>

namespace gatehouse::endpoint {
namespace {

constexpr std::size_t max_rests = 16;            // attributes that wait to be fetched by Next Segment
constexpr std::size_t max_notes = 64;
constexpr std::string_view spec = "RFC 5792";
namespace type = patnc::type;

// A value of the peer's that doesn't parse. A malformed list of our own has its file's name by now: that ends the session.
bool is_peers(const Error& error) { return error.fault == Fault::malformed && error.source.empty(); }

ByteVector attribute_header(std::uint8_t flags, std::uint32_t vendor, std::uint32_t kind, std::size_t value_size) {
  Writer w;
  w.put(flags);
  w.put24(vendor);
  w.put(kind);
  w.put(std::uint32_t(patnc::attribute_header_size + value_size));
  return std::move(w).take();
}

}  // namespace

std::size_t Packer::room() const {
  const std::size_t used = message_.size() == 0 ? patnc::message_header_size : message_.size();
  if (attributes_ >= patnc::max_attributes || used > limit_) return 0;
  return limit_ - used;
}

void Packer::put(Bytes header, Bytes value) {
  if (header.size() + value.size() > room()) close();
  if (message_.size() == 0) {
    message_.put(std::uint8_t{1});
    message_.put24(0);
    message_.put(next_identifier_++);
  }
  message_.put_bytes(header);
  message_.put_bytes(value);
  ++attributes_;
}

void Packer::put_envelope(std::uint8_t flags, std::uint32_t id, Bytes segment) {
  Writer value;
  patnc::append_envelope(value, {flags, id, segment});
  put(attribute_header(0, patnc::vendor_tcg, type::segment_envelope, value.size()), value.view());
}

// Spec part 1b §3.5: the first piece takes the room that is left, the peer fetches the others one by one.
Result<void> Packer::put_segmented(Bytes header, Bytes value) {
  constexpr std::size_t overhead = patnc::attribute_header_size + patnc::envelope_header_size;
  if (sender_.rests.size() >= max_rests) return fail(Fault::limit, "too many attributes wait to be fetched in segments", "TCG IF-M Segmentation");
  ByteVector whole = to_vector(header);
  whole.insert(whole.end(), value.begin(), value.end());
  if (room() < overhead + patnc::attribute_header_size) close();
  const std::size_t first = std::min<std::size_t>({sender_.contract->max_segment_size, room() - overhead, whole.size()});
  sender_.last_id = sender_.last_id % 0xFFFFFF + 1;
  const bool more = first < whole.size();
  put_envelope(std::uint8_t(patnc::first_segment | (more ? patnc::more_segments : 0)), sender_.last_id, Bytes(whole).first(first));
  if (more) sender_.rests[sender_.last_id] = ByteVector(whole.begin() + std::ptrdiff_t(first), whole.end());
  return {};
}

Result<void> Packer::add(std::uint8_t flags, std::uint32_t vendor, std::uint32_t kind, Bytes value) {
  const ByteVector header = attribute_header(flags, vendor, kind, value.size());
  const std::size_t total = header.size() + value.size();
  // Rule 3: what exceeds the segment size by no more than an envelope costs goes whole.
  if (sender_.contract && sender_.contract->max_segment_size != patnc::unlimited &&
      total > std::size_t(sender_.contract->max_segment_size) + 16 && total <= sender_.contract->max_message_size)
    return put_segmented(header, value);
  if (total > limit_ - patnc::message_header_size)
    return fail(Fault::limit, "attribute larger than a message, and the server gave no contract to segment it", "TCG IF-M Segmentation");
  put(header, value);
  return {};
}

Result<void> Packer::add_whole(Bytes attribute) {
  Reader r(attribute, spec);
  patnc::Attribute parsed;
  if (const auto refusal = patnc::parse_attribute(r, parsed)) return fail(Fault::internal, refusal->reason, spec, refusal->offset);
  return add(parsed.flags, parsed.vendor, parsed.type, parsed.value);
}

void Packer::add_next_segment(std::uint32_t id) {
  const auto at = sender_.rests.find(id);
  if (at == sender_.rests.end() || !sender_.contract) return;
  const std::size_t size = std::min<std::size_t>({sender_.contract->max_segment_size, patnc::max_segment(limit_), at->second.size()});
  const ByteVector segment(at->second.begin(), at->second.begin() + std::ptrdiff_t(size));
  at->second.erase(at->second.begin(), at->second.begin() + std::ptrdiff_t(size));
  put_envelope(at->second.empty() ? 0 : patnc::more_segments, id, segment);
  if (at->second.empty()) sender_.rests.erase(at);
}

void Packer::close() {
  if (message_.size() != 0) messages_.push_back(std::move(message_).take());
  message_ = Writer();
  attributes_ = 0;
}

std::vector<ByteVector> Packer::take() {
  close();
  return std::move(messages_);
}

std::vector<ByteVector> Exchange::pa_messages(std::vector<ByteVector> bodies, std::uint16_t validator) const {
  std::vector<ByteVector> out;
  for (const ByteVector& body : bodies) {
    pbtnc::PaMessage pa;
    pa.exclusive = validator != pbtnc::any;  // direct answers go to the validator that asked (spec part 1b §6.3)
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

Result<std::vector<ByteVector>> Exchange::begin() {
  senders_.clear();
  reassembly_.clear();
  assessment_.reset();
  Packer out(max_message_, next_identifier_, senders_[pbtnc::any]);
  GH_CHECK(imc_.begin(out));
  return pa_messages(out.take(), pbtnc::any);
}

Result<std::vector<ByteVector>> Exchange::refuse(const patnc::Refusal& refusal, Bytes header_copy, const pbtnc::PaMessage& pa) {
  Packer out(max_message_, next_identifier_, senders_[pa.validator]);
  GH_CHECK(out.add(0, patnc::vendor_ietf, type::pa_tnc_error, patnc::error_value(refusal, header_copy)));
  if (errors_.size() < max_notes)
    errors_.push_back("malformed PA-TNC message of IMV " + std::to_string(pa.validator) + ": " + std::string(refusal.reason));
  return pa_messages(out.take(), pa.validator);
}

Result<std::vector<ByteVector>> Exchange::receive(const pbtnc::PaMessage& pa) {
  const auto parsed = patnc::parse_message(pa.body, imc_.supported());
  // Without a header there is nothing to answer (spec part 1b §1.2).
  if (!parsed) {
    if (errors_.size() < max_notes) errors_.push_back("PA-TNC message of IMV " + std::to_string(pa.validator) + " without a header");
    return std::vector<ByteVector>{};
  }
  if (parsed->refusal) return refuse(*parsed->refusal, parsed->header.copy, pa);
  // Validators choose their ids: a server that changes them all the time gets no memory for each.
  if (senders_.size() > 64 && !senders_.contains(pa.validator)) return fail(Fault::limit, "messages of more than 64 validators", "RFC 5793 4.5");
  Packer::Sender& sender = senders_[pa.validator];
  Packer out(max_message_, next_identifier_, sender);
  for (const patnc::Attribute& attribute : parsed->attributes) {
    const auto accepted = accept(attribute, {pa.validator, sender, out});
    if (accepted) continue;
    if (!is_peers(accepted.error())) return std::unexpected(accepted.error());
    // An error isn't answered with an error (RFC 5792 4.2.8).
    if (attribute.is(patnc::vendor_ietf, type::pa_tnc_error)) continue;
    return refuse({patnc::ErrorCode::invalid_parameter, accepted.error().offset, {}, accepted.error().reason}, parsed->header.copy, pa);
  }
  return pa_messages(out.take(), pa.validator);
}

Result<void> Exchange::accept(const patnc::Attribute& attribute, Incoming in) {
  if (attribute.vendor == patnc::vendor_tcg) {
    Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
    switch (attribute.type) {
      case type::contract_request: return accept_contract(attribute, in);
      case type::contract_response: return {};  // we ask for none
      case type::segment_envelope: return accept_segment(attribute, in);
      case type::next_segment: {
        GH_TRY(const patnc::NextSegment next, patnc::parse_next_segment(r));
        if ((next.flags & patnc::cancel_segments) != 0)
          in.sender.rests.erase(next.id);
        else
          in.out.add_next_segment(next.id);
        return {};
      }
      default: break;
    }
  }
  if (attribute.vendor == patnc::vendor_ietf &&
      (attribute.type == type::pa_tnc_error || attribute.type == type::assessment_result || attribute.type == type::remediation_instructions))
    return note(attribute, in.validator);
  return imc_.receive(attribute, in.out);
}

// The peer says what it takes; we lower the segment size to what we can send (spec part 1b §3.4).
Result<void> Exchange::accept_contract(const patnc::Attribute& attribute, Incoming in) {
  Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
  GH_TRY(patnc::Contract contract, patnc::parse_contract(r));
  if (contract.max_segment_size != patnc::unlimited)
    contract.max_segment_size = std::min(contract.max_segment_size, std::uint32_t(patnc::max_segment(max_message_)));
  in.sender.contract = contract;
  Writer value;
  patnc::append_contract(value, contract);
  return in.out.add(0, patnc::vendor_tcg, type::contract_response, value.view());
}

Result<void> Exchange::accept_segment(const patnc::Attribute& attribute, Incoming in) {
  Reader r(attribute.value, "TCG IF-M Segmentation", attribute.value_offset());
  GH_TRY(const patnc::Envelope envelope, patnc::parse_envelope(r));
  patnc::Reassembler::Limits limits;
  limits.attribute_bytes = std::size_t(1) << 20;  // a server's requests are small
  const auto transfer = reassembly_.try_emplace(in.validator, limits).first;
  auto step = transfer->second.add(envelope, attribute.value_offset());
  if (step.ask_next || step.cancel) {
    Writer value;
    patnc::append_next_segment(value, {std::uint8_t(step.cancel ? patnc::cancel_segments : 0), envelope.id});
    GH_CHECK(in.out.add(0, patnc::vendor_tcg, type::next_segment, value.view()));
  }
  // Errors about a segmented attribute count from its own start and quote a header made of its id (spec part 1b §3.6).
  const auto refuse_base = [&](const patnc::Refusal& refusal) {
    return in.out.add(0, patnc::vendor_ietf, type::pa_tnc_error, patnc::error_value(refusal, patnc::pseudo_header(envelope.id)));
  };
  if (step.refusal) return refuse_base(*step.refusal);
  if (!step.attribute) return {};
  Reader whole(*step.attribute, spec);
  patnc::Attribute base;
  if (const auto refusal = patnc::parse_attribute(whole, base)) return refuse_base(*refusal);
  if (!imc_.supported()(base.vendor, base.type)) {
    if ((base.flags & patnc::noskip) == 0) return {};
    base.value = {};
    return refuse_base({patnc::ErrorCode::type_not_supported, 0, base, "unsupported attribute with NOSKIP"});
  }
  const auto accepted = accept(base, in);
  if (accepted || !is_peers(accepted.error())) return accepted;
  if (base.is(patnc::vendor_ietf, type::pa_tnc_error)) return {};
  return refuse_base({patnc::ErrorCode::invalid_parameter, accepted.error().offset, {}, accepted.error().reason});
}

Result<void> Exchange::note(const patnc::Attribute& attribute, std::uint16_t validator) {
  Reader r(attribute.value, spec, attribute.value_offset());
  if (attribute.type == type::pa_tnc_error) {
    GH_TRY(const patnc::PaTncError error, patnc::parse_error(r));
    if (errors_.size() < max_notes)
      errors_.push_back("IMV " + std::to_string(validator) + " sent PA-TNC error " + std::to_string(error.code) + " of vendor " +
                        std::to_string(error.vendor) + " about " + patnc::subtype_name(imc_.vendor(), imc_.subtype()));
    return {};
  }
  if (!assessment_) assessment_.emplace().component = patnc::subtype_name(imc_.vendor(), imc_.subtype());
  if (attribute.type == type::assessment_result) {
    GH_TRY(assessment_->result, patnc::parse_assessment_result(r));
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
