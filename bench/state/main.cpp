// gatehouse-state-bench: what the state store and the policy cost a session, and what the store answers an operator when it
// holds very many devices and results. Sessions are copies of one real one: the seed's workload judged by the session core, under names,
// keys and clocks of their own.
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <mutex>
#include <random>

#include "bench/state/policy.h"
#include "server/control/control.h"
#include "tests/server_session/conversation.h"

namespace {

using namespace gatehouse;
namespace fs = std::filesystem;
namespace json = boost::json;

[[noreturn]] void give_up(const std::string& why) {
  std::fprintf(stderr, "gatehouse-state-bench: %s\n", why.c_str());
  std::exit(4);
}
template <class T>
T needed(Result<T> result) {
  if (!result) give_up(result.error().text());
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

double cpu_us(clockid_t of = CLOCK_PROCESS_CPUTIME_ID) {
  timespec now{};
  ::clock_gettime(of, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
}
double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ptrdiff_t(values.size() / 2), values.end());
  return values[values.size() / 2];
}

struct Options {
  std::string folder;
  std::uint64_t sessions = 4'000, devices = 1'000'000, results = 10'000'000;
  unsigned at_once = 16;
  int rounds = 5;
};

// What a session of the seed's workload has the store keep: allowed, its quote verified, its evidence not kept.
server::SessionResult real_result() {
  test::World world(1, 0);
  world.settings.keep = server::Keep::none;
  const test::Machine machine = test::machine(endpoint::KeyAlgorithm::ecc);
  const std::string device = machine.tpm->ak().key_id();
  world.enrol(machine.tpm->ak(), device);
  test::converse(world, machine);
  world.approve(device);
  std::optional<server::SessionResult> seen;
  test::ClientOptions options;
  options.begin = [&](test::LoopHost& host, const server::Session&) { host.on_result = [&](const server::SessionResult& r) { seen = r; }; };
  test::converse(world, machine, options);
  if (!seen || seen->recommendation != pipeline::Recommendation::allow || !seen->quote_key) give_up("the attestation wasn't allowed");
  return *seen;
}

std::string session_name(std::uint64_t n) {
  char text[40];
  std::snprintf(text, sizeof text, "20261124T163105.123-%016llx", static_cast<unsigned long long>(n));
  return text;
}

// Sessions as the server has them: an intent, what the session core reads, a result; so many at once.
class Sessions {
 public:
  Sessions(server::State& state, const server::SessionResult& pattern, std::size_t devices) : state_(state), pattern_(pattern) {
    std::vector<server::Enrolment> enrolments;
    for (std::size_t i = 0; i < devices; ++i) {
      keys_.push_back(needed(endpoint::SigningKey::generate(endpoint::KeyAlgorithm::ecc))->key());
      server::Enrolment e;
      e.device = keys_.back().key_id();
      e.key = server::SeenKey{keys_.back(), std::nullopt, std::nullopt};
      e.product = pattern.intent.product;
      e.trust = true;
      e.approved_baseline = pattern.proposed_baseline;
      enrolments.push_back(std::move(e));
    }
    for (const auto& done : state.import_blocking(std::move(enrolments))) (void)needed(done);
  }

  // CPU time of a session, in microseconds; to make its result is the benchmark's own.
  double run(std::uint64_t count, unsigned at_once) {
    const double before = cpu_us();
    making_us_ = 0;
    std::uint64_t begun = 0, ended = 0;
    while (ended < count) {
      for (; begun < count && begun - ended < at_once; ++begun) begin();
      ended += carry_on();
    }
    return (cpu_us() - before - making_us_) / double(count);
  }

 private:
  void begin() {
    const double before = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    const std::uint64_t n = made_++;
    auto one = std::make_unique<server::SessionResult>(pattern_);
    const PublicKey& key = keys_[n % keys_.size()];
    one->intent.session = session_name(n);
    one->intent.device = key.key_id();
    one->intent.key_pin = key.pin();
    one->intent.started += std::int64_t(n);
    one->finished += std::int64_t(n);
    one->quote_key = key;
    if (one->quote) one->quote->clock += n;
    auto intent = one->intent;
    making_us_ += cpu_us(CLOCK_THREAD_CPUTIME_ID) - before;
    state_.begin_session(std::move(intent), [this, one = std::move(one)](Result<void> r) mutable { hand_over(std::move(one), std::move(r)); });
  }
  void hand_over(std::unique_ptr<server::SessionResult> one, Result<void> r) {
    const std::lock_guard lock(mutex_);
    ready_.emplace_back(std::move(one), std::move(r));
    wake_.notify_one();
  }
  // One step of those that wait; how many ended.
  std::uint64_t carry_on() {
    std::deque<std::pair<std::unique_ptr<server::SessionResult>, Result<void>>> ready;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return !ready_.empty(); });
      ready.swap(ready_);
    }
    std::uint64_t ended = 0;
    for (auto& [one, outcome] : ready) {
      needed(std::move(outcome));
      if (!one) {
        ++ended;
        continue;
      }
      look(*one);
      state_.commit_result(std::move(*one), [this](Result<void> r) { hand_over(nullptr, std::move(r)); });
    }
    return ended;
  }
  // What the session core and its IMVs look up.
  void look(const server::SessionResult& of) const {
    const std::string& device = of.intent.device;
    if (!needed(state_.device(device))) give_up("a device is missing");
    for (const server::ItemResult& item : of.items) (void)needed(state_.item_result(device, item.policy));
    if (state_.judge_key(device, *of.quote_key).standing != server::KeyStanding::trusted) give_up("a key isn't trusted");
    (void)needed(state_.approved_banks(device));
    (void)needed(state_.approved_baselines(device));
    (void)needed(state_.last_quote(*of.quote_key));
  }

  server::State& state_;
  const server::SessionResult& pattern_;
  std::vector<PublicKey> keys_;
  std::uint64_t made_ = 0;
  double making_us_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::pair<std::unique_ptr<server::SessionResult>, Result<void>>> ready_;  // null: it ended
};

json::object measure_sessions(const Options& o, const server::SessionResult& pattern) {
  const std::string folder = o.folder + "/sessions";
  fs::remove_all(folder);
  const auto state = needed(server::State::open({.path = folder, .create = true}));
  Sessions sessions(*state, pattern, 1'000);
  (void)sessions.run(o.sessions, o.at_once);
  json::array cpu;
  for (int i = 0; i < o.rounds; ++i) cpu.emplace_back(sessions.run(o.sessions, o.at_once));
  return {{"cpu_us", std::move(cpu)}, {"at_once", o.at_once}, {"sessions", o.sessions}, {"verdict_bytes", pattern.verdict.size()}};
}

std::string device_name(std::uint64_t n) {
  char text[41];
  std::snprintf(text, sizeof text, "%040llx", static_cast<unsigned long long>(n * 0x9e3779b97f4a7c15ULL));
  return text;
}

// Most of a fleet has few files that nobody knows.
std::string with_few_findings(const std::string& verdict) {
  constexpr std::size_t few = 8;
  json::value whole = json::parse(verdict);
  json::array& findings = whole.as_object().at("findings").as_array();
  if (findings.size() > few) findings.erase(findings.begin() + few, findings.end());
  return json::serialize(whole);
}

// Devices by their key ids, and as many results of each.
void fill(const std::string& folder, const Options& o, server::SessionResult pattern, json::object& out) {
  pattern.verdict = with_few_findings(pattern.verdict);
  out["verdict_bytes"] = pattern.verdict.size();
  const auto state = needed(server::State::open({.path = folder, .create = true, .max_sessions = o.results + 1, .max_queue = 1 << 20}));
  const auto began = std::chrono::steady_clock::now();
  const double cpu = cpu_us();
  const auto tell = [&](const char* what, std::uint64_t n, std::uint64_t of) {
    if (n % (of / 20 + 1) == 0) std::fprintf(stderr, "%s: %llu of %llu\n", what, static_cast<unsigned long long>(n), static_cast<unsigned long long>(of));
  };
  std::vector<server::Enrolment> some;
  for (std::uint64_t n = 0; n < o.devices; ++n) {
    tell("devices", n, o.devices);
    server::Enrolment e;
    e.device = device_name(n);
    e.product = pattern.intent.product;
    e.trust = true;
    some.push_back(std::move(e));
    if (some.size() == 10'000 || n + 1 == o.devices) {
      for (const auto& done : state->import_blocking(std::move(some))) (void)needed(done);
      some = {};
    }
  }
  out["devices_s"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::mutex mutex;
  std::condition_variable wake;
  std::uint64_t ended = 0;
  for (std::uint64_t n = 0; n < o.results; ++n) {
    tell("results", n, o.results);
    auto one = pattern;
    one.intent.session = session_name(n);
    one.intent.device = device_name(n % o.devices);
    one.intent.started += std::int64_t(n);
    one.finished += std::int64_t(n);
    one.quote_key.reset();
    one.quote.reset();
    one.proposed_baseline.reset();
    state->commit_result(std::move(one), [&](Result<void> r) {
      needed(std::move(r));
      const std::lock_guard lock(mutex);
      ++ended;
      wake.notify_one();
    });
    if (n % 1'000 == 999 || n + 1 == o.results) {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return n + 1 - ended < 2'000; });
    }
  }
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return ended == o.results; });
  out["fill_s"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  out["fill_cpu_s"] = (cpu_us() - cpu) / 1e6;
}

std::uint64_t bytes_below(const std::string& folder) {
  std::uint64_t sum = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) sum += entry.file_size();
  return sum;
}

// Requests as commands make them, each of another device or session.
json::object ask(server::State& state, const std::function<json::object(std::uint64_t)>& request, std::uint64_t of, int count) {
  std::mt19937_64 random(7);
  std::vector<double> ms;
  for (int i = 0; i < count; ++i) {
    const std::string text = json::serialize(request(random() % of));
    const auto began = std::chrono::steady_clock::now();
    const std::string response = server::execute(state, text);
    ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count());
    (void)needed(server::response_or_error(response));
  }
  std::sort(ms.begin(), ms.end());
  return {{"median_ms", median(ms)}, {"p99_ms", ms[ms.size() * 99 / 100]}, {"most_ms", ms.back()}};
}

json::object measure_many(const Options& o, const server::SessionResult& pattern) {
  const std::string folder = o.folder + "/many";
  json::object out{{"devices", o.devices}, {"results", o.results}};
  if (!fs::exists(folder + "/filled")) {
    fs::remove_all(folder);
    fill(folder, o, pattern, out);
    std::fclose(std::fopen((folder + "/filled").c_str(), "w"));
  }
  out["bytes"] = bytes_below(folder);
  const auto began = std::chrono::steady_clock::now();
  const auto state = needed(server::State::open({.path = folder, .max_sessions = o.results + 1}));
  out["open_ms"] = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
  constexpr int count = 1'000;
  out["device_show"] = ask(*state, [](std::uint64_t n) { return json::object{{"command", "device.show"}, {"device", device_name(n)}}; }, o.devices, count);
  out["session_show"] = ask(*state, [](std::uint64_t n) { return json::object{{"command", "session.show"}, {"session", session_name(n)}}; }, o.results, count);
  out["session_list"] = ask(*state, [](std::uint64_t n) { return json::object{{"command", "session.list"}, {"device", device_name(n)}}; }, o.devices, count);
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  out["peak_mib"] = double(used.ru_maxrss) / 1024;
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Measures the state store and the policy: what a session costs them, and how fast the store answers with very many devices and results."};
  app.set_version_flag("--version", "gatehouse-state-bench " GATEHOUSE_VERSION);
  Options o;
  bool keep = false, policy = true;
  o.folder = (fs::temp_directory_path() / "gatehouse-state-bench").string();
  app.add_option("--folder", o.folder, "where; a filled store that --keep left there is used again");
  app.add_option("--sessions", o.sessions, "in a round")->check(CLI::Range(100, 10'000'000));
  app.add_option("--rounds", o.rounds, "of sessions")->check(CLI::Range(1, 1'000));
  app.add_option("--at-once", o.at_once, "sessions")->check(CLI::Range(1, 10'000));
  app.add_option("--devices", o.devices, "to fill a store with; 0: none is filled")->check(CLI::Range(0, 100'000'000));
  app.add_option("--results", o.results, "to fill it with")->check(CLI::Range(1, 1'000'000'000));
  app.add_flag("!--no-policy", policy, "leave out what the policy costs");
  app.add_flag("--keep", keep, "leave the filled store");
  app.footer("Example:\n  gatehouse-state-bench --devices 1000000 --results 10000000\nPrints one JSON object.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;  // contract, exit codes
  }
  fs::create_directories(o.folder);
  const server::SessionResult pattern = real_result();
  json::object out{{"session", measure_sessions(o, pattern)}};
  if (policy) out["policy"] = bench::measure_policy(pattern, o.sessions, o.rounds);
  if (o.devices != 0) out["many"] = measure_many(o, pattern);
  std::printf("%s\n", json::serialize(out).c_str());
  fs::remove_all(o.folder + "/sessions");
  if (!keep) fs::remove_all(o.folder + "/many");
  return 0;
}
