#include "fleet/run.h"

#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <queue>
#include <random>
#include <thread>

#include "base/file.h"
#include "base/secret.h"
#include "fleet/connection.h"
#include "fleet/progress.h"
#include "fleet/radius_link.h"

namespace gatehouse::fleet {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t slow_bytes = 2048;  // that a slow endpoint moves each way at a time
constexpr auto slow_pause = std::chrono::milliseconds(50);
constexpr std::size_t everything = std::size_t(1) << 20;

Clock::duration seconds(double s) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
}

double own_cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
}

Result<std::unique_ptr<SSL_CTX, FreeSsl>> tls_context(const RunOptions& o) {
  std::unique_ptr<SSL_CTX, FreeSsl> out(SSL_CTX_new(TLS_client_method()));
  if (!out || SSL_CTX_set_min_proto_version(out.get(), TLS1_2_VERSION) != 1)
    return fail(Fault::environment, "OpenSSL has no TLS client");
  SSL_CTX_set_mode(out.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(out.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(out.get(), o.ca.empty() ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, nullptr);
  if (!o.ca.empty() && SSL_CTX_load_verify_file(out.get(), o.ca.c_str()) != 1)
    return fail(Error{Fault::usage, "no CA certificates", {}, 0, o.ca, {}});
  return out;
}

// When the last attestation is over, workers that keep their connections know it of each other.
struct Rest {
  std::atomic<unsigned> working{0};  // workers that have attestations left
  Clock::time_point end;             // of the last attestation; written by the last worker alone
  std::atomic<bool> begun{false};    // and at_rest has returned
};

// What all workers share, and read only.
struct World {
  const RunOptions& options;
  Fleet fleet;
  std::unique_ptr<Variants> variants;
  std::vector<Identity> identities;
  sockaddr_storage address{};
  socklen_t address_size = 0;
  Secret password, secret;
  // Endpoints compute it each on a processor of its own; here it would be the load generator's bound.
  std::unique_ptr<SaltedOnce> salted = std::make_unique<SaltedOnce>();
  Clock::time_point start;
  Progress* progress = nullptr;
  Rest* rest = nullptr;
  const std::atomic<bool>& stop;
};

Result<void> resolve(World& world) {
  addrinfo hints{};
  hints.ai_socktype = world.options.secret_file.empty() ? SOCK_STREAM : SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(world.options.host.c_str(), world.options.port.c_str(), &hints, &found);
  if (error != 0)
    return fail(Error{Fault::environment, "no such server", {}, 0, world.options.host, ::gai_strerror(error)});
  std::memcpy(&world.address, found->ai_addr, found->ai_addrlen);
  world.address_size = found->ai_addrlen;
  ::freeaddrinfo(found);
  return {};
}

Result<Identity> load_identity(const Fleet& fleet, std::uint32_t endpoint, bool with_certificate) {
  Identity out;
  constexpr std::size_t limit = 65'536;
  GH_TRY(const ByteVector key, read_file(fleet.key(endpoint), limit));
  GH_TRY(out.ak, endpoint::SigningKey::from_pem(as_text(key)));
  if (!with_certificate) return out;
  GH_TRY(const ByteVector text, read_file(fleet.client(endpoint), limit));
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(text.data(), int(text.size())), &BIO_free);
  if (bio) {
    out.certificate.reset(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    out.key.reset(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  }
  if (!out.certificate || !out.key)
    return fail(Error{Fault::malformed, "no certificate and its key", {}, 0, fleet.client(endpoint), {}});
  return out;
}

// Every threads-th endpoint is a worker's, from its number on: nothing is shared on the way.
class Worker {
 public:
  Worker(World& world, unsigned number, unsigned all)
      : world_(world), o_(world.options), all_(all), number_(number), random_(world.options.seed * 7919 + number) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  Result<void> open();
  void run();
  Tally take() { return std::move(tally_); }

 private:
  struct Endpoint {
    std::unique_ptr<Link> connection;
    bool busy = false;
    Manner manner = Manner::honest;
    std::uint32_t grown = 0, run = 0;  // run: counts attestations, so that a timer knows its own
    std::uint64_t counted = 0;         // bytes of this connection
    std::size_t vanishes_at = 0;       // bytes sent
    Clock::time_point arrived;
    std::uint32_t watched = 0;  // epoll events
  };
  struct Timer {
    Clock::time_point at;
    std::uint32_t endpoint, run;
    enum class What : std::uint8_t { deadline, slow, again } what;
    friend bool operator<(const Timer& a, const Timer& b) { return a.at > b.at; }
  };

  std::uint32_t number_of(std::uint32_t local) const { return local * all_ + number_; }
  bool more_to_start() const;
  void start_due(Clock::time_point now);
  Clock::time_point next_arrival() const;
  bool start_one(Clock::time_point arrived);
  Manner draw();
  void attest(std::uint32_t local, Clock::time_point arrived);
  void on_ready(std::uint32_t local, std::uint32_t events);
  void on_answer(std::uint32_t local, Bytes datagram);
  void advance(std::uint32_t local, Link::State state);
  void watch(std::uint32_t local, std::uint32_t events);
  void finish(std::uint32_t local, bool keep);
  void drop(std::uint32_t local);
  void on_timer(const Timer& timer);
  std::size_t busy_share() const { return std::max<std::size_t>((o_.concurrency + all_ - 1 - number_) / all_, 1); }

  World& world_;
  const RunOptions& o_;
  const unsigned all_, number_;
  std::mt19937_64 random_;
  Connection::Config config_;
  RadiusLink::Config radius_;
  std::unique_ptr<SSL_CTX, FreeSsl> tls_;
  Descriptor epoll_;
  std::optional<RadiusSockets> sockets_;
  std::vector<Endpoint> endpoints_;
  std::uint32_t next_ = 0;
  std::uint64_t begun_ = 0, share_ = 0, arrivals_ = 0;  // share_: how many attestations are this worker's
  std::size_t busy_ = 0;
  std::priority_queue<Timer> timers_;
  Tally tally_;
};

Result<void> Worker::open() {
  GH_TRY(tls_, tls_context(o_));
  config_.tls = tls_.get();
  config_.address = reinterpret_cast<const sockaddr*>(&world_.address);
  config_.address_size = world_.address_size;
  if (!o_.ca.empty()) config_.host = o_.host;
  config_.user = o_.user;
  config_.password = world_.password.reveal();
  config_.salted = world_.salted.get();
  config_.product = world_.fleet.product;
  config_.clock_from = world_.fleet.made;
  config_.keep = o_.keep;
  radius_.tls = tls_.get();
  radius_.secret = world_.secret.reveal();
  radius_.user = config_.user;
  radius_.password = config_.password;
  radius_.product = config_.product;
  radius_.clock_from = config_.clock_from;
  radius_.fragment_size = o_.fragment_size;
  radius_.loss = o_.loss;
  radius_.late = o_.late;
  radius_.resend = std::chrono::duration<double>(o_.resend);
  epoll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return fail_errno("no epoll", "gatehouse-fleet");
  if (!o_.secret_file.empty()) radius_.sockets = &sockets_.emplace(config_.address, config_.address_size, o_.per_gateway, epoll_.get());
  const auto mine = [&](std::uint64_t n) { return n / all_ + (number_ < n % all_ ? 1 : 0); };
  endpoints_.resize(mine(world_.identities.size()));
  share_ = mine(o_.attestations);
  return {};
}

bool Worker::more_to_start() const {
  if (world_.stop || endpoints_.empty()) return false;
  if (o_.attestations != 0) return (o_.rate > 0 ? arrivals_ : begun_) < share_;
  return Clock::now() < world_.start + seconds(o_.duration);
}

Clock::time_point Worker::next_arrival() const {
  // Workers take turns.
  return world_.start + seconds((double(arrivals_) * all_ + number_) / o_.rate);
}

void Worker::start_due(Clock::time_point now) {
  if (o_.rate > 0) {
    for (Clock::time_point at; more_to_start() && (at = next_arrival()) <= now;) {
      ++arrivals_;
      if (o_.attestations == 0 && at >= world_.start + seconds(o_.duration)) return;
      if (busy_ >= busy_share() || !start_one(at)) ++tally_.failures["more arrivals than may be in flight"];
    }
    return;
  }
  std::size_t allowed = busy_share();
  if (o_.ramp > 0) {
    const double passed = std::chrono::duration<double>(now - world_.start).count() / o_.ramp;
    allowed = std::min(allowed, std::size_t(double(allowed) * passed) + 1);
  }
  while (busy_ < allowed && more_to_start() && start_one(now)) {
  }
}

bool Worker::start_one(Clock::time_point arrived) {
  for (std::size_t tried = 0; tried < endpoints_.size(); ++tried) {
    const std::uint32_t local = next_;
    next_ = std::uint32_t((next_ + 1) % endpoints_.size());
    if (endpoints_[local].busy) continue;
    ++begun_;
    attest(local, arrived);
    return true;
  }
  return false;
}

Manner Worker::draw() {
  double left = std::uniform_real_distribution<double>(0, 1)(random_);
  const std::pair<double, Manner> shares[] = {{o_.changed, Manner::changed},
                                              {o_.forged, Manner::forged},
                                              {o_.slow, Manner::slow},
                                              {o_.stalled, Manner::stalled},
                                              {o_.vanishing, Manner::vanishing}};
  for (const auto& [share, manner] : shares)
    if ((left -= share) < 0) return manner;
  return Manner::honest;
}

void Worker::attest(std::uint32_t local, Clock::time_point arrived) {
  Endpoint& e = endpoints_[local];
  e.busy = true;
  ++busy_;
  ++e.run;
  e.arrived = arrived;
  e.manner = draw();
  timers_.push({arrived + seconds(o_.timeout), local, e.run, Timer::What::deadline});
  const std::uint32_t number = number_of(local);
  auto variant = world_.variants->get(world_.fleet.image_of(number), e.manner, e.grown);
  e.grown += o_.grow;
  if (!variant) {
    ++tally_.failures[std::string(variant.error().reason)];
    return finish(local, false);
  }
  if (e.manner == Manner::vanishing) {
    const std::size_t all = (*variant)->boot->attributes.size() + (*variant)->list->attributes.size();
    e.vanishes_at =
        (e.connection ? e.connection->bytes_sent() : 0) + std::uniform_int_distribution<std::size_t>(0, all)(random_);
  }
  if (e.connection) return advance(local, e.connection->retry(*std::move(variant)));
  const Identity& identity = world_.identities[number];
  if (o_.secret_file.empty()) {
    e.connection = std::make_unique<Connection>(config_, identity, *std::move(variant));
  } else {
    e.connection = std::make_unique<RadiusLink>(radius_, local, identity, *std::move(variant), random_());
  }
  e.counted = 0;
  e.watched = 0;
  ++tally_.connections;
  if (e.manner == Manner::slow) timers_.push({Clock::now() + slow_pause, local, e.run, Timer::What::slow});
  advance(local, e.connection->connect());
  if (e.connection && e.connection->again_at()) timers_.push({*e.connection->again_at(), local, e.run, Timer::What::again});
}

void Worker::watch(std::uint32_t local, std::uint32_t events) {
  Endpoint& e = endpoints_[local];
  if (e.watched == events || e.connection->fd() < 0) return;
  epoll_event event{};
  event.events = events;
  event.data.u64 = local;
  (void)::epoll_ctl(epoll_.get(), e.watched == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, e.connection->fd(), &event);
  e.watched = events;
}

void Worker::on_ready(std::uint32_t local, std::uint32_t events) {
  Endpoint& e = endpoints_[local];
  if (!e.connection) return;
  if (!e.busy) {
    if (e.connection->idle() == Link::State::ended) drop(local);
    return;
  }
  if (e.manner == Manner::stalled && e.connection->talking()) {
    // Reads nothing more: the server's patience ends with its closing the connection, or ours with the deadline.
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
      ++tally_.disturbers["stalled"];
      return finish(local, false);
    }
    return watch(local, EPOLLRDHUP);
  }
  const std::size_t most = e.manner == Manner::vanishing ? 4096 : everything;
  if (e.manner == Manner::vanishing && e.connection->bytes_sent() >= e.vanishes_at) {
    e.connection->vanish();
    ++tally_.disturbers["vanishing"];
    return finish(local, false);
  }
  advance(local, e.connection->proceed(most));
}

void Worker::on_answer(std::uint32_t local, Bytes datagram) {
  Endpoint& e = endpoints_[local];
  if (!e.connection || !e.busy) return;
  if (e.manner == Manner::stalled && e.connection->talking()) return;  // the deadline's turn
  if (e.manner == Manner::vanishing && e.connection->bytes_sent() >= e.vanishes_at) {
    e.connection->vanish();
    ++tally_.disturbers["vanishing"];
    return finish(local, false);
  }
  advance(local, static_cast<RadiusLink&>(*e.connection).receive(datagram));
}

void Worker::advance(std::uint32_t local, Link::State state) {
  Endpoint& e = endpoints_[local];
  if (state == Link::State::busy) {
    if (e.manner == Manner::slow && e.connection->talking()) {
      watch(local, EPOLLRDHUP);  // the timer's turn
    } else {
      watch(local, EPOLLIN | (e.connection->wants_to_write() ? std::uint32_t{EPOLLOUT} : 0U));
    }
    return;
  }
  const auto& outcome = e.connection->outcome();
  if (outcome && !e.connection->error()) {
    const bool bad = e.manner == Manner::changed || e.manner == Manner::forged;
    static constexpr std::string_view names[] = {"none", "allow", "isolate", "block"};
    const std::string verdict(names[std::size_t(outcome->recommendation)]);
    ++tally_.verdicts[verdict];
    if (!bad) ++tally_.honest_verdicts[verdict];
    if (bad && outcome->recommendation == endpoint::Recommendation::allow) ++tally_.wrong;
    if (e.manner == Manner::slow) {
      ++tally_.disturbers["slow"];  // the time is their own
    } else {
      tally_.latencies_ms.push_back(std::chrono::duration<float, std::milli>(Clock::now() - e.arrived).count());
    }
  } else if (e.manner == Manner::vanishing) {
    ++tally_.disturbers["vanishing"];
  } else {
    ++tally_.failures[e.connection->error() ? std::string(e.connection->error()->reason) : std::string("no verdict")];
  }
  finish(local, state == Link::State::resting);
}

void Worker::finish(std::uint32_t local, bool keep) {
  Endpoint& e = endpoints_[local];
  e.busy = false;
  --busy_;
  if (world_.progress != nullptr) world_.progress->add(1);
  if (!e.connection) return;
  const std::uint64_t sent = e.connection->bytes_sent();
  tally_.bytes_sent += sent - std::min(sent, e.counted);
  e.counted = sent;
  tally_.repeated += e.connection->repeated();
  if (!keep) return drop(local);
  watch(local, EPOLLIN);
}

void Worker::drop(std::uint32_t local) {
  Endpoint& e = endpoints_[local];
  e.connection.reset();  // and out of epoll with its socket
  e.watched = 0;
}

void Worker::on_timer(const Timer& timer) {
  Endpoint& e = endpoints_[timer.endpoint];
  if (!e.busy || e.run != timer.run || !e.connection) return;
  if (timer.what == Timer::What::slow) {
    advance(timer.endpoint, e.connection->proceed(slow_bytes));
    if (e.busy && e.run == timer.run)
      timers_.push({Clock::now() + slow_pause, timer.endpoint, timer.run, Timer::What::slow});
    return;
  }
  if (timer.what == Timer::What::again) {
    // One timer an attestation; the answer may have come since.
    if (e.connection->again_at() && *e.connection->again_at() <= Clock::now() &&
        !(e.manner == Manner::stalled && e.connection->talking()))
      advance(timer.endpoint, e.connection->repeat());
    const auto next = e.connection ? e.connection->again_at() : std::nullopt;
    if (next) timers_.push({*next, timer.endpoint, timer.run, Timer::What::again});
    return;
  }
  if (e.manner == Manner::stalled) {
    ++tally_.disturbers["stalled"];
  } else {
    ++tally_.failures["no verdict in time"];
  }
  finish(timer.endpoint, false);
}

void Worker::run() {
  std::array<epoll_event, 256> events;
  const bool holds = o_.hold > 0 || o_.at_rest;
  bool done = false;
  std::optional<Clock::time_point> hold;
  for (;;) {
    const Clock::time_point now = Clock::now();
    start_due(now);
    const bool more = more_to_start();
    if (busy_ == 0 && !more) {
      if (!done && world_.rest->working.fetch_sub(1) == 1) {
        world_.rest->end = Clock::now();
        if (o_.at_rest) o_.at_rest();
        world_.rest->begun = true;
      }
      done = true;
      if (!hold && world_.rest->begun) hold = now + seconds(o_.hold);
      if (!holds || (hold && now >= *hold) || world_.stop) break;
    }
    Clock::time_point until = now + std::chrono::milliseconds(200);  // whether to stop is asked so often
    if (hold) until = std::min(until, *hold);
    if (!timers_.empty()) until = std::min(until, timers_.top().at);
    if (more && o_.rate > 0) until = std::min(until, next_arrival());
    if (more && o_.ramp > 0 && busy_ < busy_share()) until = std::min(until, now + std::chrono::milliseconds(1));
    if (sockets_) sockets_->flush();
    const auto wait =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::max(until - Clock::now(), Clock::duration::zero()));
    const timespec limit{time_t(wait.count() / 1'000'000'000), long(wait.count() % 1'000'000'000)};
    const int ready = ::epoll_pwait2(epoll_.get(), events.data(), int(events.size()), &limit, nullptr);
    for (int i = 0; i < ready; ++i) {
      const std::uint64_t what = events[std::size_t(i)].data.u64;
      if ((what & RadiusSockets::mark) == 0) on_ready(std::uint32_t(what), events[std::size_t(i)].events);
      else sockets_->receive(int(what & ~RadiusSockets::mark), [this](std::uint32_t local, Bytes datagram) { on_answer(local, datagram); });
    }
    while (!timers_.empty() && timers_.top().at <= Clock::now()) {
      const Timer timer = timers_.top();
      timers_.pop();
      on_timer(timer);
    }
    if (world_.stop && busy_ != 0)
      for (std::uint32_t local = 0; local < endpoints_.size(); ++local)
        if (endpoints_[local].busy) finish(local, false);
  }
  endpoints_.clear();
}

Result<World> open_world(const RunOptions& o, const std::atomic<bool>& stop) {
  GH_TRY(Fleet fleet, load_fleet(o.folder));
  World world{.options = o,
              .fleet = std::move(fleet),
              .variants = {},
              .identities = {},
              .password = {},
              .start = {},
              .stop = stop};
  GH_CHECK(resolve(world));
  if (!o.password_file.empty()) {
    GH_TRY(world.password, read_secret_file(o.password_file));
  }
  if (!o.secret_file.empty()) {
    GH_TRY(world.secret, read_secret_file(o.secret_file));
  }
  GH_TRY(world.variants, Variants::load(world.fleet));
  const std::uint64_t wanted =
      o.attestations == 0 ? world.fleet.endpoints : std::min<std::uint64_t>(o.attestations, world.fleet.endpoints);
  world.identities.resize(wanted);
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Result<void> good;
  std::vector<std::jthread> loaders;
  for (unsigned t = 0; t < o.threads; ++t)
    loaders.emplace_back([&] {
      for (std::size_t i; !stop && (i = next++) < world.identities.size();) {
        auto loaded = load_identity(world.fleet, std::uint32_t(i), !o.no_certificate);
        if (loaded) {
          world.identities[i] = *std::move(loaded);
        } else {
          const std::lock_guard lock(mutex);
          good = std::unexpected(std::move(loaded).error());
          next = world.identities.size();
        }
      }
    });
  loaders.clear();
  if (!good) return std::unexpected(std::move(good).error());
  return world;
}

}  // namespace

void Tally::add(Tally&& other) {
  latencies_ms.insert(latencies_ms.end(), other.latencies_ms.begin(), other.latencies_ms.end());
  for (const auto& [name, n] : other.verdicts) verdicts[name] += n;
  for (const auto& [name, n] : other.honest_verdicts) honest_verdicts[name] += n;
  for (const auto& [name, n] : other.failures) failures[name] += n;
  for (const auto& [name, n] : other.disturbers) disturbers[name] += n;
  wrong += other.wrong;
  bytes_sent += other.bytes_sent;
  connections += other.connections;
  repeated += other.repeated;
}

std::optional<double> cpu_seconds_of(int pid) {
  clockid_t clock{};
  timespec now{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &now) != 0) return std::nullopt;
  return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
}

std::optional<std::uint64_t> resident_bytes_of(int pid) {
  constexpr std::size_t line = 4096;
  const auto text = read_file("/proc/" + std::to_string(pid) + "/statm", line);
  unsigned long long pages = 0;
  if (!text || std::sscanf(std::string(as_text(*text)).c_str(), "%*u %llu", &pages) != 1) return std::nullopt;
  return pages * std::uint64_t(::sysconf(_SC_PAGESIZE));
}

std::optional<std::uint64_t> resident_bytes_at_rest(int pid, const std::atomic<bool>& stop) {
  using namespace std::chrono_literals;
  std::optional<std::uint64_t> least = resident_bytes_of(pid);
  const Clock::time_point end = Clock::now() + 10s;
  Clock::time_point fallen = Clock::now();
  while (least && !stop && Clock::now() < std::min(end, fallen + 3s)) {
    std::this_thread::sleep_for(100ms);
    const auto now = resident_bytes_of(pid);
    if (now < least) fallen = Clock::now();
    least = now;
  }
  return least;
}

Result<Report> run_fleet(const RunOptions& options, const std::atomic<bool>& stop) {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
  }
  GH_TRY(World world, open_world(options, stop));
  const unsigned threads =
      unsigned(std::min<std::size_t>({options.threads, options.concurrency, world.identities.size()}));
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned t = 0; t < threads; ++t) {
    workers.push_back(std::make_unique<Worker>(world, t, threads));
    GH_CHECK(workers.back()->open());
  }
  Report out;
  const double cpu = own_cpu_seconds();
  Rest rest;
  rest.working = threads;
  world.rest = &rest;
  world.start = Clock::now();
  {
    std::optional<Progress> progress;
    if (!options.quiet) world.progress = &progress.emplace("attestations", options.attestations);
    std::vector<std::jthread> running;
    for (const auto& worker : workers) running.emplace_back([&worker] { worker->run(); });
  }
  out.cpu_seconds = own_cpu_seconds() - cpu;
  out.seconds = std::chrono::duration<double>(rest.end - world.start).count();
  for (const auto& worker : workers) out.tally.add(worker->take());
  std::ranges::sort(out.tally.latencies_ms);
  return out;
}

}  // namespace gatehouse::fleet
