#include "rewrite.h"

#include "wire/patnc/attributes.h"
#include "wire/patnc/segmentation.h"
#include "wire/swima/swima.h"

namespace gatehouse::patnc {

bool supported(std::uint32_t vendor, std::uint32_t kind) {
  if (vendor == vendor_ietf) return kind <= type::source_metadata_response;
  if (vendor == vendor_ita) return kind >= type::ita_command && kind <= type::ita_symlinks && kind != 7;
  return vendor == vendor_tcg && kind >= type::contract_request && kind <= type::next_segment;
}

namespace {

template <class Format, class Append>
Result<ByteVector> rewrite_records(Reader& r, Format format, Append append_header_and_records) {
  std::vector<typename Format::Record> records;
  GH_TRY(const auto header, parse_records(r, format, [&](const auto& record) { records.push_back(record); }));
  Writer w;
  append_header_and_records(w, header, records);
  return std::move(w).take();
}

Result<ByteVector> rewrite_inventory(Reader& r, swima::Content content) {
  return rewrite_records(r, swima::InventoryFormat{.content = content},
                         [&](Writer& w, const auto& header, const auto& records) {
                           swima::append_inventory(w, header, records, content);
                         });
}

Result<ByteVector> rewrite_events(Reader& r, swima::Content content) {
  return rewrite_records(
      r, swima::EventsFormat{.content = content},
      [&](Writer& w, const auto& header, const auto& records) { swima::append_events(w, header, records, content); });
}

Result<ByteVector> rewrite_error(Reader& r) {
  Writer w;
  GH_TRY(PaTncError v, parse_error(r));
  Writer information;
  if (v.vendor == vendor_ietf && v.code >= swima::error::general && v.code <= swima::error::subscription_id_reuse) {
    Reader inner(v.information, "", r.offset());
    GH_TRY(const auto swima, swima::parse_error_information(v.code, inner));
    swima::append_error_information(information, v.code, swima);
  } else {
    append_error_information(information, error_information(v));
  }
  v.information = information.view();
  append_error(w, v);
  return std::move(w).take();
}

Result<ByteVector> rewrite_ietf(std::uint32_t kind, Reader& r) {
  Writer w;
  switch (kind) {
    case type::attribute_request: {
      GH_TRY(const auto v, parse_attribute_request(r));
      append_attribute_request(w, v);
      break;
    }
    case type::product_information: {
      GH_TRY(const auto v, parse_product_information(r));
      append_product_information(w, v);
      break;
    }
    case type::numeric_version: {
      GH_TRY(const auto v, parse_numeric_version(r));
      append_numeric_version(w, v);
      break;
    }
    case type::string_version: {
      GH_TRY(const auto v, parse_string_version(r));
      append_string_version(w, v);
      break;
    }
    case type::operational_status: {
      GH_TRY(const auto v, parse_operational_status(r));
      append_operational_status(w, v);
      break;
    }
    case type::port_filter: {
      GH_TRY(const auto v, parse_port_filter(r));
      append_port_filter(w, v);
      break;
    }
    case type::installed_packages:
      return rewrite_records(r, PackagesFormat{}, [](Writer& out, const auto&, const auto& packages) {
        append_installed_packages(out, packages);
      });
    case type::pa_tnc_error:
      return rewrite_error(r);
    case type::assessment_result: {
      GH_TRY(const auto v, parse_assessment_result(r));
      append_u32(w, v);
      break;
    }
    case type::remediation_instructions: {
      GH_TRY(const auto v, parse_remediation_instructions(r));
      append_remediation_instructions(w, v);
      break;
    }
    case type::forwarding_enabled: {
      GH_TRY(const auto v, parse_forwarding_enabled(r));
      append_u32(w, v);
      break;
    }
    case type::factory_default_password: {
      GH_TRY(const auto v, parse_factory_default_password(r));
      append_u32(w, v);
      break;
    }
    case type::swima_request: {
      GH_TRY(const auto v, swima::parse_request(r));
      swima::append_request(w, v);
      break;
    }
    case type::software_identifier_inventory:
      return rewrite_inventory(r, swima::Content::identifiers);
    case type::software_identifier_events:
      return rewrite_events(r, swima::Content::identifiers);
    case type::software_inventory:
      return rewrite_inventory(r, swima::Content::records);
    case type::software_events:
      return rewrite_events(r, swima::Content::records);
    case type::subscription_status_request:
    case type::source_metadata_request:
      GH_CHECK(parse_empty(r));
      break;
    case type::subscription_status_response: {
      GH_TRY(const auto v, swima::parse_subscription_status(r));
      swima::append_subscription_status(w, v);
      break;
    }
    case type::source_metadata_response: {
      GH_TRY(const auto v, swima::parse_source_metadata(r));
      swima::append_source_metadata(w, v);
      break;
    }
    default:
      w.put_bytes(r.rest());
  }
  return std::move(w).take();
}

Result<ByteVector> rewrite_ita(std::uint32_t kind, Reader& r) {
  Writer w;
  switch (kind) {
    case type::ita_command: {
      GH_TRY(const auto v, parse_command(r));
      append_command(w, v);
      break;
    }
    case type::ita_dummy: {
      GH_TRY(const auto v, parse_dummy(r));
      w.put_bytes(v);
      break;
    }
    case type::ita_get_settings: {
      GH_TRY(const auto v, parse_get_settings(r));
      append_get_settings(w, v);
      break;
    }
    case type::ita_settings: {
      GH_TRY(const auto v, parse_settings(r));
      append_settings(w, v);
      break;
    }
    case type::ita_start_angel:
    case type::ita_stop_angel:
      GH_CHECK(parse_empty(r));
      break;
    case type::ita_device_id: {
      GH_TRY(const auto v, parse_device_id(r));
      append_device_id(w, v);
      break;
    }
    default:
      w.put_bytes(r.rest());
  }
  return std::move(w).take();
}

Result<ByteVector> rewrite_tcg(std::uint32_t kind, Reader& r) {
  Writer w;
  switch (kind) {
    case type::contract_request:
    case type::contract_response: {
      GH_TRY(const auto v, parse_contract(r));
      append_contract(w, v);
      break;
    }
    case type::segment_envelope: {
      GH_TRY(const auto v, parse_envelope(r));
      append_envelope(w, v);
      break;
    }
    case type::next_segment: {
      GH_TRY(const auto v, parse_next_segment(r));
      append_next_segment(w, v);
      break;
    }
    default:
      w.put_bytes(r.rest());
  }
  return std::move(w).take();
}

}  // namespace

Result<ByteVector> rewrite_value(const Attribute& a) {
  Reader r(a.value, "test", a.value_offset());
  switch (a.vendor) {
    case vendor_ietf:
      return rewrite_ietf(a.type, r);
    case vendor_ita:
      return rewrite_ita(a.type, r);
    case vendor_tcg:
      return rewrite_tcg(a.type, r);
    default:
      return to_vector(a.value);
  }
}

Result<std::optional<Refusal>> refusal_of(Bytes message) {
  GH_TRY(const auto parsed, parse_message(message, supported));
  if (parsed.refusal) return parsed.refusal;
  for (const Attribute& a : parsed.attributes) {
    const auto value = rewrite_value(a);
    if (!value && !a.is(vendor_ietf, type::pa_tnc_error))  // an error is never answered by an error
      return Refusal{ErrorCode::invalid_parameter, value.error().offset, {}, value.error().reason};
  }
  return std::optional<Refusal>();
}

Result<ByteVector> rewrite(Bytes message) {
  GH_TRY(const auto parsed, parse_message(message, [](std::uint32_t, std::uint32_t) { return true; }));
  if (parsed.refusal) return fail(Fault::malformed, parsed.refusal->reason, "", parsed.refusal->offset);
  Writer w;
  w.put(std::uint8_t{1});
  w.put24(0);
  w.put(parsed.header.identifier);
  for (const Attribute& a : parsed.attributes) {
    GH_TRY(const ByteVector value, rewrite_value(a));
    append_attribute(w, a.flags, a.vendor, a.type, value);
  }
  return std::move(w).take();
}

}  // namespace gatehouse::patnc
