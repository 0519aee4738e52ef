// PTS attributes of the TCG namespace, and the ITA-HSR symlink attributes (spec part 2 §1, §2). Every function reads or
// writes an attribute's value (without its 12-byte header); offsets in errors count from `r`'s outermost buffer.
// Big-endian. Parsed values borrow from the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/hash.h"
#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pts {

inline constexpr std::uint32_t vendor_tcg = 0x005597, vendor_ita = 0x00902A;
inline constexpr std::uint32_t subtype_pts = 1;

// Attribute types of vendor_tcg.
namespace type {
inline constexpr std::uint32_t request_capabilities = 0x01000000, capabilities = 0x02000000,
    dh_nonce_request = 0x03000000, dh_nonce_response = 0x04000000, dh_nonce_finish = 0x05000000,
    algorithm_request = 0x06000000, algorithm = 0x07000000, get_tpm_version = 0x08000000, tpm_version = 0x09000000,
    get_aik = 0x0D000000, aik = 0x0E000000, request_component_evidence = 0x00100000, generate_evidence = 0x00200000,
    simple_component_evidence = 0x00300000, simple_evidence_final = 0x00400000, request_file_metadata = 0x00700000,
    unix_file_metadata = 0x00900000, request_file_measurement = 0x00C00000, file_measurement = 0x00D00000;
// Those that have a name and nothing else: unsupported, refused where NOSKIP is set.
inline constexpr std::uint32_t request_manifest_metadata = 0x0A000000, manifest_metadata = 0x0B000000,
    update_manifest = 0x0C000000, verification_result = 0x00500000, integrity_report = 0x00600000,
    windows_file_metadata = 0x00800000, request_registry_value = 0x00A00000, registry_value = 0x00B00000,
    request_measurement_log = 0x00E00000, measurement_log = 0x00F00000;
}  // namespace type
// Attribute types of vendor_ita that travel in the PTS subtype.
inline constexpr std::uint32_t ita_get_symlinks = 9, ita_symlinks = 10;

// PTS error codes (PA-TNC Error with vendor_tcg).
namespace error {
inline constexpr std::uint32_t hash_algorithm_not_supported = 1, invalid_path = 2, file_not_found = 3,
    registry_not_supported = 4, registry_key_not_found = 5, dh_group_not_supported = 6, nonce_not_acceptable = 7,
    invalid_name_family = 8, tpm_version_unavailable = 9, invalid_delimiter = 10, operation_not_supported = 11,
    unable_to_update_manifest = 12, unable_to_validate = 13, unable_to_collect_current = 14,
    unable_to_determine_transitive_trust = 15, unable_to_determine_pcr = 16;
}  // namespace error

// §1.2
inline constexpr std::uint16_t capability_xml = 0x0001, capability_tpm = 0x0002, capability_dh = 0x0004,
                               capability_verify = 0x0008, capability_current = 0x0010;
Result<std::uint16_t> parse_capabilities(Reader& r);
void append_capabilities(Writer& w, std::uint16_t flags);

// §1.3: the set's bits, and one bit for one algorithm.
std::uint16_t algorithm_bit(HashAlgorithm algorithm);                       // 0: none
std::optional<HashAlgorithm> algorithm_of_bit(std::uint16_t bit);           // exactly one known bit
Result<std::uint16_t> parse_algorithms(Reader& r);
void append_algorithms(Writer& w, std::uint16_t set);

// §1.4-1.6
inline constexpr std::uint16_t group_modp1024 = 0x8000, group_modp1536 = 0x4000, group_modp2048 = 0x2000,
                               group_ecp256 = 0x1000, group_ecp384 = 0x0800;
struct DhNonceRequest {
  std::uint8_t minimum_nonce = 0;
  std::uint16_t groups = 0;
};
struct DhNonceResponse {
  std::uint16_t group = 0;
  std::uint16_t hashes = 0;
  Bytes nonce, public_value;
};
struct DhNonceFinish {
  std::uint16_t hash = 0;
  Bytes public_value, nonce;
};
Result<DhNonceRequest> parse_dh_nonce_request(Reader& r);
void append_dh_nonce_request(Writer& w, const DhNonceRequest& v);
Result<DhNonceResponse> parse_dh_nonce_response(Reader& r);
void append_dh_nonce_response(Writer& w, const DhNonceResponse& v);
Result<DhNonceFinish> parse_dh_nonce_finish(Reader& r);
void append_dh_nonce_finish(Writer& w, const DhNonceFinish& v);

// §1.7, the TPM 2.0 form.
struct TpmVersion {
  std::uint8_t locality = 0;
  std::uint32_t revision = 0, year = 0;
  std::uint32_t vendor = 0;  // four ASCII characters
};
Result<TpmVersion> parse_tpm_version(Reader& r);
void append_tpm_version(Writer& w, const TpmVersion& v);

// §1.8
struct Aik {
  bool naked = true;  // else a certificate
  Bytes der;
};
Result<Aik> parse_aik(Reader& r);
void append_aik(Writer& w, const Aik& v);

// §2.1
struct Component {
  std::uint32_t vendor = vendor_ita;
  std::uint8_t qualifier = 0;  // low 6 bits
  std::uint32_t name = 0;
  friend bool operator==(const Component&, const Component&) = default;
};
inline constexpr Component component_boot{vendor_ita, 0x21, 3};  // firmware log
inline constexpr Component component_ima{vendor_ita, 0x22, 3};   // IMA list
inline constexpr Component component_tboot{vendor_ita, 0x21, 2};
inline constexpr Component component_tgrub{vendor_ita, 0x21, 1};
std::string component_name(const Component& c);  // for logs: "ITA-HSR/Linux IMA [K.] Trusted Platform"

// §1.9
inline constexpr std::uint8_t request_ttc = 0x80, request_verify = 0x40, request_current = 0x20, request_pcr = 0x10;
struct ComponentRequest {
  std::uint8_t flags = request_pcr;
  std::uint32_t depth = 0;
  Component component;
};
Result<std::vector<ComponentRequest>> parse_component_requests(Reader& r);
void append_component_requests(Writer& w, const std::vector<ComponentRequest>& v);

// §1.11
enum class Validation : std::uint8_t { none = 0, unable = 1, failed = 2, passed = 3 };
struct SimpleComponentEvidence {
  std::uint32_t depth = 0;
  Component component;
  std::uint32_t pcr = 0;
  std::uint16_t algorithm = 0;  // PTS bit
  std::uint8_t transform = 1;   // 1 as long as the PCR, 2 padded
  std::string_view time;        // 20 characters, "YYYY-MM-DDThh:mm:ssZ"
  Validation validation = Validation::none;
  std::string_view policy_uri;  // with failed and passed
  bool has_pcr_values = false;
  Bytes pcr_before, pcr_after;
  Bytes measurement;
};
Result<SimpleComponentEvidence> parse_simple_component_evidence(Reader& r);
// All before the policy URI. Of one component's measurements that follow each other it is mostly the same, bit by bit.
inline constexpr std::size_t evidence_head = 40;
// What differs between two whose heads don't, of which the first was read: policy URI and measurement. nullopt: `value` is
// to be read in full, being another one, faulty, or one with PCR values.
struct AlikeEvidence {
  std::string_view policy_uri;
  Bytes measurement;
};
std::optional<AlikeEvidence> parse_alike_evidence(Bytes value, Bytes first);
void append_simple_component_evidence(Writer& w, const SimpleComponentEvidence& v);

// What an IMA item's policy URI says (§2.4): "sha256:/usr/bin/ls", or a legacy name.
struct ImaName {
  std::string_view algorithm;  // "sha1" for the legacy template
  std::string_view name;
  bool legacy = false;
};
Result<ImaName> parse_ima_uri(std::string_view uri);

// §1.12, the TPM 2.0 form. Lengths are as they came; their bounds are the quote check's (Q5).
struct SimpleEvidenceFinal {
  bool has_quote = false;
  std::uint16_t hash = 0;  // PTS bit
  Bytes pcr_digest, qualified_signer, clock_info, firmware_version, selection, signature;
};
Result<SimpleEvidenceFinal> parse_simple_evidence_final(Reader& r);
void append_simple_evidence_final(Writer& w, const SimpleEvidenceFinal& v);

// §1.16
Result<std::string_view> parse_get_symlinks(Reader& r);  // the directory; a NUL is an error at its offset
void append_get_symlinks(Writer& w, std::string_view directory);
struct Symlink {
  std::string_view link, target;
};
// The whole list; wire/pts/records.h reads one that arrives in segments.
Result<std::vector<Symlink>> parse_symlinks(Reader& r);
void append_symlinks(Writer& w, const std::vector<Symlink>& v);

}  // namespace gatehouse::pts
