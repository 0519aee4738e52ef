#include "server/tls/radius_dynamic.h"

#include "base/hex.h"
#include "base/log.h"
#include "server/radius/reply.h"

namespace gatehouse::server {

using namespace std::chrono_literals;
using metrics::DynamicOutcome;
using pipeline::Recommendation;

namespace {

// Sent again with the same identifier after each of them (spec part 1a §3.7).
const std::vector<std::chrono::milliseconds> waits = {2s, 4s, 8s, 8s};
constexpr std::uint32_t soon = 10;  // seconds, until an endpoint that is to be assessed again has to come

std::string_view name(Recommendation now, bool isolated) {
  return isolated ? "to be isolated" : now == Recommendation::isolate ? "to be cut off, and isolated when it comes again" : "to be cut off";
}

std::string whereabouts(const Admitted::Entry& e) {
  return "'" + escaped(e.user, 253) + "'" + (e.station.empty() ? "" : " at " + escaped(e.station, 64)) + " of gateway " + escaped(e.client, 253);
}

// Whom it is about (RFC 5176 section 3): what the gateway itself has said of them, and when this is asked.
void append_whom(radius::Builder& out, const Admitted::Entry& e, std::int64_t now) {
  if (!e.user.empty()) out.add_text(radius::type::user_name, e.user);
  if (e.nas_address.size() == 4) out.add(radius::type::nas_ip_address, e.nas_address);
  if (e.nas_address.size() == 16) out.add(radius::type::nas_ipv6_address, e.nas_address);
  if (!e.nas.empty()) out.add_text(radius::type::nas_identifier, e.nas);
  if (e.port) out.add_number(radius::type::nas_port, *e.port);
  if (!e.station.empty()) out.add_text(radius::type::calling_station_id, e.station);
  if (!e.accounting.empty()) out.add_text(radius::type::acct_session_id, e.accounting);
  out.add_number(radius::type::event_timestamp, std::uint32_t(now / 1'000));
}

}  // namespace

void RadiusDynamic::distrust(std::shared_ptr<const RadiusSettings> settings, const Verdict& verdict) {
  if (verdict.device.empty() || verdict.recommendation == Recommendation::allow) return;
  const auto detected = Clock::now();
  for (const Admitted::Entry& e : server_->admitted.of_device(verdict.device)) {
    if (e.session == verdict.session) continue;
    const bool same = !verdict.identity.empty() && e.identity == verdict.identity && e.identity_type == verdict.identity_type;
    if (!verdict.sure && !same) continue;
    const bool isolate = verdict.recommendation == Recommendation::isolate;
    if (isolate && e.recommendation == Recommendation::isolate) continue;
    // Where isolation is a refusal there is no place to move it to.
    const RadiusClient* const client = settings->clients->named(e.client);
    const bool movable = isolate && !settings->config.isolate_is_reject && client != nullptr && client->profile == RadiusProfile::dot1x;
    log::write(log::Level::warning, verdict.session, "device " + escaped(verdict.device) + " isn't trusted as before: " + whereabouts(e) + " is " +
                                                         std::string(name(verdict.recommendation, movable)));
    (void)ask(settings, e, movable ? Wish::isolate : Wish::cut, detected);
  }
}

std::size_t RadiusDynamic::disconnect(std::shared_ptr<const RadiusSettings> settings, std::string_view device) {
  std::size_t asked = 0;
  const auto detected = Clock::now();
  for (const Admitted::Entry& e : server_->admitted.of_device(device)) {
    log::write(log::Level::warning, {}, "device " + escaped(device) + " has no trust any more: " + whereabouts(e) + " is to be cut off");
    asked += ask(settings, e, Wish::cut, detected) ? 1 : 0;
  }
  return asked;
}

std::size_t RadiusDynamic::reassess(std::shared_ptr<const RadiusSettings> settings, std::string_view device) {
  std::size_t asked = 0;
  for (const Admitted::Entry& e : server_->admitted.of_device(device)) asked += ask(settings, e, Wish::reassess, Clock::now()) ? 1 : 0;
  return asked;
}

bool RadiusDynamic::ask(std::shared_ptr<const RadiusSettings> settings, const Admitted::Entry& e, Wish wish, Clock::time_point detected) {
  const RadiusClient* const client = settings->clients->named(e.client);
  if (client == nullptr || client->dynamic_port == 0) {
    server_->counted.radius_dynamic[wish == Wish::cut ? 0 : 1][std::size_t(DynamicOutcome::left_out)].add();
    log::write(log::Level::warning, e.session, whereabouts(e) + ": the gateway isn't asked, it has no dynamic_port ([[radius.client]])");
    return false;
  }
  auto secret = client->dynamic_secret;
  const std::int64_t now = now_ms();
  const auto make = [secret, e, wish, now, settings, profile = client->profile](std::uint8_t identifier) {
    radius::Builder out(wish == Wish::cut ? radius::Code::disconnect_request : radius::Code::coa_request, identifier);
    append_whom(out, e, now);
    if (wish == Wish::reassess) out.add_number(radius::type::session_timeout, soon);
    if (wish == Wish::isolate) {
      const RadiusReply& reply = reply_for(settings->config, e.groups, Recommendation::isolate);
      append_place(out, reply, profile);
      if (reply.session_timeout.count() != 0) out.add_number(radius::type::session_timeout, std::uint32_t(reply.session_timeout.count()));
    }
    return std::move(out).finish_signed_request(secret->reveal());
  };
  caller_->ask({{e.gateway, client->dynamic_port}, secret, make, waits, false},
               [self = shared_from_this(), settings, e, wish, detected](ByteVector answer) { self->on_answer(settings, e, wish, detected, answer); });
  return true;
}

void RadiusDynamic::on_answer(std::shared_ptr<const RadiusSettings> settings, const Admitted::Entry& e, Wish wish, Clock::time_point detected, Bytes answer) {
  const auto packet = radius::parse_packet(answer);
  const radius::Code good = wish == Wish::cut ? radius::Code::disconnect_ack : radius::Code::coa_ack;
  const DynamicOutcome outcome = !packet ? DynamicOutcome::silence : packet->code == good ? DynamicOutcome::ack : DynamicOutcome::nak;
  server_->counted.radius_dynamic[wish == Wish::cut ? 0 : 1][std::size_t(outcome)].add();
  const std::string asked = wish == Wish::cut ? "Disconnect-Request" : "CoA-Request";
  if (outcome == DynamicOutcome::ack) {
    const auto took = Clock::now() - detected;
    if (wish != Wish::reassess) server_->counted.cut.observe(took);
    if (wish == Wish::cut) server_->admitted.remove(e.number);
    if (wish == Wish::isolate) server_->admitted.change(e.number, Recommendation::isolate);
    return log::write(log::Level::info, e.session, asked + " for " + whereabouts(e) + ": done, after " +
                                                       std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()) + " ms");
  }
  const std::uint32_t cause = packet ? packet->number(radius::type::error_cause).value_or(0) : 0;  // 0: none is said
  log::write(log::Level::error, e.session, asked + " for " + whereabouts(e) + ": " +
                                               (outcome == DynamicOutcome::nak ? "refused" + (cause != 0 ? ", Error-Cause " + std::to_string(cause) : std::string())
                                                                               : std::string("no answer")));
  // Who can't be moved is cut off.
  if (wish == Wish::isolate) (void)ask(settings, e, Wish::cut, detected);
  // 503: no such session. It is gone already.
  constexpr std::uint32_t no_session = 503;
  if (wish == Wish::cut && cause == no_session) server_->admitted.remove(e.number);
}

}  // namespace gatehouse::server
