// The families that are told, and what of the process is read for them.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>

#include "server/metrics/metrics.h"

namespace gatehouse::server::metrics {
namespace {

constexpr std::array<std::string_view, 7> codes = {"0", "1", "2", "3", "4", "5", "6"};
constexpr std::array<std::string_view, 2> directions = {"received", "sent"};
constexpr std::size_t first_pt_tls_code = 1;

double seconds(std::chrono::nanoseconds span) { return std::chrono::duration<double>(span).count(); }

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) / 1e6; };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

// 0: it can't be read.
double resident_bytes() {
  unsigned long size = 0, resident = 0;
  if (std::FILE* const file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%lu %lu", &size, &resident) != 2) resident = 0;
    std::fclose(file);
  }
  return double(resident) * double(::sysconf(_SC_PAGESIZE));
}

double value(const Counter& counter) { return double(counter.value()); }

template <std::size_t Codes>
void add_codes(Family& family, std::string_view protocol, const std::array<ByCode<Codes>, 2>& errors, std::size_t first) {
  for (std::size_t d = 0; d < errors.size(); ++d)
    for (std::size_t code = first; code <= Codes; ++code)
      family.samples.push_back({{{"protocol", protocol}, {"direction", directions[d]}, {"code", code == Codes ? "other" : codes[code]}},
                                value(errors[d].counters[code])});
}

void add_faults(Family& family, std::string_view part, const std::array<Counter, 7>& faults) {
  for (std::size_t fault = 0; fault < faults.size(); ++fault)
    family.samples.push_back({{{"part", part}, {"fault", name(Fault(fault))}}, value(faults[fault])});
}

}  // namespace

Sample Histogram::sample(std::vector<std::pair<std::string_view, std::string_view>> labels) const {
  Sample out{std::move(labels), seconds(std::chrono::nanoseconds(sum_.value()))};
  for (std::size_t i = 0; i < bounds.size(); ++i) {
    out.count += counts_[i].value();
    out.buckets.emplace_back(seconds(std::chrono::nanoseconds(bounds[i])), out.count);
  }
  out.count += counts_.back().value();
  return out;
}

void Metrics::observe(const SessionTiming& timing) {
  session.observe(timing.total());
  for (std::size_t stage = 0; stage < stages.size(); ++stage)
    if (Stage(stage) != Stage::handshake && timing.spent[stage].count() != 0) stages[stage].observe(timing.spent[stage]);
}

std::vector<Family> families(const Metrics& m, const Readings& r) {
  std::vector<Family> out;
  const auto family = [&](std::string_view name, Type type, std::string_view help) -> Family& {
    return out.emplace_back(Family{name, help, type, {}});
  };
  const auto single = [&](std::string_view name, Type type, std::string_view help, double value) {
    family(name, type, help).samples.push_back({{}, value});
  };

  Family& connections = family("gatehouse_connections", Type::gauge, "Open PT-TLS connections by what they do or wait for.");
  for (std::size_t i = 0; i < doing_names.size(); ++i)
    connections.samples.push_back({{{"state", doing_names[i]}}, double(r.connections[i])});
  single("gatehouse_connections_accepted_total", Type::counter, "Connections that were taken.", value(m.connections));
  family("gatehouse_connections_refused_total", Type::counter, "Connections that were closed at once, by the limit that they met.").samples = {
      {{{"reason", "all"}}, value(m.refused_for_all)},
      {{{"reason", "address"}}, value(m.refused_for_address)},
      {{{"reason", "load"}}, value(m.refused_for_load)},
      {{{"reason", "late"}}, value(m.waited_too_long)},
      {{{"reason", "system"}}, value(m.accept_failures)}};
  family("gatehouse_tls_handshakes_total", Type::counter, "TLS handshakes that ended, by how.").samples = {
      {{{"result", "done"}}, value(m.handshakes_done)},
      {{{"result", "failed"}}, value(m.handshakes_failed)},
      {{{"result", "late"}}, value(m.handshakes_late)}};
  single("gatehouse_connections_waiting", Type::gauge, "Connections that wait for their handshake to begin.", double(r.waiting_for_handshake));
  single("gatehouse_behind", Type::gauge, "1 while nobody new is begun with, for the work that is there.", r.behind ? 1 : 0);
  single("gatehouse_scheduling_delay_seconds", Type::gauge, "How long what was ready waited for a thread, at the last look.", seconds(r.delay));
  single("gatehouse_tls_handshakes_in_flight", Type::gauge, "TLS handshakes that haven't ended.",
         double(r.connections[std::size_t(Doing::handshake)]));
  family("gatehouse_tls_handshake_seconds", Type::histogram, "TLS handshakes that were done, waits for the endpoint included.")
      .samples.push_back(m.handshake.sample());
  family("gatehouse_password_attempts_total", Type::counter, "Attempts at SASL authentication.").samples = {
      {{{"result", "accepted"}}, value(m.passwords_accepted)}, {{{"result", "refused"}}, value(m.passwords_refused)}};

  Family& told = family("gatehouse_attestations_total", Type::counter, "Verdicts that endpoints were told.");
  for (std::size_t i = 0; i < m.told.size(); ++i)
    for (std::size_t j = 0; j < m.told[i].size(); ++j)
      told.samples.push_back({{{"recommendation", pipeline::name(pipeline::Recommendation(i))},
                               {"evaluation", pipeline::name(pipeline::Evaluation(j))}},
                              value(m.told[i][j])});
  single("gatehouse_sessions_ended_early_total", Type::counter, "Sessions that ended before their verdict.", value(m.ended_early));
  Family& enrolments = family("gatehouse_enrolments_total", Type::counter, "Enrolments by credential activation, by what came of them.");
  for (std::size_t i = 0; i < m.enrolments.size(); ++i)
    enrolments.samples.push_back({{{"outcome", enrolment::name(enrolment::Code(i))}}, value(m.enrolments[i])});
  Family& monitored = family("gatehouse_monitored_total", Type::counter,
                             "Endpoints that were told allow in monitor mode, by what was judged.");
  for (std::size_t i = 0; i < m.monitored.size(); ++i)
    if (pipeline::Recommendation(i) != pipeline::Recommendation::allow)
      monitored.samples.push_back({{{"judged", pipeline::name(pipeline::Recommendation(i))}}, value(m.monitored[i])});
  single("gatehouse_leases_ended_total", Type::counter, "Devices that were told allow and didn't attest again before their lease ended.",
         value(m.leases_ended));
  single("gatehouse_policy_switches_total", Type::counter, "Times that another policy came into force while the server ran.",
         value(m.policy_switches));
  single("gatehouse_policy_holds_total", Type::counter,
         "Policies that were held back beforehand: by kept evidence they would have refused too many devices.", value(m.policy_holds));
  single("gatehouse_reference_holds_total", Type::counter,
         "Reference generations that were held back beforehand: by kept evidence too many devices would have been refused.", value(m.reference_holds));
  single("gatehouse_safety_stops_total", Type::counter,
         "Switches of policy or references after which too many devices were refused that had been allowed.", value(m.safety_stops));
  family("gatehouse_shadow_verdicts_total", Type::counter, "Sessions by what the shadow policy said of them.").samples = {
      {{{"verdict", "same"}}, value(m.shadow_same)},
      {{{"verdict", "differs"}}, value(m.shadow_differs)},
      {{{"verdict", "unanswered"}}, value(m.shadow_unanswered)},
      {{{"verdict", "left_out"}}, value(m.shadow_left_out)}};
  family("gatehouse_session_seconds", Type::histogram, "Sessions with a verdict, from the connection or the retry to the verdict.")
      .samples.push_back(m.session.sample());
  Family& stages = family("gatehouse_session_stage_seconds", Type::histogram, "Time of such a session by stage; a stage that it didn't have doesn't count.");
  for (std::size_t i = 0; i < m.stages.size(); ++i)
    if (Stage(i) != Stage::handshake) stages.samples.push_back(m.stages[i].sample({{"stage", stage_names[i]}}));

  Family& errors = family("gatehouse_protocol_errors_total", Type::counter, "Errors of PT-TLS and PB-TNC by their code in the standard.");
  add_codes(errors, "pt-tls", m.pt_tls_errors, first_pt_tls_code);
  add_codes(errors, "pb-tnc", m.pb_tnc_errors, 0);
  Family& faults = family("gatehouse_faults_total", Type::counter, "What the evidence plane and the state store answered instead of a result.");
  add_faults(faults, "evidence", m.evidence_faults);
  add_faults(faults, "state", m.state_faults);

  Family& dropped = family("gatehouse_radius_dropped_total", Type::counter, "RADIUS packets that got no answer, by why.");
  for (std::size_t i = 0; i < radius_drop_names.size(); ++i)
    dropped.samples.push_back({{{"reason", radius_drop_names[i]}}, value(m.radius_dropped[i])});
  family("gatehouse_radius_requests_total", Type::counter, "RADIUS requests that were taken, by what they are.").samples = {
      {{{"kind", "access"}}, value(m.radius_access_requests)},
      {{{"kind", "repeated"}}, value(m.radius_repeated)},
      {{{"kind", "status"}}, value(m.radius_status_requests)}};
  family("gatehouse_radius_answers_total", Type::counter, "Answers to Access-Requests.").samples = {
      {{{"code", "accept"}}, value(m.radius_accepts)},
      {{{"code", "challenge"}}, value(m.radius_challenges)},
      {{{"code", "reject"}}, value(m.radius_rejects)}};
  Family& accounting = family("gatehouse_radius_accounting_total", Type::counter, "Accounting-Requests by what they tell.");
  for (std::size_t i = 0; i < accounting_kind_names.size(); ++i)
    accounting.samples.push_back({{{"kind", accounting_kind_names[i]}}, value(m.radius_accounting[i])});
  single("gatehouse_radius_admitted", Type::gauge, "Endpoints that gateways were told to let in, and not of their end.", double(r.radius_admitted));
  single("gatehouse_radius_connected", Type::gauge, "Those of them that accounting tells of.", double(r.radius_connected));
  Family& dynamic = family("gatehouse_radius_dynamic_total", Type::counter, "Disconnect- and CoA-Requests that ended, by how.");
  for (std::size_t kind = 0; kind < dynamic_kind_names.size(); ++kind)
    for (std::size_t how = 0; how < dynamic_outcome_names.size(); ++how)
      dynamic.samples.push_back({{{"kind", dynamic_kind_names[kind]}, {"result", dynamic_outcome_names[how]}}, value(m.radius_dynamic[kind][how])});
  family("gatehouse_radius_shared_cuts_total", Type::counter,
         "Requests to cut off a User-Name that another endpoint has, too, at a gateway that knows connections by it alone.").samples = {
      {{{"result", "asked"}}, value(m.radius_shared_cuts)}, {{{"result", "held_back"}}, value(m.radius_shared_cuts_held)}};
  family("gatehouse_radius_cut_seconds", Type::histogram, "From the end of a device's trust to its gateway's word that it is cut off or moved.")
      .samples.push_back(m.cut.sample());
  family("gatehouse_radius_connections_total", Type::counter, "RADIUS connections over TCP and TLS.").samples = {
      {{{"result", "taken"}}, value(m.radius_connections)}, {{{"result", "refused"}}, value(m.radius_connections_refused)}};
  Family& upstream = family("gatehouse_radius_upstream_total", Type::counter, "Passwords that another RADIUS server was asked about.");
  for (std::size_t i = 0; i < upstream_outcome_names.size(); ++i)
    upstream.samples.push_back({{{"result", upstream_outcome_names[i]}}, value(m.radius_upstream[i])});
  family("gatehouse_eap_password_backoff_total", Type::counter, "Attempts at a password inside EAP-TTLS that came after wrong ones.").samples = {
      {{{"result", "held_back"}}, value(m.eap_held_back)}, {{{"result", "turned_away"}}, value(m.eap_turned_away)}};
  single("gatehouse_eap_conversations", Type::gauge, "Open EAP conversations.", double(r.radius_conversations));
  single("gatehouse_eap_conversations_total", Type::counter, "EAP conversations that were begun.", value(m.eap_conversations));
  single("gatehouse_eap_conversations_expired_total", Type::counter, "EAP conversations that ended because nothing came any more.",
         value(m.eap_expired));
  family("gatehouse_eap_authentications_total", Type::counter, "Authentications inside EAP-TTLS.").samples = {
      {{{"result", "accepted"}}, value(m.eap_authenticated)}, {{{"result", "refused"}}, value(m.eap_refused)}};

  single("gatehouse_evidence_pending_bytes", Type::gauge, "Evidence that isn't judged yet.", double(r.evidence_pending_bytes));
  single("gatehouse_evidence_budget_bytes", Type::gauge, "How much of it there may be.", double(r.evidence_budget_bytes));
  single("gatehouse_evidence_sessions_total", Type::counter, "Sessions whose evidence was judged or given up.", double(r.evidence.sessions));
  single("gatehouse_evidence_segments_total", Type::counter, "Segments of their evidence.", double(r.evidence.segments));
  single("gatehouse_evidence_bytes_total", Type::counter, "Bytes of their evidence.", double(r.evidence.bytes));
  single("gatehouse_proved_evidence_bytes", Type::gauge, "Memory for evidence that is taken as it was when it comes again.", double(r.evidence.proved_bytes));
  family("gatehouse_lookups_total", Type::counter, "List entries by who answered: evidence that had come before, the verdict cache or the reference store.").samples = {
      {{{"answer", "reused"}}, double(r.evidence.reused)},
      {{{"answer", "cached_known"}}, double(r.evidence.cached_hits)},
      {{{"answer", "cached_unknown"}}, double(r.evidence.cached_misses)},
      {{{"answer", "store"}}, double(r.evidence.store_lookups)}};
  family("gatehouse_file_signatures_total", Type::counter, "Files' signatures by who answered: the signature cache or a verification.").samples = {
      {{{"answer", "cached"}}, double(r.evidence.cached_signatures)},
      {{{"answer", "verified"}}, double(r.evidence.verified_signatures)}};

  family("gatehouse_ocsp_answers_total", Type::counter, "Answers on the status of certificates, kept ones included.").samples = {
      {{{"answer", "good"}}, double(r.ocsp.good)},
      {{{"answer", "revoked"}}, double(r.ocsp.revoked)},
      {{{"answer", "unknown"}}, double(r.ocsp.unknown)},
      {{{"answer", "none"}}, double(r.ocsp.silent)}};
  Family& expires = family("gatehouse_expires_timestamp_seconds", Type::gauge,
                           "When the first certificate or revocation list of this kind ends, in seconds since 1970.");
  for (const auto& [kind, when] : r.expiries) expires.samples.push_back({{{"kind", kind}}, double(when)});
  single("gatehouse_policy_number", Type::gauge, "Number of the policy version that new sessions are judged by.", double(r.policy_number));
  single("gatehouse_switch_held", Type::gauge, "1 while the safety stop holds a policy or a reference generation back.", r.switch_held ? 1 : 0);
  single("gatehouse_reference_generation", Type::gauge, "Number of the reference generation that new sessions are judged by.", double(r.generation));
  single("gatehouse_reference_generation_made_timestamp_seconds", Type::gauge, "When it was made, in seconds since 1970; 0: not known.",
         double(r.generation_made));
  family("gatehouse_state_commit_seconds", Type::histogram, "From a session's result to its record on disk.").samples.push_back(m.commit.sample());
  single("gatehouse_state_writes_waiting", Type::gauge, "Changes of state that wait for the disk.", double(r.state_writes_waiting));

  single("gatehouse_kept_evidence_sessions", Type::gauge, "Sessions whose evidence is kept.", double(r.kept.sessions));
  single("gatehouse_kept_evidence_bytes", Type::gauge, "What it takes, compressed.", double(r.kept.bytes));
  single("gatehouse_kept_evidence_memory_bytes", Type::gauge, "Evidence in memory of sessions that aren't on record yet.",
         double(r.kept_memory_bytes));
  single("gatehouse_kept_evidence_left_out_total", Type::counter, "Sessions whose evidence isn't kept for want of memory.",
         double(r.kept_left_out));
  family("gatehouse_results_total", Type::counter, "Lines of the result log.").samples = {
      {{{"result", "written"}}, double(r.results_written)}, {{{"result", "left_out"}}, double(r.results_left_out)}};
  Family& deliveries = family("gatehouse_result_deliveries_total", Type::counter, "Results that commands, syslog and webhooks were given.");
  for (const Readings::Delivery& d : r.deliveries)
    for (const auto& [result, count] : {std::pair<std::string_view, std::uint64_t>("delivered", d.delivered), {"failed", d.failed}, {"left_out", d.left_out}})
      deliveries.samples.push_back({{{"to", d.to}, {"result", result}}, double(count)});
  Family& waiting = family("gatehouse_results_waiting", Type::gauge, "Results that wait for them.");
  for (const Readings::Delivery& d : r.deliveries) waiting.samples.push_back({{{"to", d.to}}, double(d.waiting)});
  single("process_cpu_seconds_total", Type::counter, "Processor time of the server.", cpu_seconds());
  single("process_resident_memory_bytes", Type::gauge, "Its resident memory.", resident_bytes());
  single("process_start_time_seconds", Type::gauge, "When it was started, in seconds since 1970.", double(r.started) / 1e3);
  return out;
}

}  // namespace gatehouse::server::metrics
