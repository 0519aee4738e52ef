#include "wire/patnc/segmentation.h"

#include <algorithm>

namespace gatehouse::patnc {
namespace {

constexpr std::string_view spec = "TCG IF-M Segmentation";

Reassembler::Step step_for(std::uint32_t id) {
  Reassembler::Step step;
  step.id = id;
  return step;
}

}  // namespace

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

Segmenter::Segmenter(std::size_t max_message, Limits limits) : max_message_(max_message), limits_(limits) {
  GH_ASSERT(max_message >= 64 && limits.max_id <= 0xFFFFFF && limits.max_id >= limits.transfers);
}

Contract Segmenter::agree(const Contract& asked) {
  Contract agreed = asked;
  if (agreed.null()) {
    clear();
    contract_.reset();
    return agreed;
  }
  if (agreed.max_segment_size != unlimited) {
    const std::size_t most =
        std::min<std::size_t>({agreed.max_segment_size, agreed.max_message_size, max_segment(max_message_)});
    agreed.max_segment_size = std::uint32_t(std::max(most, attribute_header_size));
  }
  contract_ = agreed;
  return agreed;
}

bool Segmenter::segments(std::size_t total) const {
  return contract_ && contract_->max_segment_size != unlimited && total <= contract_->max_message_size &&
         total > std::size_t(contract_->max_segment_size) + envelope_overhead;
}

// Whether a value of this size goes in segments; an error: it goes in none and fits into no message.
Result<bool> Segmenter::admit(std::size_t value_size) {
  const std::size_t total = attribute_header_size + value_size;
  if (!segments(total)) return false;
  if (transfers_.size() >= limits_.transfers || value_size > limits_.bytes - waiting_)
    return fail(Fault::limit, "too much waits to be fetched in segments", spec);
  return true;
}

Result<void> Segmenter::add_whole(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type,
                                  Bytes value) {
  if (out.add(flags, vendor, type, value)) return {};
  return fail(Fault::limit, "attribute larger than a message, and the peer has no contract to segment it", spec);
}

Result<void> Segmenter::add(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type,
                            ByteVector&& value) {
  GH_TRY(const bool segmented, admit(value.size()));
  if (!segmented) return add_whole(out, flags, vendor, type, value);
  begin(out, flags, vendor, type, std::move(value));
  return {};
}

Result<void> Segmenter::add(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, Bytes value) {
  GH_TRY(const bool segmented, admit(value.size()));
  if (!segmented) return add_whole(out, flags, vendor, type, value);
  begin(out, flags, vendor, type, to_vector(value));
  return {};
}

void Segmenter::begin(Builder& out, std::uint8_t flags, std::uint32_t vendor, std::uint32_t type, ByteVector&& value) {
  do last_id_ = last_id_ % limits_.max_id + 1;
  while (transfers_.contains(last_id_));
  Transfer& transfer = transfers_[last_id_];
  Writer header;
  append_attribute_header(header, flags, vendor, type, value.size());
  std::copy(header.view().begin(), header.view().end(), transfer.header.begin());
  transfer.value = std::move(value);
  waiting_ += transfer.value.size();
  // Rule 4: the first segment takes the room that is left, unless the base header doesn't fit into it.
  const std::size_t fresh = out.limit() - message_header_size;
  const std::size_t room = out.room() < envelope_overhead + attribute_header_size ? fresh : out.room();
  add_segment(out, last_id_, transfer, room - envelope_overhead);
}

bool Segmenter::add_segment(Builder& out, std::uint32_t id, Transfer& t, std::size_t most) {
  const std::size_t left = t.total() - t.sent;
  const std::size_t size = std::min<std::size_t>({contract_->max_segment_size, most, left});
  const std::uint8_t flags = std::uint8_t((t.sent == 0 ? first_segment : 0) | (size < left ? more_segments : 0));
  Writer head;
  append_envelope(head, {flags, id, {}});
  // The first segment holds the whole base header: no other needs any of it.
  const std::size_t of_header = t.sent == 0 ? t.header.size() : 0;
  const Bytes value = Bytes(t.value).subspan(t.sent + of_header - t.header.size(), size - of_header);
  const bool added =
      out.add(0, vendor_tcg, type::segment_envelope, {head.view(), Bytes(t.header).first(of_header), value});
  GH_ASSERT(added);
  t.sent += size;
  return size == left;
}

Segmenter::Answer Segmenter::next(Builder& out, const NextSegment& asked) {
  const auto at = transfers_.find(asked.id);
  if (at == transfers_.end()) return Answer::unknown;
  if ((asked.flags & cancel_segments) != 0) {
    drop(at);
    return Answer::cancelled;
  }
  if (!add_segment(out, asked.id, at->second, max_segment(out.limit()))) return Answer::more;
  drop(at);
  return Answer::last;
}

void Segmenter::drop(std::map<std::uint32_t, Transfer>::iterator transfer) {
  waiting_ -= transfer->second.value.size();
  transfers_.erase(transfer);
}

void Segmenter::clear() {
  transfers_.clear();
  waiting_ = 0;
}

void Reassembler::issue(const Contract& asked) {
  contract_.reset();
  if (!asked.null()) contract_ = asked;
}

bool Reassembler::agree(const Contract& response) {
  if (!contract_) return false;
  contract_->max_segment_size = std::min(contract_->max_segment_size, response.max_segment_size);
  return true;
}

void Reassembler::drop(std::uint32_t id) { transfers_.erase(id); }

// The rest of a transfer isn't wanted, for a reason that isn't the peer's mistake in the format.
Reassembler::Step Reassembler::stop(const Envelope& e, std::string_view why) {
  constexpr std::size_t remembered = 16;
  Step step = step_for(e.id);
  step.cancel = true;
  step.why = why;
  drop(e.id);
  if ((e.flags & more_segments) != 0 && std::find(cancelled_.begin(), cancelled_.end(), e.id) == cancelled_.end()) {
    if (cancelled_.size() == remembered) cancelled_.erase(cancelled_.begin());
    cancelled_.push_back(e.id);
  }
  return step;
}

Reassembler::Step Reassembler::lose(const Envelope& e, std::string_view why) {
  Step step = stop(e, why);
  step.lost = true;
  return step;
}

Reassembler::Step Reassembler::refuse(const Envelope& e, std::size_t offset, std::string_view why) {
  Step step = lose(e, why);
  step.cancel = (e.flags & more_segments) != 0;
  step.refusal = Refusal{ErrorCode::invalid_parameter, offset, {}, why};
  return step;
}

Reassembler::Step Reassembler::refuse(const Step& before, std::size_t offset, std::string_view why) {
  return refuse(Envelope{std::uint8_t(before.ask_next ? more_segments : 0), before.id, {}}, offset, why);
}

Reassembler::Step Reassembler::cancel(const Step& before, std::string_view why) {
  Step step = stop(Envelope{std::uint8_t(before.ask_next ? more_segments : 0), before.id, {}}, why);
  step.lost = true;
  step.cancel = before.ask_next;
  return step;
}

Reassembler::Step Reassembler::add(const Envelope& e, std::size_t value_offset) {
  const auto refuse_envelope = [&](std::size_t offset, std::string_view why) {
    Step step = refuse(e, offset, why);
    step.about_base = false;
    return step;
  };
  if (e.segment.empty()) return refuse_envelope(value_offset + envelope_header_size, "empty segment");
  if (e.segment.size() > limits_.segment_bytes) return refuse_envelope(value_offset, "segment longer than a message");
  const bool first = (e.flags & first_segment) != 0;
  if (const auto stray = std::find(cancelled_.begin(), cancelled_.end(), e.id); stray != cancelled_.end()) {
    cancelled_.erase(stray);
    if (!first) return step_for(e.id);
  }
  if (!contract_ && !limits_.without_contract) return stop(e, "segment without a contract");
  const auto at = transfers_.find(e.id);
  if (first && at != transfers_.end()) return refuse_envelope(value_offset, "a transfer with this id is going on");
  if (first) return start(e);
  if (at == transfers_.end()) return stop(e, "segment of an unknown transfer");
  return proceed(at, e);
}

// The base attribute's header: the checks of §1.3, except that the value may be incomplete.
Reassembler::Step Reassembler::start(const Envelope& e) {
  if (e.segment.size() < attribute_header_size)
    return refuse(e, 0, "first segment without the base attribute's header");
  Transfer t;
  Reader r(e.segment, spec);
  t.base.flags = *r.get<std::uint8_t>();
  t.base.vendor = *r.get24();
  t.base.type = *r.get<std::uint32_t>();
  t.total = *r.get<std::uint32_t>();
  if (t.total < attribute_header_size) return refuse(e, 8, "base attribute length below its header");
  if (t.base.vendor == vendor_reserved) return refuse(e, 1, "reserved attribute vendor");
  if (t.base.type == type_reserved) return refuse(e, 4, "reserved attribute type");
  if (t.base.vendor == vendor_tcg && t.base.type >= type::contract_request && t.base.type <= 0x27)
    return refuse(e, 12, "segmentation attribute inside a segment");
  const Admission admission =
      admit_ ? admit_(t.base.vendor, t.base.type) : Admission{true, limits_.attribute_bytes, false};
  if (!admission.known) {
    Step step = stop(e, "unsupported attribute");
    step.cancel = (e.flags & more_segments) != 0;
    if ((t.base.flags & noskip) != 0) step.refusal = Refusal{ErrorCode::type_not_supported, 0, t.base, step.why};
    return step;
  }
  if (t.total > admission.bytes) return lose(e, "attribute too large");
  if (transfers_.size() >= limits_.transfers) return lose(e, "too many transfers at a time");
  t.incremental = admission.incremental;
  if (!t.incremental && budget_ != nullptr) {
    if (!budget_->take(t.total)) return lose(e, "attributes of this connection are too large together");
    t.share = Share(budget_, t.total);
  }
  return proceed(transfers_.emplace(e.id, std::move(t)).first, e);
}

Reassembler::Step Reassembler::proceed(Transfers::iterator at, const Envelope& e) {
  Transfer& t = at->second;
  const bool more = (e.flags & more_segments) != 0;
  if (e.segment.size() > t.total - t.got) return refuse(e, 8, "segments are longer than the base attribute");
  if (++t.segments > limits_.segments) return lose(e, "too many segments");
  if (!more && e.segment.size() != t.total - t.got)
    return refuse(e, 8, "the last segment leaves the base attribute incomplete");
  Step step = step_for(e.id);
  step.ask_next = more;
  t.fed = true;
  if (t.incremental) {
    const std::size_t of_header = t.got == 0 ? attribute_header_size : 0;
    step.piece = Piece{e.id,
                       t.base.flags,
                       t.base.vendor,
                       t.base.type,
                       t.total - attribute_header_size,
                       t.got + of_header - attribute_header_size,
                       e.segment.subspan(of_header),
                       !more};
  } else {
    // Room for all of it at once: growing would copy, and so hold the attribute twice.
    // And for a message header in front, which the receiver may want.
    if (t.bytes.empty()) t.bytes.reserve(message_header_size + t.total);
    t.bytes.insert(t.bytes.end(), e.segment.begin(), e.segment.end());
  }
  t.got += e.segment.size();
  if (more) return step;
  if (!t.incremental) step.attribute = std::move(t.bytes);
  transfers_.erase(at);
  return step;
}

std::vector<Reassembler::Dropped> Reassembler::batch_end(bool spoke) {
  std::vector<Dropped> dropped;
  for (auto at = transfers_.begin(); at != transfers_.end();) {
    Transfer& t = at->second;
    t.missed = std::exchange(t.fed, false) ? 0 : t.missed + 1;
    if (t.missed == 0 || (spoke && t.missed < limits_.batches)) {
      ++at;
      continue;
    }
    dropped.push_back({at->first, t.base.vendor, t.base.type});
    at = transfers_.erase(at);
  }
  return dropped;
}

bool add_next_segment(Builder& out, const Reassembler::Step& step) {
  if (!step.ask_next && !step.cancel) return false;
  Writer w;
  append_next_segment(w, {std::uint8_t(step.cancel ? cancel_segments : 0), step.id});
  return out.add(0, vendor_tcg, type::next_segment, w.view());
}

}  // namespace gatehouse::patnc
