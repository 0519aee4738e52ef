#include "server/imv/imv.h"

#include <algorithm>

namespace gatehouse::server {

bool supported(std::uint32_t vendor, std::uint32_t type) {
  namespace t = patnc::type;
  namespace pt = pts::type;
  if (vendor == patnc::vendor_ietf) return type <= t::source_metadata_response;
  if (vendor == patnc::vendor_ita)
    return (type >= t::ita_command && type <= t::ita_stop_angel) || (type >= t::ita_device_id && type <= t::ita_symlinks);
  if (vendor != patnc::vendor_tcg) return false;
  constexpr std::uint32_t known[] = {t::contract_request, t::contract_response, t::segment_envelope, t::next_segment,
                                     pt::request_capabilities, pt::capabilities, pt::dh_nonce_request, pt::dh_nonce_response,
                                     pt::dh_nonce_finish, pt::algorithm_request, pt::algorithm, pt::get_tpm_version,
                                     pt::tpm_version, pt::get_aik, pt::aik, pt::request_component_evidence,
                                     pt::generate_evidence, pt::simple_component_evidence, pt::simple_evidence_final};
  return std::find(std::begin(known), std::end(known), type) != std::end(known);
}

patnc::Reassembler::Admission admit_supported(std::uint32_t vendor, std::uint32_t type) {
  return {supported(vendor, type), std::size_t(16) << 20, false};
}

void Imv::say_assessment(pipeline::Evaluation evaluation) {
  Writer value;
  patnc::append_u32(value, std::uint32_t(evaluation));
  (void)channel_.add(0, patnc::vendor_ietf, patnc::type::assessment_result, value.view());
}

}  // namespace gatehouse::server
