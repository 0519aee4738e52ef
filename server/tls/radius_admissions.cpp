// Whom gateways have let in, across runs of the program and until their leases end. What is known is in the state store from before
// the gateway is told (Admitted::Journal); a server that starts takes it up again and looks at each of them once, since keys and
// devices may have been revoked while nobody served; and from then on at those whose lease ends.
#include <algorithm>
#include <limits>

#include "base/hex.h"
#include "base/log.h"
#include "server/tls/impl.h"
#include "server/tls/radius_dynamic.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {
namespace {

using pipeline::Recommendation;

constexpr std::size_t a_page = 1'000, a_look = 256;
// A gateway ends its connections by Session-Timeout, which begins with its answer, and so a little later than the lease.
constexpr std::int64_t after_gateways_ms = 5'000;
constexpr std::string_view lease_ended = "its lease has ended", lost_trust = "its device has lost its trust";

// What somebody was let in for is still what its device is good for.
bool as_good(Recommendation now, Recommendation then) { return now == Recommendation::allow || (now == Recommendation::isolate && then == Recommendation::isolate); }

// By its lease, and not by an assessment of its own.
bool by_lease(const GatewayAdmission& e) { return e.session.empty() && !e.device.empty(); }

bool barred(const Device& device, const GatewayAdmission& e) {
  return bars(device.state) && !(e.recommendation == Recommendation::isolate && held_to(device.state) == Recommendation::isolate);
}

std::int64_t ms(std::chrono::seconds length) { return std::chrono::duration_cast<std::chrono::milliseconds>(length).count(); }

// Whether its device's trust has ended since. What can't be read is for its lease's end.
bool has_lost_trust(const State& state, const GatewayAdmission& e) {
  std::vector<std::string> devices = e.also;
  if (!e.device.empty()) devices.push_back(e.device);
  const auto session = e.session.empty() ? std::nullopt : state.session(e.session).value_or(std::nullopt);
  for (const std::string& id : devices) {
    const auto device = state.device(id);
    if (!device) return false;
    if (!*device) {
      if (e.sure) return true;
      continue;
    }
    if (barred(**device, e)) return true;
    const auto& keys = (*device)->keys;
    const auto revoked = [&](const DeviceKey& key) { return session && !session->intent.key_pin.empty() && key.pin == session->intent.key_pin && key.state == KeyState::revoked; };
    if (std::any_of(keys.begin(), keys.end(), revoked)) return true;
    const auto last = state.attested(id);
    if (e.sure && last && *last && (*last)->time > e.admitted && !as_good((*last)->recommendation, e.recommendation)) return true;
  }
  return false;
}

}  // namespace

Result<void> Server::Impl::recall_admitted() {
  std::vector<GatewayAdmission> before;
  for (std::uint64_t after = 0;;) {
    auto page = state->admissions(after, a_page);
    if (!page) return fail(std::move(page).error());
    if (page->empty()) break;
    after = page->back().number;
    std::move(page->begin(), page->end(), std::back_inserter(before));
  }
  const std::size_t count = before.size();
  admitted.restore(std::move(before), {[this](const GatewayAdmission& e, Admitted::Kept kept) {
                                         state->keep_admission(e, [kept = std::move(kept)](Result<void> r) { kept(r.has_value()); });
                                       },
                                       [this](const GatewayAdmission& e) { state->note_admission(e); },
                                       [this](std::vector<std::uint64_t> numbers) { state->drop_admissions(std::move(numbers)); }});
  if (count != 0)
    log::write(log::Level::info, {}, std::to_string(admitted.size()) + " endpoints were let in by gateways before this server started");
  return {};
}

void Server::Impl::look_after_start() {
  // In monitor mode nobody is refused, and nobody is cut off but by an operator's word.
  if (!radius || admitted.size() == 0 || !current(settings)->enforce) return;
  boost::asio::post(workers, [self = shared_from_this()] {
    std::vector<GatewayAdmission> gone;
    for (std::uint64_t after = 0; !self->stopping;) {
      const auto page = self->admitted.list(after, a_page);
      if (page.empty()) break;
      after = page.back().number;
      for (const GatewayAdmission& e : page)
        if (has_lost_trust(*self->state, e)) gone.push_back(e);
    }
    if (!gone.empty() && !self->stopping) self->radius->dynamic().end_admissions(self->radius->settings(), gone, lost_trust);
  });
}

void Server::Impl::end_admissions() {
  if (!radius || !current(settings)->enforce) return;
  const auto gateways = radius->settings();
  const std::int64_t now = now_ms(), verdicts = ms(config.lease);
  const std::int64_t of_leases = verdicts != 0 ? std::min(ms(gateways->config.lease), verdicts) : ms(gateways->config.lease);
  // Until when an assessment of this device lets this one stay; 0: not any longer.
  const auto renewed_until = [&](const GatewayAdmission& e, const std::string& id, std::int64_t length) -> std::int64_t {
    const auto device = state->device(id);
    if (!device || !*device || barred(**device, e)) return 0;
    if (length == 0) return std::numeric_limits<std::int64_t>::max();
    const auto last = state->attested(id);
    if (!last || !*last || !lease_holds((*last)->time, length, now) || !as_good((*last)->recommendation, e.recommendation)) return 0;
    return (*last)->time + length;
  };
  const auto stays_until = [&](const GatewayAdmission& e) -> std::int64_t {
    if (has_lost_trust(*state, e)) return 0;
    std::int64_t until = 0;
    if (by_lease(e)) {
      until = renewed_until(e, e.device, of_leases);
      for (const std::string& other : e.also) until = std::min(until, renewed_until(e, other, of_leases));
    } else if (e.sure) {
      until = renewed_until(e, e.device, verdicts);
    } else if (verdicts == 0) {
      until = std::numeric_limits<std::int64_t>::max();
    }
    // Where nobody can be sure of its device, it may have been assessed again by way of a gateway.
    for (const GatewayAdmission& other : admitted.of_device(e.device))
      if (other.admitted > e.admitted && other.identity == e.identity && other.identity_type == e.identity_type && other.until > now &&
          as_good(other.recommendation, e.recommendation))
        until = std::max(until, other.until);
    return until;
  };
  std::vector<GatewayAdmission> lapsed, distrusted;
  for (const GatewayAdmission& e : admitted.due(now - after_gateways_ms, std::max(verdicts, of_leases) + clock_tolerance_ms, a_look)) {
    const std::int64_t until = stays_until(e);
    if (until > now) admitted.put_off(e.number, until == std::numeric_limits<std::int64_t>::max() ? 0 : until);
    else (has_lost_trust(*state, e) ? distrusted : lapsed).push_back(e);
  }
  if (stopping) return;
  if (!lapsed.empty()) radius->dynamic().end_admissions(gateways, lapsed, lease_ended);
  if (!distrusted.empty()) radius->dynamic().end_admissions(gateways, distrusted, lost_trust);
}

}  // namespace gatehouse::server
