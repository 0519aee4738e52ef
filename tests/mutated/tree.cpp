#include "tests/mutated/tree.h"

namespace gatehouse::test {
namespace {

Result<MessageTree> take_apart_message(Reader& r) {
  MessageTree out;
  GH_TRY(out.flags, r.get<std::uint8_t>());
  GH_TRY(out.vendor, r.get24());
  GH_TRY(out.type, r.get<std::uint32_t>());
  GH_TRY(const std::uint32_t length, r.get<std::uint32_t>());
  if (length < pbtnc::message_header_size) return r.fail("length below the header");
  GH_TRY(const Bytes value, r.take(length - pbtnc::message_header_size));
  out.value = to_vector(value);
  if (out.vendor != pbtnc::vendor_ietf || out.type != pbtnc::type::pa) return out;
  Reader inside(value, "test");
  GH_TRY(out.pa_flags, inside.get<std::uint8_t>());
  GH_TRY(out.pa_vendor, inside.get24());
  GH_TRY(out.subtype, inside.get<std::uint32_t>());
  GH_TRY(out.collector, inside.get<std::uint16_t>());
  GH_TRY(out.validator, inside.get<std::uint16_t>());
  GH_TRY(const Bytes head, inside.take(patnc::message_header_size));
  out.head = to_vector(head);
  while (!inside.empty()) {
    patnc::Attribute a;
    if (patnc::parse_attribute(inside, a)) return inside.fail("attribute");
    out.attributes.push_back({a.flags, a.vendor, a.type, to_vector(a.value)});
  }
  out.pa = true;
  out.value.clear();
  return out;
}

Result<BatchTree> take_apart_batch(Bytes bytes) {
  Reader r(bytes, "test");
  BatchTree out;
  GH_TRY(out.version, r.get<std::uint8_t>());
  GH_TRY(out.flags, r.get<std::uint8_t>());
  GH_TRY(out.type, r.get<std::uint16_t>());
  GH_TRY(const std::uint32_t length, r.get<std::uint32_t>());
  if (length != bytes.size()) return r.fail("length");
  while (!r.empty()) {
    GH_TRY(MessageTree message, take_apart_message(r));
    out.messages.push_back(std::move(message));
  }
  return out;
}

}  // namespace

TransportTree take_apart(Bytes message) {
  TransportTree out;
  Reader r(message, "test");
  out.reserved = r.get<std::uint8_t>().value_or(0);
  out.vendor = r.get24().value_or(0);
  out.type = r.get<std::uint32_t>().value_or(0);
  (void)r.get<std::uint32_t>();
  out.identifier = r.get<std::uint32_t>().value_or(0);
  out.value = to_vector(r.rest());
  if (out.vendor != 0 || out.type != std::uint32_t(pttls::Type::pb_tnc_batch)) return out;
  if (auto batch = take_apart_batch(out.value)) {
    out.batch = std::move(*batch);
    out.value.clear();
  }
  return out;
}

void append(Writer& w, const AttributeTree& a) {
  w.put(a.flags);
  w.put24(a.vendor & 0xFFFFFF);
  w.put(a.type);
  w.put(a.length.value_or(std::uint32_t(patnc::attribute_header_size + a.value.size())));
  w.put_bytes(a.value);
}

void append(Writer& w, const MessageTree& m) {
  Writer inside;
  if (m.pa) {
    inside.put(m.pa_flags);
    inside.put24(m.pa_vendor & 0xFFFFFF);
    inside.put(m.subtype);
    inside.put(m.collector);
    inside.put(m.validator);
    inside.put_bytes(m.head);
    for (const AttributeTree& a : m.attributes) append(inside, a);
  }
  inside.put_bytes(m.value);
  w.put(m.flags);
  w.put24(m.vendor & 0xFFFFFF);
  w.put(m.type);
  w.put(m.length.value_or(std::uint32_t(pbtnc::message_header_size + inside.size())));
  w.put_bytes(inside.view());
}

ByteVector written(const TransportTree& t) {
  Writer inside;
  if (t.batch) {
    Writer messages;
    for (const MessageTree& m : t.batch->messages) append(messages, m);
    inside.put(t.batch->version);
    inside.put(t.batch->flags);
    inside.put(t.batch->type);
    inside.put(t.batch->length.value_or(std::uint32_t(pbtnc::batch_header_size + messages.size())));
    inside.put_bytes(messages.view());
  }
  inside.put_bytes(t.value);
  Writer w;
  w.put(t.reserved);
  w.put24(t.vendor & 0xFFFFFF);
  w.put(t.type);
  w.put(t.length.value_or(std::uint32_t(pttls::header_size + inside.size())));
  w.put(t.identifier);
  w.put_bytes(inside.view());
  return std::move(w).take();
}

}  // namespace gatehouse::test
