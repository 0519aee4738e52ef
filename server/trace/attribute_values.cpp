// The values of attributes: how each is laid out, and which parser of wire/ says whether it is right.
#include "server/trace/dissect.h"
#include "wire/enrolment/enrolment.h"
#include "wire/patnc/attributes.h"
#include "wire/patnc/segmentation.h"
#include "wire/pts/errors.h"
#include "wire/pts/pts.h"
#include "wire/pts/raw_evidence.h"
#include "wire/pts/records.h"
#include "wire/swima/swima.h"

namespace gatehouse::trace {
namespace {

namespace pt = patnc::type;
namespace ps = pts::type;

std::string vendor(std::uint64_t v) { return hexadecimal(v) + " " + patnc::vendor_name(std::uint32_t(v)); }
std::string assessment(std::uint64_t v) {
  return std::to_string(v) + " " + std::string(patnc::assessment_name(std::uint32_t(v)));
}
std::string algorithms(std::uint64_t v) {
  std::string out = hexadecimal(v);
  for (const HashAlgorithm a : common_banks)
    if ((v & pts::algorithm_bit(a)) != 0) out += " " + std::string(name(a));
  return out;
}
std::string groups(std::uint64_t v) {
  constexpr std::pair<std::uint16_t, std::string_view> names[] = {{pts::group_modp1024, "modp1024"},
                                                                  {pts::group_modp1536, "modp1536"},
                                                                  {pts::group_modp2048, "modp2048"},
                                                                  {pts::group_ecp256, "ecp256"},
                                                                  {pts::group_ecp384, "ecp384"}};
  std::string out = hexadecimal(v);
  for (const auto& [bit, text] : names)
    if ((v & bit) != 0) out += " " + std::string(text);
  return out;
}
std::string action(std::uint64_t v) {
  return std::to_string(v) + (v >= 1 && v <= 3 ? " " + std::string(swima::name(swima::Action(v))) : "");
}

void walk_type_names(Walk& w) {
  while (w.more())
    w.record("attribute", [](Walk& r) {
      r.hex("reserved", 1);
      r.number("vendor", 3, vendor);
      r.number("type", 4, hexadecimal);
    });
}
void walk_product(Walk& w) {
  w.number("vendor", 3, vendor);
  w.number("product id", 2);
  w.text("name");
}
void walk_numeric_version(Walk& w) {
  for (const char* part : {"major", "minor", "build"}) w.number(part, 4);
  for (const char* part : {"service pack major", "service pack minor"}) w.number(part, 2);
}
void walk_string_version(Walk& w) {
  for (const char* part : {"version", "build", "configuration"}) w.counted_text(part, 1);
}
void walk_operational_status(Walk& w) {
  w.number("status", 1);
  w.number("result", 1);
  w.hex("reserved", 2);
  w.text("last use", 20);
}
void walk_ports(Walk& w) {
  while (w.more())
    w.record("port", [](Walk& r) {
      r.number("flags", 1, hexadecimal);
      r.number("protocol", 1);
      r.number("port", 2);
    });
}
void walk_packages(Walk& w) {
  w.hex("reserved", 2);
  w.number("count", 2);
  while (w.more())
    w.record("package", [](Walk& r) {
      r.counted_text("name", 1);
      r.counted_text("version", 1);
    });
}
void walk_swima_error(Walk& w, std::uint32_t code) {
  w.number(code == swima::error::subscription_fulfillment ? "subscription id" : "request id", 4);
  if (code == swima::error::response_too_large) w.number("maximum size", 4);
  w.text("description");
}
void walk_error(Walk& w) {
  w.hex("reserved", 1);
  const auto who = std::uint32_t(w.number("vendor", 3, vendor));
  const auto code = std::uint32_t(w.number("code", 4));
  if (!w.more()) return;
  if (who == patnc::vendor_tcg) {
    const auto form = pts::error_form(code);
    if (form == pts::ErrorForm::set && w.left() >= 4) {
      w.hex("reserved", 2);
      w.number("supported", 2, code == pts::error::dh_group_not_supported ? groups : algorithms);
    } else if (form == pts::ErrorForm::lengths && w.left() >= 4) {
      w.number("least nonce length", 2);
      w.number("most nonce length", 2);
    }
  } else if (who == patnc::vendor_ietf && code >= 4 && code <= 8) {
    walk_swima_error(w, code);
  } else if (who == patnc::vendor_ietf && code >= 1 && code <= 3 && w.left() >= (code == 3 ? 16U : 12U)) {
    w.hex("message header", 8);
    if (code == 1) {
      w.number("offset", 4);
    } else if (code == 2) {
      w.number("highest version", 1);
      w.number("lowest version", 1);
      w.hex("reserved", 2);
    } else {
      w.number("flags", 1, hexadecimal);
      w.number("attribute vendor", 3, vendor);
      w.number("attribute type", 4, hexadecimal);
    }
  }
  w.hex("information");
}
void walk_remediation(Walk& w) {
  w.hex("reserved", 1);
  const auto who = w.number("vendor", 3, vendor);
  const auto kind = w.number("type", 4);
  if (who == patnc::vendor_ietf && kind == 1) {
    w.text("uri");
  } else if (who == patnc::vendor_ietf && kind == 2) {
    w.counted_text("text", 4);
    w.counted_text("language", 1);
  } else {
    w.hex("parameters");
  }
}
void walk_swima_request(Walk& w) {
  w.number("flags", 1, hexadecimal);
  const auto count = w.number("count", 3);
  w.number("request id", 4);
  w.number("earliest EID", 4);
  for (std::uint64_t i = 0; i < count && w.good(); ++i) w.counted_text("software identifier", 2);
}
void walk_software(Walk& w, bool event, bool records) {
  w.number("record id", 4);
  w.number("data model vendor", 3, vendor);
  w.number("data model type", 1);
  w.number("source", 1);
  if (event)
    w.number("action", 1, action);
  else
    w.hex("reserved", 1);
  w.counted_text("software identifier", 2);
  w.counted_text("locator", 2);
  if (records) w.counted_hex("record", 4);
}
void walk_inventory_head(Walk& w) {
  w.number("flags", 1, hexadecimal);
  w.number("count", 3);
  w.number("request id", 4);
  w.number("EID epoch", 4, hexadecimal);
  w.number("last EID", 4);
}
template <bool records>
void walk_inventory(Walk& w) {
  walk_inventory_head(w);
  while (w.more()) w.record("software", [](Walk& r) { walk_software(r, false, records); });
}
template <bool records>
void walk_events(Walk& w) {
  walk_inventory_head(w);
  w.number("last consulted EID", 4);
  while (w.more())
    w.record("event", [](Walk& r) {
      r.number("EID", 4);
      r.text("time", 20);
      walk_software(r, true, records);
    });
}
void walk_subscriptions(Walk& w) {
  w.hex("reserved", 1);
  w.number("count", 3);
  while (w.more()) w.record("subscription", walk_swima_request);
}
void walk_sources(Walk& w) {
  w.hex("reserved", 1);
  w.number("count", 2);
  while (w.more())
    w.record("source", [](Walk& r) {
      r.number("source", 1);
      r.counted_text("metadata", 2);
    });
}
void walk_empty(Walk&) {}
void walk_text(Walk& w) { w.text("text"); }
void walk_bytes(Walk& w) { w.hex("bytes"); }
template <bool values>
void walk_settings(Walk& w) {
  w.number("count", 4);
  while (w.more())
    w.record("setting", [](Walk& r) {
      r.counted_text("name", 2);
      if (values) r.counted_text("value", 2);
    });
}
void walk_symlinks(Walk& w) {
  w.number("count", 4);
  while (w.more())
    w.record("symlink", [](Walk& r) {
      r.counted_text("link", 2);
      r.counted_text("target", 2);
    });
}
void walk_contract(Walk& w) {
  w.number("maximum message size", 4);
  w.number("maximum segment size", 4);
}
// A Segment Envelope; the first one of an attribute begins with that attribute's header.
void walk_envelope(Walk& w) {
  const auto flags = std::uint8_t(w.number("flags", 1, hexadecimal));
  const auto id = std::uint32_t(w.number("base message id", 3));
  if (!w.good()) return;
  Context& c = w.context();
  const Bytes segment = w.rest();
  const bool first = (flags & patnc::first_segment) != 0;
  if (c.reassembly != nullptr) {
    const Reassembly::Key key{c.from_server, c.subtype_vendor, c.subtype, id};
    auto& transfers = c.reassembly->transfers;
    if (first) transfers[key].clear();
    if (const auto at = transfers.find(key); at != transfers.end()) {
      at->second.insert(at->second.end(), segment.begin(), segment.end());
      if ((flags & patnc::more_segments) == 0) {
        const ByteVector whole = std::move(at->second);
        transfers.erase(at);
        Field attribute{0, whole.size(), "reassembled attribute", {}, {}, {}};
        // Its offsets are its own, and so are its problems.
        Context own;
        Walk inner(attribute, own, whole, 0);
        inner.number("flags", 1, hexadecimal);
        const auto base_vendor = std::uint32_t(inner.number("vendor", 3, vendor));
        const auto base_type = std::uint32_t(inner.number("type", 4, hexadecimal));
        inner.number("length", 4);
        if (inner.good()) {
          attribute.name += " " + patnc::attribute_name(base_vendor, base_type);
          const auto judged = check_attribute_value(base_vendor, base_type, inner.rest(), inner.offset());
          if (!judged) own.report(0, whole.size(), judged.error().offset, judged.error().reason);
          inner.group(
              "value", inner.left(), [&](Walk& v, Field&) { walk_attribute_value(v, base_vendor, base_type); },
              judged.has_value());
        }
        inner.finish();
        for (const Problem& p : own.problems)
          c.problems.push_back({w.offset(), "in the reassembled attribute: " + p.reason});
        c.reassembled.push_back(std::move(attribute));
      }
    }
  }
  if (first && segment.size() >= patnc::attribute_header_size) {
    w.number("attribute flags", 1, hexadecimal);
    const auto base_vendor = std::uint32_t(w.number("attribute vendor", 3, vendor));
    (void)base_vendor;
    w.number("attribute type", 4, hexadecimal);
    w.number("attribute length", 4);
  }
  w.hex("segment");
}
void walk_next_segment(Walk& w) {
  w.number("flags", 1, hexadecimal);
  w.number("base message id", 3);
}

void walk_flags16(Walk& w) {
  w.hex("reserved", 2);
  w.number("flags", 2, hexadecimal);
}
void walk_algorithms(Walk& w) {
  w.hex("reserved", 2);
  w.number("algorithms", 2, algorithms);
}
void walk_dh_request(Walk& w) {
  w.hex("reserved", 1);
  w.number("least nonce length", 1);
  w.number("groups", 2, groups);
}
void walk_dh_response(Walk& w) {
  w.hex("reserved", 3);
  const auto length = w.number("nonce length", 1);
  w.number("group", 2, groups);
  w.number("hashes", 2, algorithms);
  w.hex("nonce", length);
  w.hex("public value");
}
void walk_dh_finish(Walk& w) {
  w.hex("reserved", 1);
  const auto length = std::size_t(w.number("nonce length", 1));
  w.number("hash", 2, algorithms);
  if (w.good() && length > w.left()) return w.fail("nonce longer than the attribute");
  w.hex("public value", w.left() - length);
  w.hex("nonce", length);
}
void walk_tpm_version(Walk& w) {
  w.number("tag", 2, hexadecimal);
  w.hex("reserved", 1);
  w.number("locality", 1);
  w.number("revision", 4);
  w.number("year", 4);
  w.text("vendor", 4);
}
void walk_aik(Walk& w) {
  const auto flags = w.number("flags", 1, hexadecimal);
  w.hex((flags & 0x80) != 0 ? "public key" : "certificate");
}
void walk_component(Walk& w) {
  w.number("component vendor", 3, vendor);
  w.number("component qualifier", 1, hexadecimal);
  w.number("component name", 4);
}
void walk_component_requests(Walk& w) {
  while (w.more())
    w.record("component", [](Walk& r) {
      r.number("flags", 1, hexadecimal);
      r.number("depth", 3);
      walk_component(r);
    });
}
void walk_evidence(Walk& w) {
  const auto flags = w.number("flags", 1, hexadecimal);
  w.number("depth", 3);
  walk_component(w);
  w.number("measurement type", 1, hexadecimal);
  w.number("PCR", 3);
  w.number("algorithm", 2, algorithms);
  w.number("transformation", 1);
  w.hex("reserved", 1);
  w.text("time", 20);
  if ((flags & 0x40) != 0) w.counted_text("policy URI", 2);
  if ((flags & 0x80) != 0) {
    const auto length = w.number("PCR length", 2);
    w.hex("PCR before", length);
    w.hex("PCR after", length);
  }
  w.hex("measurement");
}
void walk_final(Walk& w) {
  const auto flags = w.number("flags", 1, hexadecimal);
  w.hex("reserved", 1);
  w.number("hash", 2, algorithms);
  if ((flags & 0xD0) == 0x10) {
    w.counted_hex("PCR composite digest", 4);
    w.counted_hex("qualified signer", 2);
    w.counted_hex("clock info", 2);
    w.counted_hex("firmware version", 2);
    w.counted_hex("PCR selection", 2);
    w.counted_hex("signature", 4);
  }
  if ((flags & 0x20) != 0) w.hex("evidence signature");
}
void walk_file_request(Walk& w) {
  w.number("flags", 1, hexadecimal);
  w.hex("reserved", 1);
  w.number("request id", 2);
  w.number("delimiter", 4, hexadecimal);
  w.text("path");
}
void walk_metadata_request(Walk& w) {
  w.number("flags", 1, hexadecimal);
  w.number("delimiter", 1, hexadecimal);
  w.hex("reserved", 2);
  w.text("path");
}
void walk_file_measurement(Walk& w) {
  w.number("count", 8);
  w.number("request id", 2);
  const auto size = std::size_t(w.number("digest size", 2));
  while (w.more())
    w.record("file", [size](Walk& r) {
      r.hex("digest", size);
      r.counted_text("name", 2);
    });
}
void walk_file_metadata(Walk& w) {
  w.number("count", 8);
  while (w.more())
    w.record("file", [](Walk& r) {
      const auto length = std::size_t(r.number("length", 2));
      r.number("type", 1);
      r.hex("reserved", 1);
      r.number("size", 8);
      for (const char* time : {"created", "modified", "accessed"}) r.number(time, 8);
      r.number("owner", 8);
      r.number("group", 8);
      if (r.good() && length < pts::file_metadata_size) return r.fail("entry shorter than its fields");
      r.text("name", length - pts::file_metadata_size);
    });
}
void walk_raw_capabilities(Walk& w) {
  w.number("lowest version", 1);
  w.number("highest version", 1);
  w.number("parts", 2, hexadecimal);
}
void walk_raw_request(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 1);
  w.number("parts", 2, hexadecimal);
  w.number("reset count", 4);
  w.number("restart count", 4);
  w.number("known entries", 8);
}
void walk_raw_log(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 3);
  w.hex("log");
}
void walk_raw_list(Walk& w) {
  w.number("version", 1);
  w.number("form", 1);
  w.hex("reserved", 2);
  w.number("first entry", 8);
  w.hex("list");
}
void walk_raw_quote(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 1);
  for (const char* part : {"attest", "signature", "public area"}) w.counted_hex(part, 2);
}

template <auto parse>
Result<void> by(Reader& r) {
  GH_CHECK(parse(r));
  return {};
}
Result<void> check_packages(Reader& r) {
  GH_CHECK(patnc::parse_records(r, patnc::PackagesFormat{}, [](const patnc::Package&) {}));
  return {};
}
template <swima::Content content>
Result<void> check_inventory(Reader& r) {
  GH_CHECK(patnc::parse_records(r, swima::InventoryFormat{.content = content}, [](const swima::SoftwareRecord&) {}));
  return {};
}
template <swima::Content content>
Result<void> check_events(Reader& r) {
  GH_CHECK(patnc::parse_records(r, swima::EventsFormat{.content = content}, [](const swima::Event&) {}));
  return {};
}
template <class Cursor>
Result<void> check_cursor(Reader& r) {
  Cursor cursor(r.offset());
  cursor.feed(r.rest());
  cursor.end();
  for (;;) {
    GH_TRY(const auto* const record, cursor.next());
    if (record == nullptr) return {};
  }
}
template <class Stream>
Result<void> check_stream(Reader& r) {
  Stream stream(r.offset());
  GH_CHECK(stream.feed(r.rest()));
  return stream.end();
}
Result<void> check_error(Reader& r) {
  GH_TRY(const patnc::PaTncError e, patnc::parse_error(r));
  const std::size_t at = r.offset() - e.information.size();
  Reader information(e.information, "PA-TNC Error", at);
  if (e.vendor == patnc::vendor_tcg) GH_CHECK(pts::parse_error_information(e.code, information));
  if (e.vendor == patnc::vendor_ietf && e.code >= 4 && e.code <= 8)
    GH_CHECK(swima::parse_error_information(e.code, information));
  return {};
}
Result<void> no_check(Reader&) { return {}; }

void walk_enrolment_request(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 3);
  w.hex("token id", enrolment::token_id_size);
  w.hex("nonce", enrolment::nonce_size);
  for (const std::string_view part : {"EK public area", "AK public area", "AK qualified name", "EK certificate"}) w.counted_hex(part, 2);
  const std::uint64_t count = w.number("certificates", 1);
  for (std::uint64_t i = 0; i < count && w.more(); ++i) w.counted_hex("certificate", 2);
}
void walk_enrolment_challenge(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 3);
  w.hex("nonce", enrolment::nonce_size);
  w.counted_hex("id object", 2);
  w.counted_hex("encrypted secret", 2);
}
void walk_enrolment_response(Walk& w) {
  w.number("version", 1);
  w.hex("reserved", 3);
  w.hex("activation proof", enrolment::proof_size);
  w.hex("token proof", enrolment::proof_size);
}
void walk_enrolment_outcome(Walk& w) {
  w.number("version", 1);
  w.number("code", 1, [](std::uint64_t v) { return v <= enrolment::last_code ? std::string(enrolment::name(enrolment::Code(v))) : decimal(v); });
  w.hex("reserved", 2);
  w.counted_text("device", 2);
  w.counted_text("reason", 2);
}

struct Form {
  std::uint32_t vendor, type;
  void (*walk)(Walk&);
  Result<void> (*check)(Reader&);
};
constexpr std::uint32_t ietf = patnc::vendor_ietf, tcg = patnc::vendor_tcg, ita = patnc::vendor_ita,
                        raw = pts::raw::default_vendor;
constexpr auto identifiers = swima::Content::identifiers, records = swima::Content::records;
constexpr Form forms[] = {
    {ietf, pt::testing, walk_bytes, no_check},
    {ietf, pt::attribute_request, walk_type_names, by<patnc::parse_attribute_request>},
    {ietf, pt::product_information, walk_product, by<patnc::parse_product_information>},
    {ietf, pt::numeric_version, walk_numeric_version, by<patnc::parse_numeric_version>},
    {ietf, pt::string_version, walk_string_version, by<patnc::parse_string_version>},
    {ietf, pt::operational_status, walk_operational_status, by<patnc::parse_operational_status>},
    {ietf, pt::port_filter, walk_ports, by<patnc::parse_port_filter>},
    {ietf, pt::installed_packages, walk_packages, check_packages},
    {ietf, pt::pa_tnc_error, walk_error, check_error},
    {ietf, pt::assessment_result, [](Walk& w) { w.number("result", 4, assessment); },
     by<patnc::parse_assessment_result>},
    {ietf, pt::remediation_instructions, walk_remediation, by<patnc::parse_remediation_instructions>},
    {ietf, pt::forwarding_enabled, [](Walk& w) { w.number("forwarding", 4); }, by<patnc::parse_forwarding_enabled>},
    {ietf, pt::factory_default_password, [](Walk& w) { w.number("default password", 4); },
     by<patnc::parse_factory_default_password>},
    {ietf, pt::swima_request, walk_swima_request, by<swima::parse_request>},
    {ietf, pt::software_identifier_inventory, walk_inventory<false>, check_inventory<identifiers>},
    {ietf, pt::software_identifier_events, walk_events<false>, check_events<identifiers>},
    {ietf, pt::software_inventory, walk_inventory<true>, check_inventory<records>},
    {ietf, pt::software_events, walk_events<true>, check_events<records>},
    {ietf, pt::subscription_status_request, walk_empty, patnc::parse_empty},
    {ietf, pt::subscription_status_response, walk_subscriptions, by<swima::parse_subscription_status>},
    {ietf, pt::source_metadata_request, walk_empty, patnc::parse_empty},
    {ietf, pt::source_metadata_response, walk_sources, by<swima::parse_source_metadata>},
    {ita, pt::ita_command, walk_text, by<patnc::parse_command>},
    {ita, pt::ita_dummy, walk_bytes, by<patnc::parse_dummy>},
    {ita, pt::ita_get_settings, walk_settings<false>, by<patnc::parse_get_settings>},
    {ita, pt::ita_settings, walk_settings<true>, by<patnc::parse_settings>},
    {ita, pt::ita_start_angel, walk_empty, patnc::parse_empty},
    {ita, pt::ita_stop_angel, walk_empty, patnc::parse_empty},
    {ita, pt::ita_device_id, walk_text, by<patnc::parse_device_id>},
    {ita, pt::ita_get_symlinks, walk_text, by<pts::parse_get_symlinks>},
    {ita, pt::ita_symlinks, walk_symlinks, by<pts::parse_symlinks>},
    {tcg, pt::contract_request, walk_contract, by<patnc::parse_contract>},
    {tcg, pt::contract_response, walk_contract, by<patnc::parse_contract>},
    {tcg, pt::segment_envelope, walk_envelope, by<patnc::parse_envelope>},
    {tcg, pt::next_segment, walk_next_segment, by<patnc::parse_next_segment>},
    {tcg, ps::request_capabilities, walk_flags16, by<pts::parse_capabilities>},
    {tcg, ps::capabilities, walk_flags16, by<pts::parse_capabilities>},
    {tcg, ps::dh_nonce_request, walk_dh_request, by<pts::parse_dh_nonce_request>},
    {tcg, ps::dh_nonce_response, walk_dh_response, by<pts::parse_dh_nonce_response>},
    {tcg, ps::dh_nonce_finish, walk_dh_finish, by<pts::parse_dh_nonce_finish>},
    {tcg, ps::algorithm_request, walk_algorithms, by<pts::parse_algorithms>},
    {tcg, ps::algorithm, walk_algorithms, by<pts::parse_algorithms>},
    {tcg, ps::get_tpm_version, [](Walk& w) { w.hex("reserved"); }, no_check},
    {tcg, ps::tpm_version, walk_tpm_version, by<pts::parse_tpm_version>},
    {tcg, ps::get_aik, [](Walk& w) { w.hex("reserved"); }, no_check},
    {tcg, ps::aik, walk_aik, by<pts::parse_aik>},
    {tcg, ps::request_component_evidence, walk_component_requests, by<pts::parse_component_requests>},
    {tcg, ps::generate_evidence, [](Walk& w) { w.hex("reserved"); }, no_check},
    {tcg, ps::simple_component_evidence, walk_evidence, by<pts::parse_simple_component_evidence>},
    {tcg, ps::simple_evidence_final, walk_final, by<pts::parse_simple_evidence_final>},
    {tcg, ps::request_file_metadata, walk_metadata_request, by<pts::parse_file_metadata_request>},
    {tcg, ps::unix_file_metadata, walk_file_metadata, check_cursor<pts::FileMetadataCursor>},
    {tcg, ps::request_file_measurement, walk_file_request, by<pts::parse_file_measurement_request>},
    {tcg, ps::file_measurement, walk_file_measurement, check_cursor<pts::FileMeasurementCursor>},
    {raw, pts::raw::type::capabilities, walk_raw_capabilities, by<pts::raw::parse_capabilities>},
    {raw, pts::raw::type::request, walk_raw_request, by<pts::raw::parse_request>},
    {raw, pts::raw::type::firmware_log, walk_raw_log, check_stream<pts::raw::FirmwareLogStream>},
    {raw, pts::raw::type::ima_list, walk_raw_list, check_stream<pts::raw::ImaListStream>},
    {raw, pts::raw::type::quote, walk_raw_quote, by<pts::raw::parse_quote>},
    {raw, enrolment::type::request, walk_enrolment_request, by<enrolment::parse_request>},
    {raw, enrolment::type::challenge, walk_enrolment_challenge, by<enrolment::parse_challenge>},
    {raw, enrolment::type::response, walk_enrolment_response, by<enrolment::parse_response>},
    {raw, enrolment::type::outcome, walk_enrolment_outcome, by<enrolment::parse_outcome>},
};

const Form* form_of(std::uint32_t vendor_id, std::uint32_t type) {
  for (const Form& form : forms)
    if (form.vendor == vendor_id && form.type == type) return &form;
  return nullptr;
}

}  // namespace

void walk_attribute_value(Walk& w, std::uint32_t vendor_id, std::uint32_t type) {
  const Form* const form = form_of(vendor_id, type);
  if (form == nullptr)
    w.hex("value");
  else
    form->walk(w);
}

Result<void> check_attribute_value(std::uint32_t vendor_id, std::uint32_t type, Bytes value, std::size_t offset) {
  const Form* const form = form_of(vendor_id, type);
  if (form == nullptr) return {};
  Reader r(value, "attribute value", offset);
  return form->check(r);
}

std::string plain_name(std::uint32_t vendor_id, std::uint32_t type) {
  const std::string full = vendor_id == raw ? enrolment::is_attribute(type) ? enrolment::attribute_name(type) : pts::raw::attribute_name(type) : patnc::attribute_name(vendor_id, type);
  const std::size_t slash = full.find('/');
  return slash == std::string::npos ? full : full.substr(slash + 1);
}

}  // namespace gatehouse::trace
