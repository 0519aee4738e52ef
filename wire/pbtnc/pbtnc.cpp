#include "wire/pbtnc/pbtnc.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace gatehouse::pbtnc {
namespace {

constexpr std::string_view spec = "RFC 5793";
constexpr std::string_view language_prefix = "Accept-Language:";

struct Rule {
  std::uint32_t type;
  std::uint32_t least;   // message length
  bool exact;
  std::optional<bool> noskip;
  bool server_only;
};
constexpr Rule rules[] = {
    {type::experimental, 12, false, false, false},
    {type::pa, 24, false, true, false},
    {type::assessment_result, 16, true, true, true},
    {type::access_recommendation, 16, true, false, true},
    {type::remediation_parameters, 20, false, false, true},
    {type::error, 20, false, true, false},
    {type::language_preference, 12, false, false, false},
    {type::reason_string, 17, false, false, true},
};

Refusal invalid(std::size_t offset, std::string_view reason) {
  return {ErrorCode::invalid_parameter, std::uint32_t(offset), 0, reason};
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  if (text.size() < prefix.size()) return false;
  for (std::size_t i = 0; i < prefix.size(); ++i)
    if (lower(text[i]) != lower(prefix[i])) return false;
  return true;
}

// A string with its length in front; NUL is refused at its offset.
std::optional<Refusal> check_string(Reader& r, std::size_t width) {
  const std::size_t at = r.offset();
  if (r.remaining() < width) return invalid(at, "truncated string length");
  const std::uint32_t length = width == 4 ? *r.get<std::uint32_t>() : *r.get<std::uint8_t>();
  if (length > r.remaining()) return invalid(at, "string longer than the message");
  const std::size_t start = r.offset();
  const std::string_view text = as_text(*r.take(length));
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) return invalid(start + nul, "NUL in a string");
  return std::nullopt;
}

// What the RFC says of the values (§4.2-4.6), by type.
std::optional<Refusal> check_value(const Message& m, BatchType batch) {
  Reader r(m.value, spec, m.value_offset());
  switch (m.type) {
    case type::pa: {
      const std::uint32_t head = *r.get<std::uint32_t>();
      if ((head & 0xFFFFFF) == 0xFFFFFF) return invalid(m.value_offset() + 1, "reserved PA message vendor");
      if (*r.get<std::uint32_t>() == 0xFFFFFFFF) return invalid(m.value_offset() + 4, "reserved PA message subtype");
      return std::nullopt;
    }
    case type::assessment_result:
      if (*r.get<std::uint32_t>() > 4) return invalid(m.value_offset(), "unknown assessment result");
      return std::nullopt;
    case type::access_recommendation: {
      const std::uint32_t v = *r.get<std::uint32_t>() & 0xFFFF;
      if (v < 1 || v > 3) return invalid(m.value_offset() + 2, "unknown access recommendation");
      return std::nullopt;
    }
    case type::reason_string: {
      if (auto refusal = check_string(r, 4)) return refusal;
      if (auto refusal = check_string(r, 1)) return refusal;
      if (!r.empty()) return invalid(m.value_offset(), "reason string doesn't fill its message");
      return std::nullopt;
    }
    case type::language_preference:
      if (m.value.empty()) return std::nullopt;  // no preference any more
      if (m.value.size() > 1024) return invalid(m.value_offset(), "language preference longer than 1024 bytes");
      if (!starts_with_ignoring_case(as_text(m.value), language_prefix)) return invalid(m.value_offset(), "language preference without its header");
      if (as_text(m.value).find('\0') != std::string_view::npos) return invalid(m.value_offset(), "NUL in the language preference");
      return std::nullopt;
    default: (void)batch; return std::nullopt;
  }
}

}  // namespace

std::string_view name(BatchType t) {
  switch (t) {
    case BatchType::cdata: return "CDATA";
    case BatchType::sdata: return "SDATA";
    case BatchType::result: return "RESULT";
    case BatchType::cretry: return "CRETRY";
    case BatchType::sretry: return "SRETRY";
    case BatchType::close: return "CLOSE";
  }
  return "CLOSE";
}

std::string_view name(ErrorCode c) {
  switch (c) {
    case ErrorCode::unexpected_batch_type: return "Unexpected Batch Type";
    case ErrorCode::invalid_parameter: return "Invalid Parameter";
    case ErrorCode::local_error: return "Local Error";
    case ErrorCode::unsupported_mandatory_message: return "Unsupported Mandatory Message";
    case ErrorCode::version_not_supported: return "Version Not Supported";
  }
  return "Local Error";
}

std::expected<Batch, Refusal> parse_batch(Bytes bytes, bool from_client) {
  const auto refuse = [](Refusal r) { return std::unexpected(r); };
  Reader r(bytes, spec);
  if (r.remaining() < batch_header_size) return refuse(invalid(0, "truncated batch header"));
  const std::uint8_t version = *r.get<std::uint8_t>();
  if (version != 2) return refuse({ErrorCode::version_not_supported, 0, version, "PB-TNC version isn't 2"});
  const std::uint8_t flags = *r.get<std::uint8_t>();
  if (((flags & 0x80) != 0) == from_client) return refuse(invalid(1, "directionality of the other side"));
  const std::uint8_t kind = std::uint8_t(*r.get<std::uint16_t>() & 0x0F);
  if (kind < 1 || kind > 6) return refuse(invalid(3, "unknown batch type"));
  if (*r.get<std::uint32_t>() != bytes.size()) return refuse(invalid(4, "batch length isn't what the transport delivered"));
  Batch out;
  out.type = BatchType(kind);
  while (!r.empty()) {
    const std::size_t at = r.offset();
    if (out.messages.size() == max_messages) return refuse({ErrorCode::local_error, 0, 0, "more than 1024 messages"});
    if (r.remaining() < message_header_size) return refuse(invalid(at, "truncated message header"));
    Message m;
    m.offset = at;
    m.noskip = (*r.get<std::uint8_t>() & 0x80) != 0;
    m.vendor = *r.get24();
    m.type = *r.get<std::uint32_t>();
    const std::uint32_t length = *r.get<std::uint32_t>();
    if (m.vendor == 0xFFFFFF) return refuse(invalid(at + 1, "reserved message vendor"));
    if (m.type == 0xFFFFFFFF) return refuse(invalid(at + 4, "reserved message type"));
    if (length < message_header_size || length - message_header_size > r.remaining())
      return refuse(invalid(at + 8, "message length out of the batch"));
    m.value = *r.take(length - message_header_size);
    const Rule* rule = nullptr;
    if (m.vendor == vendor_ietf)
      for (const Rule& candidate : rules)
        if (candidate.type == m.type) rule = &candidate;
    if (rule == nullptr || m.type == type::experimental) {
      // PB-Experimental, TCG and ITA messages are all skippable for us.
      if (m.noskip) return refuse({ErrorCode::unsupported_mandatory_message, std::uint32_t(at), 0, "unsupported message with NOSKIP"});
      continue;
    }
    if (rule->noskip && *rule->noskip != m.noskip) return refuse(invalid(at, "NOSKIP flag contradicts the message type"));
    if (length < rule->least || (rule->exact && length != rule->least)) return refuse(invalid(at + 8, "message length out of the type's range"));
    if (rule->server_only && from_client) return refuse(invalid(at, "message that only a server sends"));
    if (auto refusal = check_value(m, out.type)) return refuse(*refusal);
    out.messages.push_back(m);
  }
  if (out.type == BatchType::result) {
    const auto results = std::count_if(out.messages.begin(), out.messages.end(), [](const Message& m) {
      return m.vendor == vendor_ietf && m.type == type::assessment_result;
    });
    // A fatal PB-Error may come in place of a result (spec part 1a §4.6): the receiver looks for it first.
    const bool error = std::any_of(out.messages.begin(), out.messages.end(), [](const Message& m) {
      return m.vendor == vendor_ietf && m.type == type::error;
    });
    if (results != 1 && !error) return refuse(invalid(0, "RESULT batch without exactly one assessment result"));
  }
  return out;
}

PaMessage pa_message(const Message& m) {
  Reader r(m.value, spec, m.value_offset());
  PaMessage v;
  v.exclusive = (*r.get<std::uint8_t>() & 0x80) != 0;
  v.vendor = *r.get24();
  v.subtype = *r.get<std::uint32_t>();
  v.collector = *r.get<std::uint16_t>();
  v.validator = *r.get<std::uint16_t>();
  v.body = r.rest();
  return v;
}

void append_pa(Writer& w, const PaMessage& v) {
  Writer value;
  value.reserve_bytes(pa_header_size + v.body.size());
  value.put(std::uint8_t(v.exclusive ? 0x80 : 0));
  value.put24(v.vendor);
  value.put(v.subtype);
  value.put(v.collector);
  value.put(v.validator);
  value.put_bytes(v.body);
  append_message(w, true, vendor_ietf, type::pa, value.view());
}

std::uint32_t assessment_result(const Message& m) { return *Reader(m.value, spec).get<std::uint32_t>(); }
std::uint16_t access_recommendation(const Message& m) { return std::uint16_t(*Reader(m.value, spec).get<std::uint32_t>()); }

ReasonString reason_string(const Message& m) {
  Reader r(m.value, spec);
  const auto text = *r.take(*r.get<std::uint32_t>());
  const auto language = *r.take(*r.get<std::uint8_t>());
  return {as_text(text), as_text(language)};
}

PbError pb_error(const Message& m) {
  Reader r(m.value, spec);
  PbError v;
  v.fatal = (*r.get<std::uint8_t>() & 0x80) != 0;
  v.vendor = *r.get24();
  v.code = *r.get<std::uint16_t>();
  (void)r.skip(2);
  // Parameters of another size than expected are ignored.
  if (v.vendor == 0 && (v.code == 1 || v.code == 3) && r.remaining() == 4) v.offset = *r.get<std::uint32_t>();
  return v;
}

std::vector<std::string> languages(const Message& m) {
  std::vector<std::string> out;
  if (m.value.size() < language_prefix.size()) return out;
  std::string_view list = as_text(m.value).substr(language_prefix.size());
  while (!list.empty() && out.size() < 16) {
    const std::size_t comma = list.find(',');
    std::string_view one = list.substr(0, comma);
    one = one.substr(0, one.find(';'));
    while (!one.empty() && one.front() == ' ') one.remove_prefix(1);
    while (!one.empty() && one.back() == ' ') one.remove_suffix(1);
    const bool tag = !one.empty() && std::all_of(one.begin(), one.end(), [](char c) {
      return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '*';
    });
    if (tag) out.emplace_back(one);
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
  }
  return out;
}

void append_message(Writer& w, bool noskip, std::uint32_t vendor, std::uint32_t kind, Bytes value) {
  w.put(std::uint8_t(noskip ? 0x80 : 0));
  w.put24(vendor);
  w.put(kind);
  w.put(std::uint32_t(message_header_size + value.size()));
  w.put_bytes(value);
}

void append_assessment_result(Writer& w, std::uint32_t v) {
  Writer value;
  value.put(v);
  append_message(w, true, vendor_ietf, type::assessment_result, value.view());
}
void append_access_recommendation(Writer& w, std::uint16_t code) {
  Writer value;
  value.put(std::uint16_t{0});
  value.put(code);
  append_message(w, false, vendor_ietf, type::access_recommendation, value.view());
}
void append_reason_string(Writer& w, const ReasonString& v) {
  Writer value;
  value.put(std::uint32_t(v.text.size()));
  value.put_text(v.text);
  value.put(std::uint8_t(v.language.size()));
  value.put_text(v.language);
  append_message(w, false, vendor_ietf, type::reason_string, value.view());
}
void append_language_preference(Writer& w, std::string_view list) {
  Writer value;
  value.put_text(language_prefix);
  value.put_text(" ");
  value.put_text(list);
  append_message(w, false, vendor_ietf, type::language_preference, value.view());
}
void append_error(Writer& w, const Refusal& refusal) {
  Writer value;
  value.put(std::uint8_t{0x80});
  value.put24(0);
  value.put(std::uint16_t(refusal.code));
  value.put(std::uint16_t{0});
  switch (refusal.code) {
    case ErrorCode::invalid_parameter:
    case ErrorCode::unsupported_mandatory_message: value.put(refusal.offset); break;
    case ErrorCode::version_not_supported:
      value.put(refusal.bad_version);
      value.put(std::uint8_t{2});
      value.put(std::uint8_t{2});
      value.put(std::uint8_t{0});
      break;
    case ErrorCode::unexpected_batch_type:
    case ErrorCode::local_error: break;
  }
  append_message(w, true, vendor_ietf, type::error, value.view());
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

bool Queue::push(ByteVector message) {
  if (message.size() + batch_header_size > max_batch_) return false;
  messages_.push_back(std::move(message));
  return true;
}

ByteVector Queue::take(std::size_t reserved) {
  Writer w;
  std::size_t n = 0;
  while (n < messages_.size() && batch_header_size + w.size() + messages_[n].size() + reserved <= max_batch_) w.put_bytes(messages_[n++]);
  messages_.erase(messages_.begin(), messages_.begin() + std::ptrdiff_t(n));
  return std::move(w).take();
}

std::string message_name(std::uint32_t vendor, std::uint32_t kind) {
  if (vendor == vendor_ietf) {
    constexpr std::string_view names[] = {"IETF/PB-Experimental", "IETF/PB-PA", "IETF/PB-Assessment-Result", "IETF/PB-Access-Recommendation",
                                          "IETF/PB-Remediation-Parameters", "IETF/PB-Error", "IETF/PB-Language-Preference", "IETF/PB-Reason-String"};
    if (kind < std::size(names)) return std::string(names[kind]);
  }
  if (vendor == vendor_tcg && kind == 1) return "TCG/PB-PDP-Referral";
  if (vendor == vendor_ita && kind == 0) return "ITA-HSR/PB-Noskip-Test";
  if (vendor == vendor_ita && kind == 1) return "ITA-HSR/PB-Mutual-Capability";
  std::array<char, 32> out{};
  std::snprintf(out.data(), out.size(), "0x%06x/0x%08x", vendor, kind);
  return out.data();
}

}  // namespace gatehouse::pbtnc
