#include "wire/pts/pts.h"

using namespace gatehouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  for (const std::size_t skip : {std::size_t{0}, std::size_t{12}}) {  // a value, or an attribute with its header
    if (size < skip) break;
    const Bytes value(reinterpret_cast<const std::byte*>(data) + skip, size - skip);
    const auto with = [&](auto&& parse) {
      Reader r(value, "fuzz");
      (void)parse(r);
    };
    with(pts::parse_capabilities);
    with(pts::parse_algorithms);
    with(pts::parse_dh_nonce_request);
    with(pts::parse_dh_nonce_response);
    with(pts::parse_dh_nonce_finish);
    with(pts::parse_tpm_version);
    with(pts::parse_aik);
    with(pts::parse_component_requests);
    with(pts::parse_simple_component_evidence);
    with(pts::parse_simple_evidence_final);
    with(pts::parse_symlinks);
    (void)pts::parse_ima_uri(as_text(value));
  }
  return 0;
}
