// What a running server consists of, for server.cpp and connection.cpp.
#pragma once

#include <atomic>
#include <boost/asio.hpp>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "server/control/control.h"
#include "server/evidence/again.h"
#include "server/metrics/http_server.h"
#include "server/metrics/metrics.h"
#include "server/ocsp/list_fetcher.h"
#include "server/ocsp/status.h"
#include "server/radius/admitted.h"
#include "server/radius/leases.h"
#include "server/results/outlets.h"
#include "server/session/session.h"
#include "server/state/checkpoint_file.h"
#include "server/state/state.h"
#include "server/state/users.h"
#include "server/tls/admission.h"
#include "server/tls/backoff.h"
#include "server/tls/clock_watch.h"
#include "server/tls/connection.h"
#include "server/tls/processors.h"
#include "server/tls/server.h"
#include "server/tls/rehearsal.h"
#include "server/tls/switch_guard.h"
#include "server/tls/rest.h"
#include "server/tls/tls_context.h"
#include "server/trace/recorder.h"

namespace gatehouse::server {

// Milliseconds since 1970.
inline std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

class RadiusFront;

// Taken from the listener, its handshake not begun.
struct Arrived {
  boost::asio::ip::tcp::socket socket;
  boost::asio::ip::tcp::endpoint remote;
};

struct Open {
  const Connection* connection;
  std::weak_ptr<Connection> weak;
};

struct Server::Impl : std::enable_shared_from_this<Server::Impl> {
  Impl(Config c, ReferenceSource r)
      : config(std::move(c)), source(std::move(r)), own(boost::asio::make_strand(io)), signals(own), refresh(own), grace(own), probe(own), watchdog(own), checkpoint(own), workers(1),
        admission({.connections = config.max_connections, .connections_per_address = config.max_connections_per_address,
                   .handshakes = config.max_handshakes, .waiting = config.max_waiting, .waiting_per_address = config.max_waiting_per_address}),
        pace(config.max_delay),
        guard({.share = double(config.stop_percent) / 100, .devices = config.stop_devices, .watch = config.stop_watch}) {}

  Config config;
  ReferenceSource source;
  boost::asio::io_context io;
  boost::asio::strand<boost::asio::io_context::executor_type> own;  // signals, reload, stop: the server's own doings
  std::unique_ptr<State> state;
  std::unique_ptr<pipeline::Pipeline> pipeline;
  std::optional<CheckpointFile> checkpoints;  // of the thread in `workers`, and of run() at the end; nullopt: none are wanted
  std::unique_ptr<trace::Recorder> recorder;  // null: no traces
  std::unique_ptr<Outlets> results;
  std::unique_ptr<CertificateStatus> status;  // null: no responder is asked
  ClockWatch clock_watch;                     // of `own`
  std::unique_ptr<ListFetcher> lists;         // null: revocation lists come by themselves
  unsigned refreshes = 0;                     // on the timer's handlers
  boost::asio::signal_set signals;
  boost::asio::steady_timer refresh, grace, probe, watchdog, checkpoint;
  std::vector<boost::asio::ip::tcp::acceptor> acceptors;  // each of its executor, a strand
  std::vector<std::uint16_t> ports;
  std::vector<std::unique_ptr<boost::asio::steady_timer>> pauses;
  boost::asio::thread_pool workers;  // password checks: milliseconds each, apart from the sessions' threads
  std::unique_ptr<ControlServer> control;
  std::atomic<bool> stopping{false};
  metrics::Metrics counted;
  Leases leases;  // noted where there is RADIUS
  Admitted admitted;  // by way of RADIUS
  const std::int64_t started = now_ms();  // milliseconds since 1970
  std::unique_ptr<metrics::HttpServer> metrics_port;  // null: none is configured
  std::shared_ptr<RadiusFront> radius;                // null: none is configured

  // What SIGHUP replaces; sessions keep what they began with.
  std::atomic<bool> renewing{false};
  std::array<std::int64_t, 9> lists_then{};          // of the thread in `workers`: when each watched file was written to
  std::int64_t warned_then = 0;                      // of the thread in `workers`: seconds since 1970
  bool ocsp_warned = false;                          // of the thread in `workers`: there are answers that couldn't be renewed
  mutable std::mutex mutex;
  std::vector<std::pair<std::string_view, std::int64_t>> expiries;  // guarded by mutex: the first of each kind
  std::shared_ptr<const TlsContext> tls;             // guarded by mutex
  std::shared_ptr<const Settings> settings;          // guarded by mutex
  std::shared_ptr<const UserFile> users;             // guarded by mutex
  std::shared_ptr<const refdb::View> view;           // guarded by mutex
  std::shared_ptr<evidence::Memory> evidence_memory;  // set before anybody connects
  Backoff backoff;                                   // guarded by mutex
  // Inside EAP-TTLS, shorter than gateways wait: by where endpoints are, and by whose passwords they are. Behind one address of a
  // VPN's there may be many with good passwords; one user's are few. Guarded by mutex.
  Backoff eap_places{{.free_failures = 3, .first = std::chrono::seconds(1), .most = std::chrono::seconds(8), .patience = std::chrono::seconds(10), .at_once = 64}};
  Backoff eap_users{{.free_failures = 10, .first = std::chrono::seconds(1), .most = std::chrono::seconds(8), .patience = std::chrono::seconds(10)}};
  std::unordered_map<std::string, std::size_t> assessments;  // guarded by mutex: in progress, by who is assessed
  Admission admission;                               // guarded by mutex
  std::unordered_map<Admission::Id, Arrived> arrived;      // guarded by mutex: those that wait
  std::unordered_map<Admission::Id, Open> open;            // guarded by mutex: those that have begun
  Pace pace;                                         // on `own`
  // The safety stop. Where a switch is undone, `settled` is what was in force before it (null: that wasn't switched).
  SwitchGuard guard;                                 // guarded by mutex
  policy::PolicyPtr settled_policy;                  // guarded by mutex
  std::shared_ptr<const refdb::View> settled_view;   // guarded by mutex
  HeldSwitch held;                                   // guarded by mutex: as it is in the store
  std::string alarm;                                 // guarded by mutex
  std::uint64_t policy_number = 0;                   // guarded by mutex
  // What waits to be rehearsed, or is being; and the one of the two that is.
  struct Wanted {
    policy::PolicyPtr policy;
    std::shared_ptr<const refdb::View> references;
    bool empty() const { return !policy && !references; }
  };
  Wanted wanted;                                     // guarded by mutex
  Wanted on_stage;                                   // on `own`
  std::string approved;                              // guarded by mutex: version that the operator let in
  std::optional<std::uint64_t> approved_generation;  // guarded by mutex: the same
  std::jthread rehearsal;                            // on `own`; joined before what it judges with goes
  std::atomic<bool> guarding{false};                 // the guard watches
  Rest resting;                                      // on `own`
  Processors processors;                             // on `own`
  std::chrono::steady_clock::time_point looked{};    // on `own`: at them
  std::size_t connections_then = 0;                  // on `own`; when that was looked at last
  std::atomic<bool> behind{false};                   // the machine, with those it has
  std::atomic<bool> turning{false};                  // the threads have begun
  std::atomic<std::int64_t> turned_ns{0};            // steady clock: when one of them last came to the probe
  std::atomic<std::int64_t> delay_ns{0};             // how long what was ready waited for a thread, last
  std::atomic<std::size_t> waiting_checks{0};
  std::size_t refused = 0;                           // guarded by mutex: connections that no line of the log tells of yet
  std::chrono::steady_clock::time_point told_refused{};  // guarded by mutex

  template <class T>
  T current(const T& member) const {
    const std::lock_guard lock(mutex);
    return member;
  }
  Result<void> load();
  // server/tls/switches.cpp and rehearse.cpp
  Result<void> reload_references();
  // Whether this generation of the store is neither in force nor known to have to wait.
  bool is_new(std::uint64_t generation) const;
  Result<std::shared_ptr<const refdb::View>> open_before(std::uint64_t held_back) const;
  Result<void> recall_held_switch();
  Result<std::uint64_t> bring_into_force(policy::PolicyPtr& policy);
  void watch_switch(const policy::PolicyPtr& policy_before, const std::shared_ptr<const refdb::View>& view_before);
  void note_after_switch(const SessionIntent& of, bool quoted, bool was_refused);
  void stop_switch(SwitchGuard::Counts counts);
  void settle_switch();
  bool release_switch();
  // Where the policy is to be rehearsed, the one in force stays in its place; the new one, else null.
  policy::PolicyPtr take_to_rehearse(policy::PolicyPtr& policy);
  bool to_be_rehearsed(const refdb::View& references) const;
  // Null: what was wanted before no longer is. rehearse_wanted() begins with it.
  void want(policy::PolicyPtr next);
  void want(std::shared_ptr<const refdb::View> next);
  void rehearse_wanted();
  void rehearsed(const Wanted& next, const RehearsalCounts& counts);
  void hold_back(const Wanted& next, const std::string& why);
  void switch_policy(policy::PolicyPtr next);
  void switch_references(std::shared_ptr<const refdb::View> next);
  PolicyStatus policy_status() const;
  // From the state's sessions, so that a restart shuts nobody out.
  void recall_leases();
  Result<void> listen();
  Result<void> adopt_sockets();
  void add(boost::asio::ip::tcp::acceptor acceptor);
  void accept(std::size_t which);
  void arrive(boost::asio::ip::tcp::socket socket);
  // Begins with those that wait, as far as may be.
  void begin_next();
  void refuse(const boost::asio::ip::tcp::endpoint& remote, Admission::Refusal why);
  void await_probe(std::chrono::steady_clock::duration interval);
  void look();
  void give_back(bool some_left);
  void await_signal();
  void await_refresh();
  void await_checkpoint();
  void write_checkpoint();
  void await_watchdog(std::chrono::microseconds interval);
  // By one of the settings for it; `done` as CertificateStatus has it.
  void ask_status(const std::string& by, StatusQuestion question, CertificateStatus::Done done) {
    question.responder = by == "certificate" ? std::string() : by;
    status->ask(std::move(question), std::move(done));
  }
  // What ends, in renewal.cpp; each on the thread of `workers`.
  void renew();
  void end_leases();
  // Whom gateways have let in, in radius_admissions.cpp: those of before, at the start; and then those who may be there no longer.
  Result<void> recall_admitted();
  void look_after_start();
  void end_admissions();
  Result<void> fetch_lists();
  void take_new_lists();
  void warn_of_expiries();
  // Why the process should be started anew, and why nobody new should be sent to it; empty: good.
  std::string ill() const;
  std::string unready() const;
  void begin_stop();
  std::size_t reassess(std::string_view device);
  // Gateways that let the device in are to cut it off; how many are asked.
  std::size_t disconnect(std::string_view device);
  // What another policy would have said; noted in the session's record and counted.
  void judge_by_shadow(std::shared_ptr<const evidence::Kept> kept, std::shared_ptr<const pipeline::Verdict> verdict,
                       std::shared_ptr<const pipeline::Verdict> attested, const Settings& by,
                       std::shared_ptr<const refdb::View> references);
  // On the thread of the metrics port or of the control socket.
  std::vector<metrics::Family> read_metrics() const;
  void maybe_done();
};

}  // namespace gatehouse::server
