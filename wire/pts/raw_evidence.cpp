#include "wire/pts/raw_evidence.h"

#include <algorithm>

namespace gatehouse::pts::raw {
namespace {

constexpr std::string_view spec = "docs/formats/raw-evidence.md";
constexpr std::uint16_t known_parts = part_firmware_log | part_ima_list | part_quote | part_incremental;
constexpr std::size_t firmware_log_head_size = 4, ima_list_head_size = 12, request_size = 20;

Result<void> check_version(Reader& r) {
  const auto start = r;
  GH_TRY(const auto v, r.get<std::uint8_t>());
  if (v != version) return start.fail("unknown version of the raw-evidence extension");
  return {};
}

constexpr std::size_t size_of(const FirmwareLogHead*) { return firmware_log_head_size; }
constexpr std::size_t size_of(const ImaListHead*) { return ima_list_head_size; }

Result<void> parse_head(Reader& r, FirmwareLogHead&) {
  GH_CHECK(check_version(r));
  return r.skip(3);
}
Result<void> parse_head(Reader& r, ImaListHead& v) {
  GH_CHECK(check_version(r));
  const auto at_form = r;
  GH_TRY(const auto form, r.get<std::uint8_t>());
  if (form > std::uint8_t(Form::ascii)) return at_form.fail("form of the list is neither binary nor ASCII");
  v.form = Form(form);
  GH_CHECK(r.skip(2));
  GH_TRY(v.first, r.get<std::uint64_t>());
  return {};
}

bool may_be_empty(const FirmwareLogHead&) { return false; }
bool may_be_empty(const ImaListHead& v) { return v.first != 0; }

}  // namespace

bool is_private_vendor(std::uint32_t vendor) {
  constexpr std::uint32_t taken[] = {0, 0x005597, 0x00902A};  // IETF, TCG, ITA-HSR
  return vendor < 0xFFFFFF && std::find(std::begin(taken), std::end(taken), vendor) == std::end(taken);
}

std::string attribute_name(std::uint32_t kind) {
  constexpr std::string_view names[] = {
      "", "Raw Evidence Capabilities", "Request Raw Evidence", "Raw Firmware Log", "Raw IMA List", "Raw Quote"};
  if (kind > 0 && kind < std::size(names)) return "Gatehouse/" + std::string(names[kind]);
  return "Gatehouse/" + std::to_string(kind);
}

Result<Capabilities> parse_capabilities(Reader& r) {
  if (r.remaining() < 4) return r.fail("Raw Evidence Capabilities shorter than 4 bytes");
  Capabilities v;
  const auto start = r;
  GH_TRY(v.lowest_version, r.get<std::uint8_t>());
  GH_TRY(v.highest_version, r.get<std::uint8_t>());
  if (v.lowest_version == 0 || v.lowest_version > v.highest_version)
    return start.fail("no version between lowest and highest");
  GH_TRY(v.parts, r.get<std::uint16_t>());
  v.parts &= known_parts;
  GH_CHECK(r.skip(r.remaining()));  // a later version's
  return v;
}
void append_capabilities(Writer& w, const Capabilities& v) {
  w.put(v.lowest_version);
  w.put(v.highest_version);
  w.put(v.parts);
}

Result<Request> parse_request(Reader& r) {
  if (r.remaining() != request_size) return r.fail("Request Raw Evidence isn't 20 bytes");
  Request v;
  GH_CHECK(check_version(r));
  GH_CHECK(r.skip(1));
  const auto at_parts = r;
  GH_TRY(v.parts, r.get<std::uint16_t>());
  const bool incremental = (v.parts & part_incremental) != 0;
  v.parts &= std::uint16_t(known_parts & ~part_incremental);
  if (v.parts == 0) return at_parts.fail("request for no evidence");
  if (incremental && (v.parts & part_ima_list) == 0)
    return at_parts.fail("known entries of a list that isn't asked for");
  const auto at_position = r;
  Position position;
  GH_TRY(position.reset_count, r.get<std::uint32_t>());
  GH_TRY(position.restart_count, r.get<std::uint32_t>());
  GH_TRY(position.entries, r.get<std::uint64_t>());
  if (incremental) v.known = position;
  if (!incremental && position != Position{}) return at_position.fail("position in a request for the whole list");
  return v;
}
void append_request(Writer& w, const Request& v) {
  const Position position = v.known.value_or(Position{});
  w.put(version);
  w.put(std::uint8_t{0});
  w.put(std::uint16_t(v.parts | (v.known ? part_incremental : 0)));
  w.put(position.reset_count);
  w.put(position.restart_count);
  w.put(position.entries);
}

void append_firmware_log_head(Writer& w) {
  w.put(version);
  w.put24(0);
}
void append_ima_list_head(Writer& w, const ImaListHead& v) {
  w.put(version);
  w.put(std::uint8_t(v.form));
  w.put(std::uint16_t{0});
  w.put(v.first);
}

template <class Head>
Result<Bytes> EvidenceStream<Head>::feed(Bytes piece) {
  if (!head_) {
    const std::size_t missing = size_of(static_cast<const Head*>(nullptr)) - buffer_.size();
    const Bytes of_head = piece.first(std::min(missing, piece.size()));
    buffer_.insert(buffer_.end(), of_head.begin(), of_head.end());
    piece = piece.subspan(of_head.size());
    if (of_head.size() < missing) return piece;
    Reader r(buffer_, spec, base_);
    Head head;
    GH_CHECK(parse_head(r, head));
    head_ = head;
  }
  evidence_ += piece.size();
  return piece;
}

template <class Head>
Result<void> EvidenceStream<Head>::end() const {
  if (!head_) return fail(Fault::malformed, "value shorter than its head", spec, base_);
  if (evidence_ == 0 && !may_be_empty(*head_))
    return fail(Fault::malformed, "raw log without an entry", spec, base_ + size_of(static_cast<const Head*>(nullptr)));
  return {};
}

template class EvidenceStream<FirmwareLogHead>;
template class EvidenceStream<ImaListHead>;

Result<Quote> parse_quote(Reader& r) {
  if (r.remaining() < 8) return r.fail("Raw Quote shorter than 8 bytes");
  GH_CHECK(check_version(r));
  GH_CHECK(r.skip(1));
  Quote v;
  for (Bytes* part : {&v.attest, &v.signature, &v.public_area}) {
    const auto at = r;
    GH_TRY(const auto length, r.get<std::uint16_t>());
    if (length == 0) return at.fail("empty part of a Raw Quote");
    if (length > r.remaining()) return at.fail("part longer than the attribute");
    GH_TRY(*part, r.take(length));
  }
  GH_CHECK(r.finish());
  return v;
}
void append_quote(Writer& w, const Quote& v) {
  w.put(version);
  w.put(std::uint8_t{0});
  for (const Bytes part : {v.attest, v.signature, v.public_area}) {
    GH_ASSERT(!part.empty() && part.size() <= 0xFFFF);
    w.put(std::uint16_t(part.size()));
    w.put_bytes(part);
  }
}

void append_unavailable_error(Writer& w, std::uint32_t vendor, std::uint16_t parts) {
  w.put(std::uint8_t{0});
  w.put24(vendor);
  w.put(error_unavailable);
  w.put(parts);
  w.put(std::uint16_t{0});
}
Result<std::uint16_t> parse_unavailable_information(Reader& r) {
  if (r.remaining() < 4) return r.fail("information on unavailable evidence shorter than 4 bytes");
  GH_TRY(const auto parts, r.get<std::uint16_t>());
  GH_CHECK(r.skip(r.remaining()));
  return parts;
}

}  // namespace gatehouse::pts::raw
