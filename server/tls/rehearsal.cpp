#include "server/tls/rehearsal.h"

#include <algorithm>
#include <unordered_set>

#include "pipeline/verdict/verdict.h"
#include "server/evidence/again.h"

namespace gatehouse::server {
namespace {

constexpr std::size_t page = 128, most_looked_at = 100'000;

// One session's evidence by the one side and, where that refuses it, by the other.
class Rejudge {
 public:
  explicit Rejudge(const Rehearsal& what) : what_(what) {}

  void count(const SessionRecord& one, RehearsalCounts& counts) const {
    const auto kept = evidence_of(one.intent.session);
    if (!kept) {
      ++counts.failed;
      return;
    }
    const auto next = judge(*kept, what_.next);
    if (!next) {
      ++counts.failed;
      return;
    }
    if (next->verdict.recommendation == pipeline::Recommendation::allow) {
      ++(next->unanswered.empty() ? counts.devices : counts.untold);
      return;
    }
    // What refuses it now as well is no doing of the switch.
    const auto now = judge(*kept, what_.in_force);
    if (!now) {
      ++counts.failed;
      return;
    }
    if (now->verdict.recommendation != pipeline::Recommendation::allow) return;
    ++counts.devices;
    if (counts.refused++ == 0) counts.first = one.intent.device;
  }

 private:
  Result<std::shared_ptr<const evidence::Kept>> evidence_of(const std::string& session) const {
    GH_TRY(auto record, what_.state.evidence(session));
    if (!record) return fail(Fault::environment, "no evidence is kept");
    GH_TRY(auto kept, evidence::decode(record->head, std::move(record->pieces)));
    return std::make_shared<const evidence::Kept>(std::move(kept));
  }
  // By the view as it is: what the pipeline caches of it serves live sessions, too.
  static Result<evidence::Again> judge(const std::shared_ptr<const evidence::Kept>& kept, const Rehearsal::Side& by) {
    return evidence::judge_again_blocking(kept, by.policy, by.references, by.pipeline);
  }

  const Rehearsal& what_;
};

}  // namespace

RehearsalCounts rehearse(const Rehearsal& what, const std::stop_token& stop) {
  RehearsalCounts counts;
  const auto until = std::chrono::steady_clock::now() + what.limits.time;
  const Rejudge rejudge(what);
  std::unordered_set<std::string> seen;
  SessionCursor from;
  for (std::size_t looked_at = 0, judged = 0; looked_at < most_looked_at && judged < what.limits.sessions;) {
    const auto sessions = what.state.sessions({}, page, from);
    if (!sessions) return counts;
    for (const SessionRecord& one : sessions->sessions) {
      counts.in_time = std::chrono::steady_clock::now() < until;
      if (stop.stop_requested() || !counts.in_time || judged >= what.limits.sessions) return counts;
      ++looked_at;
      if (one.state != SessionState::complete || one.intent.device.empty() || seen.contains(one.intent.device)) continue;
      const auto verdict = pipeline::verdict_from_json(one.verdict);
      if (!verdict || !proved(what.state, one.intent, !one.intent.key_pin.empty())) continue;
      seen.insert(one.intent.device);
      const auto kept = what.state.has_evidence(one.intent.session);
      if (verdict->recommendation != pipeline::Recommendation::allow || !kept || !*kept) continue;
      ++judged;
      rejudge.count(one, counts);
    }
    if (sessions->next.empty()) break;
    from = sessions->next;
  }
  return counts;
}

bool proved(const State& state, const SessionIntent& of, bool quoted) {
  const auto device = state.device(of.device);
  if (!device || !*device || !(*device)->enrolled) return false;
  const auto& bound = (*device)->identities;
  return quoted || (!of.identity_type.empty() && std::find(bound.begin(), bound.end(), of.identity) != bound.end());
}

}  // namespace gatehouse::server
