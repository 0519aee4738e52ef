// Mutated conversations: what is recorded of strongSwan's client and what our own endpoint says, changed on its way to
// the server at each layer, one change or several. Whatever is changed: the server ends each conversation, keeps
// nothing of it, lets no other conversation notice, and allows only what the oracle finds deserved.
//
//   mutated_conversations                                   a few thousand, as a test
//   mutated_conversations --conversations=1000000 --hang-ms=100
//   mutated_conversations --seed=7 --only=4711               one again, with its changes and the server's log
//
// Each conversation follows from seed and number. Recorded ones are the same bytes each time; keys, nonces and
// signatures of our own endpoint are new in each run, and the changes are the same at the same places.
#include <gtest/gtest.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <fstream>
#include <set>
#include <thread>

#include "tests/live_bytes.h"
#include "tests/mutated/connection.h"
#include "tests/mutated/mutator.h"

extern "C" {
void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));
}

namespace gatehouse::test {
namespace {

struct Options {
  std::uint64_t conversations = 1000, first = 0, seed = 20261125, only = UINT64_MAX;
  std::uint64_t round = 40;    // conversations of one state store
  std::uint64_t hang_ms = 0;   // a step that takes longer, and does so again, is a failure; 0: none is
  std::uint64_t progress = 0;  // a line each so many conversations
} options;

// --- where it is, for whoever finds it dead

std::atomic<std::uint64_t> current{0}, steps{0};

// Where nothing may be allocated any more.
void say_where() {
  char text[96] = "\nin conversation ";
  char* at = std::to_chars(text + std::strlen(text), std::end(text), current.load()).ptr;
  for (const char c : std::string_view(" of seed ")) *at++ = c;
  at = std::to_chars(at, std::end(text), options.seed).ptr;
  *at++ = '\n';
  (void)!::write(STDERR_FILENO, text, std::size_t(at - text));
}
void on_signal(int number) {
  say_where();
  ::signal(number, SIG_DFL);
  ::raise(number);
}

// Ends the process when one step doesn't end.
class Watchdog {
 public:
  Watchdog() : thread_([this](std::stop_token stop) { watch(stop); }) {}

 private:
  void watch(const std::stop_token& stop) {
    std::mutex mutex;
    std::condition_variable_any wake;
    std::uint64_t seen = 0;
    unsigned minutes = 0;
    while (!stop.stop_requested()) {
      std::unique_lock lock(mutex);
      wake.wait_for(lock, stop, std::chrono::minutes(1), [] { return false; });
      minutes = steps.load() == seen ? minutes + 1 : 0;
      seen = steps.load();
      if (minutes < 3 || stop.stop_requested()) continue;
      std::fputs("a step hangs", stderr);
      std::abort();
    }
  }
  std::jthread thread_;
};

double seconds(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return double(now.tv_sec) + double(now.tv_nsec) / 1e9;
}
std::size_t resident_bytes() {
  std::size_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * std::size_t(::sysconf(_SC_PAGESIZE));
}

struct Tally {
  std::map<std::string, std::uint64_t> roles, endings, oracle;
  std::map<Layer, std::uint64_t> by_layer;  // conversations with a change there
  std::map<Layer, std::map<std::string, std::uint64_t>> endings_by_layer;
  std::map<std::string, std::uint64_t> operations;
  std::uint64_t changes = 0, unchanged = 0, messages = 0, healthy = 0;
  double longest_wall = 0, longest_cpu = 0;
  std::uint64_t longest_at = 0, longest_cpu_at = 0;
};

class Fuzzer {
 public:
  Fuzzer();
  // Conversations of the seed, from one number on.
  void run(std::uint64_t first, std::uint64_t count);
  void report(double took) const;
  const Tally& tally() const { return tally_; }
  bool failed() const { return !failures_.empty(); }

 private:
  void add_roles();
  Role& add(Role role);
  void learn(Role& role);
  void open_state();
  void restore(const Role& role);
  void conversation(std::uint64_t number);
  void healthy_step();
  void finish_healthy();
  bool perform(Connection& c, const Event& event, std::uint64_t number);
  void judge(const Connection& c, const Role& role, std::uint64_t number, bool changed);
  void measure(bool last);
  void look_at_slow_ones();
  // The first rounds fill the pools of the allocator and of the libraries.
  const std::pair<std::size_t, std::size_t>& warm() const {
    return memory_[std::min<std::size_t>(memory_.size() / 3, 10)];
  }
  void fail(std::uint64_t number, const std::string& why);
  static server::policy::PolicyPtr policy(const char* text);

  World world_;
  std::deque<SmallMachine> machines_;
  std::deque<EndpointOptions> endpoints_;
  std::deque<Recording> recordings_;
  std::deque<Role> roles_;
  std::size_t weights_ = 0;
  const Role* healthy_role_ = nullptr;
  std::unique_ptr<Connection> healthy_;
  Messages healthy_says_;
  Pool pool_;
  std::vector<std::string> log_;                   // of the conversation that was learned last
  std::map<std::string, const Device*> enrolled_;  // as it is in the store now; null: something changed it
  Tally tally_;
  std::set<std::uint64_t> slow_;  // conversations with a step that took too long
  std::vector<std::string> failures_;
  std::vector<std::pair<std::size_t, std::size_t>> memory_;  // live and resident bytes between two stores
};

server::policy::PolicyPtr Fuzzer::policy(const char* text) {
  auto out = server::policy::parse_policy(text, "policy.toml", [](const std::string&) -> Result<std::string> {
    return gatehouse::fail(Fault::environment, "no such file");
  });
  if (!out) ADD_FAILURE() << out.error().list.front().text();
  return out ? *out : server::policy::built_in_policy();
}

void Fuzzer::fail(std::uint64_t number, const std::string& why) {
  const std::string text =
      "conversation " + std::to_string(number) + " of seed " + std::to_string(options.seed) + ": " + why;
  failures_.push_back(text);
  ADD_FAILURE() << text;
}

Fuzzer::Fuzzer() {
  world_.settings.keep = server::Keep::none;
  open_state();
  add_roles();
}

void Fuzzer::open_state() {
  finish_healthy();
  world_.state.reset();
  const std::string path = world_.folder / "state";
  std::filesystem::remove_all(path);
  auto state = server::State::open({.path = path, .create = true, .max_sessions = 2000, .max_unknown_sessions = 500});
  ASSERT_TRUE(state) << state.error().text();
  world_.state = std::move(*state);
  enrolled_.clear();
}

// The device is in the store as the role wants it, whatever conversations before this one left.
void Fuzzer::restore(const Role& role) {
  if (!role.device) return;
  const Device& d = *role.device;
  const auto at = enrolled_.find(d.id);
  if (at != enrolled_.end() && at->second != nullptr && *at->second == d) return;
  if (const auto known = world_.state->device(d.id); known && *known) {
    ASSERT_TRUE(world_.state->remove_blocking(d.id));
  }
  server::Enrolment e;
  e.device = d.id;
  e.key = server::SeenKey{d.key, std::nullopt, std::nullopt};
  e.product = "Debian 12 x86_64";
  e.identities = d.identities;
  e.trust = true;
  e.approved_baseline = d.baseline;
  const auto done = world_.state->enrol_blocking(std::move(e));
  ASSERT_TRUE(done) << done.error().text();
  enrolled_[d.id] = &d;
}

Role& Fuzzer::add(Role role) {
  roles_.push_back(std::move(role));
  Role& added = roles_.back();
  learn(added);
  weights_ += added.weight;
  return added;
}

// Has the conversation as it is: twice where the device's firmware waits to be approved.
void Fuzzer::learn(Role& role) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    restore(role);
    Connection c(world_, role);
    Messages all, out = c.speaker->start();
    while (!out.empty() && all.size() < 2000) {
      for (const ByteVector& m : out) {
        if (Connection::is_retry(m)) c.said.clear();
        c.said.push_back(m);
        all.push_back(m);
        c.session.feed(m);
        ASSERT_TRUE(c.settle()) << role.name;
      }
      out = c.speaker->hear(c.answer());
    }
    c.end();
    log_ = std::move(c.host.lines);
    if (role.device) enrolled_[role.device->id] = nullptr;
    role.turns = all.size();
    role.allowed = c.access == 1U;
    role.expected.honest = shown_in(c.said);
    for (const auto& [path, digest] : references()) role.expected.known_paths.insert(path);
    role.expected.measured_file = to_vector(references().at(measured_path).view());
    if (role.allowed || !role.device || role.device->baseline || attempt == 1) {
      for (const ByteVector& m : all) pool_.add(m);
      if (role.allowed) {
        const std::string why = undeserved(role.expected, c.allowed.back().said, c.allowed.back().heard);
        EXPECT_EQ(why, "") << role.name << '\n' << testing::PrintToString(log_);
      }
      return;
    }
    (void)world_.state->approve_baseline_blocking(role.device->id, std::nullopt, false);
    const auto baselines = world_.state->approved_baselines(role.device->id);
    if (!baselines || baselines->empty()) {
      for (const ByteVector& m : all) pool_.add(m);
      return;
    }
    role.device->baseline = baselines->front();
  }
}

void Fuzzer::add_roles() {
  const auto everything = policy(everything_policy("R S").c_str()), with_tags = policy(everything_policy("S").c_str()),
             tags_later = policy(everything_policy("R S T").c_str());
  const auto attestation = policy("[groups.all]\nask = [\"TPMRA\"]\n");
  const auto settings_alone = policy("[groups.all]\nask = [\"FWDEN\", \"PWDEN\"]\n");
  const auto software = policy("[groups.all]\nask = [{ type = \"SWIDT\", argument = \"R\" }, \"TPMRA\"]\n");
  const auto live = [&](std::string name, unsigned weight, const server::policy::PolicyPtr& asked,
                        const SmallMachine& machine, EndpointOptions endpoint,
                        const std::function<void(Role&)>& more = {}) -> Role& {
    endpoints_.push_back(std::move(endpoint));
    const EndpointOptions& chosen = endpoints_.back();
    Role role{.name = std::move(name),
              .weight = weight,
              .settings = {},
              .peer = {"192.0.2.7:49152", "CN=host1", "certificate", {}},
              .device = Device{machine.tpm->ak().key_id(), machine.tpm->ak(), {"CN=host1"}},
              .speaker = {}};
    role.settings.auth = server::Auth::none;
    role.settings.policy = asked;
    role.expected.everything = chosen.everything;
    role.expected.settings = asked == settings_alone;
    role.expected.attested = asked != settings_alone;
    role.speaker = [&machine, &chosen] { return live_endpoint(machine, chosen); };
    if (more) more(role);
    Role& added = add(std::move(role));
    show_evidence(machine, added.expected.honest);
    return added;
  };
  constexpr std::size_t events = 12, entries = 12;
  const auto new_machine = [&](endpoint::KeyAlgorithm key = endpoint::KeyAlgorithm::ecc) -> const SmallMachine& {
    machines_.push_back(small_machine(key, events, entries));
    return machines_.back();
  };
  const SmallMachine& machine = new_machine();
  constexpr std::uint16_t all_raw = pts::raw::part_firmware_log | pts::raw::part_ima_list | pts::raw::part_quote;
  const auto expect = [&](const Role& role, bool allowed) {
    EXPECT_EQ(role.allowed, allowed) << role.name << '\n' << testing::PrintToString(log_);
  };
  expect(live("everything", 100, everything, machine, {.everything = true}), true);
  expect(live("raw evidence", 40, with_tags, machine, {.raw = all_raw, .everything = true}), true);
  expect(live("raw logs, segmented", 16, attestation, machine,
              {.max_batch = 1100, .raw = pts::raw::part_firmware_log | pts::raw::part_ima_list}),
         true);
  expect(live("small batches", 36, with_tags, machine, {.max_batch = 1100, .everything = true}), true);
  expect(live("attestation alone", 48, attestation, machine, {}), true);
  expect(live("attestation, RSA", 6, attestation, new_machine(endpoint::KeyAlgorithm::rsassa), {}), true);
  expect(live("kept connection", 28, everything, machine, {.keep = true, .everything = true}), true);
  const auto test_protocol = [](Role& r) {
    r.settings.test_imv = true;
    r.settings.test_rounds = 2;
  };
  expect(live("test protocol", 16, tags_later, machine, {.test = true, .everything = true}, test_protocol), true);
  const auto by_password = [](Role& r) {
    r.settings.auth = server::Auth::sasl;
    r.peer = {"192.0.2.7:49152", "", "", {}};
    r.device->identities = {"host1"};
  };
  expect(live("password", 20, settings_alone, machine, {.user = "host1", .password = "Ar3etTnp"}, by_password), true);
  const auto nobody_knows = [](Role& r) {
    r.device.reset();
    r.peer = {"192.0.2.9:49152", "", "", {}};
  };
  expect(live("unknown device", 14, everything, new_machine(), {.everything = true}, nobody_knows), false);

  if (auto anchors = TrustAnchors::load(interop("keys/ak-ca.pem"))) {
    const auto authorities = std::make_shared<const TrustAnchors>(std::move(*anchors));
    constexpr struct {
      const char *folder, *key;
      bool allowed;
    } all[] = {{"mutual-tls-rsa", "rsa", true},
               {"sasl-rsa", "rsa", true},
               {"sasl-ecc", "ecc", true},
               {"mutual-tls-ecc-aikcert", "ecc", true},
               {"mutual-tls12-rsa-modp2048-pcrinfo", "rsa", true},
               {"sasl-rsa-32k", "rsa", true},
               {"sasl-ecc-2k", "ecc", true},
               {"sasl-rsa-sha384-ecp384", "rsa", true},
               {"changed-file-rsa", "rsa", false},
               {"tampered-list-rsa", "rsa", false},
               {"untrusted-ak-rsa", "rsa", true},
               {"untrusted-ak-cert-ecc", "ecc", false}};
    // The recorded server didn't trust the AK of the last but one; here it is enrolled.
    for (const auto& one : all) {
      recordings_.push_back(recording(one.folder));
      const Recording& recorded = recordings_.back();
      const auto key = PublicKey::from_pem(as_text(file(interop("keys/" + std::string(one.key) + "/ak.pem"))));
      ASSERT_TRUE(key);
      for (const bool whole : {true, false}) {
        Role role{.name = std::string(one.folder) + (whole ? "" : ", cut"),
                  .weight = 1,
                  .settings = {},
                  .peer = {"127.0.0.1:1", "", "", {}},
                  .device = Device{key->key_id(), *key, {}},
                  .speaker = {},
                  .recording = &recorded};
        role.settings.auth = server::Auth::none;
        role.settings.policy = whole ? software : everything;
        role.settings.banks = {HashAlgorithm::sha256, HashAlgorithm::sha384};
        role.settings.ak_authorities = authorities;
        role.speaker = [&recorded, whole] { return recorded_client(recorded, whole ? SIZE_MAX : 5); };
        expect(add(std::move(role)), whole && one.allowed);
      }
    }
  }
  Role& healthy = live("healthy", 0, everything, new_machine(), {.everything = true}, [](Role& r) {
    r.peer = {"192.0.2.8:49152", "CN=host2", "certificate", {}};
    r.device->identities = {"CN=host2"};
  });
  expect(healthy, true);
  healthy_role_ = &healthy;
}

// A good conversation goes on between the others, a message at a time.
void Fuzzer::healthy_step() {
  if (!healthy_) {
    restore(*healthy_role_);
    healthy_ = std::make_unique<Connection>(world_, *healthy_role_);
    healthy_says_ = healthy_->speaker->start();
  }
  for (const ByteVector& m : healthy_says_) {
    healthy_->session.feed(m);
    if (!healthy_->settle()) fail(current, "a healthy conversation stands still");
  }
  healthy_says_ = healthy_->speaker->hear(healthy_->answer());
  if (!healthy_says_.empty()) return;
  if (healthy_->access != 1U) fail(current, "a healthy conversation isn't allowed any more");
  ++tally_.healthy;
  healthy_.reset();
}
void Fuzzer::finish_healthy() {
  while (healthy_) healthy_step();
}

// False: nothing more can be said on this connection.
bool Fuzzer::perform(Connection& c, const Event& event, std::uint64_t number) {
  steps.fetch_add(1, std::memory_order_relaxed);
  const bool over = c.session.ended();
  const std::size_t before = c.host.out.size();
  const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  bool goes_on = true;
  switch (event.kind) {
    case Event::Kind::bytes:
      for (Bytes rest = event.bytes; !rest.empty();) {
        const std::size_t n = event.cut == 0 ? rest.size() : std::min(event.cut, rest.size());
        c.session.feed(rest.first(n));
        rest = rest.subspan(n);
      }
      break;
    case Event::Kind::deadline:
      c.session.on_deadline();
      break;
    case Event::Kind::stop:
      c.session.on_stop();
      break;
    case Event::Kind::gone:
      c.session.on_peer_gone();
      goes_on = false;
      break;
    case Event::Kind::reassess:
      (void)c.session.reassess();
      break;
    case Event::Kind::start_over:
      break;
  }
  if (!c.settle()) fail(number, "the session stands still");
  const double wall_ms = (seconds(CLOCK_MONOTONIC) - wall) * 1e3,
               cpu_ms = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e3;
  if (over && c.host.out.size() != before) fail(number, "the session speaks after its end");
  ++tally_.messages;
  if (wall_ms > tally_.longest_wall) tally_.longest_wall = wall_ms, tally_.longest_at = number;
  if (cpu_ms > tally_.longest_cpu) tally_.longest_cpu = cpu_ms, tally_.longest_cpu_at = number;
  if (options.hang_ms != 0 && std::min(wall_ms, cpu_ms) > double(options.hang_ms)) slow_.insert(number);
  return goes_on;
}

void Fuzzer::judge(const Connection& c, const Role& role, std::uint64_t number, bool changed) {
  if (c.told > c.allowed.size()) fail(number, "allow was told and not recorded");
  if (!changed) {
    ++tally_.unchanged;
    if ((c.access == 1U) != role.allowed) fail(number, role.name + ": nothing was changed and the verdict is another");
  }
  for (const Connection::Allowed& one : c.allowed) {
    const std::string why =
        role.allowed ? undeserved(role.expected, one.said, one.heard) : "this endpoint never gets it";
    if (!why.empty()) fail(number, role.name + ": allowed: " + why);
    if (changed) ++tally_.oracle[why.empty() ? "allowed, and what counts is unchanged" : "allowed undeservedly"];
  }
}

void Fuzzer::conversation(std::uint64_t number) {
  current = number;
  Random random(options.seed ^ (number * 0xD1342543DE82EF95));
  (void)random();
  std::size_t at = random.below(weights_);
  const Role* role = &roles_.front();
  for (const Role& one : roles_) {
    role = &one;
    if (at < one.weight) break;
    at -= one.weight;
  }
  const std::size_t share = random.below(100);
  const std::size_t changes = share < 2    ? 0
                              : share < 47 ? 1
                              : share < 72 ? 2
                              : share < 90 ? 3 + random.below(2)
                                           : 5 + random.below(4);
  Mutator mutator(pool_, Random(random()), role->turns, changes);
  restore(*role);
  {
    Connection c(world_, *role);
    std::deque<Event> waiting;
    const auto speak = [&](Messages messages) {
      for (ByteVector& m : messages) {
        if (Connection::is_retry(m)) c.said.clear();
        c.said.push_back(m);
        for (Event& e : mutator.send(std::move(m))) waiting.push_back(std::move(e));
      }
    };
    speak(c.speaker->start());
    std::size_t turns = 0;
    bool rested = false, open = true;
    const std::size_t most = 4 * role->turns + 3000;
    while (open && turns < most) {
      if (waiting.empty()) {
        if (!c.session.ended()) speak(c.speaker->hear(c.answer()));
        if (waiting.empty() && !std::exchange(rested, true))
          for (Event& e : mutator.rest(c.session.ended())) waiting.push_back(std::move(e));
        if (waiting.empty()) break;
      }
      if (random.one_in(24)) healthy_step();
      const Event event = std::move(waiting.front());
      waiting.pop_front();
      ++turns;
      if (event.kind == Event::Kind::start_over) {
        // What the first attempt still had to say isn't said any more.
        waiting.clear();
        speak(c.speaker->start_over());
      }
      open = perform(c, event, number);
    }
    if (turns >= most) fail(number, role->name + ": it doesn't end");
    (void)c.answer();
    c.end();
    if (!c.session.ended()) fail(number, "the session hasn't ended");
    const bool changed = !mutator.made().empty();
    judge(c, *role, number, changed);
    if (c.touched && role->device) enrolled_[role->device->id] = nullptr;

    std::string ending = "ended early";
    if (c.access)
      ending = c.access == 1U ? "allow" : c.access == 3U ? "isolate" : "block";
    else if (c.protocol_error)
      ending = "protocol error";
    else if (c.recorded.empty())
      ending = "no assessment";
    ++tally_.roles[role->name];
    ++tally_.endings[ending];
    std::set<Layer> seen;
    for (const Change& change : mutator.made()) {
      ++tally_.changes;
      ++tally_.operations[std::string(name(change.layer)) + ": " + std::string(change.name)];
      if (seen.insert(change.layer).second) {
        ++tally_.by_layer[change.layer];
        ++tally_.endings_by_layer[change.layer][ending];
      }
    }
    if (options.only == number) {
      std::printf("%s, %zu turns\n", role->name.c_str(), role->turns);
      for (const Change& change : mutator.made())
        std::printf("  turn %zu: %s: %s\n", change.turn, std::string(name(change.layer)).c_str(),
                    std::string(change.name).c_str());
      for (const std::string& line : c.host.lines) std::printf("  | %s\n", line.c_str());
      std::printf("  %s, recorded %s\n", ending.c_str(), c.recorded.c_str());
    }
  }
  // What was dropped leaves the evidence plane at its next node.
  for (int turn = 0; turn < 10'000'000 && world_.pipeline->bytes_in_flight() != 0; ++turn) std::this_thread::yield();
  if (world_.pipeline->bytes_in_flight() != 0) fail(number, "evidence is left behind");
}

// Between two stores nothing of any conversation is left.
void Fuzzer::measure(bool last) {
  finish_healthy();
  world_.state.reset();
  memory_.emplace_back(live_bytes(), resident_bytes());
  if (!last) return open_state();
  const std::string path = world_.folder / "state";
  std::filesystem::remove_all(path);
}

void Fuzzer::run(std::uint64_t first, std::uint64_t count) {
  const std::uint64_t round = std::max<std::uint64_t>(options.round, 1);
  open_state();
  const double began = seconds(CLOCK_MONOTONIC);
  for (std::uint64_t n = 0; n < count && failures_.size() < 20; ++n) {
    if (n != 0 && n % round == 0) measure(false);
    conversation(first + n);
    if (options.progress != 0 && (n + 1) % options.progress == 0) {
      std::printf("%llu conversations, %.0f a second, %zu MiB resident, longest step %.1f ms\n",
                  static_cast<unsigned long long>(n + 1), double(n + 1) / (seconds(CLOCK_MONOTONIC) - began),
                  resident_bytes() >> 20, tally_.longest_wall);
      std::fflush(stdout);
    }
  }
  look_at_slow_ones();
  measure(true);
  // What an allocator keeps for itself grows slowly; a byte that each conversation lost would be seen in a million.
  const std::size_t slack = (std::size_t(1) << 20) + std::size_t(count);
  if (memory_.back().first > warm().first + slack)
    fail(first + count, "memory grows: " + std::to_string(warm().first) + " bytes after the first rounds, " +
                            std::to_string(memory_.back().first) + " at the end");
}

// The machine may have been at other work: what hangs does so each time.
void Fuzzer::look_at_slow_ones() {
  for (const std::uint64_t number : std::set(slow_)) {
    const Tally kept = tally_;
    double shortest = 1e9;
    for (int attempt = 0; attempt < 5; ++attempt) {
      tally_.longest_wall = tally_.longest_cpu = 0;
      conversation(number);
      shortest = std::min({shortest, tally_.longest_wall, tally_.longest_cpu});
    }
    tally_ = kept;
    if (shortest > double(options.hang_ms)) fail(number, "a step takes " + std::to_string(shortest) + " ms each time");
  }
}

void Fuzzer::report(double took) const {
  std::uint64_t total = 0;
  for (const auto& [_, n] : tally_.endings) total += n;
  if (total == 0) return;
  std::printf(
      "%llu conversations in %.0f s, %llu messages, %llu changes, %llu without a change, %llu healthy ones between "
      "them\n",
      static_cast<unsigned long long>(total), took, static_cast<unsigned long long>(tally_.messages),
      static_cast<unsigned long long>(tally_.changes), static_cast<unsigned long long>(tally_.unchanged),
      static_cast<unsigned long long>(tally_.healthy));
  const auto list = [](const char* title, const auto& counts) {
    std::printf("%s:", title);
    for (const auto& [what, n] : counts)
      std::printf(" %s %llu,", std::string(what).c_str(), static_cast<unsigned long long>(n));
    std::printf("\n");
  };
  list("ended", tally_.endings);
  for (const auto& [layer, endings] : tally_.endings_by_layer)
    list(("  with a change of " + std::string(name(layer)) + " (" + std::to_string(tally_.by_layer.at(layer)) + ")")
             .c_str(),
         endings);
  list("allowed", tally_.oracle);
  list("roles", tally_.roles);
  if (options.progress != 0) list("changes", tally_.operations);
  std::printf("longest step %.1f ms (conversation %llu), %.1f ms of the processor (conversation %llu)\n",
              tally_.longest_wall, static_cast<unsigned long long>(tally_.longest_at), tally_.longest_cpu,
              static_cast<unsigned long long>(tally_.longest_cpu_at));
  if (options.hang_ms != 0)
    std::printf("%zu conversations had a step over %llu ms once\n", slow_.size(),
                static_cast<unsigned long long>(options.hang_ms));
  std::printf(
      "%zu rounds; live heap after the first, the first few and the last: %zu, %zu, %zu KiB; resident: %zu, %zu, %zu "
      "KiB\n",
      memory_.size(), memory_.front().first >> 10, warm().first >> 10, memory_.back().first >> 10,
      memory_.front().second >> 10, warm().second >> 10, memory_.back().second >> 10);
}

TEST(MutatedConversations, EndAndLeaveNothingAndAreAllowedOnlyWhatIsDeserved) {
  const Watchdog watchdog;
  Fuzzer fuzzer;
  ASSERT_FALSE(HasFailure());
  const double began = seconds(CLOCK_MONOTONIC);
  if (options.only != UINT64_MAX)
    fuzzer.run(options.only, 1);
  else
    fuzzer.run(options.first, options.conversations);
  fuzzer.report(seconds(CLOCK_MONOTONIC) - began);
  if (options.only != UINT64_MAX) return;
  // It is about all layers, and in good part about what comes behind the first parser.
  EXPECT_EQ(fuzzer.tally().by_layer.size(), layers);
  EXPECT_GT(fuzzer.tally().healthy, 0U);
  for (const char* ending : {"allow", "isolate", "block", "protocol error"})
    EXPECT_GT(fuzzer.tally().endings.count(ending), 0U) << ending;
}

}  // namespace

bool take_option(std::string_view argument) {
  const std::pair<std::string_view, std::uint64_t*> known[] = {{"--conversations=", &options.conversations},
                                                               {"--first=", &options.first},
                                                               {"--seed=", &options.seed},
                                                               {"--only=", &options.only},
                                                               {"--round=", &options.round},
                                                               {"--hang-ms=", &options.hang_ms},
                                                               {"--progress=", &options.progress}};
  for (const auto& [name, value] : known)
    if (argument.starts_with(name)) {
      const std::string_view number = argument.substr(name.size());
      const auto end = std::from_chars(number.data(), number.data() + number.size(), *value);
      return end.ec == std::errc() && end.ptr == number.data() + number.size();
    }
  return false;
}

void watch_for_death() {
  if (__sanitizer_set_death_callback != nullptr) return __sanitizer_set_death_callback(say_where);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::signal(number, on_signal);
}

}  // namespace gatehouse::test

int main(int argc, char** argv) {
  // The stores are written through to the disk for each conversation; in memory that costs nothing.
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  testing::InitGoogleTest(&argc, argv);
  for (int i = 1; i < argc; ++i)
    if (!gatehouse::test::take_option(argv[i])) {
      std::fprintf(
          stderr,
          "usage: %s [--conversations=N] [--first=N] [--seed=N] [--only=N] [--round=N] [--hang-ms=N] [--progress=N]\n",
          argv[0]);
      return 2;
    }
  gatehouse::test::watch_for_death();
  return RUN_ALL_TESTS();
}
