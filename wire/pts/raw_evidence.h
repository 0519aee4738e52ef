// The raw-evidence extension: firmware log, IMA list of any template, attest structure, signature and the AK's public
// area as they are on the endpoint (docs/formats/raw-evidence.md; spec part 2 §2.7). Attributes of a private vendor id
// in the PTS subtype, without NOSKIP, so that a peer that doesn't know them skips them. Big-endian; logs and TPM
// structures keep their own order. Every function reads or writes an attribute's value; offsets in errors count from
// `r`'s outermost buffer. Parsed values borrow from the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/reader.h"
#include "base/writer.h"

namespace gatehouse::pts::raw {

inline constexpr std::uint32_t default_vendor = 0xFFFFFE;  // unassigned
// Whether attributes of this extension may carry it: 24 bits, not reserved, and of no one whose attributes travel here.
bool is_private_vendor(std::uint32_t vendor);

inline constexpr std::uint8_t version = 1;

// Attribute types of the private vendor.
namespace type {
inline constexpr std::uint32_t capabilities = 1, request = 2, firmware_log = 3, ima_list = 4, quote = 5;
}  // namespace type
std::string attribute_name(std::uint32_t type);  // "Gatehouse/Raw IMA List"; others by number

// What can be given, is wanted, or can't be given.
inline constexpr std::uint16_t part_firmware_log = 0x0001, part_ima_list = 0x0002, part_quote = 0x0004,
                               part_incremental = 0x0008;  // the list from a known entry on

// Type 1, endpoint to server: what it can give on request.
struct Capabilities {
  std::uint8_t lowest_version = version, highest_version = version;
  std::uint16_t parts = 0;

  bool speaks(std::uint8_t v) const { return lowest_version <= v && v <= highest_version; }
};
Result<Capabilities> parse_capabilities(Reader& r);
void append_capabilities(Writer& w, const Capabilities& v);

// Up to where the server knows a list: the boot that it was quoted in, as the AK's clockInfo said, and its entries
// then.
struct Position {
  std::uint32_t reset_count = 0, restart_count = 0;
  std::uint64_t entries = 0;
  friend bool operator==(const Position&, const Position&) = default;
};
// Type 2, server to endpoint.
struct Request {
  std::uint16_t parts = 0;        // without part_incremental
  std::optional<Position> known;  // only what follows is wanted, if it is the same boot
};
Result<Request> parse_request(Reader& r);
void append_request(Writer& w, const Request& v);

// Type 3, endpoint to server: the log as the kernel gives it.
struct FirmwareLogHead {};
void append_firmware_log_head(Writer& w);

// Type 4, endpoint to server.
enum class Form : std::uint8_t { binary = 0, ascii = 1 };
struct ImaListHead {
  Form form = Form::binary;
  std::uint64_t first = 0;  // entries before the first that is sent: 0, or what the request knew
};
void append_ima_list_head(Writer& w, const ImaListHead& v);

// The evidence of types 3 and 4, whose value arrives in pieces cut anywhere; nothing of it is held.
template <class Head>
class EvidenceStream {
 public:
  // `base`: what the value's first byte is counted as in errors; attribute_header_size for a segmented attribute.
  explicit EvidenceStream(std::size_t base) : base_(base) {}
  // The evidence in this piece, which it borrows from.
  Result<Bytes> feed(Bytes piece);
  // Malformed: the value ended in its head, or there is no evidence in it. A list from a known entry on may be empty.
  Result<void> end() const;
  const std::optional<Head>& head() const { return head_; }
  std::uint64_t evidence_bytes() const { return evidence_; }

 private:
  std::size_t base_;
  std::optional<Head> head_;
  ByteVector buffer_;  // of the head
  std::uint64_t evidence_ = 0;
};
using FirmwareLogStream = EvidenceStream<FirmwareLogHead>;
using ImaListStream = EvidenceStream<ImaListHead>;
extern template class EvidenceStream<FirmwareLogHead>;
extern template class EvidenceStream<ImaListHead>;

// Type 5, endpoint to server. None is empty; what they hold is wire/tpm's to read.
struct Quote {
  Bytes attest;       // TPMS_ATTEST
  Bytes signature;    // TPMT_SIGNATURE
  Bytes public_area;  // TPMT_PUBLIC of the AK
};
Result<Quote> parse_quote(Reader& r);
void append_quote(Writer& w, const Quote& v);

// PA-TNC Error of the private vendor: the parts that were asked for and can't be given. Its whole value; the parser
// reads the information behind vendor and code.
inline constexpr std::uint32_t error_unavailable = 1;
void append_unavailable_error(Writer& w, std::uint32_t vendor, std::uint16_t parts);
Result<std::uint16_t> parse_unavailable_information(Reader& r);

}  // namespace gatehouse::pts::raw
