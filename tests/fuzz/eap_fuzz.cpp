// Packets of each layer below the tunnel and in it, from the same bytes.
#include <cstdlib>

#include "wire/eap/eap.h"
#include "wire/pteap/pteap.h"
#include "wire/ttls/ttls.h"

using namespace gatehouse;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes all(reinterpret_cast<const std::byte*>(data), size);
  if (const auto p = eap::parse_packet(all); p && (p->code == eap::Code::request || p->code == eap::Code::response)) {
    const ByteVector again = eap::packet(p->code, p->identifier, p->type, p->data);
    expect(equal(again, all.first(again.size())));
  }
  if (const auto m = pteap::parse_message(all); m && !m->start && !m->batch.empty() && m->batch.size() <= pteap::max_batch)
    expect(*pteap::parse_message(pteap::message(m->batch)) == *m);
  if (const auto m = pteap::parse_tnc_message(all); m && !m->start && !m->batch.empty() && m->batch.size() <= pteap::max_batch)
    expect(*pteap::parse_tnc_message(pteap::message(m->batch)) == *m);
  if (const auto avps = ttls::parse_avps(all)) {
    expect(avps->used <= size);
    Writer w;
    for (const ttls::Avp& a : avps->all)
      if (a.vendor == 0) ttls::append_avp(w, a.code, a.data, a.mandatory);
    const auto again = ttls::parse_avps(w.view());
    expect(again && again->used == w.size());
  }
  // A byte of length, and so many bytes of a packet.
  ttls::Reassembler in;
  for (Bytes rest = all; rest.size() > 1;) {
    const std::size_t n = std::min(std::size_t(rest[0]), rest.size() - 1);
    const auto p = ttls::parse_packet(rest.subspan(1, n));
    rest = rest.subspan(1 + n);
    if (!p) continue;
    const auto message = in.add(*p);
    if (!message) break;
    if (*message) {
      const ByteVector joined = (*message)->joined();
      expect(joined.size() <= ttls::max_message);
      if (joined.empty()) continue;
      ttls::Fragmenter out(64);
      ttls::Reassembler back;
      out.begin(joined);
      std::optional<ByteVector> whole;
      while (out.pending()) {
        const ByteVector fragment = out.next();
        if (const auto got = *back.add(*ttls::parse_packet(fragment))) whole = got->joined();
      }
      expect(whole && *whole == joined);
    }
  }
  return 0;
}
