#include <cstdlib>

#include "wire/pts/errors.h"
#include "wire/pts/pts.h"
#include "wire/pts/records.h"

using namespace gatehouse;

namespace {

// Records and where they end don't depend on the cut.
template <class Cursor>
void read_in_pieces(Bytes value, std::size_t size) {
  const auto read = [&](std::size_t piece) {
    Cursor cursor(12);
    std::size_t records = 0, at = 0;
    for (bool last = false; !last; at += piece) {
      last = value.size() - at <= piece;
      cursor.feed(value.subspan(at, last ? value.size() - at : piece));
      if (last) cursor.end();
      for (;;) {
        const auto next = cursor.next();
        if (!next) return std::pair(records, next.error().offset);
        if (*next == nullptr) break;
        ++records;
      }
    }
    return std::pair(records, std::size_t{0});
  };
  if (read(size) != read(value.size() + 1)) std::abort();
}

// What is read of evidence behind another one with the same head, is what is read of it alone.
void read_alike(Bytes value) {
  const auto alike = pts::parse_alike_evidence(value, value);
  if (!alike) return;
  Reader r(value, "fuzz");
  const auto whole = pts::parse_simple_component_evidence(r);
  if (!whole) return;  // a head that is faulty isn't taken for that of the next
  if (whole->has_pcr_values || whole->policy_uri != alike->policy_uri || whole->measurement.data() != alike->measurement.data() ||
      whole->measurement.size() != alike->measurement.size())
    std::abort();
}

}  // namespace

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
    with(pts::parse_get_symlinks);
    with(pts::parse_file_measurement_request);
    with(pts::parse_file_metadata_request);
    for (std::uint32_t code = 0; code < 18; ++code) with([&](Reader& r) { return pts::parse_error_information(code, r); });
    const std::size_t piece = 1 + (value.empty() ? 0 : std::size_t(value.back()) % 64);
    read_in_pieces<pts::FileMeasurementCursor>(value, piece);
    read_in_pieces<pts::FileMetadataCursor>(value, piece);
    read_in_pieces<pts::SymlinkCursor>(value, piece);
    (void)pts::parse_ima_uri(as_text(value));
    read_alike(value);
  }
  return 0;
}
