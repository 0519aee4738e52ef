#include "server/imv/scanner/scanner_imv.h"

#include <algorithm>

#include "server/imv/values.h"

namespace gatehouse::server {
namespace {

using pipeline::Evaluation;
namespace type = patnc::type;

}  // namespace

void ScannerImv::malformed(std::string_view why) {
  if (s_.failed.empty()) s_.failed = "the firewall message can't be used: " + std::string(why);
}

void ScannerImv::receive(const Message& message) {
  for (const patnc::Attribute& a : message.attributes)
    if (const auto good = verify_value(a); !good) {
      c_.host.log(LogLevel::warning, "firewall message: " + good.error().text());
      channel().refuse(message, {patnc::ErrorCode::invalid_parameter, good.error().offset, {}, good.error().reason});
      return malformed(good.error().text());
    }
  for (const patnc::Attribute& a : message.attributes) {
    Reader r(a.value, "RFC 5792", a.value_offset());
    if (a.is(patnc::vendor_ietf, type::pa_tnc_error)) take_error(r);
    if (!a.is(patnc::vendor_ietf, type::port_filter)) continue;
    // A firewall that says two things says nothing.
    const auto entries = patnc::parse_port_filter(r);
    Assessment::Filter filter{{*entries, patnc::protocol_tcp}, {*entries, patnc::protocol_udp}};
    const auto [at, first] = s_.filters.try_emplace(message.collector, filter);
    if (first && c_.capture) c_.capture->port_filter(message.collector, a.value);
    if (!s_.failed.empty()) continue;
    if (!first && at->second != filter)
      s_.failed = "the endpoint contradicts itself about '" + patnc::attribute_name(a.vendor, a.type) + "'";
    else if (result() && first && violated())
      s_.failed = "another collector has said that ports are open";
    if (result() && !s_.failed.empty()) doubt(s_.failed);
  }
}

void ScannerImv::take_error(Reader& r) {
  const auto error = patnc::parse_error(r);
  if (!error) return c_.host.log(LogLevel::warning, "a PA-TNC error that can't be read: " + error.error().text());
  const std::string name = "PA-TNC error '" + patnc::error_name(error->vendor, error->code) + "'";
  c_.host.log(LogLevel::warning, "the endpoint answered the Scanner IMV with " + name);
  if (error->vendor != patnc::vendor_ietf || error->code == 0 || error->code > 3) return;
  const patnc::ErrorInformation information = patnc::error_information(*error);
  if (const auto* refused = std::get_if<patnc::TypeNotSupported>(&information)) {
    // Without segmentation it can still answer; without port filters there is no answer.
    if (refused->vendor == patnc::vendor_tcg && refused->type == type::contract_request) return;
    if (refused->vendor == patnc::vendor_ietf &&
        (refused->type == type::attribute_request || refused->type == type::port_filter))
      return;
  }
  if (s_.failed.empty()) s_.failed = "the endpoint answered with " + name;
}

void ScannerImv::work() {
  if (open_items().empty()) return;
  if (!s_.failed.empty()) {
    for (const policy::WorkItem* item : std::vector(open_items())) finish_item(*item, Evaluation::error, s_.failed);
    return;
  }
  if (!s_.filters.empty()) {
    for (const policy::WorkItem* item : std::vector(open_items())) judge(*item);
    return;
  }
  if (s_.asked) return;
  s_.asked = true;
  channel().request_contract();
  Writer request;
  patnc::append_attribute_request(request, {{patnc::vendor_ietf, type::port_filter}});
  (void)channel().add(0, patnc::vendor_ietf, type::attribute_request, request.view());
}

// What all collectors together say.
OpenPorts ScannerImv::open_ports(std::uint8_t protocol) const {
  OpenPorts open;
  for (const auto& [collector, filter] : s_.filters)
    open.add(protocol == patnc::protocol_tcp ? filter.tcp : filter.udp);
  return open;
}

bool ScannerImv::violated() const {
  return std::any_of(c_.plan().items.begin(), c_.plan().items.end(), [&](const policy::WorkItem& item) {
    if (policy::validator_of(item.type) != validator()) return false;
    return violates(item, open_ports(protocol_of(item.type)));
  });
}

void ScannerImv::judge(const policy::WorkItem& item) {
  PortAnswer answer = judge_ports(item, open_ports(protocol_of(item.type)));
  s_.violated = s_.violated || !answer.violations.empty();
  for (std::string& violation : answer.violations)
    if (std::find(s_.violations.begin(), s_.violations.end(), violation) == s_.violations.end())
      s_.violations.push_back(std::move(violation));
  s_.more_violations += answer.more;
  finish_item(item, answer.evaluation, std::move(answer.text));
}

std::vector<std::string> ScannerImv::reasons() const {
  std::vector<std::string> out;
  if (!result() || result()->assessment.recommendation == pipeline::Recommendation::allow) return out;
  if (s_.violated)
    out.emplace_back(c_.text(policy::text::open_ports));
  else if (!items().empty())
    out.emplace_back(c_.text(policy::text::not_measured));
  return out;
}

// Nobody asked: then there is nothing to say to firewalls that may not be there.
void ScannerImv::concluding() {
  if (items().empty()) return;
  say_assessment(evaluation());
  std::vector<Remedy> remedies;
  namespace text = policy::text;
  if (s_.violated)
    remedies.push_back({c_.text(text::ports_title), c_.text(text::ports_description), c_.text(text::ports_header),
                        s_.violations, s_.more_violations});
  say_remedies(remedies);
}

}  // namespace gatehouse::server
