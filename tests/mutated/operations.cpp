#include "tests/mutated/operations.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <tuple>

#include "wire/patnc/segmentation.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"

namespace gatehouse::test {
namespace {

namespace pa_type = patnc::type;

constexpr std::uint64_t extremes[] = {0,          1,          2,          7,          8,          11,
                                      12,         0x7F,       0x80,       0xFF,       0x100,      0x7FFF,
                                      0x8000,     0xFFFF,     0x10000,    0xFFFFFF,   0x1000000,  0x7FFFFFFF,
                                      1ULL << 31, 0xFFFFFFFE, 0xFFFFFFFF, 1ULL << 32, 1ULL << 63, ~0ULL};
std::uint64_t extreme(Random& r) { return extremes[r.below(std::size(extremes))]; }

constexpr std::pair<std::uint32_t, std::uint32_t> known_attributes[] = {
    {0, 0},
    {0, 1},
    {0, 2},
    {0, 3},
    {0, 4},
    {0, 5},
    {0, 6},
    {0, 7},
    {0, 8},
    {0, 9},
    {0, 10},
    {0, 11},
    {0, 12},
    {0, 13},
    {0, 14},
    {0, 15},
    {0, 16},
    {0, 17},
    {0, 18},
    {0, 19},
    {0, 20},
    {0, 21},
    {0, 22},
    {patnc::vendor_ita, 1},
    {patnc::vendor_ita, 2},
    {patnc::vendor_ita, 3},
    {patnc::vendor_ita, 4},
    {patnc::vendor_ita, 5},
    {patnc::vendor_ita, 6},
    {patnc::vendor_ita, 8},
    {patnc::vendor_ita, 9},
    {patnc::vendor_ita, 10},
    {patnc::vendor_tcg, pa_type::contract_request},
    {patnc::vendor_tcg, pa_type::contract_response},
    {patnc::vendor_tcg, pa_type::segment_envelope},
    {patnc::vendor_tcg, pa_type::next_segment},
    {patnc::vendor_tcg, pts::type::request_capabilities},
    {patnc::vendor_tcg, pts::type::capabilities},
    {patnc::vendor_tcg, pts::type::dh_nonce_request},
    {patnc::vendor_tcg, pts::type::dh_nonce_response},
    {patnc::vendor_tcg, pts::type::dh_nonce_finish},
    {patnc::vendor_tcg, pts::type::algorithm_request},
    {patnc::vendor_tcg, pts::type::algorithm},
    {patnc::vendor_tcg, pts::type::tpm_version},
    {patnc::vendor_tcg, pts::type::aik},
    {patnc::vendor_tcg, pts::type::generate_evidence},
    {patnc::vendor_tcg, pts::type::simple_component_evidence},
    {patnc::vendor_tcg, pts::type::simple_evidence_final},
    {patnc::vendor_tcg, pts::type::unix_file_metadata},
    {patnc::vendor_tcg, pts::type::file_measurement},
    {patnc::vendor_tcg, pts::type::manifest_metadata},
    {patnc::vendor_tcg, pts::type::integrity_report},
    {patnc::vendor_tcg, pts::type::measurement_log},
    {pts::raw::default_vendor, 1},
    {pts::raw::default_vendor, 2},
    {pts::raw::default_vendor, 3},
    {pts::raw::default_vendor, 4},
    {pts::raw::default_vendor, 5},
    {0xFFFFFF, 1},
    {0, 0xFFFFFFFF},
    {0x123456, 7}};

constexpr std::pair<std::uint32_t, std::uint32_t> subtypes[] = {{0, patnc::subtype_operating_system},
                                                                {0, patnc::subtype_firewall},
                                                                {0, patnc::subtype_swima},
                                                                {patnc::vendor_tcg, patnc::subtype_pts},
                                                                {patnc::vendor_ita, 1},
                                                                {0, 0xFFFFFFFF},
                                                                {0x123456, 1}};

ByteVector noise(Random& r, std::size_t size) {
  ByteVector out(size);
  const bool text = r.one_in(3);
  for (std::byte& b : out) b = text ? std::byte('0' + r.below(75)) : std::byte(r() & 0xFF);
  return out;
}
std::size_t some_size(Random& r) {
  constexpr std::size_t sizes[] = {0, 1, 3, 4, 8, 12, 16, 20, 40, 64, 200, 1000, 5000};
  return r.one_in(200) ? 70'000 : sizes[r.below(std::size(sizes))];
}

// --- bytes of whatever meaning

void set_number(ByteVector& b, Random& r) {
  constexpr std::size_t widths[] = {1, 2, 3, 4, 8};
  const std::size_t width = widths[r.below(std::size(widths))];
  if (b.size() < width) return;
  // Numbers stand at the beginning more often than elsewhere.
  std::size_t at = r.below(r.one_in(2) ? std::min<std::size_t>(b.size() - width + 1, 48) : b.size() - width + 1);
  if (!r.one_in(3)) at -= at % width;
  std::uint64_t value = extreme(r);
  if (r.one_in(2)) {
    std::uint64_t old = 0;
    for (std::size_t i = 0; i < width; ++i) old = old << 8 | std::to_integer<std::uint64_t>(b[at + i]);
    value = old + (r.one_in(2) ? 1 + r.below(4) : ~std::uint64_t(r.below(4)));
  }
  for (std::size_t i = 0; i < width; ++i) b[at + width - 1 - i] = std::byte(value >> (8 * i) & 0xFF);
}

void flip_bits(ByteVector& b, Random& r) {
  for (std::size_t n = 1 + r.below(3); n-- > 0 && !b.empty();) b[r.below(b.size())] ^= std::byte(1U << r.below(8));
}
void set_byte(ByteVector& b, Random& r) {
  if (!b.empty()) b[r.below(b.size())] = std::byte(r() & 0xFF);
}
void cut_end(ByteVector& b, Random& r) {
  if (b.empty()) return;
  b.resize(r.one_in(2) ? b.size() - 1 - r.below(std::min<std::size_t>(b.size(), 16)) : r.below(b.size()));
}
void add_end(ByteVector& b, Random& r) {
  const ByteVector more = noise(r, 1 + some_size(r));
  b.insert(b.end(), more.begin(), more.end());
}
void remove_part(ByteVector& b, Random& r) {
  if (b.empty()) return;
  const std::size_t at = r.below(b.size()), size = 1 + r.below(std::min<std::size_t>(b.size() - at, 64));
  b.erase(b.begin() + std::ptrdiff_t(at), b.begin() + std::ptrdiff_t(at + size));
}
void repeat_part(ByteVector& b, Random& r) {
  if (b.empty()) return;
  const std::size_t at = r.below(b.size()), size = 1 + r.below(std::min<std::size_t>(b.size() - at, 256));
  const ByteVector part(b.begin() + std::ptrdiff_t(at), b.begin() + std::ptrdiff_t(at + size));
  b.insert(b.begin() + std::ptrdiff_t(at), part.begin(), part.end());
}
void fill_part(ByteVector& b, Random& r) {
  if (b.empty()) return;
  constexpr unsigned char fills[] = {0x00, 0xFF, 0x80, '/', '%', 'A', 0x1B, 0xC3};
  const std::size_t at = r.below(b.size()), size = 1 + r.below(std::min<std::size_t>(b.size() - at, 32));
  std::fill_n(b.begin() + std::ptrdiff_t(at), size, std::byte(fills[r.below(std::size(fills))]));
}
using RawChange = void (*)(ByteVector&, Random&);
constexpr RawChange raw_changes[] = {flip_bits, flip_bits, set_byte,    set_number,  set_number, set_number,
                                     cut_end,   add_end,   remove_part, repeat_part, fill_part};
RawChange some_raw_change(Random& r) { return raw_changes[r.below(std::size(raw_changes))]; }

// --- picking

MessageTree* some_message(Context& c) {
  if (!c.tree.batch || c.tree.batch->messages.empty()) return nullptr;
  return &c.tree.batch->messages[c.random.below(c.tree.batch->messages.size())];
}
MessageTree* some_pa(Context& c) {
  MessageTree* const m = some_message(c);
  return m != nullptr && m->pa ? m : nullptr;
}
struct Place {
  MessageTree* message = nullptr;
  std::size_t at = 0;
  AttributeTree& operator*() const { return message->attributes[at]; }
};
// Each type is as likely, though there be a thousand of one and one of another.
std::optional<Place> some_attribute(Context& c) {
  if (!c.tree.batch) return std::nullopt;
  std::vector<std::pair<std::pair<std::uint32_t, std::uint32_t>, std::vector<Place>>> by_type;
  for (MessageTree& m : c.tree.batch->messages)
    for (std::size_t i = 0; i < m.attributes.size(); ++i) {
      const std::pair key{m.attributes[i].vendor, m.attributes[i].type};
      auto at = std::find_if(by_type.begin(), by_type.end(), [&](const auto& one) { return one.first == key; });
      if (at == by_type.end()) at = by_type.insert(at, {key, {}});
      at->second.push_back({&m, i});
    }
  if (by_type.empty()) return std::nullopt;
  const auto& places = by_type[c.random.below(by_type.size())].second;
  return places[c.random.below(places.size())];
}
std::ptrdiff_t offset(std::size_t n) { return std::ptrdiff_t(n); }

AttributeTree made_up_attribute(Context& c) {
  Random& r = c.random;
  const auto [vendor, type] = known_attributes[r.below(std::size(known_attributes))];
  AttributeTree out{std::uint8_t(r.one_in(2) ? patnc::noskip : 0), vendor, type, {}, {}};
  if (const AttributeTree* known = c.pool.attribute(vendor, type, r); known != nullptr && !r.one_in(3))
    out.value = known->value;
  else
    out.value = noise(r, some_size(r));
  return out;
}

void say(Context& c, const MessageTree& m, std::uint16_t batch_type) {
  TransportTree t;
  t.type = std::uint32_t(pttls::Type::pb_tnc_batch);
  t.batch = BatchTree{.type = batch_type, .length = {}, .messages = {m}};
  (c.random.one_in(2) ? c.before : c.after).push_back({.bytes = written(t)});
}
ByteVector empty_batch(std::uint16_t type) {
  TransportTree t;
  t.type = std::uint32_t(pttls::Type::pb_tnc_batch);
  t.batch = BatchTree{.type = type, .length = {}, .messages = {}};
  return written(t);
}
void put_event(Context& c, Event e) { (c.random.one_in(2) ? c.before : c.after).push_back(std::move(e)); }

constexpr Operation all[] = {
    // --- what isn't a message
    {Layer::moment, "deadline", [](Context& c) { return put_event(c, {.kind = Event::Kind::deadline}), true; }},
    {Layer::moment, "server stops", [](Context& c) { return put_event(c, {.kind = Event::Kind::stop}), true; }},
    {Layer::moment, "connection ends", [](Context& c) { return put_event(c, {.kind = Event::Kind::gone}), true; }},
    {Layer::moment, "server reassesses",
     [](Context& c) { return put_event(c, {.kind = Event::Kind::reassess}), true; }},
    {Layer::moment, "client starts over",
     [](Context& c) {
       if (!c.tree.batch) return false;
       c.dropped = true;
       c.after.push_back({.kind = Event::Kind::start_over});
       return true;
     }},
    {Layer::moment, "connection ends in a message",
     [](Context& c) {
       c.raw.push_back([](ByteVector& b, Random& r) { b.resize(r.below(b.size() + 1)); });
       c.after.push_back({.kind = Event::Kind::gone});
       return true;
     }},

    // --- PT-TLS
    {Layer::transport, "message type",
     [](Context& c) {
       return c.tree.type = std::uint32_t(c.random.one_in(4) ? extreme(c.random) : c.random.below(10)), true;
     }},
    {Layer::transport, "message vendor",
     [](Context& c) { return c.tree.vendor = std::uint32_t(extreme(c.random) & 0xFFFFFF), true; }},
    {Layer::transport, "length",
     [](Context& c) {
       const auto size = std::uint32_t(written(c.tree).size());
       c.tree.length =
           c.random.one_in(2) ? std::uint32_t(extreme(c.random)) : size + std::uint32_t(c.random.below(9)) - 4;
       return true;
     }},
    {Layer::transport, "reserved and identifier",
     [](Context& c) {
       return c.tree.reserved = std::uint8_t(c.random()), c.tree.identifier = std::uint32_t(extreme(c.random)), true;
     }},
    {Layer::transport, "cut anywhere",
     [](Context& c) { return c.cut = c.random.one_in(2) ? 1 + c.random.below(40) : 1 + c.random.below(5000), true; }},
    {Layer::transport, "repeated", [](Context& c) { return c.repeat = 2 + c.random.below(3), true; }},
    {Layer::transport, "left out", [](Context& c) { return c.dropped = true, true; }},
    {Layer::transport, "held back", [](Context& c) { return c.held = true, true; }},
    {Layer::transport, "another message beside it",
     [](Context& c) {
       TransportTree t;
       t.vendor = c.random.one_in(3) ? std::uint32_t(c.random() & 0xFFFFFF) : 0;
       t.type = std::uint32_t(c.random.below(10));
       t.value = noise(c.random, some_size(c.random));
       if (t.type == 1 && c.random.one_in(2)) t.value = {std::byte{0}, std::byte{1}, std::byte{1}, std::byte{1}};
       if (t.type == 7 && c.random.one_in(2)) t.value.resize(8);
       for (std::size_t n = c.random.one_in(8) ? 1 + c.random.below(12) : 1; n-- > 0;)
         put_event(c, {.bytes = written(t)});
       return true;
     }},
    {Layer::transport, "PT-TLS error beside it",
     [](Context& c) {
       Writer value, whole;
       value.put(std::uint32_t(c.random.one_in(4) ? 0x123456 : 0));
       value.put(std::uint32_t(c.random.one_in(4) ? extreme(c.random) : c.random.below(8)));
       value.put_bytes(noise(c.random, c.random.below(2000)));
       pttls::append_message(whole, pttls::Type::error, 1, value.view());
       put_event(c, {.bytes = std::move(whole).take()});
       return true;
     }},
    {Layer::transport, "another conversation's message",
     [](Context& c) {
       const ByteVector* const other = c.pool.whole(c.random);
       if (other == nullptr) return false;
       put_event(c, {.bytes = *other});
       c.dropped = c.random.one_in(2);
       return true;
     }},

    // --- PB-TNC batches
    {Layer::batch, "version",
     [](Context& c) {
       return c.tree.batch && (c.tree.batch->version = std::uint8_t(c.random.one_in(2) ? c.random() : 3), true);
     }},
    {Layer::batch, "flags",
     [](Context& c) {
       return c.tree.batch && (c.tree.batch->flags = std::uint8_t(c.random.one_in(2) ? 0x80 : c.random()), true);
     }},
    {Layer::batch, "type",
     [](Context& c) { return c.tree.batch && (c.tree.batch->type = std::uint16_t(1 + c.random.below(6)), true); }},
    {Layer::batch, "reserved bits and type",
     [](Context& c) { return c.tree.batch && (c.tree.batch->type = std::uint16_t(c.random()), true); }},
    {Layer::batch, "length",
     [](Context& c) {
       if (!c.tree.batch) return false;
       const auto size = std::uint32_t(written(c.tree).size() - pttls::header_size);
       c.tree.batch->length =
           c.random.one_in(2) ? std::uint32_t(extreme(c.random)) : size + std::uint32_t(c.random.below(9)) - 4;
       return true;
     }},
    {Layer::batch, "batch of another type beside it",
     [](Context& c) {
       if (!c.tree.batch) return false;
       for (std::size_t n = c.random.one_in(6) ? 1 + c.random.below(9) : 1; n-- > 0;)
         put_event(c, {.bytes = empty_batch(std::uint16_t(1 + c.random.below(6)))});
       return true;
     }},
    {Layer::batch, "CRETRY", [](Context& c) { return c.tree.batch && (c.tree.batch->type = 4, true); }},
    {Layer::batch, "CLOSE", [](Context& c) { return c.tree.batch && (c.tree.batch->type = 6, true); }},
    {Layer::batch, "silence",
     [](Context& c) {
       if (!c.tree.batch) return false;
       for (std::size_t n = c.random.one_in(100) ? 300 : 1 + c.random.below(5); n-- > 0;)
         put_event(c, {.bytes = empty_batch(1)});
       return true;
     }},
    {Layer::batch, "emptied", [](Context& c) { return c.tree.batch && (c.tree.batch->messages.clear(), true); }},
    {Layer::batch, "trailing bytes",
     [](Context& c) {
       if (!c.tree.batch || c.tree.batch->messages.empty()) return false;
       MessageTree& last = c.tree.batch->messages.back();
       Writer w;
       append(w, last);
       last.length = std::uint32_t(w.size());
       const ByteVector more = noise(c.random, 1 + c.random.below(30));
       last.value.insert(last.value.end(), more.begin(), more.end());
       return true;
     }},
    {Layer::batch, "very many messages",
     [](Context& c) {
       if (!c.tree.batch || !c.random.one_in(4)) return false;
       MessageTree m{.flags = 0, .vendor = 0x123456, .type = 9, .value = {}};
       c.tree.batch->messages.insert(c.tree.batch->messages.begin(), 1000 + c.random.below(40), m);
       return true;
     }},

    // --- PB-TNC messages
    {Layer::message, "flags",
     [](Context& c) {
       MessageTree* m = some_message(c);
       return m != nullptr && (m->flags = std::uint8_t(c.random.one_in(2) ? m->flags ^ 0x80 : c.random()), true);
     }},
    {Layer::message, "vendor",
     [](Context& c) {
       MessageTree* m = some_message(c);
       return m != nullptr && (m->vendor = std::uint32_t(extreme(c.random) & 0xFFFFFF), true);
     }},
    {Layer::message, "type",
     [](Context& c) {
       MessageTree* m = some_message(c);
       return m != nullptr &&
              (m->type = std::uint32_t(c.random.one_in(3) ? extreme(c.random) : c.random.below(9)), true);
     }},
    {Layer::message, "length",
     [](Context& c) {
       MessageTree* m = some_message(c);
       if (m == nullptr) return false;
       Writer w;
       append(w, *m);
       m->length =
           c.random.one_in(2) ? std::uint32_t(extreme(c.random)) : std::uint32_t(w.size() + c.random.below(17) - 8);
       return true;
     }},
    {Layer::message, "repeated",
     [](Context& c) {
       MessageTree* m = some_message(c);
       if (m == nullptr) return false;
       const MessageTree copy = *m;
       c.tree.batch->messages.insert(c.tree.batch->messages.end(), 1 + c.random.below(2), copy);
       return true;
     }},
    {Layer::message, "left out",
     [](Context& c) {
       if (some_message(c) == nullptr) return false;
       c.tree.batch->messages.erase(c.tree.batch->messages.begin() +
                                    offset(c.random.below(c.tree.batch->messages.size())));
       return true;
     }},
    {Layer::message, "in another order",
     [](Context& c) {
       if (!c.tree.batch || c.tree.batch->messages.size() < 2) return false;
       std::rotate(c.tree.batch->messages.begin(), c.tree.batch->messages.begin() + 1, c.tree.batch->messages.end());
       return true;
     }},
    {Layer::message, "in a batch of its own",
     [](Context& c) {
       MessageTree* m = some_message(c);
       if (m == nullptr) return false;
       say(c, *m, std::uint16_t(c.random.one_in(4) ? 1 + c.random.below(6) : 1));
       if (c.random.one_in(2))
         c.tree.batch->messages.erase(c.tree.batch->messages.begin() + (m - c.tree.batch->messages.data()));
       return true;
     }},
    {Layer::message, "another conversation's",
     [](Context& c) {
       const MessageTree* other = c.tree.batch ? c.pool.message(c.random) : nullptr;
       if (other == nullptr) return false;
       c.tree.batch->messages.insert(
           c.tree.batch->messages.begin() + offset(c.random.below(c.tree.batch->messages.size() + 1)), *other);
       return true;
     }},
    {Layer::message, "another kind beside it",
     [](Context& c) {
       if (!c.tree.batch) return false;
       MessageTree m{.flags = std::uint8_t(c.random.one_in(2) ? 0x80 : 0),
                     .type = std::uint32_t(c.random.below(9)),
                     .value = noise(c.random, some_size(c.random))};
       if (c.random.one_in(4)) m.vendor = c.random.one_in(2) ? pbtnc::vendor_tcg : pbtnc::vendor_ita;
       Writer w;
       if (m.vendor == 0 && c.random.one_in(2)) {
         if (m.type == pbtnc::type::language_preference)
           pbtnc::append_language_preference(w, c.random.one_in(2) ? "de-CH, fr;q=0.5, *;q=0" : "x;q=9,,;;q,de");
         if (m.type == pbtnc::type::error)
           pbtnc::append_error(w, {pbtnc::ErrorCode(c.random.below(6)), std::uint32_t(c.random.below(100)), 3, "test",
                                   c.random.one_in(2)});
         if (w.size() != 0) {
           const auto value = w.view().subspan(pbtnc::message_header_size);
           m.flags = std::uint8_t(w.view()[0]);
           m.value = to_vector(value);
         }
       }
       c.tree.batch->messages.insert(
           c.tree.batch->messages.begin() + offset(c.random.below(c.tree.batch->messages.size() + 1)), m);
       return true;
     }},
    {Layer::message, "PB-PA subtype",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       std::tie(m->pa_vendor, m->subtype) = subtypes[c.random.below(std::size(subtypes))];
       return true;
     }},
    {Layer::message, "PB-PA collector",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       return m != nullptr && (m->collector = std::uint16_t(c.random.one_in(3) ? 0xFFFF : c.random.below(40)), true);
     }},
    {Layer::message, "PB-PA exclusive",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       m->pa_flags = std::uint8_t(c.random.one_in(3) ? c.random() : m->pa_flags ^ 0x80);
       m->validator = std::uint16_t(c.random.one_in(3) ? 0xFFFF : c.random.below(8));
       return true;
     }},
    {Layer::message, "many collectors",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr || m->attributes.size() > 20) return false;
       const MessageTree copy = *m;
       for (std::size_t n = 2 + c.random.below(c.random.one_in(10) ? 200 : 20); n-- > 0;) {
         c.tree.batch->messages.push_back(copy);
         c.tree.batch->messages.back().collector = std::uint16_t(c.random());
       }
       return true;
     }},
    {Layer::message, "all kinds, no sense",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       return m != nullptr && (m->pa = false, m->value = noise(c.random, 12 + some_size(c.random)), true);
     }},

    // --- PA-TNC messages and their attributes
    {Layer::attribute, "PA-TNC header",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       return m != nullptr && (some_raw_change(c.random)(m->head, c.random), true);
     }},
    {Layer::attribute, "flags",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && ((**a).flags = std::uint8_t(c.random.one_in(2) ? (**a).flags ^ 0x80 : c.random()), true);
     }},
    {Layer::attribute, "vendor",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && ((**a).vendor = std::uint32_t(extreme(c.random) & 0xFFFFFF), true);
     }},
    {Layer::attribute, "type",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       if (c.random.one_in(3))
         (**a).type = std::uint32_t(extreme(c.random));
       else
         std::tie((**a).vendor, (**a).type) = known_attributes[c.random.below(std::size(known_attributes))];
       return true;
     }},
    {Layer::attribute, "length",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       (**a).length = c.random.one_in(2) ? std::uint32_t(extreme(c.random))
                                         : std::uint32_t((**a).value.size() + 12 + c.random.below(33) - 16);
       return true;
     }},
    {Layer::attribute, "repeated",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       const AttributeTree copy = **a;
       const std::size_t n = c.random.one_in(30) ? 4200 : c.random.one_in(10) ? 300 : 1 + c.random.below(3);
       if (copy.value.size() * n > 300'000) return false;
       a->message->attributes.insert(a->message->attributes.begin() + offset(a->at), n, copy);
       return true;
     }},
    {Layer::attribute, "left out",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && (a->message->attributes.erase(a->message->attributes.begin() + offset(a->at)), true);
     }},
    {Layer::attribute, "all of a type left out",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       const std::pair key{(**a).vendor, (**a).type};
       for (MessageTree& m : c.tree.batch->messages)
         std::erase_if(m.attributes, [&](const AttributeTree& one) { return std::pair{one.vendor, one.type} == key; });
       return true;
     }},
    {Layer::attribute, "exchanged",
     [](Context& c) {
       const auto a = some_attribute(c), b = some_attribute(c);
       if (!a || !b || (a->message == b->message && a->at == b->at)) return false;
       std::swap(**a, **b);
       return true;
     }},
    {Layer::attribute, "at the end",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       std::rotate(a->message->attributes.begin() + offset(a->at), a->message->attributes.begin() + offset(a->at) + 1,
                   a->message->attributes.end());
       return true;
     }},
    {Layer::attribute, "in a later batch",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       MessageTree m = *a->message;
       m.attributes.assign(1, **a);
       a->message->attributes.erase(a->message->attributes.begin() + offset(a->at));
       TransportTree t;
       t.type = std::uint32_t(pttls::Type::pb_tnc_batch);
       t.batch = BatchTree{.length = {}, .messages = {m}};
       c.after.push_back({.bytes = written(t)});
       return true;
     }},
    {Layer::attribute, "made up",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       m->attributes.insert(m->attributes.begin() + offset(c.random.below(m->attributes.size() + 1)),
                            made_up_attribute(c));
       return true;
     }},
    {Layer::attribute, "another conversation's beside it",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       const AttributeTree* other = m != nullptr ? c.pool.attribute(c.random) : nullptr;
       if (other == nullptr) return false;
       m->attributes.insert(m->attributes.begin() + offset(c.random.below(m->attributes.size() + 1)), *other);
       return true;
     }},
    {Layer::attribute, "another conversation's in its place",
     [](Context& c) {
       const auto a = some_attribute(c);
       const AttributeTree* other = a ? c.pool.attribute((**a).vendor, (**a).type, c.random) : nullptr;
       if (other == nullptr) return false;
       (**a).value = other->value;
       return true;
     }},
    {Layer::attribute, "trailing bytes",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       return m != nullptr && (m->value = noise(c.random, 1 + c.random.below(20)), true);
     }},

    // --- segmentation
    {Layer::segment, "cut into segments",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a || !c.segments.empty()) return false;
       Writer whole;
       append(whole, **a);
       ByteVector bytes = std::move(whole).take();
       if (c.random.one_in(3)) some_raw_change(c.random)(bytes, c.random);
       const std::size_t size = 1 + c.random.below(std::max<std::size_t>(bytes.size(), 2)),
                         id = c.random.one_in(8) ? 0xFFFFFF : c.random.below(5);
       std::vector<AttributeTree> pieces;
       std::size_t at = 0;
       do {
         const std::size_t n = std::min(c.random.one_in(10) ? c.random.below(size + 1) : size, bytes.size() - at);
         const bool last = at + n == bytes.size();
         std::uint8_t flags = std::uint8_t((last ? 0 : patnc::more_segments) | (at == 0 ? patnc::first_segment : 0));
         if (c.random.one_in(12)) flags = std::uint8_t(flags ^ (1U << (5 + c.random.below(3))));
         Writer w;
         patnc::append_envelope(
             w, {flags, std::uint32_t(c.random.one_in(30) ? id + 1 : id) & 0xFFFFFF, Bytes(bytes).subspan(at, n)});
         pieces.push_back({patnc::noskip, patnc::vendor_tcg, pa_type::segment_envelope, std::move(w).take(), {}});
         at += n;
       } while (at < bytes.size() && pieces.size() < 40);
       if (c.random.one_in(8)) std::swap(pieces[c.random.below(pieces.size())], pieces[c.random.below(pieces.size())]);
       if (c.random.one_in(8)) pieces.push_back(pieces[c.random.below(pieces.size())]);
       MessageTree& m = *a->message;
       if (c.random.one_in(3)) {  // all at once
         m.attributes.erase(m.attributes.begin() + offset(a->at));
         m.attributes.insert(m.attributes.begin() + offset(a->at), pieces.begin(), pieces.end());
         return true;
       }
       m.attributes[a->at] = pieces.front();
       c.segments.assign(pieces.begin() + 1, pieces.end());
       c.segmented = &m;
       return true;
     }},
    {Layer::segment, "contract",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       Writer w;
       patnc::append_contract(w, {std::uint32_t(extreme(c.random)),
                                  std::uint32_t(c.random.one_in(2) ? extreme(c.random) : 1 + c.random.below(3000))});
       m->attributes.insert(m->attributes.begin() + offset(c.random.below(m->attributes.size() + 1)),
                            {0,
                             patnc::vendor_tcg,
                             c.random.one_in(2) ? pa_type::contract_request : pa_type::contract_response,
                             std::move(w).take(),
                             {}});
       return true;
     }},
    {Layer::segment, "envelope of nothing",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       for (std::size_t n = c.random.one_in(5) ? 1 + c.random.below(20) : 1; n-- > 0;) {
         Writer w;
         patnc::append_envelope(w, {std::uint8_t(c.random() & 0xE0), std::uint32_t(c.random.below(20)),
                                    noise(c.random, some_size(c.random))});
         m->attributes.push_back(
             {patnc::noskip, patnc::vendor_tcg, pa_type::segment_envelope, std::move(w).take(), {}});
       }
       return true;
     }},
    {Layer::segment, "next segment",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       Writer w;
       patnc::append_next_segment(w, {std::uint8_t(c.random() & 0x80), std::uint32_t(c.random.below(6))});
       m->attributes.push_back({patnc::noskip, patnc::vendor_tcg, pa_type::next_segment, std::move(w).take(), {}});
       return true;
     }},
    {Layer::segment, "large attribute that never ends",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr || !c.segments.empty()) return false;
       const auto [vendor, type] = known_attributes[c.random.below(std::size(known_attributes))];
       Writer head;
       patnc::append_attribute_header(
           head, 0, vendor, type, c.random.one_in(2) ? std::size_t(c.random.below(0xFFFFFF)) : std::size_t(0xFFFFFFF0));
       const ByteVector first = std::move(head).take(), more = noise(c.random, 200 + c.random.below(2000));
       for (std::size_t n = 0; n < 12; ++n) {
         ByteVector segment = n == 0 ? first : ByteVector();
         segment.insert(segment.end(), more.begin(), more.end());
         Writer w;
         patnc::append_envelope(w,
                                {std::uint8_t(patnc::more_segments | (n == 0 ? patnc::first_segment : 0)), 9, segment});
         AttributeTree piece{patnc::noskip, patnc::vendor_tcg, pa_type::segment_envelope, std::move(w).take(), {}};
         if (n == 0)
           m->attributes.push_back(std::move(piece));
         else
           c.segments.push_back(std::move(piece));
       }
       c.segmented = m;
       return true;
     }},

    // --- values
    {Layer::value, "value",
     [](Context& c) {
       const auto a = some_attribute(c);
       if (!a) return false;
       for (std::size_t n = c.random.one_in(3) ? 2 + c.random.below(3) : 1; n-- > 0;)
         some_raw_change(c.random)((**a).value, c.random);
       return true;
     }},
    {Layer::value, "number",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && (set_number((**a).value, c.random), true);
     }},
    {Layer::value, "bits",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && (flip_bits((**a).value, c.random), true);
     }},
    {Layer::value, "part of another's",
     [](Context& c) {
       const auto a = some_attribute(c);
       const AttributeTree* other = a ? c.pool.attribute((**a).vendor, (**a).type, c.random) : nullptr;
       if (other == nullptr || other->value.empty()) return false;
       ByteVector& value = (**a).value;
       const std::size_t at = c.random.below(std::min(value.size(), other->value.size()) + 1);
       value.resize(at);
       value.insert(value.end(), other->value.begin() + offset(at), other->value.end());
       return true;
     }},
    {Layer::value, "of another message",
     [](Context& c) {
       MessageTree* m = some_message(c);
       if (m == nullptr || m->pa) return false;
       some_raw_change(c.random)(m->value, c.random);
       return true;
     }},
    {Layer::value, "every attribute",
     [](Context& c) {
       MessageTree* m = some_pa(c);
       if (m == nullptr) return false;
       for (AttributeTree& a : m->attributes)
         if (c.random.one_in(4)) some_raw_change(c.random)(a.value, c.random);
       return true;
     }},
    {Layer::value, "emptied",
     [](Context& c) {
       const auto a = some_attribute(c);
       return a && ((**a).value.clear(), true);
     }},

    // --- bytes, with no length repaired
    {Layer::bytes, "bytes", [](Context& c) { return c.raw.push_back(some_raw_change(c.random)), true; }},
    {Layer::bytes, "several",
     [](Context& c) {
       for (std::size_t n = 1 + c.random.below(5); n-- > 0;) c.raw.push_back(flip_bits);
       return true;
     }},
    {Layer::bytes, "noise",
     [](Context& c) {
       c.raw.push_back([](ByteVector& b, Random& r) { b = noise(r, 1 + some_size(r)); });
       return true;
     }},
};

}  // namespace

std::span<const Operation> operations() { return all; }

}  // namespace gatehouse::test
