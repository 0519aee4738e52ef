#include "server/imv/attestation/evidence.h"

#include "wire/tpm/tpm.h"

namespace gatehouse::server {
namespace {

namespace pt = pts::type;
namespace raw = pts::raw;
constexpr std::string_view spec = "docs/formats/raw-evidence.md", flow = "spec part 2 1.17";
constexpr std::size_t firmware_log_head = 4, ima_list_head = 12, ima_list_first = 4;

constexpr std::size_t head_size(const raw::FirmwareLogStream*) { return firmware_log_head; }
constexpr std::size_t head_size(const raw::ImaListStream*) { return ima_list_head; }

}  // namespace

EvidenceIntake::EvidenceIntake(Wanted wanted, std::uint32_t raw_vendor, std::unique_ptr<pipeline::Evidence> evidence)
    : wanted_(wanted), raw_vendor_(raw_vendor), evidence_(std::move(evidence)) {}

void EvidenceIntake::ask(Channel& channel) {
  asked_ = true;
  // A component that comes as a log needs no Simple Component Evidence.
  std::vector<pts::ComponentRequest> components;
  if (wanted_.boot && (wanted_.raw & raw::part_firmware_log) == 0) components.push_back({pts::request_pcr, 0, pts::component_boot});
  if (wanted_.ima && (wanted_.raw & raw::part_ima_list) == 0) components.push_back({pts::request_pcr, 0, pts::component_ima});
  (void)channel.add(0, patnc::vendor_ita, pts::ita_get_symlinks, as_bytes("/"));
  if (!components.empty()) {
    Writer w;
    pts::append_component_requests(w, components);
    (void)channel.add(patnc::noskip, patnc::vendor_tcg, pt::request_component_evidence, w.view());
  }
  if (wanted_.raw != 0) {
    Writer w;
    raw::append_request(w, {wanted_.raw, std::nullopt});
    (void)channel.add(0, raw_vendor_, raw::type::request, w.view());
  }
  const std::byte zeros[4] = {};
  (void)channel.add(patnc::noskip, patnc::vendor_tcg, pt::generate_evidence, zeros);
}

Result<void> EvidenceIntake::take_components(const Message& message) {
  if (!asked_) return fail(Fault::protocol, "Simple Component Evidence that wasn't asked for at this time", flow);
  if (final_) return fail(Fault::protocol, "Simple Component Evidence after Simple Evidence Final", flow);
  components_ = {message.collector, to_vector(message.header_copy), 0};
  evidence_->submit_lent({pipeline::Stream::ima, pipeline::Format::pa_tnc, message.bytes, message.base_offset});
  return {};
}

Result<void> EvidenceIntake::take_symlinks(const patnc::Attribute& attribute) {
  if (!asked_ || symlinks_) return fail(Fault::protocol, "Symlinks that weren't asked for, or a second time", flow);
  symlinks_ = true;
  Reader r(attribute.value, "spec part 2 1.16", attribute.value_offset());
  GH_TRY(const std::vector<pts::Symlink> links, pts::parse_symlinks(r));
  // The store knows the distribution's aliases; what the endpoint says is reported and changes nothing.
  for (std::size_t i = 0; i < links.size() && i < 64; ++i)
    claims_.push_back("symlink " + std::string(links[i].link) + " -> " + std::string(links[i].target));
  return {};
}

// Asked for, and not come before.
Result<void> EvidenceIntake::expect_raw(std::uint16_t part, std::size_t offset) const {
  const bool begun = (part == raw::part_firmware_log && boot_) || (part == raw::part_ima_list && list_);
  if (asked_ && (wanted_.raw & part) != 0 && (done_ & part) == 0 && !begun) return {};
  return fail(Fault::protocol, "raw evidence that wasn't asked for, or a second time", spec, offset);
}

Result<void> EvidenceIntake::submit(const Log<raw::FirmwareLogStream>&, Bytes bytes) {
  evidence_->submit_lent({pipeline::Stream::boot, pipeline::Format::eventlog, bytes, 0});
  return {};
}
Result<void> EvidenceIntake::submit(const Log<raw::ImaListStream>& log, Bytes bytes) {
  const raw::ImaListHead& head = *log.stream.head();
  if (head.first != 0)
    return fail(Fault::protocol, "an IMA list that begins behind entries which weren't said to be known", spec,
                log.origin.offset - ima_list_head + ima_list_first);
  const auto format = head.form == raw::Form::ascii ? pipeline::Format::ima_ascii : pipeline::Format::ima_binary;
  evidence_->submit_lent({pipeline::Stream::ima, format, bytes, 0});
  return {};
}

template <class Stream>
Result<void> EvidenceIntake::take_log(std::optional<Log<Stream>>& log, std::uint16_t part, Bytes bytes, bool last) {
  GH_TRY(const Bytes evidence, log->stream.feed(bytes));
  if (log->stream.head() && (!evidence.empty() || last)) GH_CHECK(submit(*log, evidence));
  if (!last) return {};
  GH_CHECK(log->stream.end());
  done_ |= part;
  return {};
}

Result<void> EvidenceIntake::take_raw(const Message& message, const patnc::Attribute& attribute) {
  const std::size_t at = attribute.value_offset();
  const auto whole = [&]<class Stream>(std::optional<Log<Stream>>& log, std::uint16_t part) -> Result<void> {
    GH_CHECK(expect_raw(part, at));
    const std::size_t head = head_size(static_cast<const Stream*>(nullptr));
    log.emplace(Log<Stream>{Stream(at), {message.collector, to_vector(message.header_copy), at + head}});
    return take_log(log, part, attribute.value, true);
  };
  switch (attribute.type) {
    case raw::type::firmware_log: return whole(boot_, raw::part_firmware_log);
    case raw::type::ima_list: return whole(list_, raw::part_ima_list);
    case raw::type::quote: {
      GH_CHECK(expect_raw(raw::part_quote, at));
      Reader r(attribute.value, spec, at);
      GH_TRY(const raw::Quote v, raw::parse_quote(r));
      raw_quote_ = RawParts{to_vector(v.attest), to_vector(v.signature), to_vector(v.public_area)};
      done_ |= raw::part_quote;
      return {};
    }
    default: return {};  // what only a server sends
  }
}

Result<void> EvidenceIntake::take_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) {
  const auto next = [&]<class Stream>(std::optional<Log<Stream>>& log, std::uint16_t part) -> Result<void> {
    if (piece.at == 0) {
      GH_CHECK(expect_raw(part, patnc::attribute_header_size));
      const std::size_t begin = patnc::attribute_header_size + head_size(static_cast<const Stream*>(nullptr));
      log.emplace(Log<Stream>{Stream(patnc::attribute_header_size), {collector, patnc::pseudo_header(piece.id), begin}, piece.id});
    }
    // A segment of a transfer that began before this assessment.
    if (!log || log->transfer != piece.id || log->origin.collector != collector)
      return fail(Fault::protocol, "a segment of another raw log", spec, patnc::attribute_header_size);
    return take_log(log, part, piece.bytes, piece.last);
  };
  if (piece.type == raw::type::firmware_log) return next(boot_, raw::part_firmware_log);
  return next(list_, raw::part_ima_list);
}

Result<void> EvidenceIntake::take_final(const patnc::Attribute& attribute) {
  if (!asked_ || final_)
    return fail(Fault::protocol, "Simple Evidence Final that wasn't asked for at this time, or a second one", flow);
  final_ = pipeline::FinalQuote{to_vector(attribute.value), attribute.value_offset()};
  return {};
}

// There was one quote: what Simple Evidence Final leaves of it must be what the TPM made.
Result<void> EvidenceIntake::check_same_quote(Bytes nonce) const {
  constexpr std::string_view differs = "Raw Quote and Simple Evidence Final aren't of the same quote";
  GH_TRY(const tpm::Attest attest, tpm::parse_attest(raw_quote_->attest));
  Reader r(final_->value, "spec part 2 1.12", final_->value_offset);
  GH_TRY(const pts::SimpleEvidenceFinal v, pts::parse_simple_evidence_final(r));
  if (!v.has_quote || v.clock_info.size() != 17 || v.firmware_version.size() != 8) return fail(Fault::protocol, differs, spec);
  const ByteVector rebuilt = tpm::build_quote(v.qualified_signer, nonce, v.clock_info, v.firmware_version, v.selection, v.pcr_digest);
  if (!equal(rebuilt, attest.signed_bytes)) return fail(Fault::protocol, differs, spec);
  return {};
}

// The key's attributes are judged where they are known (spec part 2 §5.3): from the enrolment, else as the endpoint says.
Result<pipeline::AttestationKey> EvidenceIntake::attestation_key(const Signer& signer) const {
  pipeline::AttestationKey ak;
  ak.key = signer.key;
  ak.trusted = true;
  if (signer.record) {
    ak.object_attributes = signer.record->object_attributes;
    ak.name_algorithm = signer.record->name_algorithm;
    ak.qualified_name = signer.record->qualified_name;
  }
  if (!raw_quote_) return ak;
  GH_TRY(const tpm::Public area, tpm::parse_public(raw_quote_->public_area));
  if (area.key.pin() != signer.key.pin()) return fail(Fault::protocol, "Raw Quote has the public area of another key than this session's AK", spec);
  const auto algorithm = hash_algorithm(area.name_algorithm);
  if (!algorithm) return fail(Fault::protocol, "the AK's name algorithm isn't known", spec);
  if ((ak.object_attributes && *ak.object_attributes != area.attributes) || (ak.name_algorithm && *ak.name_algorithm != *algorithm)) {
    ak.trusted = false;
    ak.untrusted_reason = "the AK's public area isn't the enrolled one";
    return ak;
  }
  ak.object_attributes = area.attributes;
  ak.name_algorithm = algorithm;
  return ak;
}

Result<void> EvidenceIntake::finish(const Signer& signer, Bytes nonce, std::optional<std::uint8_t> locality) {
  pipeline::Finish f;
  GH_TRY(f.ak, attestation_key(signer));
  if (raw_quote_) {
    GH_CHECK(check_same_quote(nonce));
    f.quote = pipeline::RawQuote{std::move(raw_quote_->attest), std::move(raw_quote_->signature)};
  } else {
    f.quote = *final_;
  }
  f.nonce = to_vector(nonce);
  f.claimed_locality = locality;
  f.claims = std::move(claims_);
  evidence_->finish(std::move(f));
  return {};
}

std::optional<EvidenceIntake::Place> EvidenceIntake::place_of(const Error& error) const {
  if (error.fault != Fault::malformed && error.fault != Fault::protocol && error.fault != Fault::limit) return std::nullopt;
  const auto in = [&](const Place& origin) -> std::optional<Place> {
    if (origin.header_copy.size() != patnc::message_header_size) return std::nullopt;
    return Place{origin.collector, origin.header_copy, origin.offset + error.offset};
  };
  if (error.source == pipeline::eventlog_source) return boot_ ? in(boot_->origin) : std::nullopt;
  if (error.source == pipeline::list_source) return list_ ? in(list_->origin) : std::nullopt;
  return in(components_);
}

}  // namespace gatehouse::server
