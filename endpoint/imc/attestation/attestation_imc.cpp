#include "endpoint/imc/attestation/attestation_imc.h"

#include <algorithm>

#include "wire/tpm/tpm.h"

namespace gatehouse::endpoint {
namespace {

namespace type = pts::type;
constexpr std::uint16_t own_capabilities = pts::capability_verify | pts::capability_dh | pts::capability_tpm;
constexpr std::uint32_t ima_pcr = 10;
constexpr std::uint32_t intel = 0x494E5443;  // "INTC"

// Strongest first (spec part 2 §1.3).
constexpr HashAlgorithm by_strength[] = {HashAlgorithm::sha512, HashAlgorithm::sha384, HashAlgorithm::sha256,
                                         HashAlgorithm::sha1};

std::uint16_t group_bit(DhGroup group) {
  switch (group) {
    case DhGroup::modp1024:
      return pts::group_modp1024;
    case DhGroup::modp1536:
      return pts::group_modp1536;
    case DhGroup::modp2048:
      return pts::group_modp2048;
    case DhGroup::ecp256:
      return pts::group_ecp256;
    case DhGroup::ecp384:
      return pts::group_ecp384;
  }
  return 0;
}

std::unexpected<Error> out_of_order(std::string_view why) { return fail(Fault::protocol, why, "spec part 2 1.17"); }

}  // namespace

patnc::Supported AttestationImc::supported() const {
  return [](std::uint32_t vendor, std::uint32_t kind) {
    if (vendor == patnc::vendor_ita) return kind == pts::ita_get_symlinks || kind == pts::ita_symlinks;
    if (vendor == patnc::vendor_ietf)
      return kind == patnc::type::pa_tnc_error || kind == patnc::type::assessment_result ||
             kind == patnc::type::remediation_instructions;
    constexpr std::uint32_t known[] = {patnc::type::contract_request,
                                       patnc::type::contract_response,
                                       patnc::type::segment_envelope,
                                       patnc::type::next_segment,
                                       type::request_capabilities,
                                       type::dh_nonce_request,
                                       type::dh_nonce_finish,
                                       type::algorithm_request,
                                       type::get_tpm_version,
                                       type::get_aik,
                                       type::request_component_evidence,
                                       type::generate_evidence};
    return vendor == patnc::vendor_tcg && std::find(std::begin(known), std::end(known), kind) != std::end(known);
  };
}

Result<void> AttestationImc::begin(Packer&) {
  now_ = {};
  warnings_.clear();
  return {};  // a PTS client says nothing unasked (spec part 1b §1.8)
}

Result<void> AttestationImc::send_error(std::uint32_t code, Bytes information, Packer& out) {
  constexpr std::size_t max_information = 1024;
  Writer w;
  w.put(std::uint8_t{0});
  w.put24(patnc::vendor_tcg);
  w.put(code);
  w.put_bytes(information.first(std::min(information.size(), max_information)));
  return out.add(0, patnc::vendor_ietf, patnc::type::pa_tnc_error, w.view());
}

Result<void> AttestationImc::receive(const patnc::Attribute& attribute, Packer& out) {
  if (attribute.is(patnc::vendor_ita, pts::ita_get_symlinks)) return tell_symlinks(attribute, out);
  if (attribute.vendor != patnc::vendor_tcg) return {};
  switch (attribute.type) {
    case type::request_capabilities: {
      Reader r(attribute.value, "spec part 2 1.2", attribute.value_offset());
      GH_TRY(const std::uint16_t offered, pts::parse_capabilities(r));
      now_.capabilities = offered & own_capabilities;
      Writer w;
      pts::append_capabilities(w, now_.capabilities);
      return out.add(0, patnc::vendor_tcg, type::capabilities, w.view());
    }
    case type::algorithm_request:
      return select_algorithm(attribute, out);
    case type::dh_nonce_request:
      return offer_nonce(attribute, out);
    case type::dh_nonce_finish:
      return finish_nonce(attribute);
    case type::get_tpm_version:
      return tell_tpm_version(attribute, out);
    case type::get_aik:
      return tell_aik(out);
    case type::request_component_evidence:
      return collect(attribute, out);
    case type::generate_evidence:
      return generate(out);
    default:
      return {};
  }
}

// The strongest algorithm that both know and that has PCRs: bank, digest length and DH hash from now on (§1.3).
Result<void> AttestationImc::select_algorithm(const patnc::Attribute& attribute, Packer& out) {
  Reader r(attribute.value, "spec part 2 1.3", attribute.value_offset());
  GH_TRY(const std::uint16_t offered, pts::parse_algorithms(r));
  GH_TRY(const std::vector<HashAlgorithm> banks, tpm_.banks());
  std::uint16_t own = 0;
  bool allowed = false;
  now_ = Progress{.capabilities = now_.capabilities};
  for (const HashAlgorithm algorithm : by_strength) {
    allowed = allowed || algorithm == config_.strongest;
    if (!allowed || std::find(banks.begin(), banks.end(), algorithm) == banks.end()) continue;
    own = std::uint16_t(own | pts::algorithm_bit(algorithm));
    if (!now_.bank && (offered & pts::algorithm_bit(algorithm)) != 0) now_.bank = algorithm;
  }
  Writer w;
  pts::append_algorithms(w, now_.bank ? pts::algorithm_bit(*now_.bank) : own);
  if (!now_.bank) return send_error(pts::error::hash_algorithm_not_supported, w.view(), out);
  return out.add(0, patnc::vendor_tcg, type::algorithm, w.view());
}

Result<void> AttestationImc::offer_nonce(const patnc::Attribute& attribute, Packer& out) {
  if (!now_.bank) return out_of_order("DH Nonce Parameters Request before the measurement algorithm");
  Reader r(attribute.value, "spec part 2 1.4", attribute.value_offset());
  GH_TRY(const pts::DhNonceRequest request, pts::parse_dh_nonce_request(r));
  std::uint16_t own = 0;
  std::optional<DhGroup> chosen;
  for (const DhGroup group : config_.dh_groups) {
    own = std::uint16_t(own | group_bit(group));
    if (!chosen && (request.groups & group_bit(group)) != 0) chosen = group;
  }
  if (!chosen) {
    Writer w;
    w.put(std::uint16_t{0});
    w.put(own);
    return send_error(pts::error::dh_group_not_supported, w.view(), out);
  }
  GH_TRY(now_.key, KeyAgreement::generate(*chosen));
  now_.nonce =
      random_bytes(std::max<std::size_t>({17, std::min<std::size_t>(config_.nonce_size, 255), request.minimum_nonce}));
  now_.secret.reset();
  Writer w;
  pts::append_dh_nonce_response(
      w, {group_bit(*chosen), pts::algorithm_bit(*now_.bank), now_.nonce, now_.key->public_value()});
  return out.add(0, patnc::vendor_tcg, type::dh_nonce_response, w.view());
}

Result<void> AttestationImc::finish_nonce(const patnc::Attribute& attribute) {
  if (!now_.key) return out_of_order("DH Nonce Finish without a DH Nonce Parameters Response");
  Reader r(attribute.value, "spec part 2 1.6", attribute.value_offset());
  GH_TRY(const pts::DhNonceFinish finish, pts::parse_dh_nonce_finish(r));
  if (finish.hash != pts::algorithm_bit(*now_.bank))
    return fail(Fault::protocol, "the server chose a DH hash that wasn't offered", "spec part 2 1.6",
                attribute.value_offset() + 2);
  if (finish.nonce.size() != now_.nonce.size())
    return fail(Fault::protocol, "the server's nonce isn't as long as ours", "spec part 2 1.6",
                attribute.value_offset() + 1);
  auto secret = now_.key->derive(finish.public_value);
  if (!secret) return fail(Fault::malformed, secret.error().reason, "spec part 2 1.6", attribute.value_offset() + 4);
  now_.secret = secret_assessment_value(*now_.bank, finish.nonce, now_.nonce, *std::move(secret));
  now_.key.reset();
  return {};
}

Result<void> AttestationImc::tell_tpm_version(const patnc::Attribute& attribute, Packer& out) {
  const auto properties = tpm_.properties();
  if (!properties) return send_error(pts::error::tpm_version_unavailable, attribute.value, out);
  pts::TpmVersion version;
  // A firmware log says how the TPM was started; without one, strongSwan's assumption (§1.7).
  version.locality = source_.locality().value_or(properties->manufacturer == intel ? 0 : 3);
  version.revision = properties->revision;
  version.year = properties->year;
  version.vendor = properties->manufacturer;
  Writer w;
  pts::append_tpm_version(w, version);
  return out.add(0, patnc::vendor_tcg, type::tpm_version, w.view());
}

Result<void> AttestationImc::tell_aik(Packer& out) {
  const bool naked = config_.aik_certificate.empty();
  Writer w;
  pts::append_aik(w, {naked, naked ? Bytes(tpm_.ak().spki()) : Bytes(config_.aik_certificate)});
  return out.add(0, patnc::vendor_tcg, type::aik, w.view());
}

Result<void> AttestationImc::tell_symlinks(const patnc::Attribute& attribute, Packer& out) {
  const std::vector<SymlinkTarget> links = source_.symlinks(as_text(attribute.value));
  std::vector<pts::Symlink> told;
  for (const SymlinkTarget& l : links)
    if (l.link.size() <= 0xFFFF && l.target.size() <= 0xFFFF) told.push_back({l.link, l.target});
  Writer w;
  pts::append_symlinks(w, told);
  return out.add(0, patnc::vendor_ita, pts::ita_symlinks, std::move(w).take());
}

Result<void> AttestationImc::collect(const patnc::Attribute& attribute, Packer& out) {
  if (!now_.bank) return out_of_order("evidence requested before the measurement algorithm");
  Reader r(attribute.value, "spec part 2 1.9", attribute.value_offset());
  GH_TRY(const auto requests, pts::parse_component_requests(r));
  for (const pts::ComponentRequest& request : requests) {
    const auto refuse = [&](std::uint32_t code) { return send_error(code, attribute.value, out); };
    if ((request.flags & pts::request_ttc) != 0) return refuse(pts::error::unable_to_determine_transitive_trust);
    if ((request.flags & pts::request_verify) != 0 && (now_.capabilities & pts::capability_verify) == 0)
      return refuse(pts::error::unable_to_validate);
    if ((request.flags & pts::request_current) != 0) return refuse(pts::error::unable_to_collect_current);
    if ((request.flags & pts::request_pcr) != 0 && (now_.capabilities & pts::capability_tpm) == 0)
      return refuse(pts::error::unable_to_determine_pcr);
    if (request.depth != 0)
      return fail(Fault::protocol, "evidence of sub-components requested", "spec part 2 1.9", attribute.value_offset());
    if (request.component == pts::component_boot && now_.boot == nullptr) {
      GH_TRY(now_.boot, source_.firmware(*now_.bank));
      warnings_.insert(warnings_.end(), now_.boot->warnings.begin(), now_.boot->warnings.end());
    } else if (request.component == pts::component_ima && now_.list == nullptr) {
      GH_TRY(now_.list, source_.ima(*now_.bank));
    }
  }
  return {};
}

// List, quote, list: the kernel appends while we read, so the list goes out as far as PCR 10 had come (§7.10, §10 P3).
Result<void> AttestationImc::generate(Packer& out) {
  if (!now_.secret) return out_of_order("evidence asked for before a nonce was agreed");
  if (now_.boot == nullptr && now_.list == nullptr) return out_of_order("evidence asked for without a component");
  const Digest nonce = *now_.secret;
  now_.secret.reset();  // for one quote
  const std::uint32_t pcrs = (now_.boot ? now_.boot->pcrs : 0) | (now_.list ? now_.list->pcrs : 0);
  constexpr int attempts = 8;
  Quote quote;
  Digest pcr10;
  for (int i = 0; i < attempts; ++i) {
    if (now_.list) {
      GH_TRY(pcr10, tpm_.read_pcr(*now_.bank, ima_pcr));
    }
    GH_TRY(quote, tpm_.quote(nonce.view(), *now_.bank, pcrs));
    if (!now_.list) break;
    GH_TRY(const Digest after, tpm_.read_pcr(*now_.bank, ima_pcr));
    if (after == pcr10) break;
  }
  std::size_t listed = 0;
  if (now_.list) {
    auto matching = items_matching(*now_.list, pcr10);
    if (!matching) {
      GH_TRY(now_.list, source_.ima(*now_.bank));
      matching = items_matching(*now_.list, pcr10);
    }
    if (!matching)
      warnings_.emplace_back("the IMA list doesn't lead to the value of PCR 10: the server will refuse the quote");
    warnings_.insert(warnings_.end(), now_.list->warnings.begin(), now_.list->warnings.end());
    listed = matching.value_or(now_.list->count());
  }
  if (now_.boot)
    for (std::size_t i = 0; i < now_.boot->count(); ++i) GH_CHECK(out.add_whole(now_.boot->attribute(i)));
  for (std::size_t i = 0; i < listed; ++i) GH_CHECK(out.add_whole(now_.list->attribute(i)));
  now_.boot.reset();
  now_.list.reset();
  return finish(quote, out);
}

// Simple Evidence Final (§1.12): what the server needs to build TPMS_ATTEST again from its own nonce and PCR values.
Result<void> AttestationImc::finish(const Quote& quote, Packer& out) {
  const auto attest = tpm::parse_attest(quote.attest);
  const auto signature = tpm::parse_signature(quote.signature);
  if (!attest || !signature) return fail(Fault::environment, "the TPM's quote can't be read", "TPM 2.0 Part 2");
  const auto hash = hash_algorithm(signature->hash);
  if (!hash || pts::algorithm_bit(*hash) == 0)
    return fail(Fault::environment, "the AK signs with a hash that PTS doesn't know", "spec part 2 1.12");
  Writer clock, firmware, selection, signed_bytes;
  clock.put(attest->clock.clock);
  clock.put(attest->clock.reset_count);
  clock.put(attest->clock.restart_count);
  clock.put(attest->clock.safe);
  firmware.put(attest->firmware_version);
  tpm::append_selections(selection, attest->selections);
  if (signature->algorithm == tpm::alg_ecdsa) {
    // r and s travel without lengths: each as long as the field, or their border is lost (§4.2).
    const std::size_t field = tpm_.ak().field_size();
    for (const Bytes part : {signature->r, signature->s}) {
      if (part.size() > field)
        return fail(Fault::environment, "the TPM's signature is longer than its curve", "spec part 2 4.2");
      signed_bytes.put_zeros(field - part.size());
      signed_bytes.put_bytes(part);
    }
  } else {
    signed_bytes.put_bytes(signature->rsa);
  }
  pts::SimpleEvidenceFinal final;
  final.has_quote = true;
  final.hash = pts::algorithm_bit(*hash);
  final.pcr_digest = attest->pcr_digest;
  final.qualified_signer = attest->qualified_signer;
  final.clock_info = clock.view();
  final.firmware_version = firmware.view();
  final.selection = selection.view();
  final.signature = signed_bytes.view();
  Writer w;
  pts::append_simple_evidence_final(w, final);
  return out.add(0, patnc::vendor_tcg, type::simple_evidence_final, w.view());
}

}  // namespace gatehouse::endpoint
