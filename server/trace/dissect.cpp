#include "server/trace/dissect.h"

#include <algorithm>
#include <boost/json.hpp>

#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"
#include "wire/pttls/pttls.h"

namespace gatehouse::trace {
namespace {

std::string vendor(std::uint64_t v) { return hexadecimal(v) + " " + patnc::vendor_name(std::uint32_t(v)); }
std::string batch_type(std::uint64_t v) {
  const std::uint64_t kind = v & 0x0F;
  return hexadecimal(v) + (kind >= 1 && kind <= 6 ? " " + std::string(pbtnc::name(pbtnc::BatchType(kind))) : "");
}
std::string any_or(std::uint64_t v) { return v == pbtnc::any ? "any" : std::to_string(v); }
std::string access(std::uint64_t v) {
  constexpr std::string_view names[] = {"", " allowed", " denied", " quarantined"};
  return std::to_string(v) + std::string(v < std::size(names) ? names[v] : "");
}
std::string assessment(std::uint64_t v) {
  return std::to_string(v) + " " + std::string(patnc::assessment_name(std::uint32_t(v)));
}

void walk_attribute(Walk& w) {
  // The header tells the name, so it is read ahead.
  Reader ahead(w.rest(), "PA-TNC", w.offset());
  patnc::Attribute a;
  const auto refusal = patnc::parse_attribute(ahead, a);
  const std::size_t start = w.offset();
  if (refusal) {
    w.context().report(start, start + w.left(), refusal->offset, refusal->reason);
    w.record("attribute", [](Walk& r) {
      r.number("flags", 1, hexadecimal);
      r.number("vendor", 3, vendor);
      r.number("type", 4, hexadecimal);
      r.number("length", 4);
      r.fail("can't be an attribute");
    });
    return;
  }
  w.group("attribute " + patnc::attribute_name(a.vendor, a.type), patnc::attribute_header_size + a.value.size(),
          [&](Walk& r, Field&) {
            r.number("flags", 1, hexadecimal);
            r.number("vendor", 3, vendor);
            r.number("type", 4, hexadecimal);
            r.number("length", 4);
            const auto judged = check_attribute_value(a.vendor, a.type, a.value, r.offset());
            if (!judged)
              r.context().report(r.offset(), r.offset() + a.value.size(), judged.error().offset, judged.error().reason);
            if (r.left() == 0 && judged) return;
            r.group(
                "value", r.left(), [&](Walk& v, Field&) { walk_attribute_value(v, a.vendor, a.type); },
                judged.has_value());
          });
}

void walk_pa_tnc(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 3);
  w.number("message id", 4, hexadecimal);
  while (w.more()) walk_attribute(w);
}

void walk_pa(Walk& w) {
  w.number("flags", 1, hexadecimal);
  w.context().subtype_vendor = std::uint32_t(w.number("PA vendor", 3, vendor));
  w.context().subtype = std::uint32_t(w.number("PA subtype", 4));
  w.number("collector", 2, any_or);
  w.number("validator", 2, any_or);
  if (!w.good()) return;
  w.group("PA-TNC message " + patnc::subtype_name(w.context().subtype_vendor, w.context().subtype), w.left(),
          [](Walk& r, Field&) { walk_pa_tnc(r); });
}

void walk_pb_value(Walk& w, std::uint32_t who, std::uint32_t type) {
  namespace pt = pbtnc::type;
  if (who == pbtnc::vendor_ietf) {
    switch (type) {
      case pt::pa:
        return walk_pa(w);
      case pt::assessment_result:
        w.number("result", 4, assessment);
        return;
      case pt::access_recommendation:
        w.hex("reserved", 2);
        w.number("recommendation", 2, access);
        return;
      case pt::remediation_parameters: {
        w.hex("reserved", 1);
        const auto vendor_id = w.number("vendor", 3, vendor);
        const auto kind = w.number("type", 4);
        if (vendor_id == pbtnc::vendor_ietf && kind == pbtnc::Remediation::type_uri) {
          w.text("uri");
        } else if (vendor_id == pbtnc::vendor_ietf && kind == pbtnc::Remediation::type_string) {
          w.counted_text("text", 4);
          w.counted_text("language", 1);
        } else {
          w.hex("parameters");
        }
        return;
      }
      case pt::error: {
        w.number("flags", 1, hexadecimal);
        const auto vendor_id = w.number("vendor", 3, vendor);
        const auto code = w.number("code", 2);
        w.hex("reserved", 2);
        if (vendor_id == pbtnc::vendor_ietf && (code == 1 || code == 3) && w.left() == 4) {
          w.number("offset", 4);
        } else if (vendor_id == pbtnc::vendor_ietf && code == 4 && w.left() == 4) {
          w.number("bad version", 1);
          w.number("highest version", 1);
          w.number("lowest version", 1);
          w.hex("reserved", 1);
        } else {
          w.hex("parameters");
        }
        return;
      }
      case pt::language_preference:
        w.text("languages");
        return;
      case pt::reason_string:
        w.counted_text("text", 4);
        w.counted_text("language", 1);
        return;
      default:
        break;
    }
  }
  if (who == pbtnc::vendor_tcg && type == pt::tcg_pdp_referral) {
    w.hex("reserved", 1);
    const auto vendor_id = w.number("identifier vendor", 3, vendor);
    const auto kind = w.number("identifier type", 4);
    if (vendor_id == pbtnc::vendor_tcg && kind <= 2) {
      w.hex("reserved", 1);
      w.number("protocol", 1);
      w.number("port", 2);
      if (kind == 0)
        w.text("name");
      else
        w.hex("address");
    } else {
      w.hex("identifier");
    }
    return;
  }
  if (who == pbtnc::vendor_ita && type == pbtnc::type::ita_mutual_capability) {
    w.number("protocols", 4, hexadecimal);
    return;
  }
  if (who == pbtnc::vendor_gatehouse && type == pbtnc::type::kept_connection) w.number("version", 1);
  if (w.left() != 0) w.hex("value");
}

void walk_pb_message(Walk& w) {
  constexpr std::size_t header = pbtnc::message_header_size;
  const auto fields = [](Walk& r) {
    r.number("flags", 1, hexadecimal);
    r.number("vendor", 3, vendor);
    r.number("type", 4);
    r.number("length", 4);
  };
  if (w.left() < header) return w.fail("truncated message header");
  Reader ahead(w.rest(), "PB-TNC");
  (void)ahead.skip(1);
  const std::uint32_t who = *ahead.get24(), type = *ahead.get<std::uint32_t>(), length = *ahead.get<std::uint32_t>();
  const std::string name = pbtnc::message_name(who, type);
  if (length < header || length > w.left())
    return w.record(name, [&](Walk& r) {
      fields(r);
      r.fail("message length out of the batch");
    });
  w.group(name, length, [&](Walk& r, Field&) {
    fields(r);
    if (r.left() == 0) return;
    // What a RESULT or CLOSE batch may hold besides is the judgement of parse_batch.
    r.group(
        "value", r.left(), [&](Walk& v, Field&) { walk_pb_value(v, who, type); }, type != pbtnc::type::pa);
  });
}

void walk_batch(Walk& w) {
  const Bytes whole = w.rest();
  const std::size_t at = w.offset();
  Context& context = w.context();
  context.from_server = whole.size() > 1 && (std::uint8_t(whole[1]) & 0x80) != 0;
  const auto parsed =
      pbtnc::parse_batch(whole, pbtnc::Parsing{.from_client = !context.from_server, .keep_unknown = true});
  if (!parsed) context.report(at, at + whole.size(), at + parsed.error().offset, parsed.error().reason);
  if (parsed)
    for (const pbtnc::Refusal& remark : parsed->remarks)
      context.report(at + remark.offset, at + remark.offset, at + remark.offset, remark.reason);
  w.number("version", 1);
  w.number("flags", 1, hexadecimal);
  w.number("type", 2, batch_type);
  w.number("length", 4);
  while (w.more()) walk_pb_message(w);
}

void walk_mechanisms(Walk& w) {
  while (w.more()) {
    const auto length = w.number("mechanism length", 1) & 0x1F;
    w.text("mechanism", length);
  }
}

// What wire/ says of a transport message's value.
Result<void> check_message(std::uint32_t type, Bytes value) {
  switch (pttls::Type(type)) {
    case pttls::Type::version_request:
      GH_CHECK(pttls::parse_version_request(value));
      break;
    case pttls::Type::version_response:
      GH_CHECK(pttls::parse_version_response(value));
      break;
    case pttls::Type::sasl_mechanisms:
      GH_CHECK(pttls::parse_mechanisms(value));
      break;
    case pttls::Type::sasl_selection:
      GH_CHECK(pttls::parse_selection(value));
      break;
    case pttls::Type::sasl_result:
      GH_CHECK(pttls::parse_sasl_result(value));
      break;
    case pttls::Type::error:
      GH_CHECK(pttls::parse_error(value));
      break;
    default:
      break;
  }
  return {};
}

void walk_transport_value(Walk& w, std::uint32_t type) {
  switch (pttls::Type(type)) {
    case pttls::Type::version_request:
      w.hex("reserved", 1);
      w.number("lowest version", 1);
      w.number("highest version", 1);
      w.number("preferred version", 1);
      return;
    case pttls::Type::version_response:
      w.hex("reserved", 3);
      w.number("version", 1);
      return;
    case pttls::Type::sasl_mechanisms:
      return walk_mechanisms(w);
    case pttls::Type::sasl_selection: {
      const auto length = w.number("mechanism length", 1) & 0x1F;
      w.text("mechanism", length);
      w.hidden("initial response", w.left());
      return;
    }
    case pttls::Type::sasl_data:
      return w.hidden("data", w.left());
    case pttls::Type::sasl_result: {
      const bool wide = w.left() > 1 && w.rest()[0] == std::byte(0);
      w.number("result", wide ? 2 : 1);
      return w.hidden("data", w.left());
    }
    case pttls::Type::error:
      w.hex("reserved", 1);
      w.number("vendor", 3, vendor);
      w.number("code", 4);
      // What is quoted may be a message that carries a password.
      return w.hidden("copy of the message", w.left());
    case pttls::Type::pb_tnc_batch:
      return walk_batch(w);
    default:
      w.hex("value");
  }
}

void walk_message(Walk& w) {
  const auto fields = [](Walk& r) {
    r.hex("reserved", 1);
    r.number("vendor", 3, vendor);
    r.number("type", 4);
    r.number("length", 4);
    r.number("identifier", 4);
  };
  if (w.left() < pttls::header_size) return w.fail("truncated PT-TLS header");
  Reader ahead(w.rest(), "PT-TLS");
  (void)ahead.skip(1);
  const std::uint32_t who = *ahead.get24(), type = *ahead.get<std::uint32_t>(), length = *ahead.get<std::uint32_t>();
  const std::string name = pttls::name(who, type);
  if (length < pttls::header_size || length > w.left())
    return w.record(name, [&](Walk& r) {
      fields(r);
      r.fail("message length isn't what is there");
    });
  w.group(name, length, [&](Walk& r, Field&) {
    fields(r);
    const std::uint32_t kind = who == 0 && type <= 8 ? type : 0;
    const std::size_t at = r.offset();
    if (const auto judged = check_message(kind, r.rest()); !judged)
      r.context().report(at, at + r.left(), at - pttls::header_size + judged.error().offset, judged.error().reason);
    if (r.left() != 0 || kind == std::uint32_t(pttls::Type::pb_tnc_batch))
      r.group("value", r.left(), [&](Walk& v, Field&) { walk_transport_value(v, kind); });
  });
}

template <class Body>
Dissection dissection(std::string name, Bytes bytes, Reassembly* reassembly, Body&& body) {
  Dissection out;
  Context context;
  context.reassembly = reassembly;
  out.root = {0, bytes.size(), std::move(name), {}, {}, {}};
  Walk w(out.root, context, bytes, 0);
  body(w);
  w.finish();
  out.problems = std::move(context.problems);
  out.reassembled = std::move(context.reassembled);
  return out;
}

namespace json_ns = boost::json;

json_ns::object object_of(const Field& f) {
  json_ns::object out;
  out["offset"] = f.offset;
  out["length"] = f.length;
  out["name"] = f.name;
  if (f.fields.empty()) out["value"] = f.value;
  if (!f.problem.empty()) out["problem"] = f.problem;
  if (!f.fields.empty()) {
    json_ns::array fields;
    for (const Field& one : f.fields) fields.push_back(object_of(one));
    out["fields"] = std::move(fields);
  }
  return out;
}

void append_line(std::string& out, std::size_t offset, std::size_t length, std::size_t depth, std::string_view rest) {
  constexpr std::string_view digits = "0123456789abcdef";
  for (int shift = 20; shift >= 0; shift -= 4) out += digits[(offset >> shift) & 15];
  std::string size = std::to_string(length);
  if (size.size() < 7) size.insert(0, 7 - size.size(), ' ');
  out += size + "  " + std::string(2 * depth, ' ');
  out += rest;
  out += '\n';
}

void append_field(std::string& out, const Field& f, std::size_t depth, const Rendering& how) {
  constexpr std::size_t most = 64;
  std::string line = f.name;
  if (!f.value.empty()) line += "  " + (how.brief && f.value.size() > most ? f.value.substr(0, most) + "…" : f.value);
  if (!f.problem.empty()) line += "  (" + f.problem + ")";
  append_line(out, f.offset, f.length, depth, line);
  for (std::size_t i = 0; i < f.fields.size(); ++i) {
    std::size_t run = i + 1, bytes = f.fields[i].length;
    if (how.brief && f.fields[i].name.starts_with("attribute "))
      while (run < f.fields.size() && f.fields[run].name == f.fields[i].name) bytes += f.fields[run++].length;
    if (run - i > 1) {
      append_line(out, f.fields[i].offset, bytes, depth + 1, std::to_string(run - i) + " × " + f.fields[i].name);
      i = run - 1;
    } else {
      append_field(out, f.fields[i], depth + 1, how);
    }
  }
}

}  // namespace

Dissection dissect_batch(Bytes batch, Reassembly* reassembly) {
  return dissection("PB-TNC batch", batch, reassembly, walk_batch);
}
Dissection dissect_message(Bytes message, Reassembly* reassembly) {
  return dissection("PT-TLS", message, reassembly, walk_message);
}
Dissection dissect(Bytes bytes) {
  Reassembly reassembly;
  if (bytes.empty() || bytes[0] != std::byte(0)) return dissect_batch(bytes, &reassembly);
  return dissection("PT-TLS", bytes, &reassembly, [](Walk& w) {
    while (w.more()) walk_message(w);
  });
}

std::string text(const Dissection& d, const Rendering& how) {
  std::string out;
  append_field(out, d.root, 0, how);
  for (const Field& f : d.reassembled) append_field(out, f, 0, how);
  for (const Problem& p : d.problems) out += "malformed at " + std::to_string(p.offset) + ": " + p.reason + "\n";
  return out;
}

std::string json(const Dissection& d) {
  json_ns::object out = object_of(d.root);
  json_ns::array problems;
  for (const Problem& p : d.problems) problems.push_back({{"offset", p.offset}, {"reason", p.reason}});
  out["malformed"] = std::move(problems);
  if (!d.reassembled.empty()) {
    json_ns::array whole;
    for (const Field& f : d.reassembled) whole.push_back(object_of(f));
    out["reassembled"] = std::move(whole);
  }
  return json_ns::serialize(out);
}

}  // namespace gatehouse::trace
