#include "server/tls/server.h"

#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <boost/asio.hpp>
#include <condition_variable>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/systemd.h"
#include "server/config/listen_address.h"
#include "server/tls/impl.h"
#include "server/tls/radius_dynamic.h"
#include "server/tls/radius_front.h"

namespace gatehouse::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using namespace std::chrono_literals;

// How often it is looked whether the machine keeps up: with connections, and without.
constexpr auto probe_interval = 25ms, idle_probe_interval = 500ms;
// How often it is looked whether a processor is free: a tick of that count is 10 ms.
constexpr auto look_interval = 500ms;
// Password checks that wait, each some milliseconds of a thread of their own: with more of them the machine is behind.
constexpr std::size_t max_waiting_checks = 64;
// Of connections that are refused, the log tells how many there were in so long.
constexpr auto refusals_interval = 10s;
constexpr unsigned arrivals_at_once = 64;  // and then others have a turn
constexpr unsigned refreshes_a_sweep = 12;  // of what has become too old: once a minute

// The addresses whose connections count together: an IPv6 host has a whole /64 to itself.
std::string crowd_of(const asio::ip::address& address) {
  if (!address.is_v6() || address.to_v6().is_v4_mapped()) return address.to_string();
  asio::ip::address_v6::bytes_type bytes = address.to_v6().to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), std::uint8_t(0));
  return asio::ip::make_address_v6(bytes).to_string() + "/64";
}

// All mistakes of a policy file, for the operator to mend in one go.
Error policy_error(const policy::Mistakes& mistakes, const std::string& file) {
  if (mistakes.unreadable) return *mistakes.unreadable;
  std::string all;
  for (const policy::Mistake& m : mistakes.list) all += "\n" + m.text();
  return Error{Fault::usage, "the policy has mistakes", {}, 0, file, all};
}

// As the configuration has it, which was checked.
std::optional<Settings::Referral> referral_of(const std::string& text) {
  const auto where = parse_referral(text);
  if (!where) return std::nullopt;
  error_code ec;
  const auto address = asio::ip::make_address(where->host, ec);
  using Kind = pbtnc::PdpReferral::Kind;
  if (ec) return Settings::Referral{Kind::fqdn, to_vector(as_bytes(where->host)), where->port};
  if (address.is_v6()) {
    const auto bytes = address.to_v6().to_bytes();
    return Settings::Referral{Kind::ipv6, to_vector(std::as_bytes(std::span(bytes))), where->port};
  }
  const auto bytes = address.to_v4().to_bytes();
  return Settings::Referral{Kind::ipv4, to_vector(std::as_bytes(std::span(bytes))), where->port};
}

Result<tcp::endpoint> endpoint_of(const std::string& text) {
  const auto where = parse_listen_address(text);
  error_code ec;
  const auto address = asio::ip::make_address(where ? where->host : std::string(), ec);
  if (!where || ec) return fail(Error{Fault::usage, "not an ADDRESS:PORT to listen on", {}, 0, text, {}});
  return tcp::endpoint(address, where->port);
}

}  // namespace

// Everything that SIGHUP reads again. Nothing is replaced unless all of it is good.
Result<void> Server::Impl::load() {
  GH_TRY(auto new_tls, TlsContext::make(config));
  auto s = std::make_shared<Settings>();
  s->auth = config.auth;
  s->banks = config.banks;
  s->dh_groups = config.dh_groups;
  s->minimum_nonce = config.min_nonce;
  s->raw_evidence = config.raw_evidence;
  s->raw_vendor = config.raw_vendor;
  s->idle_deadline = config.idle_deadline;
  s->negotiation_deadline = std::min<std::chrono::milliseconds>(s->negotiation_deadline, config.idle_deadline);
  s->total_deadline = config.total_deadline;
  s->test_imv = config.test_imv;
  s->test_rounds = config.test_rounds;
  s->referral = referral_of(config.radius.referral);
  if (config.test_imv)
    log::write(log::Level::warning, {}, "the Test IMV is on ([imv] test): endpoints' Test collectors say what is recommended; not for production");
  if (!config.policy_file.empty()) {
    auto read = policy::read_policy(config.policy_file);
    if (!read) return fail(policy_error(read.error(), config.policy_file));
    s->policy = std::move(*read);
  }
  if (!config.shadow_file.empty()) {
    auto read = policy::read_policy(config.shadow_file);
    if (!read) return fail(policy_error(read.error(), config.shadow_file));
    s->shadow = std::move(*read);
    log::write(log::Level::info, {}, "shadow policy " + s->shadow->version() + " judges besides policy " + s->policy->version());
  }
  s->ak_status = !config.ak_ocsp.empty();
  s->ek_status = !config.ek_ocsp.empty();
  s->enforce = config.enforce;
  s->keep = config.keep_evidence;
  s->evidence_memory = evidence_memory;
  if (!config.enforce)
    log::write(log::Level::warning, {}, "monitor mode ([policy] enforce = false): every endpoint whose verdict is on record is told allow");
  for (const std::string& warning : s->policy->warnings) log::write(log::Level::warning, {}, warning);
  if (!config.ak_ca.empty()) {
    GH_TRY(TrustAnchors anchors, TrustAnchors::load(config.ak_ca, config.ak_crl));
    s->ak_authorities = std::make_shared<const TrustAnchors>(std::move(anchors));
  }
  if (!config.ek_ca.empty()) {
    GH_TRY(TrustAnchors anchors, TrustAnchors::load(config.ek_ca, config.ek_crl));
    s->ek_authorities = std::make_shared<const TrustAnchors>(std::move(anchors));
  }
  std::shared_ptr<const UserFile> new_users;
  if (!config.users.empty()) {
    GH_TRY(UserFile file, UserFile::load(config.users));
    new_users = std::make_shared<const UserFile>(std::move(file));
  }
  if (radius) {
    // Who may ask, and with what, is in the configuration itself.
    Config again = config;
    if (!config.file.empty()) {
      const auto read = read_config(config.file);
      if (!read) {
        std::string all;
        for (const std::string& line : read.error().lines) all += "\n" + line;
        return fail(Error{read.error().fault, "the configuration has mistakes", {}, 0, config.file, all});
      }
      if (read->radius.listen.empty()) return fail(Error{Fault::usage, "RADIUS is turned off by a restart only", {}, 0, config.file, {}});
      if (!read->radius.client_ocsp.empty() && !status)
        return fail(Error{Fault::usage, "OCSP is turned on by a restart only", {}, 0, config.file, "radius.client_ocsp"});
      again.radius = read->radius;
      s->referral = referral_of(again.radius.referral);
    }
    GH_TRY(auto settings_of_radius, RadiusSettings::load(again));
    radius->reload(std::move(settings_of_radius));
  }
  const policy::PolicyPtr to_rehearse = take_to_rehearse(s->policy);
  GH_TRY(const std::uint64_t number, bring_into_force(s->policy));
  GH_CHECK(reload_references());
  if (results) results->reopen();
  want(to_rehearse);
  {
    const std::lock_guard lock(mutex);
    tls = std::move(new_tls);
    const auto before = std::exchange(settings, std::move(s));
    policy_number = number;
    if (before && before->policy->version() != settings->policy->version()) {
      counted.policy_switches.add();
      log::write(log::Level::info, {}, "policy " + settings->policy->version() + ", number " + std::to_string(policy_number) + ", instead of " + before->policy->version());
      watch_switch(before->policy, nullptr);
    }
    users = std::move(new_users);
  }
  rehearse_wanted();
  return {};
}

void Server::Impl::recall_leases() {
  constexpr std::size_t page = 256, most = 100'000;
  const std::int64_t since = now_ms() - std::chrono::duration_cast<std::chrono::milliseconds>(config.radius.lease).count();
  SessionCursor from;
  for (std::size_t seen = 0; seen < most;) {
    const auto sessions = state->sessions({}, page, from);
    if (!sessions) return log::write(log::Level::error, {}, "leases of before can't be read: " + sessions.error().text());
    for (const SessionRecord& s : sessions->sessions) {
      if (s.intent.started < since) return;
      ++seen;
      if (s.state != SessionState::complete || s.intent.identity_type.empty()) continue;
      if (const auto verdict = pipeline::verdict_from_json(s.verdict))
        leases.recall({s.intent.identity, s.intent.identity_type}, s.intent.device, s.intent.key_pin, verdict->recommendation, s.finished);
    }
    if (sessions->next.empty()) return;
    from = sessions->next;
  }
  log::write(log::Level::warning, {}, "leases of before: only those of the last " + std::to_string(most) + " sessions are known");
}

Result<void> Server::Impl::listen() {
  GH_CHECK(adopt_sockets());
  // Who passes sockets decides where the server listens: nothing else is opened then.
  if (acceptors.empty()) {
    for (const std::string& where : config.listen) {
      GH_TRY(const tcp::endpoint endpoint, endpoint_of(where));
      tcp::acceptor acceptor(asio::make_strand(io));
      error_code ec;
      acceptor.open(endpoint.protocol(), ec);
      if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
      if (!ec) acceptor.bind(endpoint, ec);
      if (!ec) acceptor.listen(4096, ec);
      if (ec) return fail(Error{Fault::environment, "can't listen", {}, 0, where, ec.message()});
      add(std::move(acceptor));
    }
  }
  for (std::size_t i = 0; i < acceptors.size(); ++i) accept(i);
  return {};
}

void Server::Impl::add(tcp::acceptor acceptor) {
  error_code ec;
  acceptor.non_blocking(true, ec);
  const tcp::endpoint where = acceptor.local_endpoint(ec);
  const std::string address = where.address().to_string();
  log::write(log::Level::info, {}, "PT-TLS listening on " + (where.address().is_v6() ? "[" + address + "]" : address) + ":" + std::to_string(where.port()));
  ports.push_back(where.port());
  pauses.push_back(std::make_unique<asio::steady_timer>(acceptor.get_executor()));
  acceptors.push_back(std::move(acceptor));
}

// Listening sockets that systemd opened (packaging/gatehouse.socket): so the port needs no privilege, and who connects
// while the server starts anew waits instead of being refused.
Result<void> Server::Impl::adopt_sockets() {
  for (systemd::Socket& passed : systemd::passed_sockets()) {
    const auto unfit = [&](std::string_view why) {
      return fail(Error{Fault::environment, "a socket that was passed can't be used", "sd_listen_fds(3)", 0, passed.name, std::string(why)});
    };
    int family = 0, listens = 0;
    socklen_t size = sizeof family;
    if (::getsockopt(passed.descriptor.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0) return unfit("it is no socket");
    size = sizeof listens;
    if (::getsockopt(passed.descriptor.get(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0) return unfit("it doesn't listen");
    if (family != AF_INET && family != AF_INET6) return unfit("it is neither IPv4 nor IPv6");
    tcp::acceptor acceptor(asio::make_strand(io));
    error_code ec;
    acceptor.assign(family == AF_INET ? tcp::v4() : tcp::v6(), passed.descriptor.release(), ec);
    if (ec) return unfit(ec.message());
    add(std::move(acceptor));
  }
  return {};
}

// All that have come are taken at once: with one for each turn of the threads, a full machine would leave the others to the kernel's
// queue, where nobody sees that they wait and nobody refuses them.
void Server::Impl::accept(std::size_t which) {
  acceptors[which].async_wait(tcp::acceptor::wait_read, [self = shared_from_this(), which](error_code ec) {
    if (self->stopping) return;
    for (unsigned n = 0; !ec && n < arrivals_at_once; ++n) {
      tcp::socket socket = self->acceptors[which].accept(asio::make_strand(self->io), ec);
      if (!ec) self->arrive(std::move(socket));
    }
    if (!ec || ec == asio::error::would_block) return self->accept(which);
    // Out of descriptors or memory: those that are served go on, new ones wait.
    self->counted.accept_failures.add();
    log::write(log::Level::error, {}, "accept failed: " + ec.message());
    self->pauses[which]->expires_after(100ms);
    self->pauses[which]->async_wait([self, which](error_code stopped) {
      if (!stopped) self->accept(which);
    });
  });
}

void Server::Impl::arrive(tcp::socket socket) {
  error_code gone;
  const tcp::endpoint remote = socket.remote_endpoint(gone);
  if (gone) return;
  {
    const std::lock_guard lock(mutex);
    const auto arrival = admission.arrive(crowd_of(remote.address()), Admission::Clock::now());
    if (!arrival) return refuse(remote, arrival.error());
    if (arrival->leaves)
      if (const auto one = arrived.extract(*arrival->leaves); !one.empty()) refuse(one.mapped().remote, Admission::Refusal::waiting);
    arrived.emplace(arrival->id, Arrived{std::move(socket), remote});
  }
  begin_next();
}

// With the mutex held.
void Server::Impl::refuse(const tcp::endpoint& remote, Admission::Refusal why) {
  std::string_view reason;
  switch (why) {
    case Admission::Refusal::connections:
      counted.refused_for_all.add();
      reason = "too many connections";
      break;
    case Admission::Refusal::address:
      counted.refused_for_address.add();
      reason = "too many connections from there";
      break;
    case Admission::Refusal::waiting:
      counted.refused_for_load.add();
      reason = "too many wait for their handshake";
      break;
  }
  ++refused;
  const auto now = std::chrono::steady_clock::now();
  if (now - told_refused < refusals_interval) return;
  told_refused = now;
  log::write(log::Level::warning, {}, "connection from " + remote.address().to_string() + " refused: " + std::string(reason) +
                                          (refused > 1 ? "; with it " + std::to_string(refused) + " since this was last said" : ""));
  refused = 0;
}

void Server::Impl::begin_next() {
  for (;;) {
    std::optional<Admission::Turn> turn;
    std::unordered_map<Admission::Id, Arrived>::node_type one;
    std::shared_ptr<Connection> gives_way;
    {
      const std::lock_guard lock(mutex);
      if (stopping) return;
      turn = admission.next(Admission::Clock::now(), behind);
      if (!turn) return;
      one = arrived.extract(turn->id);
      if (turn->late) admission.gone(turn->id);
      if (turn->gives_way)
        if (const auto old = open.find(*turn->gives_way); old != open.end()) gives_way = old->second.weak.lock();
    }
    if (turn->late) {
      counted.waited_too_long.add();
      continue;
    }
    if (gives_way) gives_way->give_way();
    tcp::socket& socket = one.mapped().socket;
    error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    // A peer that is gone is noticed after a minute of silence and three probes (spec part 1a §1.8).
    socket.set_option(asio::socket_base::keep_alive(true), ignored);
    const auto keep_alive = [&](int option, int value) {
      (void)::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof value);
    };
    keep_alive(TCP_KEEPIDLE, 60);
    keep_alive(TCP_KEEPINTVL, 20);
    keep_alive(TCP_KEEPCNT, 3);
    const tcp::endpoint& remote = one.mapped().remote;
    const std::string host = remote.address().to_string();
    const auto connection = make_connection(shared_from_this(), turn->id, std::move(socket),
                                                         host + ":" + std::to_string(remote.port()), host);
    counted.connections.add();
    {
      const std::lock_guard lock(mutex);
      open[turn->id] = {connection.get(), connection};
    }
    connection->begin();
    if (stopping) connection->drain();
  }
}

// A timer whose time has come waits for a thread like anything that is ready.
void Server::Impl::await_probe(std::chrono::steady_clock::duration interval) {
  probe.expires_after(interval);
  probe.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->stopping) return;
    const auto delay = std::chrono::steady_clock::now() - self->probe.expiry();
    self->delay_ns = std::chrono::nanoseconds(delay).count();
    self->turned_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
    const bool slow = self->pace.note(delay);
    self->behind = slow || self->waiting_checks > max_waiting_checks ||
                   self->pipeline->bytes_in_flight() > self->pipeline->budget_bytes() / 2;
    // Also where nobody went: a handshake may have had its time.
    self->begin_next();
    std::size_t connections = 0;
    {
      const std::lock_guard lock(self->mutex);
      connections = self->admission.connections();
    }
    self->give_back(connections < std::exchange(self->connections_then, connections));
    self->look();
    const bool idle = connections == 0 && (!self->radius || self->radius->conversations() == 0);
    self->await_probe(idle ? idle_probe_interval : probe_interval);
  });
}

void Server::Impl::look() {
  const auto now = std::chrono::steady_clock::now();
  if (!radius || radius->conversations() == 0 || now - looked < look_interval) return;
  looked = now;
  radius->look(processors.idle().value_or(1));
}

// What a crowd's evidence and connections took, the C library keeps for the next crowd. Endpoints that stay connected may
// be silent for hours, and conversations stop half way: once the server rests, the system gets it back.
void Server::Impl::give_back(bool some_left) {
  const auto used = [] {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  if (!resting.begun(std::chrono::steady_clock::now(), used(), some_left)) return;
  ::malloc_trim(0);
  resting.except(used());
}

void Server::Impl::await_signal() {
  signals.async_wait([self = shared_from_this()](error_code ec, int signal) {
    if (ec) return;
    if (signal == SIGHUP) {
      log::write(log::Level::info, {}, "SIGHUP: reading certificates, users, policies and references again");
      systemd::notify_reloading();
      if (const auto loaded = self->load(); !loaded)
        log::write(log::Level::error, {}, "reload failed, what was loaded before stays: " + loaded.error().text());
      systemd::notify("READY=1");
      return self->await_signal();
    }
    log::write(log::Level::info, {}, "stopping");
    self->begin_stop();
  });
}

// A new generation of references is noticed by a look at its pointer.
void Server::Impl::await_refresh() {
  refresh.expires_after(5s);
  refresh.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->stopping) return;  // its time may have come just before it was cancelled
    const auto judged = self->clock_watch.look(now_ms(), std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
    if (judged.ahead != 0)
      log::write(log::Level::warning, {}, "the clock went ahead by " + std::to_string(judged.ahead / 60'000) + " minutes: no record goes by its age for a day");
    if (self->refreshes++ % refreshes_a_sweep == 0 && judged.trusted) self->state->retire_old();
    self->renew();
    const auto now = self->source.current(self->config.refdb);
    self->settle_switch();
    if (now && self->is_new(*now)) {
      if (const auto loaded = self->reload_references(); !loaded) log::write(log::Level::error, {}, "references: " + loaded.error().text());
      self->rehearse_wanted();
    }
    self->await_refresh();
  });
}

void Server::Impl::write_checkpoint() {
  if (const auto written = checkpoints->append_blocking(*state, now_ms()); !written) log::write(log::Level::error, {}, written.error().text());
}

void Server::Impl::await_checkpoint() {
  checkpoint.expires_after(config.audit_interval);
  checkpoint.async_wait([self = shared_from_this()](error_code ec) {
    if (ec || self->stopping) return;
    // It waits for the disk: not on a thread that serves sessions.
    asio::post(self->workers, [self] {
      self->write_checkpoint();
      asio::post(self->own, [self] {
        if (!self->stopping) self->await_checkpoint();
      });
    });
  });
}

// Said by a thread that serves sessions: if none of them comes to it in half the time that is allowed, systemd starts
// the server anew.
void Server::Impl::await_watchdog(std::chrono::microseconds interval) {
  systemd::notify("WATCHDOG=1");
  watchdog.expires_after(interval / 2);
  watchdog.async_wait([self = shared_from_this(), interval](error_code ec) {
    if (!ec && !self->stopping) self->await_watchdog(interval);
  });
}

// Empty: good.
std::string Server::Impl::ill() const {
  constexpr auto patience = 10s;
  if (!turning) return {};  // before run()
  const auto silent = std::chrono::steady_clock::now().time_since_epoch() - std::chrono::nanoseconds(turned_ns.load());
  return silent > patience ? "no thread has come to its work for " + std::to_string(std::chrono::duration_cast<std::chrono::seconds>(silent).count()) + " s"
                           : std::string();
}
std::string Server::Impl::unready() const {
  if (stopping) return "the server stops";
  if (std::string why = ill(); !why.empty()) return why;
  if (behind) return "overloaded: nobody new begins";
  return {};
}

void Server::Impl::begin_stop() {
  if (stopping.exchange(true)) return;
  systemd::notify("STOPPING=1");
  error_code ignored;
  for (std::size_t i = 0; i < acceptors.size(); ++i)
    asio::post(acceptors[i].get_executor(), [self = shared_from_this(), i] {
      error_code gone;
      self->acceptors[i].close(gone);
      self->pauses[i]->cancel();
    });
  signals.cancel(ignored);
  refresh.cancel();
  probe.cancel();
  watchdog.cancel();
  checkpoint.cancel();
  control.reset();
  if (radius) radius->drain();
  std::vector<std::shared_ptr<Connection>> live;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [id, _] : std::exchange(arrived, {})) admission.gone(id);
    for (const auto& [_, one] : open)
      if (auto connection = one.weak.lock()) live.push_back(std::move(connection));
  }
  for (const auto& connection : live) connection->drain();
  grace.expires_after(config.grace);
  grace.async_wait([self = shared_from_this()](error_code ec) {
    if (ec) return;
    std::vector<std::shared_ptr<Connection>> left;
    {
      const std::lock_guard lock(self->mutex);
      for (const auto& [_, one] : self->open)
        if (auto connection = one.weak.lock()) left.push_back(std::move(connection));
    }
    const std::size_t behind_gateways = self->radius ? self->radius->conversations() : 0;
    log::write(log::Level::warning, {}, "the grace period is over: " + std::to_string(left.size() + behind_gateways) + " sessions are cut");
    for (const auto& connection : left) connection->cut();
    if (self->radius) self->radius->cut();
  });
  maybe_done();
}

// On the control socket's thread, which waits for each connection's answer; a server that stops doesn't give them all.
std::size_t Server::Impl::reassess(std::string_view device) {
  struct Count {
    std::mutex mutex;
    std::condition_variable changed;
    std::size_t pending = 0, asked = 0;
  };
  const auto count = std::make_shared<Count>();
  std::vector<std::shared_ptr<Connection>> live;
  {
    const std::lock_guard lock(mutex);
    for (const auto& [_, one] : open)
      if (auto connection = one.weak.lock()) live.push_back(std::move(connection));
  }
  count->pending = live.size();
  for (const auto& connection : live)
    connection->reassess(std::string(device), [count](bool asked) {
      const std::lock_guard lock(count->mutex);
      --count->pending;
      count->asked += asked ? 1 : 0;
      count->changed.notify_all();
    });
  live.clear();
  std::unique_lock lock(count->mutex);
  count->changed.wait_for(lock, 5s, [&] { return count->pending == 0; });
  // Those behind gateways are asked by having them come again.
  return count->asked + (radius ? radius->dynamic().reassess(radius->settings(), device) : 0);
}

std::size_t Server::Impl::disconnect(std::string_view device) {
  return radius ? radius->dynamic().disconnect(radius->settings(), device) : 0;
}

// Evidence that has to be judged by other rules goes to the evidence plane, behind what sessions wait for: where there is
// no room for both, the shadow goes without.
void Server::Impl::judge_by_shadow(std::shared_ptr<const evidence::Kept> kept, std::shared_ptr<const pipeline::Verdict> verdict,
                                   std::shared_ptr<const pipeline::Verdict> attested, const Settings& by,
                                   std::shared_ptr<const refdb::View> references) {
  const bool same_rules = evidence::same_attestation(*kept, *by.policy, *by.shadow);
  if (!same_rules && behind) return counted.shadow_left_out.add();
  const std::string session = kept->session;
  evidence::judge_again(
      std::move(kept), by.shadow, std::move(references), *pipeline, same_rules ? attested.get() : nullptr,
      [this, session, verdict = std::move(verdict), attested, shadow = by.shadow](Result<evidence::Again> again) {
        if (!again) {
          counted.shadow_left_out.add();
          return log::write(log::Level::warning, session, "the shadow policy couldn't judge: " + again.error().text());
        }
        const bool differs = again->verdict.recommendation != verdict->recommendation;
        (!again->unanswered.empty() ? counted.shadow_unanswered : differs ? counted.shadow_differs : counted.shadow_same).add();
        if (differs)
          log::write(log::Level::info, session, "shadow policy " + shadow->version() + ": " + std::string(name(again->verdict.recommendation)) +
                                                    " instead of " + std::string(name(verdict->recommendation)));
        state->note_shadow(session, evidence::shadow_note(*shadow, *verdict, *again), [](Result<void>) {});
      });
}

std::vector<metrics::Family> Server::Impl::read_metrics() const {
  metrics::Readings now;
  now.started = started;
  now.delay = std::chrono::nanoseconds(delay_ns.load());
  now.behind = behind;
  if (state) {
    now.state_writes_waiting = state->writes_waiting();
    now.kept = state->evidence_totals().value_or(EvidenceTotals{});
  }
  if (results) {
    now.results_written = results->written();
    now.results_left_out = results->left_out();
    const auto deliveries = results->deliveries();
    for (std::size_t i = 0; i < deliveries.size(); ++i) {
      const DeliveryCounts& c = deliveries[i].counts;
      now.deliveries[i] = {deliveries[i].name, c.delivered, c.failed, c.left_out, c.waiting};
    }
  }
  if (evidence_memory) {
    now.kept_memory_bytes = evidence_memory->held();
    now.kept_left_out = evidence_memory->left_out();
  }
  if (pipeline) {
    now.evidence = pipeline->totals();
    now.evidence_pending_bytes = pipeline->bytes_in_flight();
    now.evidence_budget_bytes = pipeline->budget_bytes();
  }
  {
    const std::lock_guard lock(mutex);
    now.policy_number = policy_number;
    now.switch_held = !held.empty();
  }
  const auto references = current(view);
  now.generation = references->generation();
  now.generation_made = references->made();
  now.expiries = current(expiries);
  if (const auto old = status ? status->unrenewed() : std::nullopt) now.expiries.emplace_back("ocsp", old->first_end);
  if (radius) now.radius_conversations = radius->conversations();
  now.radius_admitted = admitted.size();
  now.radius_connected = admitted.connected();
  {
    const std::lock_guard lock(mutex);
    now.waiting_for_handshake = admission.waiting();
    if (status) {
      const StatusCounts told = status->counts();
      now.ocsp = {told.good, told.revoked, told.unknown, told.silent};
    }
    // One that is about to end waits for this lock before it is gone.
    for (const auto& [_, one] : open) ++now.connections[std::size_t(one.connection->doing_now())];
  }
  return metrics::families(counted, now);
}

void Server::Impl::maybe_done() {
  if (!stopping) return;
  if (radius && radius->conversations() != 0) return;
  const std::lock_guard lock(mutex);
  if (!open.empty()) return;
  grace.cancel();
  if (radius) radius->close();
}

Server::Server(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() {
  if (!impl_) return;
  impl_->metrics_port.reset();
  impl_->radius.reset();
  impl_->rehearsal = {};
  if (impl_->status) impl_->status->stop();
  if (impl_->lists) impl_->lists->stop();
  impl_->workers.join();
}

Result<void> Server::check(const Config& given) {
  Config config = given;
  // Those that are to be fetched when it starts.
  std::error_code ignored;
  for (const auto& [file, urls] : {std::tuple{&config.client_crl, &config.client_crl_url}, {&config.ak_crl, &config.ak_crl_url}, {&config.ek_crl, &config.ek_crl_url},
                                   {&config.radius.client_crl, &config.radius.client_crl_url}, {&config.radius.gateway_crl, &config.radius.gateway_crl_url}})
    if (!urls->empty() && !std::filesystem::exists(*file, ignored)) file->clear();
  for (const std::string& address : config.listen) GH_CHECK(endpoint_of(address));
  if (!config.metrics_listen.empty()) GH_CHECK(endpoint_of(config.metrics_listen));
  GH_CHECK(TlsContext::make(config));
  if (!config.ak_ca.empty()) GH_CHECK(TrustAnchors::load(config.ak_ca, config.ak_crl));
  if (!config.ek_ca.empty()) GH_CHECK(TrustAnchors::load(config.ek_ca, config.ek_crl));
  if (!config.users.empty()) GH_CHECK(UserFile::load(config.users));
  for (const std::string* file : {&config.policy_file, &config.shadow_file}) {
    if (file->empty()) continue;
    const auto read = policy::read_policy(*file);
    if (!read) return fail(policy_error(read.error(), *file));
  }
  GH_CHECK(Outlets::check(config.results, config.key));
  if (!config.radius.listen.empty()) {
    for (const auto* const all : {&config.radius.listen, &config.radius.accounting, &config.radius.listen_tcp, &config.radius.listen_tls})
      for (const std::string& address : *all) GH_CHECK(endpoint_of(address));
    GH_CHECK(RadiusSettings::load(config));
  }
  return {};
}

Result<std::unique_ptr<Server>> Server::start(Config config, ReferenceSource references) {
  // Keys and passwords are in memory: no core files, no ptrace by others.
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
  ::prctl(PR_SET_DUMPABLE, 0);
  std::signal(SIGPIPE, SIG_IGN);
  auto impl = std::make_shared<Impl>(std::move(config), std::move(references));
  StateOptions options{.path = impl->config.state, .create = true};
  options.max_sessions = impl->config.keep_sessions;
  options.max_unknown_sessions = impl->config.keep_unknown_sessions;
  options.max_session_age = std::chrono::hours(24 * impl->config.keep_sessions_days);
  options.max_evidence_bytes = impl->config.keep_evidence_mb << 20;
  options.max_evidence_age = std::chrono::hours(24 * impl->config.keep_evidence_days);
  GH_TRY(impl->state, State::open(std::move(options)));
  if (impl->config.keep_evidence != Keep::none || !impl->config.shadow_file.empty()) {
    const std::size_t memory = impl->config.keep_evidence_memory_mb << 20;
    impl->evidence_memory = std::make_shared<evidence::Memory>(memory, memory / 4);
  }
  GH_CHECK(impl->fetch_lists());  // before what they say is read
  impl->take_new_lists();
  GH_CHECK(impl->recall_held_switch());
  GH_CHECK(impl->load());
  impl->pipeline = std::make_unique<pipeline::Pipeline>(pipeline::Limits{
      .threads = impl->config.threads, .proved_bytes = impl->config.proved_evidence_mb << 20});
  if (!impl->config.trace.empty()) {
    GH_TRY(impl->recorder, trace::Recorder::open(impl->config.trace));
    log::write(log::Level::warning, {}, "each conversation is written to " + impl->config.trace);
  }
  const Config& c = impl->config;
  if (!c.client_ocsp.empty() || !c.ak_ocsp.empty() || !c.ek_ocsp.empty() || !c.radius.client_ocsp.empty()) {
    GH_TRY(impl->status, CertificateStatus::start({.limit = impl->config.ocsp_limit, .silence_is_good = impl->config.silence_is_good, .now = {}}));
  }
  GH_TRY(impl->results, Outlets::open(impl->config.results, impl->config.key, *impl->state));
  impl->signals.add(SIGTERM);
  impl->signals.add(SIGINT);
  impl->signals.add(SIGHUP);
  State* const state = impl->state.get();
  const std::weak_ptr<Impl> weak = impl;
  const auto read_metrics = [weak] {
    const auto server = weak.lock();
    return server ? server->read_metrics() : std::vector<metrics::Family>();
  };
  const metrics::HttpServer::Checks checks{[weak] {
                                             const auto server = weak.lock();
                                             return server ? server->ill() : "the server stops";
                                           },
                                           [weak] {
                                             const auto server = weak.lock();
                                             return server ? server->unready() : "the server stops";
                                           }};
  const Live live{[weak](std::string_view device) {
                    const auto server = weak.lock();
                    return server ? server->reassess(device) : 0;
                  },
                  read_metrics,
                  [weak] {
                    const auto server = weak.lock();
                    return server ? server->policy_status() : PolicyStatus();
                  },
                  [weak] {
                    const auto server = weak.lock();
                    return server && server->release_switch();
                  },
                  [weak](std::string_view device) {
                    const auto server = weak.lock();
                    return server ? server->disconnect(device) : 0;
                  },
                  [weak](std::uint64_t after, std::size_t most) {
                    const auto server = weak.lock();
                    return server ? server->admitted.list(after, most) : std::vector<Admitted::Entry>();
                  }};
  GH_TRY(impl->control, ControlServer::start(impl->config.control_socket,
                                             [state, live](std::string_view request) { return execute(*state, request, &live); }));
  GH_CHECK(impl->state->announce_socket(impl->config.control_socket));
  GH_CHECK(impl->listen());
  if (!impl->config.radius.listen.empty()) {
    if (impl->config.radius.without_attestation == "lease") impl->recall_leases();
    GH_CHECK(impl->recall_admitted());
    GH_TRY(auto settings, RadiusSettings::load(impl->config));
    GH_TRY(impl->radius, RadiusFront::start(impl, std::move(settings)));
  }
  if (!impl->config.metrics_listen.empty()) {
    GH_TRY(const tcp::endpoint where, endpoint_of(impl->config.metrics_listen));
    GH_TRY(impl->metrics_port, metrics::HttpServer::start(where.address().to_string(), where.port(),
                                                          [read_metrics] { return metrics::exposition(read_metrics()); }, checks));
    log::write(log::Level::info, {}, "metrics on " + where.address().to_string() + ":" + std::to_string(impl->metrics_port->port()));
  }
  impl->await_signal();
  impl->look_after_start();
  impl->await_refresh();
  impl->await_probe(probe_interval);
  if (!impl->config.audit_key.empty()) {
    GH_TRY(SigningKey key, SigningKey::read_file(impl->config.audit_key));
    GH_TRY(impl->checkpoints, CheckpointFile::open(impl->config.audit_checkpoints, std::move(key)));
    impl->await_checkpoint();
  }
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::run() {
  const unsigned count = impl_->config.threads != 0 ? impl_->config.threads : std::max(1U, std::thread::hardware_concurrency());
  std::vector<std::jthread> threads;
  for (unsigned i = 1; i < count; ++i) threads.emplace_back([impl = impl_] { impl->io.run(); });
  systemd::notify("READY=1\nSTATUS=serving");
  if (const auto interval = systemd::watchdog_interval()) asio::post(impl_->own, [impl = impl_, interval] { impl->await_watchdog(*interval); });
  impl_->turned_ns = std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
  impl_->turning = true;
  impl_->io.run();
  threads.clear();
  impl_->control.reset();
  impl_->metrics_port.reset();  // it reads what follows
  impl_->radius.reset();
  impl_->rehearsal = {};    // judges with what follows
  if (impl_->status) impl_->status->stop();
  if (impl_->lists) impl_->lists->stop();
  impl_->pipeline.reset();  // waits for what is in flight
  if (impl_->checkpoints) {
    impl_->workers.join();
    impl_->write_checkpoint();
  }
  impl_->results->stop();   // webhooks read the state
  impl_->state.reset();     // writes what waits
  impl_->results.reset();
  log::write(log::Level::info, {}, "stopped");
}

void Server::stop() {
  asio::post(impl_->own, [impl = impl_] { impl->begin_stop(); });
}
std::uint16_t Server::port() const { return impl_->ports.front(); }
std::uint16_t Server::radius_port() const { return impl_->radius ? impl_->radius->port() : 0; }
Server::RadiusPorts Server::radius_ports() const {
  if (!impl_->radius) return {};
  return {impl_->radius->accounting_port(), impl_->radius->tcp_port(), impl_->radius->tls_port()};
}
std::uint16_t Server::metrics_port() const { return impl_->metrics_port ? impl_->metrics_port->port() : 0; }
std::size_t Server::connections() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->open.size();
}

}  // namespace gatehouse::server
