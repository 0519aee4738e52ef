#include "wire/ttls/ttls.h"

#include <algorithm>
#include <utility>

namespace gatehouse::ttls {
namespace {

constexpr std::string_view spec = "RFC 5281 9.1", spec_avp = "RFC 5281 10.1";
constexpr std::uint8_t length_flag = 0x80, more_flag = 0x40, start_flag = 0x20, version_mask = 0x07;
constexpr std::uint8_t vendor_flag = 0x80, mandatory_flag = 0x40;
constexpr std::size_t avp_header = 8, vendor_header = 12;

std::size_t padded(std::size_t size) { return (size + 3) / 4 * 4; }

}  // namespace

Result<Packet> parse_packet(Bytes data) {
  Reader r(data, spec);
  GH_TRY(const auto flags, r.get<std::uint8_t>());
  if ((flags & version_mask) != 0) return r.fail(Fault::protocol, "EAP-TTLS version isn't 0");
  Packet out;
  out.start = (flags & start_flag) != 0;
  out.more = (flags & more_flag) != 0;
  if ((flags & length_flag) != 0) {
    GH_TRY(out.length, r.get<std::uint32_t>());
  }
  out.data = r.rest();
  return out;
}

void Fragmenter::begin(ByteVector message) {
  GH_ASSERT(!pending());
  message_ = std::move(message);
  at_ = 0;
}

ByteVector Fragmenter::next() {
  GH_ASSERT(pending());
  const bool first = at_ == 0;
  const std::size_t header = first ? first_header_size : header_size;
  const std::size_t room = largest_ - header, n = std::min(room, message_.size() - at_);
  const bool more = at_ + n < message_.size();
  Writer w;
  w.reserve_bytes(n + header);
  w.put(std::uint8_t((first ? length_flag : 0) | (more ? more_flag : 0)));
  if (first) w.put(std::uint32_t(message_.size()));
  w.put_bytes(Bytes(message_).subspan(at_, n));
  at_ += n;
  if (!more) {
    message_ = {};
    at_ = 0;
  }
  return std::move(w).take();
}

// A message may be said to be longer than it is only once, and no fragment may be empty: a peer that sends those never
// ends.
Result<std::optional<Reassembler::Message>> Reassembler::add(const Packet& p) {
  const auto refuse = [](std::string_view why) { return fail(Fault::protocol, why, spec); };
  if (p.start) return refuse("Start from the client");
  if (p.length && (*p.length < p.data.size() || *p.length > max_message)) return refuse("message length out of its range");
  if (p.more && p.data.empty()) return refuse("empty fragment");
  if (!pending_) {
    pieces_.clear();
    size_ = 0;
    if (p.more && !p.length) return refuse("first fragment without the message's length");
    expected_ = p.length.value_or(std::uint32_t(p.data.size()));
  } else if (p.length && *p.length != expected_) {
    return refuse("fragments with different message lengths");
  }
  if (p.data.size() > expected_ - size_) return refuse("fragments exceed the message's length");
  pending_ = p.more;
  if (p.more) {
    keep(p.data);
    return std::nullopt;
  }
  if (size_ + p.data.size() != expected_) return refuse("fragments fall short of the message's length");
  return Message{std::exchange(pieces_, {}), p.data};
}

ByteVector Reassembler::Message::joined() const {
  ByteVector out;
  for (const ByteVector& piece : kept) out.insert(out.end(), piece.begin(), piece.end());
  out.insert(out.end(), last.begin(), last.end());
  return out;
}

// Many wait half way, and none is to take more than what it has sent.
void Reassembler::keep(Bytes data) {
  constexpr std::size_t piece = 2'048;
  size_ += data.size();
  while (!data.empty()) {
    if (pieces_.empty() || pieces_.back().size() == piece) pieces_.emplace_back().reserve(piece);
    ByteVector& last = pieces_.back();
    const Bytes some = data.first(std::min(data.size(), piece - last.size()));
    last.insert(last.end(), some.begin(), some.end());
    data = data.subspan(some.size());
  }
}

Result<Avps> parse_avps(Bytes bytes) {
  Avps out;
  Reader all(bytes, spec_avp);
  while (all.remaining() >= avp_header) {
    Reader r(all.rest(), spec_avp, all.offset());
    Avp a;
    GH_TRY(a.code, r.get<std::uint32_t>());
    GH_TRY(const auto flags, r.get<std::uint8_t>());
    GH_TRY(const std::size_t length, r.get24());
    const bool vendor = (flags & vendor_flag) != 0;
    a.mandatory = (flags & mandatory_flag) != 0;
    if (length < (vendor ? vendor_header : avp_header)) return r.fail("AVP shorter than its header");
    if (length > max_avp) return r.fail(Fault::limit, "AVP longer than it may be");
    if (padded(length) > all.remaining()) break;
    if (vendor) {
      GH_TRY(a.vendor, r.get<std::uint32_t>());
    }
    GH_TRY(a.data, r.take(length - (vendor ? vendor_header : avp_header)));
    GH_CHECK(all.skip(padded(length)));
    if (out.all.size() == max_avps) return all.fail(Fault::limit, "too many AVPs");
    out.all.push_back(a);
  }
  out.used = all.offset();
  return out;
}

void append_avp(Writer& w, std::uint32_t code, Bytes data, bool mandatory) {
  GH_ASSERT(data.size() <= max_avp - avp_header);
  w.put(code);
  w.put(mandatory ? mandatory_flag : std::uint8_t{0});
  w.put24(std::uint32_t(avp_header + data.size()));
  w.put_bytes(data);
  w.put_zeros(padded(data.size()) - data.size());
}

ByteVector eap_avp(Bytes packet) {
  Writer w;
  w.reserve_bytes(avp_header + padded(packet.size()));
  append_avp(w, avp::eap_message, packet);
  return std::move(w).take();
}

}  // namespace gatehouse::ttls
