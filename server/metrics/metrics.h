// What a running server counts. Counting is a relaxed addition; a session keeps its times to itself (session_clock.h) and
// adds them once, when its verdict is told. Safe from any thread.
//
//   metrics.connections.add();
//   metrics.commit.observe(took);
//   const std::string text = exposition(families(metrics, readings));
//
// No label has a value that a peer chooses: codes that aren't the standard's are "other". No name of a device, an identity or
// an address is in here. docs/operations.md has the table of all families.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <vector>

#include "pipeline/graph/pipeline.h"
#include "server/metrics/exposition.h"
#include "server/metrics/session_clock.h"
#include "server/state/evidence.h"
#include "wire/enrolment/enrolment.h"

namespace gatehouse::server::metrics {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

class alignas(64) Histogram {
 public:
  // Nanoseconds, from 10 µs to 2 minutes.
  static constexpr std::array<std::int64_t, 20> bounds = {
      10'000,        25'000,        50'000,         100'000,        250'000,         500'000,      1'000'000,
      2'500'000,     5'000'000,     10'000'000,     25'000'000,     50'000'000,      100'000'000,  250'000'000,
      500'000'000,   1'000'000'000, 2'500'000'000,  10'000'000'000, 30'000'000'000,  120'000'000'000};

  void observe(std::chrono::nanoseconds took) {
    const auto at = std::lower_bound(bounds.begin(), bounds.end(), took.count());
    counts_[std::size_t(at - bounds.begin())].add();
    sum_.add(std::uint64_t(std::max<std::int64_t>(took.count(), 0)));
  }
  Sample sample(std::vector<std::pair<std::string_view, std::string_view>> labels = {}) const;

 private:
  std::array<Counter, bounds.size() + 1> counts_;  // the last one: of what is longer
  Counter sum_;
};

// Codes from 0 on; the last place is for all others.
template <std::size_t Codes>
struct ByCode {
  std::array<Counter, Codes + 1> counters;
  void add(std::optional<std::uint32_t> code) { counters[std::min<std::size_t>(code.value_or(Codes), Codes)].add(); }
};

// Why a RADIUS packet got no answer.
enum class RadiusDrop : std::uint8_t {
  client,           // of an address that may not ask
  malformed,
  unauthenticated,  // Message-Authenticator missing or wrong: mostly another secret
  code,             // of a kind that isn't served
  repeated,         // it is being worked on
  replayed,         // of an earlier round of its conversation
  eap,              // its EAP packet doesn't answer what was asked
  limit,            // a new conversation while there are as many as there may be
  load,             // a new one while the server is behind, or stops
};
inline constexpr std::array<std::string_view, 9> radius_drop_names = {"client",   "malformed", "unauthenticated", "code", "repeated",
                                                                      "replayed", "eap",       "limit",           "load"};

// Accounting-Requests by what they tell.
inline constexpr std::array<std::string_view, 4> accounting_kind_names = {"start", "interim", "stop", "gateway"};
// What a gateway was asked (RFC 5176), and what came of it.
inline constexpr std::array<std::string_view, 2> dynamic_kind_names = {"disconnect", "coa"};
enum class DynamicOutcome : std::uint8_t { ack, nak, silence, left_out };
inline constexpr std::array<std::string_view, 4> dynamic_outcome_names = {"ack", "nak", "silence", "left_out"};
// What another RADIUS server said of a password; silence: each of them.
enum class UpstreamOutcome : std::uint8_t { accept, reject, silence };
inline constexpr std::array<std::string_view, 3> upstream_outcome_names = {"accept", "reject", "silence"};

struct Metrics {
  Counter connections, refused_for_all, refused_for_address, refused_for_load, waited_too_long, accept_failures;
  Counter handshakes_done, handshakes_failed, handshakes_late;
  Counter passwords_accepted, passwords_refused;
  std::array<std::array<Counter, 5>, 4> told;  // by recommendation and evaluation
  Counter ended_early;
  std::array<Counter, enrolment::last_code + 1> enrolments;  // by what came of them
  std::array<Counter, 4> monitored;  // told allow in monitor mode, by what was judged
  Counter leases_ended;
  Counter policy_switches, policy_holds, reference_holds, safety_stops;
  Counter shadow_same, shadow_differs, shadow_unanswered, shadow_left_out;
  // By direction: received, sent.
  std::array<ByCode<7>, 2> pt_tls_errors;  // RFC 6876 section 3.9: from 1
  std::array<ByCode<5>, 2> pb_tnc_errors;  // RFC 5793 section 4.9
  std::array<Counter, 7> evidence_faults, state_faults;
  std::array<Counter, radius_drop_names.size()> radius_dropped;
  Counter radius_access_requests, radius_status_requests, radius_repeated;  // answered again from the cache
  Counter radius_accepts, radius_rejects, radius_challenges;
  std::array<Counter, accounting_kind_names.size()> radius_accounting;
  std::array<std::array<Counter, dynamic_outcome_names.size()>, dynamic_kind_names.size()> radius_dynamic;
  Counter radius_shared_cuts, radius_shared_cuts_held;     // of a User-Name that others have, too
  Counter radius_connections, radius_connections_refused;  // of TCP and TLS
  std::array<Counter, upstream_outcome_names.size()> radius_upstream;
  Counter eap_held_back, eap_turned_away;  // attempts at a password, after wrong ones
  Histogram cut;                           // from the end of a device's trust to the gateway's word that it is cut off
  Counter eap_conversations, eap_authenticated, eap_refused, eap_expired;
  Histogram handshake, session, commit;
  std::array<Histogram, stage_names.size()> stages;  // the handshake's is unused

  // A session whose verdict was told.
  void observe(const SessionTiming& timing);
};

// What is read when somebody asks.
struct Readings {
  std::array<std::uint64_t, doing_names.size()> connections{};  // open, by what they do
  std::uint64_t radius_conversations = 0;   // open
  std::uint64_t radius_admitted = 0, radius_connected = 0;  // let in; and those that accounting tells of
  std::uint64_t waiting_for_handshake = 0;  // connections
  std::chrono::nanoseconds delay{0};        // until what is ready gets a thread, at the last look
  bool behind = false;                      // nobody new is begun with
  pipeline::Totals evidence;
  std::uint64_t evidence_pending_bytes = 0, evidence_budget_bytes = 0;
  std::uint64_t state_writes_waiting = 0;
  EvidenceTotals kept;
  std::uint64_t kept_memory_bytes = 0, kept_left_out = 0;
  std::uint64_t results_written = 0, results_left_out = 0;
  struct Delivery {
    std::string_view to;
    std::uint64_t delivered = 0, failed = 0, left_out = 0, waiting = 0;
  };
  std::array<Delivery, 3> deliveries{{{"command"}, {"syslog"}, {"webhook"}}};  // of results
  struct CertificateAnswers {
    std::uint64_t good = 0, revoked = 0, unknown = 0, silent = 0;
  };
  CertificateAnswers ocsp;  // what was said to who asked for a certificate's status
  std::uint64_t policy_number = 0;
  bool switch_held = false;  // by the safety stop
  std::uint64_t generation = 0;
  std::int64_t generation_made = 0;  // seconds since 1970
  // Seconds since 1970: when the first of the certificates and lists of a kind ends; only of kinds that are configured.
  std::vector<std::pair<std::string_view, std::int64_t>> expiries;
  std::int64_t started = 0;          // the server, milliseconds since 1970
};

std::vector<Family> families(const Metrics& metrics, const Readings& readings);

}  // namespace gatehouse::server::metrics
