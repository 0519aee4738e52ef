// Holding a switch back beforehand: a policy that SIGHUP brings is judged by kept evidence first, on a thread of its own, and
// comes into force if it refuses few enough (rehearsal.h). Until then the one in force stays.
#include "base/hex.h"
#include "base/log.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

namespace asio = boost::asio;

policy::PolicyPtr Server::Impl::take_to_rehearse(policy::PolicyPtr& policy) {
  // In monitor mode nobody is refused. At the start there is nothing to compare with.
  if (config.hold_percent == 0 || !config.enforce) return nullptr;
  const std::lock_guard lock(mutex);
  if (!settings) return nullptr;
  const std::string version = policy->version();
  if (version == settings->policy->version() || version == held.policy || version == approved) return nullptr;
  return std::exchange(policy, settings->policy);
}

// Null: what is being rehearsed is no longer wanted.
void Server::Impl::begin_rehearsal(policy::PolicyPtr next) {
  {
    const std::lock_guard lock(mutex);
    if (next && rehearsing == next->version()) return;
    rehearsing = next ? next->version() : std::string();
  }
  rehearsal = {};  // one that is under way ends with the session that it is judging
  if (!next) return;
  const policy::PolicyPtr in_force = current(settings)->policy;
  log::write(log::Level::info, {}, "policy " + next->version() + " is rehearsed by the evidence of up to " +
                                       std::to_string(config.rehearse_sessions) + " sessions; policy " + in_force->version() + " stays in force");
  // It must not own what joins it.
  rehearsal = std::jthread([weak = weak_from_this(), this, next, in_force](const std::stop_token& stop) {
    const RehearsalCounts counts = rehearse({*state, *pipeline, current(view), in_force, next,
                                             {.sessions = config.rehearse_sessions, .time = config.rehearse_time}}, stop);
    if (stop.stop_requested()) return;
    asio::post(own, [weak, next, counts] {
      if (const auto self = weak.lock()) self->rehearsed(next, counts);
    });
  });
}

void Server::Impl::rehearsed(const policy::PolicyPtr& next, const RehearsalCounts& counts) {
  policy::PolicyPtr in_force;
  HeldSwitch stopped;
  {
    const std::lock_guard lock(mutex);
    if (rehearsing != next->version()) return;  // another one came meanwhile
    rehearsing.clear();
    in_force = settings->policy;
    stopped = held;
  }
  std::string said = std::to_string(counts.refused) + " of " + std::to_string(counts.devices) + " devices that are allowed";
  if (counts.untold + counts.failed != 0)
    said += " (of " + std::to_string(counts.untold + counts.failed) + " more it can't be told)";
  if (!counts.in_time) said += ", as far as " + std::to_string(config.rehearse_time.count()) + " seconds were enough";
  if (!counts.too_many(config.hold_percent, config.stop_devices)) {
    const bool few = counts.devices < config.stop_devices;
    log::write(few ? log::Level::warning : log::Level::info, {},
               "policy " + next->version() + " was rehearsed: it refuses " + said + (few ? ", which are too few to hold it back" : ""));
    return switch_policy(next);
  }
  stopped.policy = next->version();
  stopped.policy_instead = in_force->version();
  stopped.since = now_ms();
  stopped.why = "by kept evidence it refuses " + said + ", '" + escaped(counts.first, 256) + "' first";
  {
    const std::lock_guard lock(mutex);
    held = stopped;
    alarm = stopped.why;
  }
  counted.policy_holds.add();
  log::write(log::Level::error, {}, "policy " + stopped.policy + " is held back: " + stopped.why + "; policy " + stopped.policy_instead +
                                        " stays in force. Mend it, or let it in with: gatehouse policy release");
  if (const auto kept = state->hold_switch_blocking(stopped); !kept)
    log::write(log::Level::error, {}, "a restart won't know that it is held back: " + kept.error().text());
}

void Server::Impl::switch_policy(policy::PolicyPtr next) {
  const auto number = bring_into_force(next);
  if (!number) return log::write(log::Level::error, {}, "policy " + next->version() + " can't be switched to: " + number.error().text());
  const std::lock_guard lock(mutex);
  auto changed = std::make_shared<Settings>(*settings);
  const policy::PolicyPtr before = std::exchange(changed->policy, std::move(next));
  settings = std::move(changed);
  policy_number = *number;
  if (before->version() == settings->policy->version()) return;
  counted.policy_switches.add();
  log::write(log::Level::info, {}, "policy " + settings->policy->version() + ", number " + std::to_string(policy_number) + ", instead of " + before->version());
  watch_switch(before, nullptr);
}

}  // namespace gatehouse::server
