#include "wire/pbtnc/values.h"

#include <algorithm>

namespace gatehouse::pbtnc {
namespace {

constexpr std::string_view rfc5793 = "RFC 5793";
constexpr std::string_view language_prefix = "Accept-Language:";

Refusal invalid_value(std::size_t offset, std::string_view reason) {
  return {ErrorCode::invalid_parameter, std::uint32_t(offset), 0, reason};
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }
bool letter(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool digit(char c) { return c >= '0' && c <= '9'; }

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) { return lower(a) == lower(b); });
}

std::optional<Refusal> check_nul(std::string_view text, std::size_t offset) {
  if (const auto nul = text.find('\0'); nul != std::string_view::npos) return invalid_value(offset + nul, "NUL in a string");
  return std::nullopt;
}

// A string with its length of `width` octets in front.
std::optional<Refusal> check_string(Reader& r, std::size_t width) {
  const std::size_t at = r.offset();
  if (r.remaining() < width) return invalid_value(at, "truncated string length");
  const std::uint32_t length = width == 4 ? *r.get<std::uint32_t>() : *r.get<std::uint8_t>();
  if (length > r.remaining()) return invalid_value(at, "string longer than the message");
  const std::size_t start = r.offset();
  return check_nul(as_text(*r.take(length)), start);
}

// Length(32), text, length(8), language tag: nothing behind them. Bytes that are left over are the last length's fault.
std::optional<Refusal> check_text_with_language(Reader& r) {
  if (auto refusal = check_string(r, 4)) return refusal;
  const std::size_t last = r.offset();
  if (auto refusal = check_string(r, 1)) return refusal;
  if (!r.empty()) return invalid_value(last, "strings don't fill their message");
  return std::nullopt;
}

std::optional<Refusal> check_remediation(Reader& r) {
  const std::uint32_t vendor = *r.get<std::uint32_t>() & 0xFFFFFF, kind = *r.get<std::uint32_t>();
  if (vendor != vendor_ietf) return std::nullopt;
  if (kind == Remediation::type_uri) return check_nul(as_text(r.rest()), r.offset());
  if (kind == Remediation::type_string) return check_text_with_language(r);
  return std::nullopt;
}

std::optional<Refusal> check_reason(Reader& r) {
  const auto at = r;
  if (auto refusal = check_text_with_language(r)) return refusal;
  if (*Reader(at).get<std::uint32_t>() == 0) return invalid_value(at.offset(), "empty reason string");
  return std::nullopt;
}

std::optional<Refusal> check_referral(const Message& m) {
  Reader r(m.value, rfc5793, m.value_offset());
  const std::uint32_t vendor = *r.get<std::uint32_t>() & 0xFFFFFF, kind = *r.get<std::uint32_t>();
  if (vendor != vendor_tcg || kind > std::uint32_t(PdpReferral::Kind::ipv6)) return std::nullopt;
  constexpr std::size_t before_host = 4;
  const std::size_t size = r.remaining();
  const bool fits = kind == std::uint32_t(PdpReferral::Kind::fqdn)   ? size > before_host
                    : kind == std::uint32_t(PdpReferral::Kind::ipv4) ? size == before_host + 4
                                                                     : size == before_host + 16;
  if (!fits) return invalid_value(m.offset + 8, "PDP referral of the wrong length");
  if (kind != std::uint32_t(PdpReferral::Kind::fqdn)) return std::nullopt;
  (void)r.skip(before_host);
  return check_nul(as_text(r.rest()), r.offset());
}

// RFC 3282 list of language ranges with weights.
class LanguageList {
 public:
  struct Choice {
    std::string tag;
    unsigned weight;  // thousandths
  };
  // The choices, best first; or where the list is wrong, counted from its first byte.
  static std::expected<std::vector<Choice>, std::size_t> parse(std::string_view list) {
    LanguageList p(list);
    std::vector<Choice> out;
    for (std::size_t seen = 0; !p.at_end(); p.skip_comma()) {
      p.skip_blanks();
      if (p.at_end() || p.peek() == ',') continue;  // empty elements are let pass, as in every list of RFC 822's family
      const std::size_t start = p.at_;
      auto one = p.choice();
      p.skip_blanks();
      if (!one || !(p.at_end() || p.peek() == ',')) return std::unexpected(start);
      if (++seen > max_languages || one->weight == 0) continue;
      const auto worse = std::find_if(out.begin(), out.end(), [&](const Choice& c) { return c.weight < one->weight; });
      out.insert(worse, *std::move(one));
    }
    return out;
  }

 private:
  explicit LanguageList(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ == text_.size(); }
  char peek() const { return at_end() ? '\0' : text_[at_]; }
  bool accept(char c) {
    if (at_end() || lower(text_[at_]) != c) return false;
    ++at_;
    return true;
  }
  void skip_comma() {
    if (!at_end()) ++at_;
  }
  void skip_blanks() {
    while (peek() == ' ' || peek() == '\t') ++at_;
  }

  // 1*8ALPHA *("-" 1*8alphanum), or "*".
  std::optional<std::string> tag() {
    if (accept('*')) return "*";
    std::string out;
    for (bool first = true;; first = false) {
      std::size_t n = 0;
      while (n < 8 && (letter(peek()) || (!first && digit(peek())))) {
        out += lower(text_[at_++]);
        ++n;
      }
      if (n == 0 || letter(peek()) || digit(peek())) return std::nullopt;
      if (!accept('-')) return out;
      out += '-';
    }
  }
  // "0" ["." 0*3DIGIT] or "1" ["." 0*3"0"], in thousandths.
  std::optional<unsigned> weight() {
    const bool one = peek() == '1';
    if (!accept('0') && !accept('1')) return std::nullopt;
    unsigned out = one ? 1000 : 0;
    if (!accept('.')) return out;
    for (unsigned place = 100; place > 0 && digit(peek()); place /= 10) out += unsigned(text_[at_++] - '0') * place;
    if (digit(peek()) || out > 1000) return std::nullopt;
    return out;
  }
  std::optional<Choice> choice() {
    auto name = tag();
    if (!name) return std::nullopt;
    skip_blanks();
    if (!accept(';')) return Choice{*std::move(name), 1000};
    skip_blanks();
    if (!accept('q')) return std::nullopt;
    skip_blanks();
    if (!accept('=')) return std::nullopt;
    skip_blanks();
    const auto q = weight();
    if (!q) return std::nullopt;
    return Choice{*std::move(name), *q};
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

// A value that isn't the header at all is fatal; a list that can't be read only means that there is no preference.
std::optional<Refusal> check_languages(const Message& m) {
  const std::string_view text = as_text(m.value);
  if (text.empty()) return std::nullopt;
  if (!starts_with_ignoring_case(text, language_prefix))
    return invalid_value(m.value_offset(), "language preference without its header");
  if (auto refusal = check_nul(text, m.value_offset())) return refusal;
  std::optional<std::size_t> wrong;
  if (text.size() > max_language_preference) {
    wrong = m.value_offset();
  } else if (const auto list = LanguageList::parse(text.substr(language_prefix.size())); !list) {
    wrong = m.value_offset() + language_prefix.size() + list.error();
  }
  if (!wrong) return std::nullopt;
  Refusal out = invalid_value(*wrong, "malformed language preference");
  out.fatal = false;
  return out;
}

}  // namespace

std::optional<Refusal> check_value(const Message& m) {
  Reader r(m.value, rfc5793, m.value_offset());
  if (m.is(vendor_tcg, type::tcg_pdp_referral)) return check_referral(m);
  if (m.vendor != vendor_ietf) return std::nullopt;
  switch (m.type) {
    case type::pa:
      if ((*r.get<std::uint32_t>() & 0xFFFFFF) == 0xFFFFFF)
        return invalid_value(m.value_offset() + 1, "reserved PA message vendor");
      if (*r.get<std::uint32_t>() == 0xFFFFFFFF) return invalid_value(m.value_offset() + 4, "reserved PA message subtype");
      return std::nullopt;
    case type::assessment_result:
      if (*r.get<std::uint32_t>() > 4) return invalid_value(m.value_offset(), "unknown assessment result");
      return std::nullopt;
    case type::access_recommendation: {
      const std::uint32_t code = *r.get<std::uint32_t>() & 0xFFFF;
      if (code < 1 || code > 3) return invalid_value(m.value_offset() + 2, "unknown access recommendation");
      return std::nullopt;
    }
    case type::remediation_parameters:
      return check_remediation(r);
    case type::reason_string:
      return check_reason(r);
    case type::language_preference:
      return check_languages(m);
    default:
      return std::nullopt;
  }
}

PaMessage pa_message(const Message& m) {
  Reader r(m.value, rfc5793, m.value_offset());
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

std::uint32_t assessment_result(const Message& m) { return *Reader(m.value, rfc5793).get<std::uint32_t>(); }
std::uint16_t access_recommendation(const Message& m) {
  return std::uint16_t(*Reader(m.value, rfc5793).get<std::uint32_t>());
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

namespace {

ReasonString text_with_language(Reader& r) {
  const auto text = *r.take(*r.get<std::uint32_t>());
  const auto language = *r.take(*r.get<std::uint8_t>());
  return {as_text(text), as_text(language)};
}
void append_text_with_language(Writer& w, std::string_view text, std::string_view language) {
  GH_ASSERT(language.size() <= 255);
  w.put(std::uint32_t(text.size()));
  w.put_text(text);
  w.put(std::uint8_t(language.size()));
  w.put_text(language);
}

}  // namespace

Remediation remediation(const Message& m) {
  Reader r(m.value, rfc5793);
  Remediation v;
  v.vendor = *r.get<std::uint32_t>() & 0xFFFFFF;
  v.type = *r.get<std::uint32_t>();
  v.parameters = r.rest();
  if (v.vendor != vendor_ietf) return v;
  if (v.type == Remediation::type_uri) v.uri = as_text(v.parameters);
  if (v.type == Remediation::type_string) {
    const ReasonString s = text_with_language(r);
    v.text = s.text;
    v.language = s.language;
  }
  return v;
}
void append_remediation(Writer& w, std::uint32_t vendor, std::uint32_t kind, Bytes parameters) {
  Writer value;
  value.put(std::uint8_t{0});
  value.put24(vendor);
  value.put(kind);
  value.put_bytes(parameters);
  append_message(w, false, vendor_ietf, type::remediation_parameters, value.view());
}
void append_remediation_uri(Writer& w, std::string_view uri) {
  append_remediation(w, vendor_ietf, Remediation::type_uri, as_bytes(uri));
}
void append_remediation_string(Writer& w, std::string_view text, std::string_view language) {
  Writer parameters;
  append_text_with_language(parameters, text, language);
  append_remediation(w, vendor_ietf, Remediation::type_string, parameters.view());
}

ReasonString reason_string(const Message& m) {
  Reader r(m.value, rfc5793);
  return text_with_language(r);
}
void append_reason_string(Writer& w, const ReasonString& v) {
  Writer value;
  append_text_with_language(value, v.text, v.language);
  append_message(w, false, vendor_ietf, type::reason_string, value.view());
}

std::vector<std::string> languages(const Message& m) {
  std::vector<std::string> out;
  if (m.value.size() < language_prefix.size()) return out;
  if (auto list = LanguageList::parse(as_text(m.value).substr(language_prefix.size())))
    for (LanguageList::Choice& c : *list) out.push_back(std::move(c.tag));
  return out;
}
void append_language_preference(Writer& w, std::string_view list) {
  Writer value;
  if (!list.empty()) {
    value.put_text(language_prefix);
    value.put_text(" ");
    value.put_text(list);
  }
  append_message(w, false, vendor_ietf, type::language_preference, value.view());
}
std::string_view choose_language(std::span<const std::string> preferred, std::span<const std::string_view> available) {
  const auto same = [](std::string_view a, std::string_view b) {
    return a.size() == b.size() && starts_with_ignoring_case(a, b);
  };
  for (std::string_view range : preferred) {
    if (range == "*") return available.front();
    for (;;) {
      for (const std::string_view one : available)
        if (same(one, range)) return one;
      const std::size_t dash = range.rfind('-');
      if (dash == std::string_view::npos) break;
      range = range.substr(0, dash);
    }
  }
  return available.front();
}

PbError pb_error(const Message& m) {
  Reader r(m.value, rfc5793);
  PbError v;
  v.fatal = (*r.get<std::uint8_t>() & 0x80) != 0;
  v.vendor = *r.get24();
  v.code = *r.get<std::uint16_t>();
  (void)r.skip(2);
  if (v.vendor != vendor_ietf || r.remaining() != 4) return v;
  if (v.code == std::uint16_t(ErrorCode::invalid_parameter) ||
      v.code == std::uint16_t(ErrorCode::unsupported_mandatory_message))
    v.offset = *r.get<std::uint32_t>();
  if (v.code == std::uint16_t(ErrorCode::version_not_supported)) v.bad_version = *r.get<std::uint8_t>();
  return v;
}
void append_error(Writer& w, const Refusal& refusal) {
  Writer value;
  value.put(std::uint8_t(refusal.fatal ? 0x80 : 0));
  value.put24(vendor_ietf);
  value.put(std::uint16_t(refusal.code));
  value.put(std::uint16_t{0});
  switch (refusal.code) {
    case ErrorCode::invalid_parameter:
    case ErrorCode::unsupported_mandatory_message:
      value.put(refusal.offset);
      break;
    case ErrorCode::version_not_supported:
      value.put(refusal.bad_version);
      value.put(std::uint8_t{2});  // highest
      value.put(std::uint8_t{2});  // lowest
      value.put(std::uint8_t{0});
      break;
    case ErrorCode::unexpected_batch_type:
    case ErrorCode::local_error:
      break;
  }
  append_message(w, true, vendor_ietf, type::error, value.view());
}

PdpReferral pdp_referral(const Message& m) {
  Reader r(m.value, rfc5793);
  PdpReferral v;
  v.vendor = *r.get<std::uint32_t>() & 0xFFFFFF;
  v.type = *r.get<std::uint32_t>();
  if (v.vendor == vendor_tcg && v.type <= std::uint32_t(PdpReferral::Kind::ipv6)) {
    (void)r.skip(1);
    v.protocol = *r.get<std::uint8_t>();
    v.port = *r.get<std::uint16_t>();
  }
  v.host = r.rest();
  return v;
}
void append_pdp_referral(Writer& w, PdpReferral::Kind kind, std::uint16_t port, Bytes host) {
  Writer value;
  value.put(std::uint8_t{0});
  value.put24(vendor_tcg);
  value.put(std::uint32_t(kind));
  value.put(std::uint8_t{0});
  value.put(PdpReferral::protocol_pt_tls);
  value.put(port);
  value.put_bytes(host);
  append_message(w, false, vendor_tcg, type::tcg_pdp_referral, value.view());
}

std::uint32_t mutual_capability(const Message& m) { return *Reader(m.value, rfc5793).get<std::uint32_t>(); }
void append_mutual_capability(Writer& w, std::uint32_t protocols) {
  Writer value;
  value.put(protocols);
  append_message(w, false, vendor_ita, type::ita_mutual_capability, value.view());
}

constexpr std::uint8_t kept_connection_version = 1;
bool kept_connection(const Message& m) { return *Reader(m.value, rfc5793).get<std::uint8_t>() == kept_connection_version; }
void append_kept_connection(Writer& w) {
  const std::byte version[] = {std::byte(kept_connection_version)};
  append_message(w, false, vendor_gatehouse, type::kept_connection, version);
}

}  // namespace gatehouse::pbtnc
