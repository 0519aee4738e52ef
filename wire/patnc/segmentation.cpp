#include "wire/patnc/segmentation.h"

namespace gatehouse::patnc {

Result<Contract> parse_contract(Reader& r) {
  if (r.remaining() < 8) return r.fail("segmentation contract shorter than 8 bytes");
  Contract v;
  GH_TRY(v.max_message_size, r.get<std::uint32_t>());
  const auto at = r;
  GH_TRY(v.max_segment_size, r.get<std::uint32_t>());
  // The first segment has to hold the base attribute's header.
  if (v.max_segment_size < attribute_header_size) return at.fail("maximum segment size below an attribute header");
  return v;
}
void append_contract(Writer& w, const Contract& v) {
  w.put(v.max_message_size);
  w.put(v.max_segment_size);
}

Result<Envelope> parse_envelope(Reader& r) {
  if (r.remaining() < envelope_header_size) return r.fail("segment envelope shorter than 4 bytes");
  Envelope v;
  GH_TRY(v.flags, r.get<std::uint8_t>());
  GH_TRY(v.id, r.get24());
  v.segment = r.rest();
  return v;
}
void append_envelope(Writer& w, const Envelope& v) {
  w.put(v.flags);
  w.put24(v.id);
  w.put_bytes(v.segment);
}
Result<NextSegment> parse_next_segment(Reader& r) {
  if (r.remaining() < envelope_header_size) return r.fail("next segment shorter than 4 bytes");
  NextSegment v;
  GH_TRY(v.flags, r.get<std::uint8_t>());
  GH_TRY(v.id, r.get24());
  return v;
}
void append_next_segment(Writer& w, const NextSegment& v) {
  w.put(v.flags);
  w.put24(v.id);
}

ByteVector pseudo_header(std::uint32_t id) {
  Writer w;
  w.put(unlimited);
  w.put(id);
  return std::move(w).take();
}

Reassembler::Step Reassembler::add(const Envelope& e, std::size_t value_offset) {
  Step step;
  const auto refuse = [&](std::size_t offset, std::string_view why) {
    step.refusal = Refusal{ErrorCode::invalid_parameter, offset, {}, why};
    step.cancel = (e.flags & more_segments) != 0;
    transfers_.erase(e.id);
    return step;
  };
  if (e.segment.empty()) return refuse(value_offset + 4, "empty segment");
  auto at = transfers_.find(e.id);
  if ((e.flags & first_segment) != 0) {
    if (at != transfers_.end()) return refuse(value_offset, "a transfer with this id is going on");
    if (e.segment.size() < attribute_header_size) return refuse(0, "first segment without the base attribute's header");
    Reader r(e.segment, "TCG IF-M Segmentation");
    (void)r.skip(1);
    const std::uint32_t vendor = *r.get24();
    const std::uint32_t kind = *r.get<std::uint32_t>();
    const std::uint32_t total = *r.get<std::uint32_t>();
    if (total < attribute_header_size) return refuse(8, "base attribute length below its header");
    if (vendor == vendor_tcg && kind >= type::contract_request && kind <= 0x27) return refuse(12, "segmentation attribute inside a segment");
    if (total > limits_.attribute_bytes || transfers_.size() >= limits_.transfers) {
      step.cancel = true;
      return step;
    }
    at = transfers_.emplace(e.id, Transfer{{}, total, 0}).first;
  } else if (at == transfers_.end()) {
    step.cancel = (e.flags & more_segments) != 0;
    return step;
  }
  Transfer& t = at->second;
  if (e.segment.size() > t.total - t.bytes.size()) return refuse(8, "segments are longer than the base attribute");
  if (++t.segments > limits_.segments) return refuse(8, "too many segments");
  t.bytes.insert(t.bytes.end(), e.segment.begin(), e.segment.end());
  if ((e.flags & more_segments) != 0) {
    step.ask_next = true;
    return step;
  }
  if (t.bytes.size() != t.total) return refuse(8, "the last segment leaves the base attribute incomplete");
  step.attribute = std::move(t.bytes);
  transfers_.erase(at);
  return step;
}

}  // namespace gatehouse::patnc
