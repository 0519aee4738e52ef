#include <boost/json.hpp>

#include "base/hex.h"
#include "server/trace/dissect.h"
#include "server/trace/recorder.h"
#include "wire/patnc/patnc.h"
#include "wire/pbtnc/pbtnc.h"

namespace gatehouse::trace {
namespace {

namespace json = boost::json;

constexpr std::size_t most_attributes = 1000;  // lines of one message; a run of equal ones is one line

std::string identifier_text(std::uint32_t id) {
  std::string digits = hexadecimal(id).substr(2);
  digits.insert(0, 8 - digits.size(), '0');
  return "0x" + digits;
}

void describe_attributes(json::object& out, Bytes body) {
  const auto parsed = patnc::parse_message(body, [](std::uint32_t, std::uint32_t) { return true; });
  if (!parsed) {
    out["malformed"] = std::string(parsed.error().reason);
    return;
  }
  out["pa_message_id"] = identifier_text(parsed->header.identifier);
  json::array attributes;
  std::uint32_t vendor = 0, type = 0;
  for (const patnc::Attribute& a : parsed->attributes) {
    const std::uint64_t length = patnc::attribute_header_size + a.value.size();
    if (!attributes.empty() && a.is(patnc::vendor_tcg, 0x00300000) && a.is(vendor, type)) {
      json::object& run = attributes.back().as_object();
      run["count"] = run.at("count").as_uint64() + 1;
      run["length"] = run.at("length").as_uint64() + length;
      continue;
    }
    if (attributes.size() == most_attributes) {
      out["more_attributes"] = true;
      break;
    }
    vendor = a.vendor;
    type = a.type;
    attributes.push_back({{"name", plain_name(a.vendor, a.type)},
                          {"vendor", a.vendor},
                          {"type", a.type},
                          {"flags", a.flags},
                          {"length", length},
                          {"count", std::uint64_t(1)}});
  }
  out["attributes"] = std::move(attributes);
  if (parsed->refusal) out["malformed"] = std::string(parsed->refusal->reason);
}

}  // namespace

std::string summary(Bytes batch) {
  const bool from_server = batch.size() > 1 && (std::uint8_t(batch[1]) & 0x80) != 0;
  const auto parsed = pbtnc::parse_batch(batch, pbtnc::Parsing{.from_client = !from_server, .keep_unknown = true});
  json::array out;
  if (!parsed) {
    out.push_back({{"malformed", std::string(parsed.error().reason)}, {"offset", parsed.error().offset}});
    return json::serialize(out);
  }
  for (const pbtnc::Message& m : parsed->messages) {
    json::object one;
    const std::string name = pbtnc::message_name(m.vendor, m.type);
    one["message"] = name.starts_with("IETF/") ? name.substr(5) : name;
    one["vendor"] = m.vendor;
    one["type"] = m.type;
    one["flags"] = m.noskip ? 0x80 : 0;
    one["length"] = pbtnc::message_header_size + m.value.size();
    if (m.is(pbtnc::vendor_ietf, pbtnc::type::pa)) {
      const pbtnc::PaMessage pa = pbtnc::pa_message(m);
      one["pa_flags"] = pa.exclusive ? 0x80 : 0;
      one["subtype"] = patnc::subtype_name(pa.vendor, pa.subtype);
      one["collector"] = pa.collector;
      one["validator"] = pa.validator;
      describe_attributes(one, pa.body);
    } else {
      one["value"] = to_hex(m.value.first(std::min<std::size_t>(m.value.size(), 4096)));
    }
    out.push_back(std::move(one));
  }
  return json::serialize(out);
}

}  // namespace gatehouse::trace
