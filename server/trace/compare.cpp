#include <algorithm>

#include "server/trace/replay.h"
#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pts/pts.h"

namespace gatehouse::trace {
namespace {

// One PB-TNC message, or one attribute of a PB-PA message.
struct Item {
  std::size_t offset = 0;
  std::string name;
  std::uint32_t subtype_vendor = 0, subtype = 0;  // of an attribute
  std::uint8_t flags = 0;
  std::uint32_t vendor = 0, type = 0;
  bool attribute = false;
  ByteVector value;

  bool same_kind(const Item& o) const {
    return attribute == o.attribute && subtype_vendor == o.subtype_vendor && subtype == o.subtype &&
           vendor == o.vendor && type == o.type;
  }
  bool equals(const Item& o) const { return same_kind(o) && flags == o.flags && value == o.value; }
};

struct Contents {
  std::uint8_t type = 0;
  std::vector<Item> items;
};

// Our own public value of a DH exchange is another one each time.
ByteVector comparable(std::uint32_t vendor, std::uint32_t type, Bytes value) {
  ByteVector out = to_vector(value);
  if (vendor != pts::vendor_tcg || type != pts::type::dh_nonce_finish) return out;
  Reader r(value, "PTS");
  const auto finish = pts::parse_dh_nonce_finish(r);
  if (finish) std::fill_n(out.begin() + 4, finish->public_value.size(), std::byte(0));
  return out;
}

Contents contents(Bytes batch) {
  Contents out;
  const bool from_server = batch.size() > 1 && (std::uint8_t(batch[1]) & 0x80) != 0;
  const auto parsed = pbtnc::parse_batch(batch, pbtnc::Parsing{.from_client = !from_server, .keep_unknown = true});
  if (!parsed) {
    out.items.push_back({.name = "a malformed batch", .value = to_vector(batch)});
    return out;
  }
  out.type = std::uint8_t(parsed->type);
  for (const pbtnc::Message& m : parsed->messages) {
    Item item{.offset = m.offset, .flags = std::uint8_t(m.noskip ? 0x80 : 0), .vendor = m.vendor, .type = m.type};
    if (!m.is(pbtnc::vendor_ietf, pbtnc::type::pa)) {
      item.name = pbtnc::message_name(m.vendor, m.type);
      item.value = to_vector(m.value);
      out.items.push_back(std::move(item));
      continue;
    }
    const pbtnc::PaMessage pa = pbtnc::pa_message(m);
    const auto body = patnc::parse_message(pa.body, [](std::uint32_t, std::uint32_t) { return true; });
    if (!body || body->refusal) {
      item.name = "a malformed PA-TNC message";
      item.value = to_vector(pa.body);
      out.items.push_back(std::move(item));
      continue;
    }
    const std::size_t base = m.value_offset() + pbtnc::pa_header_size;
    for (const patnc::Attribute& a : body->attributes)
      out.items.push_back({.offset = base + a.offset,
                           .name = "attribute " + patnc::attribute_name(a.vendor, a.type) + " of " +
                                   patnc::subtype_name(pa.vendor, pa.subtype),
                           .subtype_vendor = pa.vendor,
                           .subtype = pa.subtype,
                           .flags = a.flags,
                           .vendor = a.vendor,
                           .type = a.type,
                           .attribute = true,
                           .value = comparable(a.vendor, a.type, a.value)});
  }
  return out;
}

std::string batch_name(std::uint8_t type) {
  return type == 0 ? "malformed" : std::string(pbtnc::name(pbtnc::BatchType(type)));
}

std::optional<Difference> compare(std::size_t number, const Contents& theirs, const Contents& ours) {
  if (theirs.type != ours.type)
    return Difference{
        number, 2,
        "recorded is a " + batch_name(theirs.type) + " batch, this server sends a " + batch_name(ours.type) + " batch"};
  std::vector<bool> used(ours.items.size(), false);
  const auto unused = [&](auto&& matches) -> std::optional<std::size_t> {
    for (std::size_t i = 0; i < ours.items.size(); ++i)
      if (!used[i] && matches(ours.items[i])) return i;
    return std::nullopt;
  };
  std::vector<const Item*> missing;
  for (const Item& item : theirs.items) {
    if (const auto at = unused([&](const Item& o) { return o.equals(item); }))
      used[*at] = true;
    else
      missing.push_back(&item);
  }
  if (!missing.empty()) {
    const Item& item = *missing.front();
    const auto other = unused([&](const Item& o) { return o.same_kind(item); });
    if (!other) return Difference{number, item.offset, item.name + " isn't sent by this server here"};
    const Item& o = ours.items[*other];
    if (o.flags != item.flags) return Difference{number, item.offset, item.name + " has other flags"};
    if (o.value.size() != item.value.size())
      return Difference{number, item.offset,
                        item.name + " has " + std::to_string(o.value.size()) + " bytes of value, recorded are " +
                            std::to_string(item.value.size())};
    const auto at = std::mismatch(o.value.begin(), o.value.end(), item.value.begin()).first - o.value.begin();
    return Difference{number, item.offset,
                      item.name + " has another value from its byte " + std::to_string(at) + " on"};
  }
  if (const auto extra = unused([](const Item&) { return true; }))
    return Difference{number, 0, "this server sends " + ours.items[*extra].name + " too"};
  return std::nullopt;
}

}  // namespace

std::optional<Difference> first_difference(const std::vector<std::pair<std::size_t, ByteVector>>& recorded,
                                           const std::vector<ByteVector>& ours) {
  for (std::size_t i = 0; i < recorded.size(); ++i) {
    const auto& [number, batch] = recorded[i];
    if (i == ours.size()) return Difference{number, 0, "this server sends no batch here"};
    if (auto difference = compare(number, contents(batch), contents(ours[i]))) return difference;
  }
  if (ours.size() > recorded.size())
    return Difference{recorded.empty() ? 0 : recorded.back().first, 0, "this server sends a batch more"};
  return std::nullopt;
}

}  // namespace gatehouse::trace
