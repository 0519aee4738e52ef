#include "server/tls/radius_dynamic.h"

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/hex.h"
#include "base/log.h"
#include "server/radius/reply.h"
#include "server/radius/user_name.h"
#include "server/tls/radius_stream.h"

namespace gatehouse::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using metrics::DynamicOutcome;
using pipeline::Recommendation;

namespace {

// Sent again with the same identifier after each of them (spec part 1a §3.7).
const std::vector<std::chrono::milliseconds> waits = {2s, 4s, 8s, 8s};
// Whom a gateway doesn't say to be gone is asked for again so much later, for so long after its lease.
constexpr std::int64_t try_again_ms = 15 * 60'000, tries_ms = 24 * 3'600'000;
constexpr std::uint32_t soon = 10;  // seconds, until an endpoint that is to be assessed again has to come

// A connection loses nothing, so nothing is sent again there.
constexpr auto answer_on_connection = 20s;
constexpr std::size_t max_unreached = 65'536;

bool on_connection(const RadiusClient& client, const Admitted::Entry& e) { return e.streamed && client.dynamic_on_connection; }

std::string_view name(Recommendation now, bool isolated) {
  return isolated ? "to be isolated" : now == Recommendation::isolate ? "to be cut off, and isolated when it comes again" : "to be cut off";
}

std::string whereabouts(const Admitted::Entry& e) {
  return "'" + shown_user(e.user) + "'" + (e.station.empty() ? "" : " at " + escaped(e.station, 64)) + " of gateway " + escaped(e.client, 253);
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

// Whether a verdict takes back what this one was told.
bool concerns(const RadiusDynamic::Verdict& verdict, const Admitted::Entry& e) {
  const bool same = !verdict.identity.empty() && e.identity == verdict.identity && e.identity_type == verdict.identity_type;
  if (e.session == verdict.session || (!verdict.sure && !same)) return false;
  return verdict.recommendation != Recommendation::isolate || e.recommendation != Recommendation::isolate;
}

}  // namespace

void RadiusDynamic::distrust(const std::shared_ptr<const RadiusSettings>& settings, const Verdict& verdict, const Succeeds& succeeds) {
  if (verdict.device.empty() || verdict.recommendation == Recommendation::allow) return;
  Asking asking{settings, Wish::cut, true, Clock::now(), server_->admitted.of_device(verdict.device)};
  Entries later;
  std::erase_if(asking.meant, [&](const Admitted::Entry& e) {
    if (!concerns(verdict, e)) return true;
    const Succession how = succeeds ? succeeds(e) : Succession::none;
    if (how == Succession::beside) later.push_back(e);
    return how != Succession::none;
  });
  for (const Admitted::Entry& e : asking.meant) distrust_one(asking, verdict, e);
  asking.meant = std::move(later);
  for (const Admitted::Entry& e : asking.meant) hand_over(asking, verdict, e);
}

void RadiusDynamic::hand_over(const Asking& asking, const Verdict& verdict, const Admitted::Entry& e) {
  log::write(log::Level::info, verdict.session, "device " + escaped(verdict.device) + " isn't trusted as before: " + whereabouts(e) + " has " +
                                                    std::to_string(handover.count()) + " s to end by itself, since its gateway would end this conversation with it");
  asio::post(strand_, [self = shared_from_this(), asking, verdict, number = e.number] {
    if (self->closed_) return;
    const auto [at, added] = self->handing_over_.try_emplace(number, HandingOver{asking, verdict, asio::steady_timer(self->strand_)});
    if (!added) return;  // it has its time already
    at->second.timer.expires_at(asking.detected + handover);
    at->second.timer.async_wait([self, number](boost::system::error_code ec) {
      if (!ec && !self->closed_) self->on_handover(number);
    });
  });
}

// Who is still there goes now.
void RadiusDynamic::on_handover(std::uint64_t number) {
  const auto one = handing_over_.extract(number);
  if (one.empty()) return;
  const auto entry = server_->admitted.find(number);
  if (entry && concerns(one.mapped().verdict, *entry)) distrust_one(one.mapped().asking, one.mapped().verdict, *entry);
}

void RadiusDynamic::succeeded_by_none(const std::string& session) {
  asio::post(strand_, [self = shared_from_this(), session] {
    std::vector<std::uint64_t> of_session;
    for (const auto& [number, one] : self->handing_over_)
      if (one.verdict.session == session) of_session.push_back(number);
    for (const std::uint64_t number : of_session) self->on_handover(number);
  });
}

void RadiusDynamic::take_back(const std::shared_ptr<const RadiusSettings>& settings, const Verdict& verdict, std::uint64_t number) {
  const auto entry = server_->admitted.find(number);
  if (entry && concerns(verdict, *entry)) distrust_one({settings, Wish::cut, true, Clock::now(), {*entry}}, verdict, *entry);
}

void RadiusDynamic::distrust_one(Asking asking, const Verdict& verdict, const Admitted::Entry& e) {
  const bool isolate = verdict.recommendation == Recommendation::isolate;
  // Where isolation is a refusal there is no place to move it to.
  const RadiusClient* const client = asking.settings->clients->named(e.client);
  const bool movable = isolate && !asking.settings->config.isolate_is_reject && client != nullptr && client->profile == RadiusProfile::dot1x;
  log::write(log::Level::warning, verdict.session, "device " + escaped(verdict.device) + " isn't trusted as before: " + whereabouts(e) + " is " +
                                                       std::string(name(verdict.recommendation, movable)));
  asking.wish = movable ? Wish::isolate : Wish::cut;
  (void)ask(asking, e);
}

void RadiusDynamic::trust(std::string_view device) {
  asio::post(strand_, [self = shared_from_this(), of = std::string(device)] {
    std::erase_if(self->handing_over_, [&](const auto& one) { return one.second.verdict.device == of; });
  });
  const std::lock_guard lock(mutex_);
  std::erase_if(unreached_, [&](const auto& one) { return one.second.asking.by_verdict && one.second.device == device; });
  std::erase_if(held_, [&](const auto& one) {
    if (one.second.device != device) return false;
    cuts_.forget(one.first);
    return true;
  });
}

std::size_t RadiusDynamic::disconnect(const std::shared_ptr<const RadiusSettings>& settings, std::string_view device) {
  std::size_t asked = 0;
  const Asking asking{settings, Wish::cut, false, Clock::now(), server_->admitted.of_device(device)};
  for (const Admitted::Entry& e : asking.meant) {
    log::write(log::Level::warning, {}, "device " + escaped(device) + " has no trust any more: " + whereabouts(e) + " is to be cut off");
    asked += ask(asking, e) ? 1 : 0;
  }
  return asked;
}

void RadiusDynamic::end_admissions(const std::shared_ptr<const RadiusSettings>& settings, const std::vector<Admitted::Entry>& over, std::string_view why) {
  const Asking asking{settings, Wish::cut, true, Clock::now(), over};
  for (const Admitted::Entry& e : over) {
    log::write(log::Level::warning, e.session, (e.device.empty() ? "" : "device " + escaped(e.device) + ": ") + whereabouts(e) + " is to be cut off, " + std::string(why));
    put_off(e);  // first: its answer may be that it is gone
    if (!ask(asking, e) && settings->clients->named(e.client) == nullptr) server_->admitted.remove(e.number);
  }
}

void RadiusDynamic::put_off(const Admitted::Entry& e) {
  const std::int64_t now = now_ms();
  const std::chrono::milliseconds lease = std::max(server_->config.lease, server_->config.radius.lease);
  server_->admitted.put_off(e.number, now - std::max({e.admitted, e.connected, e.heard}) < lease.count() + tries_ms ? now + try_again_ms : 0);
}

std::size_t RadiusDynamic::reassess(const std::shared_ptr<const RadiusSettings>& settings, std::string_view device) {
  std::size_t asked = 0;
  const Asking asking{settings, Wish::reassess, false, Clock::now(), server_->admitted.of_device(device)};
  for (const Admitted::Entry& e : asking.meant) asked += ask(asking, e) ? 1 : 0;
  return asked;
}

bool RadiusDynamic::ask(const Asking& asking, const Admitted::Entry& e) {
  const RadiusClient* const client = asking.settings->clients->named(e.client);
  if (client == nullptr || (client->dynamic_port == 0 && !on_connection(*client, e))) {
    server_->counted.radius_dynamic[asking.wish == Wish::cut ? 0 : 1][std::size_t(DynamicOutcome::left_out)].add();
    log::write(log::Level::warning, e.session, whereabouts(e) + ": the gateway isn't asked, it has no dynamic_port" + (e.streamed ? " or dynamic_on_connection" : "") + " ([[radius.client]])");
    return false;
  }
  if (asking.wish == Wish::cut && client->profile == RadiusProfile::ipsec && !may_cut(asking, e)) return false;
  return send(asking, *client, e);
}

bool RadiusDynamic::may_cut(const Asking& asking, const Admitted::Entry& e) {
  constexpr std::size_t most_named = 4;
  std::size_t found = 0;
  std::string others;
  const auto another = [&](const Admitted::Entry& o) {
    if (o.device == e.device && o.identity == e.identity && o.identity_type == e.identity_type) return false;
    if (std::any_of(asking.meant.begin(), asking.meant.end(), [&](const Admitted::Entry& one) { return one.number == o.number; })) return false;
    if (++found > most_named) return true;
    others += (others.empty() ? "" : ", ") + (o.device.empty() ? std::string("an unknown device") : "device " + escaped(o.device, 64)) +
              (o.identity.empty() ? "" : " as '" + escaped(o.identity, 253) + "'") + (o.station.empty() ? "" : " at " + escaped(o.station, 64));
    return false;
  };
  (void)server_->admitted.shares_name(e, another);
  if (found == 0) return true;
  if (found > most_named) others += " and more";
  bool now = true;
  if (asking.by_verdict) {
    const std::lock_guard lock(mutex_);
    now = cuts_.take({e.gateway, e.client, e.user}, e.number, asking.detected);
    if (!now) held_.insert_or_assign(e.number, Held{{asking.settings, asking.wish, true, asking.detected}, e.device});
  }
  (now ? server_->counted.radius_shared_cuts : server_->counted.radius_shared_cuts_held).add();
  log::write(log::Level::error, e.session, whereabouts(e) + ": others have the same EAP identity outside the tunnel (User-Name), and " +
                                               (now ? "the gateway cuts them off with it: "
                                                    : "were cut off for a verdict less than a minute ago, so it waits that long: ") +
                                               others);
  if (!now) await_held();
  return now;
}

void RadiusDynamic::await_held() {
  asio::post(strand_, [self = shared_from_this()] {
    std::optional<Clock::time_point> next;
    {
      const std::lock_guard lock(self->mutex_);
      next = self->cuts_.next();
    }
    if (self->closed_ || !next) return;
    self->timer_.expires_at(*next);
    self->timer_.async_wait([self](boost::system::error_code ec) {
      if (!ec && !self->closed_) self->on_held();
    });
  });
}

// Who is still there goes now.
void RadiusDynamic::on_held() {
  std::vector<std::pair<std::uint64_t, Held>> due;
  {
    const std::lock_guard lock(mutex_);
    for (const std::uint64_t number : cuts_.due(Clock::now()))
      if (auto one = held_.extract(number); !one.empty()) due.emplace_back(number, std::move(one.mapped()));
  }
  for (const auto& [number, held] : due) {
    const auto entry = server_->admitted.find(number);
    const RadiusClient* const client = entry ? held.asking.settings->clients->named(entry->client) : nullptr;
    if (client == nullptr) continue;
    server_->counted.radius_shared_cuts.add();
    (void)send(held.asking, *client, *entry);
  }
  await_held();
}

void RadiusDynamic::close() {
  asio::post(strand_, [self = shared_from_this()] {
    self->closed_ = true;
    self->timer_.cancel();
    self->handing_over_.clear();
  });
}

bool RadiusDynamic::send(const Asking& asking, const RadiusClient& client, const Admitted::Entry& e) {
  const auto stream = on_connection(client, e) ? server_->radius->stream_of(client, e.gateway) : nullptr;
  const Asking kept{asking.settings, asking.wish, asking.by_verdict, asking.detected};
  if (!stream && client.dynamic_port == 0) {
    await_connection(kept, e);
    return false;
  }
  const auto secret = stream ? std::make_shared<const Secret>(client.secret.reveal()) : client.dynamic_secret;
  const std::int64_t now = now_ms();
  const auto make = [secret, e, wish = asking.wish, now, settings = asking.settings, profile = client.profile](std::uint8_t identifier) {
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
  if (!stream) {
    caller_->ask({{e.gateway, client.dynamic_port}, secret, make, waits, false},
                 [self = shared_from_this(), asking = kept, e](ByteVector answer) { self->on_answer(asking, e, answer, true); });
    return true;
  }
  const bool there = address_bytes(stream->peer().address()) == e.gateway;
  stream->ask({{}, secret, make, {answer_on_connection}, false}, [self = shared_from_this(), asking = kept, e, there](ByteVector answer) {
    self->on_answer(asking, e, answer, there);
    // It may have been the last that was heard of this connection.
    if (answer.empty()) self->await_connection(asking, e);
  });
  return true;
}

void RadiusDynamic::await_connection(const Asking& asking, const Admitted::Entry& e) {
  if (asking.wish == Wish::reassess) return;
  log::write(log::Level::warning, e.session, whereabouts(e) + ": its gateway is asked as soon as it connects again");
  const std::lock_guard lock(mutex_);
  if (unreached_.size() < max_unreached) unreached_.insert_or_assign(e.number, Unreached{asking, e.device, e.client});
}

void RadiusDynamic::connected(const std::string& client) {
  std::vector<std::pair<std::uint64_t, Unreached>> all;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = unreached_.begin(); at != unreached_.end();) {
      const auto next = std::next(at);
      if (at->second.client == client) {
        auto node = unreached_.extract(at);
        all.emplace_back(node.key(), std::move(node.mapped()));
      }
      at = next;
    }
  }
  for (const auto& [number, one] : all)
    if (const auto entry = server_->admitted.find(number)) (void)ask(one.asking, *entry);
}

void RadiusDynamic::on_answer(const Asking& asking, const Admitted::Entry& e, Bytes answer, bool there) {
  const Wish wish = asking.wish;
  const auto packet = radius::parse_packet(answer);
  const radius::Code good = wish == Wish::cut ? radius::Code::disconnect_ack : radius::Code::coa_ack;
  const DynamicOutcome outcome = !packet ? DynamicOutcome::silence : packet->code == good ? DynamicOutcome::ack : DynamicOutcome::nak;
  server_->counted.radius_dynamic[wish == Wish::cut ? 0 : 1][std::size_t(outcome)].add();
  const std::string asked = wish == Wish::cut ? "Disconnect-Request" : "CoA-Request";
  if (outcome == DynamicOutcome::ack) {
    const auto took = Clock::now() - asking.detected;
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
  if (wish == Wish::isolate) (void)ask({asking.settings, Wish::cut, asking.by_verdict, asking.detected, {e}}, e);
  if (wish != Wish::cut) return;
  // 503: no such session. It is gone already.
  constexpr std::uint32_t no_session = 503;
  // strongSwan says no cause, and refuses only what it has no connection of.
  const RadiusClient* const client = asking.settings->clients->named(e.client);
  const bool unknown = outcome == DynamicOutcome::nak && cause == 0 && client != nullptr && client->profile == RadiusProfile::ipsec;
  if (there && (cause == no_session || unknown)) server_->admitted.remove(e.number);
  else put_off(e);
}

}  // namespace gatehouse::server
