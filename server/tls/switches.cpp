// Switches of the policy and of the reference generation while sessions go on: numbering what comes into force, and the
// safety stop (switch_guard.h), which undoes a switch after which too many devices are refused that were allowed before.
#include <algorithm>

#include "base/log.h"
#include "pipeline/verdict/verdict.h"
#include "server/tls/held.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

namespace asio = boost::asio;

namespace {

StoredPolicy stored(const policy::Policy& policy) {
  StoredPolicy out;
  out.version = policy.version();
  if (policy.source) {
    out.file = policy.source->file;
    out.text = policy.source->text;
    out.files = policy.source->files;
  }
  return out;
}

// The newest of the device's results that is by something else than what is in force now.
bool was_allowed(const State& state, const SessionIntent& now) {
  constexpr std::size_t most = 4;
  const auto page = state.sessions(now.device, most);
  if (!page) return false;
  for (const SessionRecord& one : page->sessions) {
    if (one.state != SessionState::complete || (one.intent.policy == now.policy && one.intent.generation == now.generation)) continue;
    const auto verdict = pipeline::verdict_from_json(one.verdict);
    return verdict && verdict->recommendation == pipeline::Recommendation::allow;
  }
  return false;
}

}  // namespace

Result<void> Server::Impl::recall_held_switch() {
  GH_TRY(auto before, state->held_switch());
  if (!before) return {};
  const std::lock_guard lock(mutex);
  held = *std::move(before);
  alarm = held.why;
  return {};
}

bool Server::Impl::is_new(std::uint64_t generation) const {
  const std::lock_guard lock(mutex);
  return view && generation != view->generation() && held.generation != generation &&
         !(wanted.references && wanted.references->generation() == generation);
}

// The store's current generation comes into force, unless the safety stop holds it back or it is to be rehearsed.
Result<void> Server::Impl::reload_references() {
  GH_TRY(auto opened, source.open(config.refdb));
  const HeldSwitch stopped = current(held);
  const bool starts = current(view) == nullptr;
  if (stopped.generation == opened->generation()) {
    want(std::shared_ptr<const refdb::View>());
    log::write(log::Level::error, {}, "reference generation " + std::to_string(*stopped.generation) + " stays held back: " + stopped.why +
                                          "; mend it, or let it in with: gatehouse policy release");
    if (!starts) return {};
    auto before = open_before(*stopped.generation);
    if (before)
      opened = std::move(*before);
    else
      log::write(log::Level::error, {}, "it comes into force all the same, since there is no other one: " + before.error().text() +
                                            "; gatehouse refdb rollback makes one");
  } else if (stopped.generation) {
    // Another one: the operator has seen to it.
    log::write(log::Level::info, {}, "reference generation " + std::to_string(*stopped.generation) + " is held back no longer");
    const HeldSwitch rest = without_generation(stopped);
    GH_CHECK(state->hold_switch_blocking(rest));
    const std::lock_guard lock(mutex);
    held = rest;
    alarm = held.why;
  }
  if (to_be_rehearsed(*opened)) {
    want(std::move(opened));
    return {};
  }
  want(std::shared_ptr<const refdb::View>());
  switch_references(std::move(opened));
  return {};
}

// The one that the newest sessions were judged by which weren't by this one.
Result<std::shared_ptr<const refdb::View>> Server::Impl::open_before(std::uint64_t held_back) const {
  constexpr std::size_t page = 256, most = 10'000;
  SessionCursor from;
  for (std::size_t seen = 0; source.stated && seen < most;) {
    GH_TRY(const auto sessions, state->sessions({}, page, from));
    for (const SessionRecord& one : sessions.sessions) {
      ++seen;
      if (one.intent.generation && *one.intent.generation != held_back) return source.stated(config.refdb, *one.intent.generation);
    }
    if (sessions.next.empty()) break;
    from = sessions.next;
  }
  return fail(Fault::environment, "which one was in force before isn't known");
}

void Server::Impl::switch_references(std::shared_ptr<const refdb::View> next) {
  const std::uint64_t generation = next->generation();
  {
    const std::lock_guard lock(mutex);
    const auto before = std::exchange(view, std::move(next));
    if (before && before->generation() != generation) watch_switch(nullptr, before);
  }
  // Who reads it finds it in force.
  log::write(log::Level::info, {}, "reference generation " + std::to_string(generation));
}

// Before it is in force: what the safety stop holds back is exchanged for what was in force in its place, and the version
// is on record. Its number.
Result<std::uint64_t> Server::Impl::bring_into_force(policy::PolicyPtr& policy) {
  const HeldSwitch now = current(held);
  if (!now.policy.empty() && policy->version() == now.policy) {
    log::write(log::Level::error, {}, "policy " + now.policy + " stays held back: " + now.why +
                                          "; mend it, or let it in with: gatehouse policy release");
    const auto in_force = current(settings);
    if (in_force) {
      policy = in_force->policy;
    } else {
      // A restart: the version before it is in the store.
      GH_TRY(const std::vector<StoredPolicy> known, state->policies());
      const auto at = std::find_if(known.begin(), known.end(), [&](const StoredPolicy& p) { return p.version == now.policy_instead; });
      if (at == known.end()) return fail(Error{Fault::environment, "the policy before the one that is held back isn't in the store", {}, 0, {}, now.policy_instead});
      const policy::PolicySource kept{at->file, at->text, at->files};
      auto read = policy::read_policy(at->text.empty() && at->file.empty() ? nullptr : &kept);
      if (!read) return fail(Error{Fault::environment, "the policy before the one that is held back can't be read", {}, 0, {}, now.policy_instead});
      policy = std::move(*read);
    }
  } else if (!now.policy.empty()) {
    // Another one: the operator has seen to it.
    const HeldSwitch rest = without_policy(now);
    GH_CHECK(state->hold_switch_blocking(rest));
    const std::lock_guard lock(mutex);
    held = rest;
    alarm = held.why;
  }
  return state->note_policy_blocking(stored(*policy));
}

// With the mutex held, once the new ones are in force.
void Server::Impl::watch_switch(const policy::PolicyPtr& policy_before, const std::shared_ptr<const refdb::View>& view_before) {
  if (config.stop_percent == 0 || (!policy_before && !view_before)) return;
  // Of several switches within the time that is watched, the state before the first is the one to go back to.
  if (policy_before && !settled_policy) settled_policy = policy_before;
  if (view_before && !settled_view) settled_view = view_before;
  // Back to what was there: nothing to undo.
  if (settled_policy && settings && settled_policy->version() == settings->policy->version()) settled_policy.reset();
  if (settled_view && settled_view->generation() == view->generation()) settled_view.reset();
  guard.end();
  if (settled_policy || settled_view) guard.begin(SwitchGuard::Clock::now());
  guarding = guard.watching();
  alarm = held.why;
}

// On the session's strand. The store is read only for a device's first result after a switch.
void Server::Impl::note_after_switch(const SessionIntent& of, bool quoted, bool was_refused) {
  if (!guarding.load(std::memory_order_relaxed)) return;
  const auto now = SwitchGuard::Clock::now();
  const auto in_question = [&] {
    return guard.awaits(of.device, now) && settings->policy->version() == of.policy && of.generation == view->generation();
  };
  {
    const std::lock_guard lock(mutex);
    if (!in_question()) return;
  }
  if (!proved(*state, of, quoted)) return;
  const bool before = was_allowed(*state, of);
  SwitchGuard::Counts counts;
  {
    const std::lock_guard lock(mutex);
    if (!in_question() || !guard.note(of.device, now, before, was_refused)) return;
    guarding = false;
    counts = guard.counts();
  }
  asio::post(own, [self = shared_from_this(), counts] { self->stop_switch(counts); });
}

// Sessions that are under way keep what they began with, as at every switch.
void Server::Impl::stop_switch(SwitchGuard::Counts counts) {
  HeldSwitch undone;
  undone.since = now_ms();
  undone.why = std::to_string(counts.refused) + " of " + std::to_string(counts.devices) + " devices that were allowed before are refused";
  std::string what;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex);
    auto next = std::make_shared<Settings>(*settings);
    if (settled_policy && settled_policy->version() != next->policy->version()) {
      undone.policy = next->policy->version();
      undone.policy_instead = settled_policy->version();
      what = "policy " + undone.policy + " instead of " + undone.policy_instead;
      next->policy = settled_policy;
    }
    if (settled_view && settled_view->generation() != view->generation()) {
      undone.generation = view->generation();
      what += (what.empty() ? "" : " and ") + ("reference generation " + std::to_string(view->generation()) + " instead of " +
                                               std::to_string(settled_view->generation()));
      if (config.stop_undoes) view = settled_view;
    }
    if (what.empty()) return;
    alarm = undone.why;
    if (config.stop_undoes) {
      settings = std::move(next);
      held = both_held(held, undone);
      alarm = held.why;
    }
    settled_policy.reset();
    settled_view.reset();
  }
  counted.safety_stops.add();
  log::write(log::Level::error, {}, "safety stop: with " + what + ", " + undone.why +
                                        (config.stop_undoes ? "; the switch is undone. Mend it, or let it in with: gatehouse policy release"
                                                            : "; the switch stands ([policy] stop_undoes = false)"));
  if (!config.stop_undoes) return;
  if (const auto kept = state->hold_switch_blocking(current(held)); !kept)
    log::write(log::Level::error, {}, "a restart won't know of the safety stop: " + kept.error().text());
  if (undone.policy.empty()) return;
  if (const auto noted = state->note_policy_blocking(stored(*current(settings)->policy))) number = *noted;
  const std::lock_guard lock(mutex);
  policy_number = number;
}

// On the timer: a switch that was watched long enough stands.
void Server::Impl::settle_switch() {
  const std::lock_guard lock(mutex);
  if (!guard.over(SwitchGuard::Clock::now())) return;
  const SwitchGuard::Counts counts = guard.counts();
  guard.end();
  guarding = false;
  settled_policy.reset();
  settled_view.reset();
  log::write(log::Level::info, {}, "the switch stands: " + std::to_string(counts.refused) + " of " + std::to_string(counts.devices) +
                                       " devices that were allowed before are refused");
}

// On the control socket's thread, which doesn't wait for the server's own doings.
bool Server::Impl::release_switch() {
  {
    const std::lock_guard lock(mutex);
    if (held.empty()) return false;
    if (!held.policy.empty()) approved = held.policy;
    if (held.generation) approved_generation = held.generation;
    held = {};
    alarm.clear();
  }
  if (const auto forgotten = state->hold_switch_blocking({}); !forgotten)
    log::write(log::Level::error, {}, "a restart will hold the switch back again: " + forgotten.error().text());
  asio::post(own, [self = shared_from_this()] {
    log::write(log::Level::warning, {}, "what the safety stop held back is let in");
    if (const auto loaded = self->load(); !loaded)
      log::write(log::Level::error, {}, "reload failed, what was loaded before stays: " + loaded.error().text());
    // Whoever let it in has seen what it does.
    const std::lock_guard lock(self->mutex);
    self->guard.end();
    self->guarding = false;
    self->settled_policy.reset();
    self->settled_view.reset();
  });
  return true;
}

PolicyStatus Server::Impl::policy_status() const {
  const std::lock_guard lock(mutex);
  PolicyStatus out;
  out.policy = settings->policy->version();
  out.number = policy_number;
  out.generation = view->generation();
  out.enforced = settings->enforce;
  out.watching = guard.watching();
  out.devices = guard.counts().devices;
  out.refused = guard.counts().refused;
  out.alarm = alarm;
  out.held = held;
  if (wanted.policy) out.rehearsing = wanted.policy->version();
  if (wanted.references) out.rehearsing_generation = wanted.references->generation();
  return out;
}

}  // namespace gatehouse::server
