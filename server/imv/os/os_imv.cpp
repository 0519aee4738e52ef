#include "server/imv/os/os_imv.h"

#include <algorithm>

#include "base/hex.h"

namespace gatehouse::server {
namespace {

using patnc::Attribute;
namespace type = patnc::type;

// The seven attributes in the order in which they are asked for (spec part 1b §4.3).
struct Wanted {
  std::uint32_t vendor, type;
  bool (*there)(const EndpointInfo&, const OsImv::Seen&);
};
constexpr Wanted wanted[] = {
    {patnc::vendor_ietf, type::product_information, [](const auto& i, const auto&) { return i.name && i.version; }},
    {patnc::vendor_ietf, type::string_version, [](const auto& i, const auto&) { return i.name && i.version; }},
    {patnc::vendor_ietf, type::numeric_version, [](const auto&, const auto& s) { return s.numeric_version; }},
    {patnc::vendor_ietf, type::operational_status, [](const auto&, const auto& s) { return s.operational_status; }},
    {patnc::vendor_ietf, type::forwarding_enabled, [](const auto&, const auto& s) { return s.forwarding.has_value(); }},
    {patnc::vendor_ietf, type::factory_default_password, [](const auto&, const auto& s) { return s.default_password.has_value(); }},
    {patnc::vendor_ita, type::ita_device_id, [](const auto& i, const auto&) { return i.device_id.has_value(); }},
};

struct Remedy {
  std::string_view en, de;
};
constexpr Remedy forwarding_remedy{"IP Packet Forwarding\n  Please disable the forwarding of IP packets",
                                   "IP Paket Weiterleitung\n  Bitte deaktivieren Sie das Forwarding von IP Paketen"};
constexpr Remedy password_remedy{"Default Password\n  Please change the default password",
                                 "Default Passwort\n  Bitte ändern Sie das default Passwort"};

// Said twice with another value: an endpoint that doesn't know who it is.
template <class T>
void learn(std::optional<T>& slot, T value, bool& inconsistent) {
  if (slot && *slot != value) inconsistent = true;
  slot = std::move(value);
}

}  // namespace

void OsImv::receive(const Message& message) {
  for (const Attribute& a : message.attributes) {
    Reader r(a.value, "RFC 5792", a.value_offset());
    std::optional<Error> bad;
    const auto read = [&](auto parsed, auto&& use) {
      if (parsed) use(*parsed);
      else bad = std::move(parsed).error();
    };
    EndpointInfo& info = c_.info;
    if (a.is(patnc::vendor_ietf, type::product_information))
      read(patnc::parse_product_information(r), [&](const auto& v) { learn(info.name, std::string(v.name), info.inconsistent); });
    else if (a.is(patnc::vendor_ietf, type::string_version))
      read(patnc::parse_string_version(r), [&](const auto& v) { learn(info.version, std::string(v.version), info.inconsistent); });
    else if (a.is(patnc::vendor_ietf, type::numeric_version))
      read(patnc::parse_numeric_version(r), [&](const auto&) { s_.seen.numeric_version = true; });
    else if (a.is(patnc::vendor_ietf, type::operational_status))
      read(patnc::parse_operational_status(r), [&](const auto&) { s_.seen.operational_status = true; });
    else if (a.is(patnc::vendor_ietf, type::forwarding_enabled))
      read(patnc::parse_forwarding_enabled(r), [&](const auto& v) { s_.seen.forwarding = v; });
    else if (a.is(patnc::vendor_ietf, type::factory_default_password))
      read(patnc::parse_factory_default_password(r), [&](const auto& v) { s_.seen.default_password = v; });
    else if (a.is(patnc::vendor_ita, type::ita_device_id))
      read(patnc::parse_device_id(r), [&](const auto& v) {
        if (v.empty()) return;
        learn(info.device_id, std::string(v), info.inconsistent);
        c_.host.log(LogLevel::info, "device ID is " + escaped(v));
      });
    else if (a.is(patnc::vendor_ietf, type::pa_tnc_error))
      c_.host.log(LogLevel::warning, "the endpoint answered the OS IMV with a PA-TNC error");
    if (bad) {
      c_.host.log(LogLevel::warning, "operating system message: " + bad->text());
      channel().refuse(message, {patnc::ErrorCode::invalid_parameter, bad->offset, {}, bad->reason});
      s_.failed = true;
      return;
    }
  }
  if (c_.info.name && c_.info.version && !s_.asked && !s_.settled)
    c_.host.log(LogLevel::info, "operating system is '" + escaped(c_.info.product()) + "'");
}

void OsImv::work() {
  if (s_.settled) return;
  const bool complete = std::all_of(std::begin(wanted), std::end(wanted), [&](const Wanted& w) { return w.there(c_.info, s_.seen); });
  if (complete || s_.asked || s_.failed) return settle();
  // Whatever else is missing, this is enough to know who it is.
  if (c_.info.device_id && c_.info.name && c_.info.version) identify();
  s_.asked = true;
  channel().request_contract();
  std::vector<patnc::TypeName> missing;
  for (const Wanted& w : wanted)
    if (!w.there(c_.info, s_.seen)) missing.push_back({w.vendor, w.type});
  Writer request;
  patnc::append_attribute_request(request, missing);
  (void)channel().add(0, patnc::vendor_ietf, type::attribute_request, request.view());
}

void OsImv::give_up() {
  if (!s_.settled) settle();
}

void OsImv::identify() {
  if (c_.identified()) return;
  if (const auto known = c_.identify(); !known) {
    c_.host.log(LogLevel::error, "the state store can't be read: " + known.error().text());
    s_.store_failed = true;
  }
}

void OsImv::contribute(pipeline::Verdict& verdict, SessionResult&) {
  if (s_.trouble.empty()) return;
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = s_.trouble;
  verdict.findings.insert(verdict.findings.begin(), std::move(f));
  ++verdict.findings_total;
}

void OsImv::settle() {
  s_.settled = true;
  identify();
  const EndpointInfo& info = c_.info;
  if (s_.store_failed) s_.trouble = "the state store can't be read";
  else if (info.inconsistent) s_.trouble = "the endpoint claims two different identities";
  else if (s_.failed) s_.trouble = "the operating system message can't be used";
  else if (!info.name || !info.version) s_.trouble = "the endpoint gave no usable product information";
  if (s_.trouble.empty()) return;
  add_assessment({pipeline::Recommendation::isolate, pipeline::Evaluation::error});
  c_.host.log(LogLevel::warning, std::string(s_.trouble));
}

// What the endpoint should mend is said whether or not anybody asked for it (spec part 1b §4.6).
void OsImv::concluding() {
  say_assessment(evaluation());
  std::string remedy;
  const auto say = [&](const Remedy& text) {
    if (!remedy.empty()) remedy += '\n';
    remedy += c_.language == "de" ? text.de : text.en;
  };
  if (s_.seen.forwarding == 1U) say(forwarding_remedy);
  if (s_.seen.default_password == 1U) say(password_remedy);
  if (!remedy.empty()) {
    Writer text;
    patnc::append_remediation_string(text, {remedy, c_.language == "de" ? "de" : "en"});
    (void)channel().add(0, patnc::vendor_ietf, type::remediation_instructions, text.view());
  }
}

}  // namespace gatehouse::server
