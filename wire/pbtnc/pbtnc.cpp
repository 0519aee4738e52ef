#include "wire/pbtnc/pbtnc.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "wire/pbtnc/values.h"

namespace gatehouse::pbtnc {
namespace {

constexpr std::string_view spec = "RFC 5793";

struct Rule {
  std::uint32_t vendor, type;
  std::uint32_t least;  // message length
  bool exact;
  bool noskip;  // what the flag must be
  bool server_only;
};
// Spec part 1a §4.2 and §4.10. PB-Experimental and PB-Noskip-Test aren't known to anybody.
constexpr Rule rules[] = {
    {vendor_ietf, type::pa, 24, false, true, false},
    {vendor_ietf, type::assessment_result, 16, true, true, true},
    {vendor_ietf, type::access_recommendation, 16, true, false, true},
    {vendor_ietf, type::remediation_parameters, 20, false, false, true},
    {vendor_ietf, type::error, 20, false, true, false},
    {vendor_ietf, type::language_preference, 12, false, false, false},
    {vendor_ietf, type::reason_string, 17, false, false, true},
    {vendor_tcg, type::tcg_pdp_referral, 20, false, false, false},
    {vendor_ita, type::ita_mutual_capability, 16, false, false, false},
    {vendor_gatehouse, type::kept_connection, 13, false, false, false},
};

const Rule* rule_for(const Message& m) {
  const auto it =
      std::find_if(std::begin(rules), std::end(rules), [&](const Rule& r) { return m.is(r.vendor, r.type); });
  return it == std::end(rules) ? nullptr : it;
}

Refusal invalid(std::size_t offset, std::string_view reason) {
  return {ErrorCode::invalid_parameter, std::uint32_t(offset), 0, reason};
}

std::expected<BatchType, Refusal> parse_header(Reader& r, bool from_client) {
  const auto refuse = [](std::size_t offset, std::string_view why) { return std::unexpected(invalid(offset, why)); };
  const std::size_t delivered = r.remaining();
  if (delivered < batch_header_size) return refuse(0, "truncated batch header");
  const std::uint8_t version = *r.get<std::uint8_t>();
  if (version != 2)
    return std::unexpected(Refusal{ErrorCode::version_not_supported, 0, version, "PB-TNC version isn't 2"});
  const std::uint8_t flags = *r.get<std::uint8_t>();
  if (((flags & 0x80) != 0) == from_client) return refuse(1, "directionality of the other side");
  const std::uint8_t kind = std::uint8_t(*r.get<std::uint16_t>() & 0x0F);
  if (kind < 1 || kind > 6) return refuse(3, "unknown batch type");
  if (*r.get<std::uint32_t>() != delivered) return refuse(4, "batch length isn't what the transport delivered");
  return BatchType(kind);
}

std::expected<Message, Refusal> parse_message(Reader& r) {
  const std::size_t at = r.offset();
  const auto refuse = [](std::size_t offset, std::string_view why) { return std::unexpected(invalid(offset, why)); };
  if (r.remaining() < message_header_size) return refuse(at, "truncated message header");
  Message m;
  m.offset = at;
  m.noskip = (*r.get<std::uint8_t>() & 0x80) != 0;
  m.vendor = *r.get24();
  m.type = *r.get<std::uint32_t>();
  const std::uint32_t length = *r.get<std::uint32_t>();
  if (m.vendor == 0xFFFFFF) return refuse(at + 1, "reserved message vendor");
  if (m.type == 0xFFFFFFFF) return refuse(at + 4, "reserved message type");
  if (length < message_header_size || length - message_header_size > r.remaining())
    return refuse(at + 8, "message length out of the batch");
  m.value = *r.take(length - message_header_size);
  return m;
}

std::optional<Refusal> check_result(const Batch& batch) {
  // A fatal PB-Error may come in place of a result or beside one (spec part 1a §4.6): the receiver looks for it first.
  if (fatal_error(batch)) return std::nullopt;
  const auto count = [&](std::uint32_t kind) {
    return std::count_if(batch.messages.begin(), batch.messages.end(),
                         [&](const Message& m) { return m.is(vendor_ietf, kind); });
  };
  if (count(type::assessment_result) != 1) return invalid(0, "RESULT batch without exactly one assessment result");
  if (count(type::access_recommendation) > 1)
    return invalid(0, "RESULT batch with more than one access recommendation");
  return std::nullopt;
}

}  // namespace

std::string_view name(BatchType t) {
  switch (t) {
    case BatchType::cdata:
      return "CDATA";
    case BatchType::sdata:
      return "SDATA";
    case BatchType::result:
      return "RESULT";
    case BatchType::cretry:
      return "CRETRY";
    case BatchType::sretry:
      return "SRETRY";
    case BatchType::close:
      return "CLOSE";
  }
  return "CLOSE";
}

std::string_view name(ErrorCode c) {
  switch (c) {
    case ErrorCode::unexpected_batch_type:
      return "Unexpected Batch Type";
    case ErrorCode::invalid_parameter:
      return "Invalid Parameter";
    case ErrorCode::local_error:
      return "Local Error";
    case ErrorCode::unsupported_mandatory_message:
      return "Unsupported Mandatory Message";
    case ErrorCode::version_not_supported:
      return "Version Not Supported";
  }
  return "Local Error";
}

std::expected<Batch, Refusal> parse_batch(Bytes bytes, const Parsing& how) {
  const auto refuse = [](Refusal r) { return std::unexpected(r); };
  Reader r(bytes, spec);
  const auto header = parse_header(r, how.from_client);
  if (!header) return refuse(header.error());
  if (bytes.size() > how.max_batch) return refuse({ErrorCode::local_error, 0, 0, "batch larger than is configured"});
  Batch out;
  out.type = *header;
  for (std::size_t count = 0; !r.empty(); ++count) {
    if (count == max_messages) return refuse({ErrorCode::local_error, 0, 0, "more than 1024 messages"});
    auto m = parse_message(r);
    if (!m) return refuse(m.error());
    const Rule* const rule = rule_for(*m);
    if (rule == nullptr) {
      if (m->noskip)
        return refuse(
            {ErrorCode::unsupported_mandatory_message, std::uint32_t(m->offset), 0, "unsupported message with NOSKIP"});
      m->known = false;
      if (how.keep_unknown) out.messages.push_back(*m);
      continue;
    }
    const std::size_t length = message_header_size + m->value.size();
    if (rule->noskip != m->noskip) return refuse(invalid(m->offset, "NOSKIP flag contradicts the message type"));
    if (length < rule->least || (rule->exact && length != rule->least))
      return refuse(invalid(m->offset + 8, "message length out of the type's range"));
    if (rule->server_only && how.from_client) return refuse(invalid(m->offset, "message that only a server sends"));
    if (const auto refusal = check_value(*m)) {
      if (refusal->fatal) return refuse(*refusal);
      if (out.remarks.size() < max_remarks) out.remarks.push_back(*refusal);
      continue;
    }
    out.messages.push_back(*m);
  }
  if (out.type == BatchType::result)
    if (const auto refusal = check_result(out)) return refuse(*refusal);
  return out;
}

std::optional<PbError> fatal_error(const Batch& batch) {
  for (const Message& m : batch.messages)
    if (m.is(vendor_ietf, type::error))
      if (const PbError e = pb_error(m); e.fatal) return e;
  return std::nullopt;
}

std::string description(const PbError& e) {
  std::string out = e.vendor == vendor_ietf && e.code <= 4
                        ? std::string(name(ErrorCode(e.code)))
                        : "code " + std::to_string(e.code) + " of vendor " + std::to_string(e.vendor);
  if (e.offset) out += " at offset " + std::to_string(*e.offset);
  if (e.bad_version) out += " caused by version " + std::to_string(*e.bad_version);
  return out;
}

void append_message(Writer& w, bool noskip, std::uint32_t vendor, std::uint32_t kind, Bytes value) {
  w.reserve_bytes(message_header_size + value.size());
  w.put(std::uint8_t(noskip ? 0x80 : 0));
  w.put24(vendor);
  w.put(kind);
  w.put(std::uint32_t(message_header_size + value.size()));
  w.put_bytes(value);
}

ByteVector batch(BatchType kind, bool from_server, Bytes messages) {
  Writer w;
  w.reserve_bytes(batch_header_size + messages.size());
  w.put(std::uint8_t{2});
  w.put(std::uint8_t(from_server ? 0x80 : 0));
  w.put(std::uint8_t{0});
  w.put(std::uint8_t(kind));
  w.put(std::uint32_t(batch_header_size + messages.size()));
  w.put_bytes(messages);
  return std::move(w).take();
}

std::string message_name(std::uint32_t vendor, std::uint32_t kind) {
  if (vendor == vendor_ietf) {
    constexpr std::string_view names[] = {"IETF/PB-Experimental",           "IETF/PB-PA",
                                          "IETF/PB-Assessment-Result",      "IETF/PB-Access-Recommendation",
                                          "IETF/PB-Remediation-Parameters", "IETF/PB-Error",
                                          "IETF/PB-Language-Preference",    "IETF/PB-Reason-String"};
    if (kind < std::size(names)) return std::string(names[kind]);
  }
  if (vendor == vendor_tcg && kind == type::tcg_pdp_referral) return "TCG/PB-PDP-Referral";
  if (vendor == vendor_ita && kind == type::ita_noskip_test) return "ITA-HSR/PB-Noskip-Test";
  if (vendor == vendor_ita && kind == type::ita_mutual_capability) return "ITA-HSR/PB-Mutual-Capability";
  if (vendor == vendor_gatehouse && kind == type::kept_connection) return "Gatehouse/PB-Kept-Connection";
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "0x%06x/0x%08x", vendor, kind);
  return out.data();
}

}  // namespace gatehouse::pbtnc
