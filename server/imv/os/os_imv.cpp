#include "server/imv/os/os_imv.h"

#include <algorithm>
#include <charconv>
#include <chrono>

#include "base/hex.h"
#include "server/imv/values.h"

namespace gatehouse::server {
namespace {

using patnc::Attribute;
using pipeline::Evaluation;
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
    {patnc::vendor_ietf, type::factory_default_password,
     [](const auto&, const auto& s) { return s.default_password.has_value(); }},
    {patnc::vendor_ita, type::ita_device_id, [](const auto& i, const auto&) { return i.device_id.has_value(); }},
};

// Android's name for whether apps of unknown sources may be installed.
constexpr std::string_view unknown_sources_setting = "install_non_market_apps";

// An endpoint that doesn't know one of these has less to say, and is judged by that.
bool may_be_unknown(std::uint32_t vendor, std::uint32_t kind) {
  if (vendor == patnc::vendor_tcg) return kind == type::contract_request;
  if (vendor == patnc::vendor_ita && kind == type::ita_get_settings) return true;
  if (vendor == patnc::vendor_ietf && (kind == type::attribute_request || kind == type::installed_packages))
    return true;
  return std::any_of(std::begin(wanted), std::end(wanted),
                     [&](const Wanted& w) { return w.vendor == vendor && w.type == kind; });
}

}  // namespace

std::optional<std::int64_t> boot_time(std::string_view text, std::int64_t now) {
  using namespace std::chrono;
  if (text.size() != 20) return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits) {
    unsigned out = 0;
    std::from_chars(text.data() + at, text.data() + at + digits, out);
    return out;
  };
  const year_month_day date{year(int(number(0, 4))), month(number(5, 2)), day(number(8, 2))};
  const unsigned h = number(11, 2), m = number(14, 2), s = number(17, 2);
  if (!date.ok() || date.year() < year(1970) || h > 23 || m > 59 || s > 60) return std::nullopt;
  const milliseconds at = sys_days(date).time_since_epoch() + hours(h) + minutes(m) + seconds(s);
  if (at.count() > now) return std::nullopt;
  return at.count();
}

patnc::Reassembler::Admission OsImv::admit(std::uint32_t vendor, std::uint32_t kind) {
  if (vendor == patnc::vendor_ietf && kind == type::installed_packages) return {true, std::size_t(8) << 20, true};
  return admit_supported(vendor, kind);
}

void OsImv::malformed(std::string_view why) {
  if (s_.failed.empty()) s_.failed = "the operating system message can't be used: " + std::string(why);
}

// Nothing of a message is acted on before all of it is known to be good.
void OsImv::receive(const Message& message) {
  for (const Attribute& a : message.attributes)
    if (const auto good = verify_value(a); !good) {
      c_.host.log(LogLevel::warning, "operating system message: " + good.error().text());
      channel().refuse(message, {patnc::ErrorCode::invalid_parameter, good.error().offset, {}, good.error().reason});
      return malformed(good.error().text());
    }
  const bool knew = c_.info.name && c_.info.version;
  for (const Attribute& a : message.attributes) take(a);
  reconsider();
  if (!knew && c_.info.name && c_.info.version)
    c_.host.log(LogLevel::info, "operating system is '" + escaped(c_.info.product()) + "'");
}

bool OsImv::repeats(const Attribute& a) {
  const auto [at, first] = s_.said.try_emplace({a.vendor, a.type}, to_vector(a.value));
  if (first) return false;
  if (!equal(at->second, a.value)) {
    if (a.is(patnc::vendor_ietf, type::product_information) || a.is(patnc::vendor_ietf, type::string_version) ||
        a.is(patnc::vendor_ita, type::ita_device_id))
      c_.info.inconsistent = true;
    else
      s_.contradiction = patnc::attribute_name(a.vendor, a.type);
  }
  return true;
}

// The value is well-formed.
void OsImv::take(const Attribute& a) {
  Reader r(a.value, "RFC 5792", a.value_offset());
  EndpointInfo& info = c_.info;
  if (a.vendor == patnc::vendor_ita) {
    if (a.type == type::ita_settings) return take_settings(r);
    if (a.type != type::ita_device_id || a.value.empty() || repeats(a)) return;
    info.device_id = std::string(as_text(a.value));
    return c_.host.log(LogLevel::info, "device ID is " + escaped(*info.device_id));
  }
  if (a.vendor != patnc::vendor_ietf) return;
  switch (a.type) {
    case type::product_information:
      if (!repeats(a)) info.name = std::string(patnc::parse_product_information(r)->name);
      return;
    case type::string_version:
      if (!repeats(a)) info.version = std::string(patnc::parse_string_version(r)->version);
      return;
    case type::numeric_version:
      if (!repeats(a)) s_.seen.numeric_version = true;
      return;
    case type::operational_status: {
      // Endpoints count from the uptime: said twice it may differ by a second, and the later boot is the careful one.
      const auto booted = boot_time(patnc::parse_operational_status(r)->last_use, c_.host.now_ms());
      if (booted && (!info.last_boot || *booted > *info.last_boot)) info.last_boot = booted;
      s_.seen.operational_status = true;
      return;
    }
    case type::forwarding_enabled:
      if (!repeats(a)) s_.seen.forwarding = *patnc::parse_forwarding_enabled(r);
      return;
    case type::factory_default_password:
      if (!repeats(a)) s_.seen.default_password = *patnc::parse_factory_default_password(r);
      return;
    case type::installed_packages: {
      PackageCheck check = new_check();
      if (c_.capture && !check.empty()) {
        c_.capture->begin_packages();
        c_.capture->add_packages(a.value);
      }
      (void)patnc::parse_records(r, patnc::PackagesFormat(), [&](const patnc::Package& p) { check.judge(p); });
      return take_packages(std::move(check), digest_of(HashAlgorithm::sha256, a.value));
    }
    case type::pa_tnc_error:
      return take_error(r);
    default:
      return;  // what only a server sends, or other subtypes use
  }
}

void OsImv::take_settings(Reader& r) {
  const auto settings = patnc::parse_settings(r);
  for (const patnc::Setting& setting : *settings) {
    if (setting.name != unknown_sources_setting) continue;
    const bool enabled = patnc::setting_text(setting) == "1";
    if (s_.seen.unknown_sources.value_or(enabled) != enabled) s_.contradiction = unknown_sources_setting;
    s_.seen.unknown_sources = enabled;
  }
}

void OsImv::take_error(Reader& r) {
  const auto error = patnc::parse_error(r);
  if (!error) return c_.host.log(LogLevel::warning, "a PA-TNC error that can't be read: " + error.error().text());
  const std::string name = "PA-TNC error '" + patnc::error_name(error->vendor, error->code) + "'";
  c_.host.log(LogLevel::warning, "the endpoint answered the OS IMV with " + name);
  if (error->vendor != patnc::vendor_ietf || error->code == 0 || error->code > 3) return;
  const patnc::ErrorInformation information = patnc::error_information(*error);
  if (const auto* refused = std::get_if<patnc::TypeNotSupported>(&information))
    if (may_be_unknown(refused->vendor, refused->type)) return;
  if (s_.failed.empty()) s_.failed = "the endpoint answered with " + name;
}

// The result stands, and other validators are still at work.
void OsImv::reconsider() {
  if (!result() || !s_.trouble.empty() || (!c_.info.inconsistent && s_.contradiction.empty())) return;
  s_.trouble = trouble();
  if (c_.info.inconsistent) add_assessment({pipeline::Recommendation::isolate, Evaluation::error});
  doubt(s_.trouble);
}

PackageCheck OsImv::new_check() {
  std::vector<const policy::WorkItem*> items;
  for (const policy::WorkItem* item : open_items())
    if (item->type == policy::Type::pckgs) items.push_back(item);
  return {std::move(items), c_.product(), s_.references};
}

void OsImv::take_packages(PackageCheck check, const Digest& digest) {
  check.finish();
  if (check.empty()) return;
  if (s_.packages && s_.packages_digest != digest)
    s_.contradiction = patnc::attribute_name(patnc::vendor_ietf, type::installed_packages);
  s_.packages = std::move(check);
  s_.packages_digest = digest;
}

Result<void> OsImv::receive_piece(std::uint16_t collector, const patnc::Reassembler::Piece& piece) {
  auto at = s_.transfers.find(collector);
  if (at == s_.transfers.end()) at = s_.transfers.emplace(collector, Transfer{.check = new_check()}).first;
  Transfer& t = at->second;
  const auto drop = [&](Error error) -> Result<void> {
    s_.transfers.erase(at);
    return std::unexpected(std::move(error));
  };
  // Without the id of the transfer a piece is known by its place: there is one list at a time.
  if (piece.at != t.at)
    return drop({Fault::protocol,
                 "several package lists at a time",
                 "RFC 5792 4.2.7",
                 piece.at + patnc::attribute_header_size,
                 {},
                 {}});
  if (c_.capture && !t.check.empty()) {
    if (piece.at == 0) c_.capture->begin_packages();
    c_.capture->add_packages(piece.bytes);
    if (s_.transfers.size() > 1) c_.capture->drop_packages();  // of several collectors: mixed
  }
  t.at += piece.bytes.size();
  t.hasher.update(piece.bytes);
  t.cursor.feed(piece.bytes);
  for (;;) {
    const auto package = t.cursor.next();
    if (!package) return drop(package.error());
    if (*package == nullptr) break;
    t.check.judge(**package);
  }
  c_.host.log(LogLevel::debug, std::to_string(t.cursor.received()) + " packages, " +
                                   std::to_string(t.cursor.to_follow()) + " to follow");
  if (!piece.last) return {};
  if (const auto whole = t.cursor.end(); !whole) return drop(whole.error());
  take_packages(std::move(t.check), t.hasher.finish());
  s_.transfers.erase(at);
  reconsider();
  return {};
}

void OsImv::work() {
  if (!s_.settled) learn();
  if (!trouble().empty()) return fail_items();
  if (!c_.identified()) return;
  ask_for_items();
  judge_items();
}

// Who the endpoint is. What is missing is asked for once.
void OsImv::learn() {
  const bool complete =
      std::all_of(std::begin(wanted), std::end(wanted), [&](const Wanted& w) { return w.there(c_.info, s_.seen); });
  if (complete || s_.asked || !trouble().empty()) {
    s_.settled = true;
    return identify();
  }
  s_.asked = true;
  channel().request_contract();
  std::vector<patnc::TypeName> missing;
  for (const Wanted& w : wanted)
    if (!w.there(c_.info, s_.seen)) missing.push_back({w.vendor, w.type});
  Writer request;
  patnc::append_attribute_request(request, missing);
  (void)channel().add(0, patnc::vendor_ietf, type::attribute_request, request.view());
  // Whatever else is missing, this is enough to know who it is.
  if (c_.info.device_id && c_.info.name && c_.info.version) identify();
}

void OsImv::identify() {
  if (!c_.identified()) {
    if (const auto known = c_.identify(); !known) {
      c_.host.log(LogLevel::error, "the state store can't be read: " + known.error().text());
      s_.store_failed = true;
    }
    s_.references = c_.host.references();
  }
  claim();
}

std::string OsImv::trouble() const {
  const EndpointInfo& info = c_.info;
  if (s_.store_failed) return "the state store can't be read";
  if (info.inconsistent) return "the endpoint claims two different identities";
  if (!s_.contradiction.empty()) return "the endpoint contradicts itself about '" + s_.contradiction + "'";
  if (!s_.failed.empty()) return s_.failed;
  if (s_.settled && (!info.name || !info.version)) return "the endpoint gave no usable product information";
  return {};
}

// Nothing more is asked, and what is still to be judged can't be.
void OsImv::fail_items() {
  if (!s_.trouble.empty()) return;
  s_.trouble = trouble();
  s_.settled = true;
  identify();
  c_.host.log(LogLevel::warning, s_.trouble);
  // What couldn't be read is for each item to say; with none, and where it isn't clear who this is, it is for us.
  if (s_.trouble != s_.failed || open_items().empty())
    add_assessment({pipeline::Recommendation::isolate, Evaluation::error});
  for (const policy::WorkItem* item : std::vector(open_items())) finish_item(*item, Evaluation::error, s_.trouble);
}

void OsImv::ask_for_items() {
  if (open_item(policy::Type::pckgs) != nullptr && !s_.packages && s_.transfers.empty() && !s_.asked_packages) {
    s_.asked_packages = true;
    channel().request_contract();
    Writer request;
    patnc::append_attribute_request(request, {{patnc::vendor_ietf, type::installed_packages}});
    (void)channel().add(0, patnc::vendor_ietf, type::attribute_request, request.view());
  }
  if (open_item(policy::Type::unsrc) != nullptr && !s_.seen.unknown_sources && !s_.asked_settings) {
    s_.asked_settings = true;
    channel().request_contract();
    Writer request;
    patnc::append_get_settings(request, {&unknown_sources_setting, 1});
    (void)channel().add(0, patnc::vendor_ita, type::ita_get_settings, request.view());
  }
}

void OsImv::judge_items() {
  for (const policy::WorkItem* item : std::vector(open_items())) {
    const std::optional<Answer> answer = item->type != policy::Type::pckgs ? judge_setting(item->type, s_.seen)
                                         : s_.packages                     ? judge_packages(*s_.packages, *item)
                                                                           : std::nullopt;
    if (!answer) continue;
    if (item->type == policy::Type::pckgs && s_.packages->failure())
      c_.host.log(LogLevel::error, "the reference store can't be read: " + s_.packages->failure()->text());
    finish_item(*item, answer->evaluation, answer->text);
  }
}

Contribution OsImv::contribution() const {
  Contribution out;
  if (s_.trouble.empty()) return out;
  pipeline::Finding f;
  f.component = "device";
  f.status = pipeline::Status::failed;
  f.reason = s_.trouble;
  out.first.push_back(std::move(f));
  out.findings_total = 1;
  return out;
}

void OsImv::contribute(SessionResult&) {
  if (c_.capture) c_.capture->settings(s_.seen);
}

std::vector<std::string> OsImv::reasons() const {
  std::vector<std::string> out;
  if (!result() || result()->assessment.recommendation == pipeline::Recommendation::allow) return out;
  if (s_.packages && s_.packages->bad()) {
    const bool listed = !s_.packages->blacklisted().list.empty() || !s_.packages->vulnerable().list.empty();
    if (listed) out.emplace_back(c_.text(policy::text::bad_packages));
    if (!s_.packages->missing().list.empty()) out.emplace_back(c_.text(policy::text::missing_packages));
  }
  if (s_.seen.bad()) out.emplace_back(c_.text(policy::text::bad_settings));
  if (out.empty()) out.emplace_back(c_.text(policy::text::not_measured));
  return out;
}

std::vector<Remedy> OsImv::remedies() const {
  std::vector<Remedy> out;
  const auto add = [&](std::string_view title, std::string_view description) {
    out.push_back({c_.text(title), c_.text(description), {}});
  };
  const auto add_list = [&](const PackageCheck::Names& names, std::string_view title, std::string_view description,
                            std::string_view header) {
    if (!names.list.empty())
      out.push_back({c_.text(title), c_.text(description), c_.text(header), names.list, names.more});
  };
  namespace text = policy::text;
  if (s_.packages) {
    add_list(s_.packages->blacklisted(), text::blacklisted_title, text::blacklisted_description,
             text::blacklisted_header);
    add_list(s_.packages->vulnerable(), text::vulnerable_title, text::vulnerable_description, text::vulnerable_header);
    add_list(s_.packages->missing(), text::missing_title, text::missing_packages, text::missing_header);
  }
  if (s_.seen.forwarding == 1U) add(text::forwarding_title, text::forwarding_description);
  if (s_.seen.default_password == 1U) add(text::password_title, text::password_description);
  if (s_.seen.unknown_sources == true) add(text::unknown_source_title, text::unknown_source_description);
  return out;
}

// What the endpoint should mend is said whether or not anybody asked for it (spec part 1b §4.6).
void OsImv::concluding() {
  say_assessment(evaluation());
  const bool android = c_.info.name && c_.info.name->starts_with("Android");
  say_remedies(remedies(), android ? RemedyForm::xml : RemedyForm::plain);
}

}  // namespace gatehouse::server
