#include "tests/server_session/conversation.h"

#include <gtest/gtest.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "base/file.h"
#include "base/hex.h"
#include "refdb/store/builder.h"
#include "refdb/store/open.h"

namespace gatehouse::test {

std::string interop(const std::string& name) { return std::string(GATEHOUSE_TEST_DATA) + "/interop/" + name; }

ByteVector file(const std::string& path) {
  auto bytes = read_file(path, std::size_t(64) << 20);
  EXPECT_TRUE(bytes) << path;
  return bytes ? *bytes : ByteVector();
}

namespace {

// The rows of the recorded evidence, as one package for each package name.
std::shared_ptr<const refdb::View> references_in(const std::string& path) {
  auto builder = refdb::Builder::open(path);
  EXPECT_TRUE(builder) << builder.error().text();
  std::map<std::string, refdb::ReferencePackage> packages;
  std::ifstream rows(interop("evidence/base/refs.tsv"));
  for (std::string line; std::getline(rows, line);) {
    std::string fields[5];
    std::size_t at = 0;
    for (std::string& field : fields) {
      const std::size_t tab = line.find('\t', at);
      field = line.substr(at, tab - at);
      at = tab == std::string::npos ? line.size() : tab + 1;
    }
    refdb::ReferencePackage& p = packages[fields[1]];
    p.product = "Debian 12 x86_64";
    p.name = fields[1];
    p.version = "1";
    p.source = "refs.tsv";
    p.files.push_back({fields[0], 0, false, {{HashAlgorithm::sha1, Digest(*from_hex(fields[2]))}, {HashAlgorithm::sha256, Digest(*from_hex(fields[3]))},
                                             {HashAlgorithm::sha384, Digest(*from_hex(fields[4]))}}});
  }
  for (auto& [_, p] : packages) EXPECT_TRUE(builder->add(std::move(p)));
  EXPECT_TRUE(builder->publish());
  auto view = refdb::open_view(path);
  EXPECT_TRUE(view) << view.error().text();
  return view ? *view : nullptr;
}

}  // namespace

World::World(unsigned threads) {
  static std::atomic<int> count{0};
  folder = std::filesystem::temp_directory_path() / ("gatehouse-session-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
  std::filesystem::create_directories(folder);
  references = references_in(folder / "refdb");
  auto opened = server::State::open({.path = folder / "state", .create = true});
  EXPECT_TRUE(opened) << opened.error().text();
  state = std::move(*opened);
  pipeline = std::make_unique<pipeline::Pipeline>(pipeline::Limits{.threads = threads});
  settings.auth = server::Auth::none;
}

World::~World() {
  pipeline.reset();
  state.reset();
  references.reset();
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
}

void World::enrol(const PublicKey& key, const std::string& device, const std::string& product) {
  server::Enrolment e;
  e.device = device;
  e.key = server::SeenKey{key, std::nullopt, std::nullopt};
  e.product = product;
  e.trust = true;
  const auto done = state->enrol_blocking(std::move(e));
  ASSERT_TRUE(done) << done.error().text();
}

void World::approve(const std::string& device) {
  const auto done = state->approve_baseline_blocking(device, std::nullopt, false);
  ASSERT_TRUE(done) << done.error().text();
}

void LoopHost::post(std::function<void(server::Session&)> done) {
  const std::lock_guard lock(mutex_);
  queue_.push_back(std::move(done));
  ready_.notify_one();
}

bool LoopHost::carry(server::Session& session) {
  std::function<void(server::Session&)> next;
  {
    std::unique_lock lock(mutex_);
    if (expected_ == 0) return false;
    if (!ready_.wait_for(lock, std::chrono::seconds(60), [&] { return !queue_.empty(); })) return false;
    next = std::move(queue_.front());
    queue_.pop_front();
    --expected_;
  }
  next(session);
  return true;
}

void LoopHost::check_password(std::string user, Secret password) {
  expect();
  const bool good = user == "host1" && password.equals(as_bytes("Ar3etTnp"));
  post([good](server::Session& s) { s.on_password(good); });
}
std::unique_ptr<pipeline::Evidence> LoopHost::open_evidence(pipeline::Context context) {
  expect();
  return world_.pipeline->open(std::move(context), [this](Result<pipeline::Outcome> outcome) {
    auto shared = std::make_shared<Result<pipeline::Outcome>>(std::move(outcome));
    post([shared](server::Session& s) { s.on_outcome(std::move(*shared)); });
  });
}
void LoopHost::begin_session(server::SessionIntent intent) {
  expect();
  world_.state->begin_session(std::move(intent), [this](Result<void> r) { post([r](server::Session& s) { s.on_session_begun(r); }); });
}
void LoopHost::commit_result(server::SessionResult result) {
  expect();
  world_.state->commit_result(std::move(result), [this](Result<void> r) { post([r](server::Session& s) { s.on_result_committed(r); }); });
}

void LoopHost::stage_software(server::SoftwareChunk chunk) {
  expect();
  world_.state->stage_software(std::move(chunk), [this](Result<void> r) { post([r](server::Session& s) { s.on_staged(r); }); });
}

namespace {

// Whole PT-TLS messages of a byte string.
std::vector<ByteVector> messages_of(Bytes bytes) {
  std::vector<ByteVector> out;
  pttls::Framer framer;
  framer.feed(bytes);
  for (;;) {
    const auto m = framer.next();
    if (!m || *m == nullptr) return out;
    out.push_back(to_vector((*m)->whole));
  }
}

}  // namespace

Outcome converse(World& world, const Machine& m, const ClientOptions& options, const Tamper& tamper) {
  Outcome out;
  LoopHost host(world);
  std::string session_id;
  const auto cpu_us = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return double(now.tv_sec) * 1e6 + double(now.tv_nsec) / 1e3;
  };
  const double setup = cpu_us();
  auto boot = endpoint::firmware_evidence(m.log, HashAlgorithm::sha256, {});
  auto list = endpoint::ima_evidence(m.list, HashAlgorithm::sha256, {});
  EXPECT_TRUE(boot && list);
  endpoint::FixedEvidence evidence(*boot, *list, std::uint8_t{3}, {{"/bin", "/usr/bin"}, {"/lib", "/usr/lib"}});
  endpoint::OsInfo os;
  os.name = "Debian";
  endpoint::set_version(os, options.os_version);
  os.forwarding = 0;
  os.device_id = options.device_id.empty() ? m.tpm->ak().key_id() : options.device_id;
  endpoint::OsImc os_imc(os);
  endpoint::AttestationImc attestation_imc({}, *m.tpm, evidence);
  out.setup_cpu_us = cpu_us() - setup;
  {
    server::Session session(host, world.settings, *world.state, {"127.0.0.1:1", "CN=test", "certificate"});
    session_id = session.id();
    endpoint::Session::Config config;
    config.tnc.max_batch = options.max_batch;
    endpoint::Session client(std::move(config), {&os_imc, &attestation_imc});
    endpoint::Session::Step step = client.start();
    for (int turn = 0; turn < 10'000; ++turn) {
      for (ByteVector& message : messages_of(std::exchange(step.send, {}))) {
        if (tamper) message = tamper(std::move(message));
        session.feed(message);
      }
      while (host.out.empty() && !host.closed && host.carry(session)) {
      }
      const ByteVector answer = std::exchange(host.out, {});
      const double start = cpu_us();
      if (!answer.empty() && !step.ended) step = client.feed(answer);
      out.client_cpu_us += cpu_us() - start;
      if (host.closed || (answer.empty() && step.send.empty())) break;
    }
    for (const ByteVector& message : messages_of(step.send)) session.feed(message);
    if (client.error()) out.error = client.error()->text();
    if (!session.ended()) session.on_peer_gone();
    while (host.carry(session)) {
    }
    out.answer = client.outcome();
  }
  if (const auto record = world.state->session(session_id); record && *record && !(*record)->verdict.empty()) {
    auto verdict = pipeline::verdict_from_json((*record)->verdict);
    if (verdict) out.verdict = std::move(*verdict);
  }
  out.lines = std::move(host.lines);
  return out;
}

void Machine::reboot(ByteVector other) {
  list = std::move(other);
  tpm->startup(3);
  EXPECT_TRUE(tpm->extend_event_log(log));
  EXPECT_TRUE(tpm->extend_ima_list(list));
  tpm::ClockInfo clock = tpm->clock();
  ++clock.reset_count;
  tpm->set_clock(clock);
}

Machine machine(endpoint::KeyAlgorithm kind) {
  Machine m;
  auto key = endpoint::SigningKey::generate(kind);
  EXPECT_TRUE(key);
  m.tpm = std::make_unique<endpoint::SoftwareTpm>(*key);
  m.log = file(interop("evidence/base/binary_bios_measurements"));
  m.reboot(file(interop("evidence/base/binary_runtime_measurements")));
  return m;
}

}  // namespace gatehouse::test
