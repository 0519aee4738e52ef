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

void OsImv::receive(const pbtnc::PaMessage& pa, const patnc::Parsed& message) {
  patnc::Builder reply = c_.builder();
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
      read(patnc::parse_numeric_version(r), [&](const auto&) { seen_.numeric_version = true; });
    else if (a.is(patnc::vendor_ietf, type::operational_status))
      read(patnc::parse_operational_status(r), [&](const auto&) { seen_.operational_status = true; });
    else if (a.is(patnc::vendor_ietf, type::forwarding_enabled))
      read(patnc::parse_forwarding_enabled(r), [&](const auto& v) { seen_.forwarding = v; });
    else if (a.is(patnc::vendor_ietf, type::factory_default_password))
      read(patnc::parse_factory_default_password(r), [&](const auto& v) { seen_.default_password = v; });
    else if (a.is(patnc::vendor_ita, type::ita_device_id))
      read(patnc::parse_device_id(r), [&](const auto& v) {
        if (v.empty()) return;
        learn(info.device_id, std::string(v), info.inconsistent);
        c_.host.log(LogLevel::info, "device ID is " + escaped(v));
      });
    else if (a.is(patnc::vendor_tcg, type::contract_request))
      read(patnc::parse_contract(r), [&](const auto& v) { c_.say_contract_response(reply, v); });
    else if (a.is(patnc::vendor_ietf, type::pa_tnc_error))
      c_.host.log(LogLevel::warning, "the endpoint answered the OS IMV with a PA-TNC error");
    if (bad) {
      c_.host.log(LogLevel::warning, "operating system message: " + bad->text());
      patnc::Refusal refusal{patnc::ErrorCode::invalid_parameter, bad->offset, {}, bad->reason};
      c_.say_error(pa.vendor, pa.subtype, id(), pa.collector, refusal, message.header.copy);
      failed_ = true;
      return;
    }
  }
  if (!reply.empty()) c_.say(patnc::vendor_ietf, patnc::subtype_operating_system, id(), std::move(reply), pa.collector);
  if (c_.info.name && c_.info.version && !asked_ && !result_)
    c_.host.log(LogLevel::info, "operating system is '" + escaped(c_.info.product()) + "'");
}

void OsImv::batch_end() {
  if (result_) return;
  const bool complete = std::all_of(std::begin(wanted), std::end(wanted), [&](const Wanted& w) { return w.there(c_.info, seen_); });
  if (complete || asked_ || failed_) return assess();
  // Whatever else is missing, this is enough to know who it is.
  if (c_.info.device_id && c_.info.name && c_.info.version) identify();
  asked_ = true;
  patnc::Builder b = c_.builder();
  Writer contract;
  patnc::append_contract(contract, c_.offered_contract());
  b.add(0, patnc::vendor_tcg, type::contract_request, contract.view());
  std::vector<patnc::TypeName> missing;
  for (const Wanted& w : wanted)
    if (!w.there(c_.info, seen_)) missing.push_back({w.vendor, w.type});
  Writer request;
  patnc::append_attribute_request(request, missing);
  b.add(0, patnc::vendor_ietf, type::attribute_request, request.view());
  c_.say(patnc::vendor_ietf, patnc::subtype_operating_system, id(), std::move(b));
}

void OsImv::solicit() {
  if (!result_) assess();
}

void OsImv::abandon(std::string_view) {
  if (!result_) result_ = {pipeline::Recommendation::isolate, pipeline::Evaluation::error};
}

void OsImv::identify() {
  if (c_.identified()) return;
  if (const auto known = c_.identify(); !known) {
    c_.host.log(LogLevel::error, "the state store can't be read: " + known.error().text());
    store_failed_ = true;
  }
}

void OsImv::contribute(pipeline::Verdict& verdict, SessionResult&) {
  if (trouble_.empty()) return;
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = trouble_;
  verdict.findings.insert(verdict.findings.begin(), std::move(f));
  ++verdict.findings_total;
}

// Without a work item: no opinion, but what the endpoint should mend is said (spec part 1b §4.6).
void OsImv::assess() {
  identify();
  const EndpointInfo& info = c_.info;
  ImvResult r{pipeline::Recommendation::allow, pipeline::Evaluation::unknown};
  if (store_failed_) trouble_ = "the state store can't be read";
  else if (info.inconsistent) trouble_ = "the endpoint claims two different identities";
  else if (failed_) trouble_ = "the operating system message can't be used";
  else if (!info.name || !info.version) trouble_ = "the endpoint gave no usable product information";
  if (!trouble_.empty()) {
    r = {pipeline::Recommendation::isolate, pipeline::Evaluation::error};
    c_.host.log(LogLevel::warning, std::string(trouble_));
  }
  patnc::Builder b = c_.builder();
  Writer value;
  patnc::append_u32(value, std::uint32_t(r.evaluation));
  b.add(0, patnc::vendor_ietf, type::assessment_result, value.view());
  std::string remedy;
  const auto say = [&](const Remedy& text) {
    if (!remedy.empty()) remedy += '\n';
    remedy += c_.language == "de" ? text.de : text.en;
  };
  if (seen_.forwarding == 1U) say(forwarding_remedy);
  if (seen_.default_password == 1U) say(password_remedy);
  if (!remedy.empty()) {
    Writer text;
    patnc::append_remediation_string(text, {remedy, c_.language == "de" ? "de" : "en"});
    b.add(0, patnc::vendor_ietf, type::remediation_instructions, text.view());
  }
  c_.say(patnc::vendor_ietf, patnc::subtype_operating_system, id(), std::move(b));
  result_ = r;
}

}  // namespace gatehouse::server
