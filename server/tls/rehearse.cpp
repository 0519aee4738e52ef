// Holding a switch back beforehand: what kept evidence comes to by a policy that SIGHUP brings, or by a new generation of the
// references, is judged first, on a thread of its own. It comes into force if few enough are refused (rehearsal.h); until
// then what is in force stays. One at a time, references first: a policy that was written for them is rehearsed with them.
#include "base/hex.h"
#include "base/log.h"
#include "server/tls/held.h"
#include "server/tls/impl.h"

namespace gatehouse::server {

namespace asio = boost::asio;

namespace {

std::string name_of(const refdb::View& references) { return "reference generation " + std::to_string(references.generation()); }

}  // namespace

policy::PolicyPtr Server::Impl::take_to_rehearse(policy::PolicyPtr& policy) {
  // In monitor mode nobody is refused. At the start there is nothing to compare with.
  if (config.hold_percent == 0 || !config.enforce) return nullptr;
  const std::lock_guard lock(mutex);
  if (!settings) return nullptr;
  const std::string version = policy->version();
  if (version == settings->policy->version() || version == held.policy || version == approved) return nullptr;
  return std::exchange(policy, settings->policy);
}

bool Server::Impl::to_be_rehearsed(const refdb::View& references) const {
  if (config.hold_percent == 0 || !config.enforce) return false;
  const std::lock_guard lock(mutex);
  return settings && view && references.generation() != view->generation() && references.generation() != approved_generation;
}

void Server::Impl::want(policy::PolicyPtr next) {
  const std::lock_guard lock(mutex);
  // The same one keeps what was judged of it by now.
  if (!next || !wanted.policy || next->version() != wanted.policy->version()) wanted.policy = std::move(next);
}

void Server::Impl::want(std::shared_ptr<const refdb::View> next) {
  const std::lock_guard lock(mutex);
  if (!next || !wanted.references || next->generation() != wanted.references->generation()) wanted.references = std::move(next);
}

void Server::Impl::rehearse_wanted() {
  const Wanted all = current(wanted);
  const bool goes_on = on_stage.references ? on_stage.references == all.references : on_stage.policy && on_stage.policy == all.policy;
  if (goes_on) return;
  rehearsal = {};  // one that is under way ends with the session that it is judging
  on_stage = all.references ? Wanted{nullptr, all.references} : Wanted{all.policy, nullptr};
  if (on_stage.empty()) return;
  const Wanted next = on_stage;
  const policy::PolicyPtr policy_now = current(settings)->policy;
  const std::shared_ptr<const refdb::View> view_now = current(view);
  log::write(log::Level::info, {}, (next.references ? name_of(*next.references) : "policy " + next.policy->version()) + " is rehearsed by the evidence of up to " +
                                       std::to_string(config.rehearse_sessions) + " sessions; " +
                                       (next.references ? name_of(*view_now) : "policy " + policy_now->version()) + " stays in force");
  // It must not own what joins it.
  rehearsal = std::jthread([weak = weak_from_this(), this, next, policy_now, view_now](const std::stop_token& stop) {
    // What the live sessions' pipeline has cached of their references stays there.
    std::optional<pipeline::Pipeline> apart;
    if (next.references) apart.emplace(pipeline::Limits{.threads = 1});
    const Rehearsal what{*state,
                         {policy_now, view_now, *pipeline},
                         {next.policy ? next.policy : policy_now, next.references ? next.references : view_now, apart ? *apart : *pipeline},
                         {.sessions = config.rehearse_sessions, .time = config.rehearse_time}};
    const RehearsalCounts counts = rehearse(what, stop);
    if (stop.stop_requested()) return;
    asio::post(own, [weak, next, counts] {
      if (const auto self = weak.lock()) self->rehearsed(next, counts);
    });
  });
}

void Server::Impl::rehearsed(const Wanted& next, const RehearsalCounts& counts) {
  {
    const std::lock_guard lock(mutex);
    if (next.references ? wanted.references != next.references : wanted.policy != next.policy) return;  // another one came meanwhile
    if (next.references)
      wanted.references = nullptr;
    else
      wanted.policy = nullptr;
  }
  on_stage = {};
  std::string said = std::to_string(counts.refused) + " of " + std::to_string(counts.devices) + " devices that are allowed";
  if (counts.untold + counts.failed != 0)
    said += " (of " + std::to_string(counts.untold + counts.failed) + " more it can't be told)";
  if (!counts.in_time) said += ", as far as " + std::to_string(config.rehearse_time.count()) + " seconds were enough";
  if (counts.too_many(config.hold_percent, config.stop_devices)) {
    hold_back(next, "by kept evidence it refuses " + said + ", '" + escaped(counts.first, 256) + "' first");
  } else {
    const bool few = counts.devices < config.stop_devices;
    log::write(few ? log::Level::warning : log::Level::info, {},
               (next.references ? name_of(*next.references) : "policy " + next.policy->version()) + " was rehearsed: it refuses " + said +
                   (few ? ", which are too few to hold it back" : ""));
    if (next.references)
      switch_references(next.references);
    else
      switch_policy(next.policy);
  }
  rehearse_wanted();
}

void Server::Impl::hold_back(const Wanted& next, const std::string& why) {
  HeldSwitch stopped;
  std::string what, in_force;
  {
    const std::lock_guard lock(mutex);
    stopped.since = now_ms();
    stopped.why = why;
    if (next.references) {
      stopped.generation = next.references->generation();
      what = name_of(*next.references);
      in_force = name_of(*view);
    } else {
      stopped.policy = next.policy->version();
      stopped.policy_instead = settings->policy->version();
      what = "policy " + stopped.policy;
      in_force = "policy " + stopped.policy_instead;
    }
    held = both_held(held, stopped);
    alarm = held.why;
    stopped = held;
  }
  (next.references ? counted.reference_holds : counted.policy_holds).add();
  log::write(log::Level::error, {}, what + " is held back: " + why + "; " + in_force +
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
